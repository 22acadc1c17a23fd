//! The plan: waves and why each application stands where it stands.

use crate::input::PlanError;
use serde::{Deserialize, Serialize};
use yundu_estate::canonical;
use yundu_estate::text::Text;

/// The part of the migration that a wave belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Applications that do not need the core.
    NonCore,
    /// One group of the core.
    CorePilot,
    /// The rest of the core and what needs it.
    CoreRollOut,
}

/// A set of applications that move in one window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wave {
    /// From 1.
    pub number: usize,
    /// The part of the migration.
    pub stage: Stage,
    /// Identifiers, in the order in which they move.
    pub applications: Vec<String>,
}

/// Where one application stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Identifier.
    pub application: String,
    /// Its name.
    pub name: Text,
    /// Number of its wave, from 1.
    pub wave: usize,
    /// Place within the wave, from 1. Members of one group have the same place.
    pub order: usize,
    /// The part of the migration.
    pub stage: Stage,
    /// Everything that moves together with it; itself alone when it is in no circle.
    pub group: Vec<String>,
    /// Why it stands here.
    pub reason: Text,
}

/// The waves, with a digest that approvals refer to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Most applications in one wave.
    pub capacity: usize,
    /// In order.
    pub waves: Vec<Wave>,
    /// In the order of waves, then of places, then of identifiers.
    pub placements: Vec<Placement>,
    /// SHA-256 of the canonical JSON of the three fields above.
    pub digest: String,
}

// === impl Stage ===

impl Stage {
    /// The stage in both languages.
    pub fn title(self) -> Text {
        match self {
            Stage::NonCore => Text::new("非核心", "non-core"),
            Stage::CorePilot => Text::new("核心试点", "core pilot"),
            Stage::CoreRollOut => Text::new("核心推广", "core roll-out"),
        }
    }
}

// === impl Plan ===

impl Plan {
    pub(crate) fn try_new(
        capacity: usize,
        waves: Vec<Wave>,
        placements: Vec<Placement>,
    ) -> Result<Self, PlanError> {
        let mut plan = Self {
            capacity,
            waves,
            placements,
            digest: String::new(),
        };
        plan.digest = plan.computed_digest()?;
        Ok(plan)
    }

    /// The digest of what the plan says now; differs from `digest` when somebody changed it.
    pub fn computed_digest(&self) -> Result<String, PlanError> {
        let content = serde_json::json!({
            "capacity": self.capacity,
            "waves": self.waves,
            "placements": self.placements,
        });
        canonical::digest(&content).map_err(|error| PlanError::Digest(error.to_string()))
    }

    /// Where `application` stands.
    pub fn placement(&self, application: &str) -> Option<&Placement> {
        self.placements
            .iter()
            .find(|placement| placement.application == application)
    }
}
