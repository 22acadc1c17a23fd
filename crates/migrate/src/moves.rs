//! A move, and what stands around it.

use crate::preflight::SiteFacts;
use crate::runbook::Runbook;
use crate::runbook::parse_expand as expand;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use yundu_evidence::canonical::{self, CanonicalError};

/// One application's journey.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Name, unique.
    pub id: String,
    /// Application of the estate.
    pub application: String,
    /// Who asked for it; never among those who approve.
    pub requester: String,
    /// What is done.
    pub runbook: Runbook,
    /// Values for the runbook's `${name}`s.
    pub variables: BTreeMap<String, String>,
    /// Where the volume processes are steered; not part of what is approved.
    pub wiring: BTreeMap<String, Wiring>,
    /// When it was created, µs since the Unix epoch.
    pub created_us: i64,
}

/// Control sockets of a volume's two processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wiring {
    /// At the source.
    pub source_control: PathBuf,
    /// At the target.
    pub target_control: PathBuf,
}

/// What the institution knows around a move, as recorded input of its gates.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `{digest, applications, contradictions}`.
    pub estate: Value,
    /// What the application's data stands on at the source, one per data store.
    pub source: Vec<SiteFacts>,
    /// The same at the target.
    pub target: Vec<SiteFacts>,
    /// Digest of the latest plan.
    pub plan_digest: Option<String>,
    /// Where that plan places the application; null without a plan.
    pub placement: Value,
    /// The wave of that placement.
    pub wave: Option<i64>,
}

/// Why a move cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// The id would be ambiguous in names of cuts and files.
    #[error(
        "`{id}` cannot be the id of a move: use 1 to 64 of a-z, 0-9, `-`, `.`, beginning with a letter"
    )]
    Id {
        /// What was given.
        id: String,
    },
    /// A volume nobody can steer.
    #[error(
        "volume {volume} has no control sockets: give --source-control and --target-control for each volume, in the runbook's order"
    )]
    Wiring {
        /// Which.
        volume: String,
    },
}

// === impl Move ===

impl Move {
    /// Refuses what cannot be.
    ///
    /// # Errors
    /// [`MoveError`].
    pub fn validate(&self) -> Result<(), MoveError> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
        let begins = self
            .id
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_lowercase());
        if !begins || self.id.len() > 64 || !self.id.bytes().all(allowed) {
            return Err(MoveError::Id {
                id: self.id.clone(),
            });
        }
        match self
            .runbook
            .volumes
            .iter()
            .find(|volume| !self.wiring.contains_key(&volume.name))
        {
            Some(volume) => Err(MoveError::Wiring {
                volume: volume.name.clone(),
            }),
            None => Ok(()),
        }
    }

    /// What people approve: it changes with the application, the requester, the runbook, its
    /// values, and the place in the plan.
    ///
    /// # Errors
    /// The placement has no canonical form.
    pub fn digest(&self, surroundings: &Surroundings) -> Result<String, CanonicalError> {
        canonical::digest(&json!({
            "document": "yundu-move-1",
            "id": self.id,
            "application": self.application,
            "requester": self.requester,
            "method": self.runbook.method,
            "sites": [self.runbook.source_site, self.runbook.target_site],
            "volumes": self.volumes(),
            "targets": self.runbook.targets,
            "runbook": canonical::digest(&self.runbook)?,
            "variables": self.variables,
            "placement": surroundings.placement,
        }))
    }

    /// Names of its volumes.
    pub fn volumes(&self) -> Vec<&str> {
        self.runbook
            .volumes
            .iter()
            .map(|volume| volume.name.as_str())
            .collect()
    }

    /// The move as gates see it.
    pub(crate) fn as_input(&self, digest: &str) -> Value {
        json!({
            "id": self.id,
            "application": self.application,
            "method": self.runbook.method,
            "requester": self.requester,
            "digest": digest,
            "volumes": self.volumes(),
            "source_site": self.runbook.source_site,
            "target_site": self.runbook.target_site,
            "targets": self.runbook.targets,
            "observation_us": self.runbook.observation_us,
        })
    }

    /// `text` with its `${name}`s replaced.
    pub(crate) fn expand(&self, text: &str, step: &str, attempt: u32) -> String {
        expand(text, |name| match name {
            "move" => Some(self.id.clone()),
            "step" => Some(step.to_owned()),
            "attempt" => Some(attempt.to_string()),
            _ => self.variables.get(name).cloned(),
        })
    }
}
