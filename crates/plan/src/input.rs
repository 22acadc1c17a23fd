//! What a plan is made from.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use yundu_estate::text::Text;

/// An application to be placed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Candidate {
    /// Identifier.
    pub application: String,
    /// Its name.
    pub name: Text,
    /// It belongs to the core, or may: an application of unknown tier counts as core.
    pub is_core: bool,
    /// How critical it is, 0 to 1000 milli-points.
    pub score_milli: u64,
}

/// `from` needs `to`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Need {
    /// The application that needs.
    pub from: String,
    /// The application that is needed.
    pub to: String,
}

/// Everything that a plan depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanInput {
    /// The applications, in any order.
    pub candidates: Vec<Candidate>,
    /// Their dependencies, in any order. One that leads outside the candidates binds nothing.
    pub needs: Vec<Need>,
    /// Most applications in one wave, at least 1.
    pub capacity: usize,
}

/// Why no plan can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A wave must hold something.
    #[error("the capacity of a wave is 0: give at least 1")]
    NoCapacity,
    /// The same application twice, with different data.
    #[error("the application `{0}` is given twice: give each once")]
    Duplicate(String),
    /// The digest cannot be made.
    #[error("the plan has no digest: {0}")]
    Digest(String),
}

// === impl PlanInput ===

impl PlanInput {
    /// The candidates by identifier.
    pub(crate) fn by_identifier(&self) -> Result<BTreeMap<&str, &Candidate>, PlanError> {
        if self.capacity == 0 {
            return Err(PlanError::NoCapacity);
        }
        let mut found = BTreeMap::new();
        for candidate in &self.candidates {
            if found
                .insert(candidate.application.as_str(), candidate)
                .is_some()
            {
                return Err(PlanError::Duplicate(candidate.application.clone()));
            }
        }
        Ok(found)
    }

    /// The needs between candidates, each once, without those of an application for itself.
    pub(crate) fn binding_needs<'a>(
        &'a self,
        candidates: &BTreeMap<&str, &Candidate>,
    ) -> BTreeSet<(&'a str, &'a str)> {
        self.needs
            .iter()
            .map(|need| (need.from.as_str(), need.to.as_str()))
            .filter(|(from, to)| {
                from != to && candidates.contains_key(from) && candidates.contains_key(to)
            })
            .collect()
    }
}
