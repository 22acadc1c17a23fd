//! What holds for any plan.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use yundu_estate::text::Text;
use yundu_plan::{Candidate, Need, Plan, PlanError, PlanInput, Stage, waves};

const APPLICATIONS: u8 = 14;

fn candidate(number: u8, is_core: bool, score_milli: u64) -> Candidate {
    let application = format!("app-{number:02}");
    Candidate {
        name: Text::new(&application, &application),
        application,
        is_core,
        score_milli,
    }
}

fn need(from: u8, to: u8) -> Need {
    Need {
        from: format!("app-{from:02}"),
        to: format!("app-{to:02}"),
    }
}

prop_compose! {
    fn inputs()(
        facts in prop::collection::vec((any::<bool>(), 0u64..=1000), 1..APPLICATIONS as usize),
        // One beyond the candidates, so that some needs lead outside.
        needs in prop::collection::vec((0..APPLICATIONS, 0..APPLICATIONS), 0..24),
        capacity in 1usize..6,
    ) -> PlanInput {
        PlanInput {
            candidates: facts.into_iter().zip(0u8..).map(|((core, score), number)| candidate(number, core, score)).collect(),
            needs: needs.into_iter().map(|(from, to)| need(from, to)).collect(),
            capacity,
        }
    }
}

fn places(plan: &Plan) -> BTreeMap<&str, (usize, usize)> {
    plan.placements
        .iter()
        .map(|it| (it.application.as_str(), (it.wave, it.order)))
        .collect()
}

/// Whether `from` reaches `to` through needs: worked out by brute force, not by the planner's way.
fn reaches(input: &PlanInput, from: &str, to: &str) -> bool {
    let known: BTreeSet<&str> = input
        .candidates
        .iter()
        .map(|it| it.application.as_str())
        .collect();
    let mut seen = BTreeSet::from([from]);
    loop {
        let before = seen.len();
        for need in &input.needs {
            if seen.contains(need.from.as_str())
                && known.contains(need.from.as_str())
                && known.contains(need.to.as_str())
            {
                seen.insert(need.to.as_str());
            }
        }
        if seen.len() == before {
            return seen.contains(to);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn every_application_is_placed_once(input in inputs()) {
        let plan = waves(&input).unwrap();
        let placed: Vec<&str> = plan.waves.iter().flat_map(|wave| wave.applications.iter().map(String::as_str)).collect();
        let mut sorted = placed.clone();
        sorted.sort_unstable();
        let mut expected: Vec<&str> = input.candidates.iter().map(|it| it.application.as_str()).collect();
        expected.sort_unstable();
        prop_assert_eq!(sorted, expected);
        prop_assert_eq!(plan.placements.len(), input.candidates.len());
    }

    #[test]
    fn nothing_moves_before_what_it_needs(input in inputs()) {
        let plan = waves(&input).unwrap();
        let places = places(&plan);
        for need in &input.needs {
            let (Some(from), Some(to)) = (places.get(need.from.as_str()), places.get(need.to.as_str())) else { continue };
            prop_assert!(to <= from, "{} at {from:?} needs {} at {to:?}", need.from, need.to);
        }
    }

    #[test]
    fn a_circle_moves_together_and_nothing_else_does(input in inputs()) {
        let plan = waves(&input).unwrap();
        let places = places(&plan);
        for one in &input.candidates {
            for other in &input.candidates {
                let (one, other) = (one.application.as_str(), other.application.as_str());
                let is_circle = reaches(&input, one, other) && reaches(&input, other, one);
                prop_assert_eq!(places[one] == places[other], is_circle, "{} and {}", one, other);
            }
        }
    }

    #[test]
    fn the_order_of_the_input_does_not_matter(input in inputs(), turn in any::<prop::sample::Index>()) {
        let mut turned = input.clone();
        let middle = turn.index(input.candidates.len());
        turned.candidates.rotate_left(middle);
        turned.needs.reverse();
        turned.needs.extend(input.needs.first().cloned());
        prop_assert_eq!(waves(&input).unwrap(), waves(&turned).unwrap());
    }

    #[test]
    fn a_wave_holds_no_more_than_its_capacity_unless_it_is_one_circle(input in inputs()) {
        let plan = waves(&input).unwrap();
        for wave in &plan.waves {
            let groups: BTreeSet<usize> = plan.placements.iter().filter(|it| it.wave == wave.number).map(|it| it.order).collect();
            prop_assert!(wave.applications.len() <= input.capacity || groups.len() == 1);
        }
    }

    #[test]
    fn stages_follow_each_other_and_the_pilot_is_one_core_group(input in inputs()) {
        let plan = waves(&input).unwrap();
        let stages: Vec<Stage> = plan.waves.iter().map(|wave| wave.stage).collect();
        prop_assert!(stages.is_sorted());
        let has_core = input.candidates.iter().any(|it| it.is_core);
        prop_assert_eq!(stages.iter().filter(|stage| **stage == Stage::CorePilot).count(), usize::from(has_core));
        for placement in &plan.placements {
            let is_core = |id: &str| input.candidates.iter().any(|it| it.application == id && it.is_core);
            let needs_core = input.candidates.iter().any(|it| it.is_core && reaches(&input, &placement.application, &it.application));
            if placement.stage == Stage::NonCore {
                prop_assert!(!needs_core);
            } else {
                prop_assert!(needs_core, "{} could have gone first", placement.application);
            }
            if placement.stage == Stage::CorePilot {
                prop_assert!(placement.group.iter().any(|id| is_core(id)));
            }
        }
    }
}

#[test]
fn a_changed_plan_no_longer_has_its_digest() {
    let input = PlanInput {
        candidates: vec![candidate(1, false, 10), candidate(2, true, 900)],
        needs: vec![need(2, 1)],
        capacity: 3,
    };
    let mut plan = waves(&input).unwrap();
    assert_eq!(plan.computed_digest().unwrap(), plan.digest);
    plan.waves[0].applications.push("app-03".to_owned());
    assert_ne!(plan.computed_digest().unwrap(), plan.digest);
}

#[test]
fn the_less_critical_move_first_and_say_why() {
    let input = PlanInput {
        candidates: vec![
            candidate(1, true, 900),
            candidate(2, false, 300),
            candidate(3, false, 100),
            candidate(4, true, 700),
            candidate(5, false, 50),
        ],
        needs: vec![need(2, 3), need(5, 1)],
        capacity: 2,
    };
    let plan = waves(&input).unwrap();
    let lines: Vec<String> = plan
        .placements
        .iter()
        .map(|it| {
            format!(
                "{} {} {}\n  {}\n  {}",
                it.wave, it.order, it.application, it.reason.zh, it.reason.en
            )
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn nonsense_is_refused() {
    let one = candidate(1, false, 1);
    let none = PlanInput {
        candidates: vec![one.clone()],
        needs: vec![],
        capacity: 0,
    };
    assert_eq!(waves(&none), Err(PlanError::NoCapacity));
    let twice = PlanInput {
        candidates: vec![one.clone(), one],
        needs: vec![],
        capacity: 1,
    };
    assert_eq!(
        waves(&twice),
        Err(PlanError::Duplicate("app-01".to_owned()))
    );
}
