//! A named set of controls that must hold before a move may take its next step.

use serde::{Deserialize, Serialize};
use yundu_estate::text::Text;

/// A gate as it stands in `catalog/gates/ID.yaml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Name, kebab-case, unique in a catalog.
    pub id: String,
    /// A few words.
    pub title: Text,
    /// Which step it guards.
    pub guards: Text,
    /// Ids of the controls; with none, the gate is closed.
    pub controls: Vec<String>,
}
