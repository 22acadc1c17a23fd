//! Why the engine cannot go on.

use crate::engine::Point;

/// Why the engine cannot go on. What was committed stays; running again resumes.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The store or the ledger fails.
    #[error(transparent)]
    Store(#[from] yundu_store::StoreError),
    /// Something has no canonical form.
    #[error(transparent)]
    Canonical(#[from] yundu_evidence::canonical::CanonicalError),
    /// A document of the store is not what this version writes.
    #[error("the store's document of {what} is not readable by this version: {source}")]
    Document {
        /// Which.
        what: String,
        /// Cause.
        source: serde_json::Error,
    },
    /// No such move.
    #[error("there is no move `{id}`: see `yundu move list`")]
    NoMove {
        /// What was asked for.
        id: String,
    },
    /// The move exists.
    #[error("there is a move `{id}` already: amend it with `yundu move amend {id}`")]
    MoveExists {
        /// Its id.
        id: String,
    },
    /// No such step.
    #[error("move {id} has no step `{step}`; it has {}", steps.join(", "))]
    NoStep {
        /// The move.
        id: String,
        /// What was asked for.
        step: String,
        /// What there is.
        steps: Vec<String>,
    },
    /// A decision that cannot be taken now or by this person.
    #[error("{reason}")]
    Decision {
        /// Why.
        reason: String,
    },
    /// A gate cannot be computed at all.
    #[error("gate {gate} cannot be computed, so it is closed: {reason}")]
    Gate {
        /// Which.
        gate: String,
        /// Why.
        reason: String,
    },
    /// An amendment would change what was already done.
    #[error(
        "step `{step}` is {state} already: an amendment keeps steps that were begun as they are, in their order"
    )]
    AmendsThePast {
        /// Which.
        step: String,
        /// Its state.
        state: &'static str,
    },
    /// Stopped where a crash was asked for.
    #[error("stopped at {0:?}")]
    Stopped(Point),
}
