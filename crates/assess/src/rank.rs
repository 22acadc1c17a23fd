//! The ranking.

use crate::criterion::Criterion;
use serde::Serialize;
use yundu_estate::Estate;
use yundu_estate::text::Text;

/// One application with its score and how it came about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ranked {
    /// From 1, the most critical.
    pub rank: usize,
    /// Identifier of the application.
    pub application: String,
    /// Its name; its identifier where no source names it.
    pub name: Text,
    /// From 0 to 1000 milli-points: the sum of the criteria.
    pub score_milli: u64,
    /// In the order of their weight.
    pub criteria: Vec<Criterion>,
}

// === impl Ranked ===

impl Ranked {
    /// Criteria that no source states.
    pub fn missing(&self) -> impl Iterator<Item = &Criterion> {
        self.criteria
            .iter()
            .filter(|criterion| criterion.is_missing)
    }
}

/// Every application, the most critical first; equal scores in the order of identifiers.
pub fn rank(estate: &Estate) -> Vec<Ranked> {
    let dependents = estate.dependents();
    let mut ranked: Vec<Ranked> = estate
        .applications
        .values()
        .map(|application| {
            let criteria = vec![
                Criterion::transaction_frequency(application),
                Criterion::data_sensitivity(application),
                Criterion::tier(application),
                Criterion::recovery_targets(application),
                Criterion::dependents(dependents.get(&application.id).copied().unwrap_or(0)),
            ];
            Ranked {
                rank: 0,
                application: application.id.clone(),
                name: application.display_name(),
                score_milli: criteria
                    .iter()
                    .map(|criterion| criterion.points_milli)
                    .sum(),
                criteria,
            }
        })
        .collect();
    ranked.sort_by(|one, other| {
        other
            .score_milli
            .cmp(&one.score_milli)
            .then_with(|| one.application.cmp(&other.application))
    });
    for (index, one) in ranked.iter_mut().enumerate() {
        one.rank = index + 1;
    }
    ranked
}
