//! Groups of applications that need each other in a circle, and what each group needs.

use crate::input::Candidate;
use petgraph::algo::tarjan_scc;
use petgraph::graph::DiGraph;
use std::collections::{BTreeMap, BTreeSet};

/// Applications that move together.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// Sorted identifiers.
    pub members: Vec<String>,
    /// At least one member is core.
    pub is_core: bool,
    /// The highest score among the members.
    pub score_milli: u64,
    /// Groups that this one needs, by their first member.
    pub needs: BTreeSet<String>,
    /// A core group that this one needs, directly or through others: why it must wait.
    pub waits_for_core: Option<String>,
}

/// Every group by its first member.
pub(crate) fn groups(
    candidates: &BTreeMap<&str, &Candidate>,
    needs: &BTreeSet<(&str, &str)>,
) -> BTreeMap<String, Group> {
    let mut graph: DiGraph<&str, ()> = DiGraph::new();
    let nodes: BTreeMap<&str, _> = candidates
        .keys()
        .map(|id| (*id, graph.add_node(*id)))
        .collect();
    for (from, to) in needs {
        if let (Some(from), Some(to)) = (nodes.get(from), nodes.get(to)) {
            graph.add_edge(*from, *to, ());
        }
    }
    let mut found = BTreeMap::new();
    let mut leader_of: BTreeMap<&str, String> = BTreeMap::new();
    for component in tarjan_scc(&graph) {
        let mut members: Vec<&str> = component
            .iter()
            .filter_map(|node| graph.node_weight(*node).copied())
            .collect();
        members.sort_unstable();
        let Some(leader) = members.first().map(|first| (*first).to_owned()) else {
            continue;
        };
        let of = |id: &&str| candidates.get(*id);
        let group = Group {
            is_core: members.iter().filter_map(of).any(|it| it.is_core),
            score_milli: members
                .iter()
                .filter_map(of)
                .map(|it| it.score_milli)
                .max()
                .unwrap_or(0),
            members: members.iter().map(|id| (*id).to_owned()).collect(),
            needs: BTreeSet::new(),
            waits_for_core: None,
        };
        for member in members {
            leader_of.insert(member, leader.clone());
        }
        found.insert(leader, group);
    }
    for (from, to) in needs {
        let (Some(from), Some(to)) = (leader_of.get(from), leader_of.get(to)) else {
            continue;
        };
        if let Some(group) = found.get_mut(from).filter(|_| from != to) {
            group.needs.insert(to.clone());
        }
    }
    mark_waiting(&mut found);
    found
}

/// Walks from each core group to everything that needs it.
fn mark_waiting(groups: &mut BTreeMap<String, Group>) {
    let mut needed_by: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (leader, group) in groups.iter() {
        for need in &group.needs {
            needed_by
                .entry(need.clone())
                .or_default()
                .push(leader.clone());
        }
    }
    let cores: Vec<String> = groups
        .iter()
        .filter(|(_, it)| it.is_core)
        .map(|(leader, _)| leader.clone())
        .collect();
    for core in cores {
        let mut waiting = vec![core.clone()];
        while let Some(next) = waiting.pop() {
            for dependent in needed_by.get(&next).into_iter().flatten() {
                if let Some(group) = groups
                    .get_mut(dependent)
                    .filter(|it| it.waits_for_core.is_none())
                {
                    group.waits_for_core = Some(core.clone());
                    waiting.push(dependent.clone());
                }
            }
        }
    }
}
