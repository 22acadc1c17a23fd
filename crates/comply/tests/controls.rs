//! Each control of the embedded catalog on inputs that it must pass, fail or leave unknown.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod fixture;

use fixture::{base, changed, single};
use serde_json::Value;
use std::collections::BTreeMap;
use yundu_comply::{Catalog, Status};

fn cases() -> Vec<Value> {
    serde_json::from_str(include_str!("fixtures/cases.json")).unwrap()
}

#[test]
fn every_control_gives_the_expected_status_and_names_what_is_missing() {
    let mut wrong = Vec::new();
    for case in cases() {
        let (control, name) = (
            case["control"].as_str().unwrap(),
            case["case"].as_str().unwrap(),
        );
        let verdict = single(control).evaluate(&changed(&case["change"]));
        let got = &verdict.controls[0];
        let expected: Status = serde_json::from_value(case["status"].clone()).unwrap();
        let says = case["says"].as_str().unwrap();
        let said = says.is_empty() || got.reasons.iter().any(|reason| reason.en.contains(says));
        if got.status != expected || !said || verdict.open != got.status.lets_pass() {
            wrong.push(format!(
                "{control} / {name}: expected {expected:?} {says:?}, got {got:#?}"
            ));
        }
        for reason in &got.reasons {
            let garbled =
                |text: &str| text.is_empty() || text.contains("%!") || text.contains("(MISSING)");
            if garbled(&reason.zh) || garbled(&reason.en) {
                wrong.push(format!("{control} / {name}: garbled reason {reason:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_control_has_a_passing_and_a_failing_case() {
    let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for case in cases() {
        let control = case["control"].as_str().unwrap().to_owned();
        seen.entry(control)
            .or_default()
            .push(case["status"].as_str().unwrap().to_owned());
    }
    for control in Catalog::load(None).unwrap().controls() {
        let statuses = seen
            .get(&control.id)
            .unwrap_or_else(|| panic!("{} has no case", control.id));
        assert!(
            statuses.iter().any(|s| s == "pass"),
            "{} never passes",
            control.id
        );
        assert!(
            statuses.iter().any(|s| s == "fail"),
            "{} never fails",
            control.id
        );
    }
}

#[test]
fn a_complete_input_opens_every_gate_and_an_empty_one_opens_none() {
    let catalog = Catalog::load(None).unwrap();
    for gate in catalog.gates() {
        let bundle = catalog.bundle(&gate.id).unwrap();
        assert_eq!(
            bundle.faults().count(),
            0,
            "{:?}",
            bundle.faults().collect::<Vec<_>>()
        );
        let verdict = bundle.evaluate(&base());
        // The base stands after the switch: a cut-over now would need a new verification.
        assert!(
            verdict.open,
            "{}: {:#?}",
            gate.id,
            verdict.findings().collect::<Vec<_>>()
        );
        let verdict = bundle.evaluate(&serde_json::json!({}));
        assert!(!verdict.open, "{} opens on nothing", gate.id);
        assert!(
            verdict
                .controls
                .iter()
                .all(|control| !control.status.lets_pass())
        );
    }
}

#[test]
fn taking_out_any_record_or_any_field_of_one_never_opens_a_closed_control() {
    // The reasons for closing may change; that a missing field turns fail into pass may not.
    for case in cases().into_iter().filter(|case| case["status"] == "fail") {
        let control = case["control"].as_str().unwrap();
        let bundle = single(control);
        let input = changed(&case["change"]);
        for field in ["estate", "people", "approvals", "evidence", "now_us"] {
            let mut without = input.clone();
            without.as_object_mut().unwrap().remove(field);
            let verdict = bundle.evaluate(&without);
            // Without any approvals nobody approved their own request, and no plan is void.
            let about_approvals = ["maker-never-checker", "plan-unchanged"].contains(&control);
            assert!(
                !verdict.open,
                "{control} / {} opens without {field}",
                case["case"]
            );
            if about_approvals && field == "approvals" {
                assert_eq!(verdict.controls[0].status, Status::Unknown);
            }
        }
    }
}

#[test]
fn every_reason_and_remedy_is_told_in_both_languages() {
    for control in Catalog::load(None).unwrap().controls() {
        for text in [&control.title, &control.requirement, &control.remedy] {
            assert!(!text.zh.is_empty() && !text.en.is_empty(), "{}", control.id);
            assert!(!text.zh.is_ascii(), "{}: {}", control.id, text.zh);
        }
        assert!(!control.references.is_empty(), "{}", control.id);
        for reference in &control.references {
            assert!(
                reference.clause != "unverified" || reference.unverified,
                "{}: {} hides that its clause is unverified",
                control.id,
                reference.standard
            );
        }
    }
}
