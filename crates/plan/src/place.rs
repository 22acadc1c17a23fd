//! Placing groups in waves.

use crate::group::{Group, groups};
use crate::input::{Candidate, PlanError, PlanInput};
use crate::plan::{Placement, Plan, Stage, Wave};
use std::collections::{BTreeMap, BTreeSet};
use yundu_estate::text::Text;

/// Places every candidate. The rules stand at the top of this crate.
///
/// # Errors
/// A capacity of 0, or the same application twice.
pub fn waves(input: &PlanInput) -> Result<Plan, PlanError> {
    let candidates = input.by_identifier()?;
    let needs = input.binding_needs(&candidates);
    let groups = groups(&candidates, &needs);
    let mut placer = Placer {
        groups: &groups,
        candidates: &candidates,
        capacity: input.capacity,
        placed: BTreeMap::new(),
        ready: groups
            .iter()
            .filter(|(_, group)| group.needs.is_empty())
            .map(|(leader, group)| (group.score_milli, leader.clone()))
            .collect(),
        needed_by: needed_by(&groups),
        unmet: groups
            .iter()
            .map(|(leader, group)| (leader.clone(), group.needs.len()))
            .collect(),
        order: 0,
        waves: Vec::new(),
        placements: Vec::new(),
    };
    placer.fill(Stage::NonCore, |group| {
        !group.is_core && group.waits_for_core.is_none()
    });
    placer.pilot();
    placer.fill(Stage::CoreRollOut, |_| true);
    let Placer {
        waves,
        mut placements,
        ..
    } = placer;
    placements.sort_by(|one, other| {
        (one.wave, one.order, &one.application).cmp(&(other.wave, other.order, &other.application))
    });
    Plan::try_new(input.capacity, waves, placements)
}

struct Placer<'a> {
    groups: &'a BTreeMap<String, Group>,
    candidates: &'a BTreeMap<&'a str, &'a Candidate>,
    capacity: usize,
    /// Wave number of each placed group.
    placed: BTreeMap<String, usize>,
    /// Groups whose needs are all placed, the least critical first.
    ready: BTreeSet<(u64, String)>,
    /// The groups that need each group.
    needed_by: BTreeMap<String, Vec<String>>,
    /// How many needs of each group are not placed yet.
    unmet: BTreeMap<String, usize>,
    /// The last place taken in the open wave.
    order: usize,
    waves: Vec<Wave>,
    placements: Vec<Placement>,
}

// === impl Placer ===

impl Placer<'_> {
    /// Places ready groups that `belongs` admits, the least critical first, until none is left.
    fn fill(&mut self, stage: Stage, belongs: impl Fn(&Group) -> bool) {
        let mut is_new_wave = true;
        while let Some(leader) = self.next_ready(&belongs) {
            let Some(group) = self.groups.get(&leader) else {
                break;
            };
            let in_wave = self.waves.last().map_or(0, |wave| wave.applications.len());
            if is_new_wave || in_wave.saturating_add(group.members.len()) > self.capacity {
                self.open_wave(stage);
                is_new_wave = false;
            }
            self.place(&leader, group, stage);
        }
    }

    /// Places one core group in a wave of its own. When the least critical core needs other core
    /// groups, those come first: the pilot is the first that can move.
    fn pilot(&mut self) {
        if let Some(leader) = self.next_ready(&|group: &Group| group.is_core)
            && let Some(group) = self.groups.get(&leader)
        {
            self.open_wave(Stage::CorePilot);
            self.place(&leader, group, Stage::CorePilot);
        }
    }

    fn next_ready(&self, belongs: &impl Fn(&Group) -> bool) -> Option<String> {
        self.ready
            .iter()
            .map(|(_, leader)| leader)
            .find(|leader| self.groups.get(*leader).is_some_and(belongs))
            .cloned()
    }

    fn open_wave(&mut self, stage: Stage) {
        self.order = 0;
        self.waves.push(Wave {
            number: self.waves.len() + 1,
            stage,
            applications: Vec::new(),
        });
    }

    fn place(&mut self, leader: &str, group: &Group, stage: Stage) {
        let reason = self.reason(group, stage);
        let Some(wave) = self.waves.last_mut() else {
            return;
        };
        self.order += 1;
        let order = self.order;
        for member in &group.members {
            let name = self
                .candidates
                .get(member.as_str())
                .map(|it| it.name.clone())
                .unwrap_or_default();
            wave.applications.push(member.clone());
            self.placements.push(Placement {
                application: member.clone(),
                name,
                wave: wave.number,
                order,
                stage,
                group: group.members.clone(),
                reason: reason.clone(),
            });
        }
        self.placed.insert(leader.to_owned(), wave.number);
        self.ready.remove(&(group.score_milli, leader.to_owned()));
        for dependent in self.needed_by.get(leader).into_iter().flatten() {
            let Some(unmet) = self.unmet.get_mut(dependent) else {
                continue;
            };
            *unmet = unmet.saturating_sub(1);
            if let Some(group) = self.groups.get(dependent).filter(|_| *unmet == 0) {
                self.ready.insert((group.score_milli, dependent.clone()));
            }
        }
    }

    fn reason(&self, group: &Group, stage: Stage) -> Text {
        let score = group.score_milli;
        let mut zh = vec![match stage {
            Stage::NonCore => format!("非核心，评分 {score}，风险低者先行"),
            Stage::CorePilot => format!("核心试点：前置依赖已就绪的核心系统中评分最低（{score}）"),
            Stage::CoreRollOut if group.is_core => format!("核心推广，评分 {score}"),
            Stage::CoreRollOut => format!("非核心，评分 {score}"),
        }];
        let mut en = vec![match stage {
            Stage::NonCore => format!("not core, score {score}: the less critical move first"),
            Stage::CorePilot => format!(
                "core pilot: the lowest score ({score}) among core systems whose needs are met"
            ),
            Stage::CoreRollOut if group.is_core => format!("core roll-out, score {score}"),
            Stage::CoreRollOut => format!("not core, score {score}"),
        }];
        if let Some(core) = group.waits_for_core.as_ref().filter(|_| !group.is_core) {
            zh.push(format!("依赖核心系统 {core}，须在其之后"));
            en.push(format!("needs the core system {core}, so it waits for it"));
        }
        if !group.needs.is_empty() {
            let each: Vec<String> = group
                .needs
                .iter()
                .filter_map(|need| Some((self.groups.get(need)?, self.placed.get(need)?)))
                .map(|(group, wave)| format!("{} (#{wave})", group.members.join("+")))
                .collect();
            zh.push(format!("其依赖均不晚于它：{}", each.join("、")));
            en.push(format!("what it needs is not later: {}", each.join(", ")));
        }
        if group.members.len() > 1 {
            zh.push(format!("相互依赖，同组迁移：{}", group.members.join("、")));
            en.push(format!(
                "they need each other and move together: {}",
                group.members.join(", ")
            ));
        }
        if group.members.len() > self.capacity {
            zh.push(format!("该组超过每批容量 {}，单独成批", self.capacity));
            en.push(format!(
                "the group is larger than the capacity of {} and has a wave of its own",
                self.capacity
            ));
        }
        Text::new(zh.join("；"), en.join("; "))
    }
}

fn needed_by(groups: &BTreeMap<String, Group>) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (leader, group) in groups {
        for need in &group.needs {
            found.entry(need.clone()).or_default().push(leader.clone());
        }
    }
    found
}
