//! A person's decision on an exact digest.

use crate::key::PersonKey;
use serde::{Deserialize, Serialize};
use yundu_evidence::canonical::{self, CanonicalError};

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// It may go on.
    Approve,
    /// It may not; the reason says why.
    Object,
}

/// A decision with the signature of who took it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Name, unique.
    pub id: String,
    /// What it is about: the id of a move.
    pub about: String,
    /// Kind of the thing decided on: `move`, `reconciliation`, `retire`, `step`.
    pub subject_kind: String,
    /// SHA-256 of the thing decided on, hexadecimal.
    pub subject_digest: String,
    /// The decision.
    pub decision: Decision,
    /// Why, in the person's words; may be empty for an approval.
    pub reason: String,
    /// Who decided.
    pub person: String,
    /// When, µs since the Unix epoch, by the clock of whoever recorded it.
    pub at_us: i64,
    /// Ed25519 over all other fields, base64.
    pub signature: String,
}

/// What is signed: every field but the signature, and a word that keeps this signature from being
/// taken for one of another kind of document.
#[derive(Serialize)]
struct Signed<'a> {
    document: &'static str,
    id: &'a str,
    about: &'a str,
    subject_kind: &'a str,
    subject_digest: &'a str,
    decision: Decision,
    reason: &'a str,
    person: &'a str,
    at_us: i64,
}

// === impl Approval ===

impl Approval {
    /// Fills in the signature with the person's key.
    ///
    /// # Errors
    /// The fields have no canonical form, which strings and integers always have.
    pub fn sign(mut self, key: &PersonKey) -> Result<Self, CanonicalError> {
        self.signature = key.sign(&self.message()?);
        Ok(self)
    }

    /// The canonical JSON that the signature covers.
    ///
    /// # Errors
    /// As [`Approval::sign`].
    pub fn message(&self) -> Result<Vec<u8>, CanonicalError> {
        let signed = Signed {
            document: "yundu-approval-1",
            id: &self.id,
            about: &self.about,
            subject_kind: &self.subject_kind,
            subject_digest: &self.subject_digest,
            decision: self.decision,
            reason: &self.reason,
            person: &self.person,
            at_us: self.at_us,
        };
        canonical::to_bytes(&serde_json::to_value(&signed)?)
    }
}
