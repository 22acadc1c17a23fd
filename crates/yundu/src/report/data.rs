//! What the report of a move shows; assembled from store and ledger, or by the demo.

use serde::{Deserialize, Serialize};
use yundu_estate::text::Text;

/// Everything on the page. Lists may be empty: their section then says so or is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReportData {
    /// Name of the institution.
    pub institution: Text,
    /// Id of the move.
    pub move_id: String,
    /// Name of the application.
    pub application: Text,
    /// Id of the application in the estate.
    pub application_id: String,
    /// How it moves, such as block replication.
    pub method: Text,
    /// Who asked for the move.
    pub requester: String,
    /// Source site.
    pub source_site: Text,
    /// Target site.
    pub target_site: Text,
    /// Digest that people approved.
    pub move_digest: String,
    /// When the report was made, µs.
    pub generated_at_us: i64,
    /// How the move stands.
    pub outcome: Outcome,
    /// One or two sentences about it.
    pub summary: Text,
    /// Key figures, the most important first.
    pub figures: Vec<Figure>,
    /// Steps in order.
    pub steps: Vec<Step>,
    /// Faults, cut-overs, losses of a site …
    pub incidents: Vec<Incident>,
    /// One per second of the workload.
    pub samples: Vec<Sample>,
    /// Every evaluation of a gate, oldest first.
    pub gates: Vec<GateEvaluation>,
    /// Every decision of a person, oldest first.
    pub approvals: Vec<Approval>,
    /// Business figures before and after.
    pub reconciliation: Reconciliation,
    /// Volumes with their digests.
    pub volumes: Vec<Volume>,
    /// Waves of the plan.
    pub waves: Vec<Wave>,
    /// The highest-ranked applications.
    pub ranking: Vec<Ranked>,
    /// Attributes on which sources disagree.
    pub contradictions: Vec<Contradiction>,
    /// The ledger.
    pub ledger: Ledger,
}

/// How a move stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Under way.
    #[default]
    Running,
    /// Done.
    Succeeded,
    /// Back at the source.
    RolledBack,
    /// Stopped; needs a person.
    Failed,
}

/// What a number counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Things.
    #[default]
    Count,
    /// µs
    Microseconds,
    /// Bytes.
    Bytes,
    /// Thousandths, shown as a factor.
    Milli,
}

/// A measured number beside its target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figure {
    /// What was measured.
    pub title: Text,
    /// The measure; `None`: unknown, and shown as such.
    pub value: Option<i64>,
    /// What it counts.
    pub unit: Unit,
    /// The value may be at most this.
    pub at_most: Option<i64>,
    /// How it was measured.
    pub note: Text,
}

/// A step of the runbook.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Step {
    /// Id in the runbook.
    pub id: String,
    /// Title.
    pub title: Text,
    /// Person or machine that did it.
    pub operator: String,
    /// Who checked; empty: nobody had to.
    pub checker: String,
    /// State, such as `done`.
    pub state: String,
    /// Planned duration, µs.
    pub planned_us: i64,
    /// When it began, µs.
    pub started_at_us: Option<i64>,
    /// When it ended, µs.
    pub ended_at_us: Option<i64>,
}

/// What kind of event a mark in the charts stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IncidentKind {
    /// Link cut or hanging, corruption, site lost.
    #[default]
    Fault,
    /// Cut-over, rollback, switch.
    Change,
}

/// Something that happened at a time or during one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Incident {
    /// A few words.
    pub title: Text,
    /// Fault or change.
    pub kind: IncidentKind,
    /// Begin, µs.
    pub from_us: i64,
    /// End, µs; equal to the begin for a moment.
    pub until_us: i64,
}

/// One second of the workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sample {
    /// Begin of the second, µs.
    pub at_us: i64,
    /// Acknowledged transactions in it.
    pub transactions: u64,
    /// Longest wait of a transaction in it, µs.
    pub latency_us_max: u64,
}

/// A verdict on a gate at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateEvaluation {
    /// Id of its record in the ledger.
    pub id: String,
    /// When, µs.
    pub at_us: i64,
    /// The verdict.
    pub verdict: yundu_comply::GateVerdict,
}

/// A person's decision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Approval {
    /// Id.
    pub id: String,
    /// Id of the person.
    pub person: String,
    /// Their name.
    pub name: Text,
    /// Their roles.
    pub roles: Vec<String>,
    /// When, µs.
    pub at_us: i64,
    /// What was decided upon: `move`, `reconciliation`, `retire`.
    pub subject_kind: String,
    /// Its digest.
    pub subject_digest: String,
    /// `approve` or `object`.
    pub decision: String,
    /// SHA-256 of the public key as it is printed (base64), hexadecimal.
    pub key_fingerprint: String,
    /// Whether it counts.
    pub valid: bool,
    /// Why it does not count.
    pub refusal: Text,
}

/// Business figures before and after.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reconciliation {
    /// One per figure.
    pub rows: Vec<ReconciliationRow>,
    /// Who signed the figures before.
    pub signed_before: String,
    /// Who signed the figures after.
    pub signed_after: String,
}

/// One business figure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReconciliationRow {
    /// What was counted or summed.
    pub name: Text,
    /// Before the cut.
    pub before: Option<String>,
    /// After the switch.
    pub after: Option<String>,
    /// Whether they agree as they should.
    pub agrees: Option<bool>,
}

/// A volume and the comparison of its copies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Volume {
    /// Name.
    pub name: String,
    /// Size, bytes.
    pub size_bytes: u64,
    /// Name of the cut as of which both were hashed.
    pub cut: String,
    /// BLAKE3 root at the source.
    pub source_digest: String,
    /// BLAKE3 root at the target.
    pub target_digest: String,
    /// Sent by the full copy, bytes.
    pub copy_bytes: u64,
    /// Sent again after link losses, bytes.
    pub resync_bytes: u64,
    /// Dirtied meanwhile, bytes.
    pub dirtied_bytes: u64,
}

/// A wave of the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wave {
    /// 1, 2, …
    pub number: i64,
    /// Title.
    pub title: Text,
    /// `(id, name)` of its applications.
    pub applications: Vec<(String, Text)>,
}

/// An application's place in the ranking.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ranked {
    /// Id.
    pub application: String,
    /// Name.
    pub name: Text,
    /// Score in thousandths.
    pub score_milli: i64,
    /// Why.
    pub reason: Text,
}

/// Sources that disagree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Contradiction {
    /// Whose attribute.
    pub subject: String,
    /// Which.
    pub attribute: String,
    /// `(value, where it stands)`.
    pub claims: Vec<(String, String)>,
}

/// The ledger as it stood when the report was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// Number of records.
    pub entries: u64,
    /// Signed checkpoint, as text.
    pub checkpoint: String,
    /// Key that verifies it.
    pub verifier_key: String,
    /// Its folder, as to be typed.
    pub directory: String,
    /// `(kind, number)` of the records about this move.
    pub kinds: Vec<(String, u64)>,
    /// Outcome of a verification just made; `None`: not made.
    pub verified: Option<bool>,
}
