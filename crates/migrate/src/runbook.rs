//! A runbook: what is moved, and the steps in order. `docs/runbook.md` is its description for
//! people.

mod parse;

pub(crate) use parse::expand as parse_expand;
pub use parse::{RunbookError, RunbookFault};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use yundu_estate::text::Text;
use yundu_replicate::control::{Mode, Policy};

/// A runbook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Runbook {
    /// Name.
    pub id: String,
    /// For people.
    pub title: Text,
    /// How data gets across.
    pub method: Method,
    /// Site of the estate that is left.
    pub source_site: String,
    /// Site of the estate that is moved to.
    pub target_site: String,
    /// Volumes that move together.
    pub volumes: Vec<Volume>,
    /// Limits of this move.
    #[serde(default)]
    pub targets: Targets,
    /// How long the source is kept after the switch, µs.
    pub observation_us: i64,
    /// In order.
    pub steps: Vec<Step>,
}

/// How data gets across.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Blocks are copied and mirrored while the application runs.
    BlockReplication,
    /// The engine's own replication of logical changes. Not built yet.
    LogicalReplication,
    /// Between different engines. Not built yet.
    Heterogeneous,
    /// Install anew and load. Not built yet.
    Rebuild,
}

/// A volume of the move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// Its export name.
    pub name: String,
    /// HOST:PORT where `yundu volume receive` of the target listens.
    pub receive: String,
}

/// Limits of a move; each may be tighter than the institution's, never looser.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Targets {
    /// Most that may be lost, µs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpo_us: Option<i64>,
    /// Longest interruption of the business, µs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rto_us: Option<i64>,
    /// Longest wait of one storage request, µs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall_us_max: Option<i64>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Name, unique in the runbook.
    pub id: String,
    /// For people.
    pub title: Text,
    /// Who does it.
    pub operator: String,
    /// Who checks it; never the operator.
    pub checker: String,
    /// Planned duration, seconds.
    pub planned_s: u64,
    /// Automatic, or a person's; follows from the action when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<StepKind>,
    /// Gate that must be open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<String>,
    /// What is done.
    pub action: Action,
    /// How a command is undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way_back: Option<WayBack>,
}

/// Whether a step waits for somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepKind {
    /// Goes on by itself.
    Automatic,
    /// Waits for a signature.
    Person,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Do the sites fit for the method?
    Preflight,
    /// Start the copy.
    Replicate(Replicate),
    /// Wait until both copies hold everything.
    WaitInStep(Wait),
    /// Compare both copies under load.
    Verify(Verify),
    /// Cut over, check, roll back, measure.
    Rehearse(Rehearse),
    /// Move the primary role to the target.
    Cutover,
    /// Wait for both digests as of the cut, and compare.
    Compare(Wait),
    /// Run a program.
    Command(Command),
    /// Take the figures of the business, compare, and have them signed.
    Reconcile(Reconcile),
    /// A person's go or no-go.
    Confirm,
    /// Keep the source for the observation period.
    Observe,
    /// Two approvals, then destroy the source.
    Retire(Command),
}

/// Settings of `replicate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replicate {
    /// Synchronous or asynchronous.
    pub mode: Mode,
    /// What happens to writes while a synchronous target is lost.
    pub policy: Policy,
}

/// How long to wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// Seconds, then the step fails.
    pub timeout_s: u64,
}

/// Settings of `verify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// Send differing leaves again, then compare once more.
    #[serde(default)]
    pub repair: bool,
    /// Seconds, then the step fails.
    pub timeout_s: u64,
}

/// Settings of `rehearse`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rehearse {
    /// Run while the target is primary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub check: Vec<String>,
    /// Run after the way back; may print `{"lost_writes": N}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub check_after: Vec<String>,
    /// Seconds for each check.
    #[serde(default = "command_timeout_s")]
    pub timeout_s: u64,
}

/// A program and how to tell that it has run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Exit code 0: it has happened already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub check: Vec<String>,
    /// Running it again does no harm.
    #[serde(default)]
    pub repeatable: bool,
    /// Seconds, then it is killed and the step fails.
    #[serde(default = "command_timeout_s")]
    pub timeout_s: u64,
    /// Kind of the evidence that its JSON output becomes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
}

/// How a command is undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum WayBack {
    /// `nothing`: there is nothing to undo.
    Nothing(Nothing),
    /// A program undoes it.
    Command(Command),
}

/// The word `nothing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nothing {
    /// There is nothing to undo.
    Nothing,
}

/// Settings of `reconcile`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reconcile {
    /// Before or after the cut-over.
    pub phase: FactPhase,
    /// Prints one JSON object of integers and strings.
    pub argv: Vec<String>,
    /// Seconds, then it is killed and the step fails.
    #[serde(default = "command_timeout_s")]
    pub timeout_s: u64,
    /// Rules by name of the figure.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<String, Rule>,
    /// Rule of figures not named.
    #[serde(default)]
    pub default_rule: Rule,
}

/// When figures are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FactPhase {
    /// At the source.
    Before,
    /// At the target.
    After,
}

/// How a figure afterwards relates to the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The same.
    #[default]
    Equal,
    /// An integer that did not fall.
    AtLeast,
}

fn command_timeout_s() -> u64 {
    300
}

// === impl Step ===

impl Step {
    /// Automatic or a person's.
    pub fn kind(&self) -> StepKind {
        match self.action {
            Action::Confirm | Action::Reconcile(_) | Action::Retire(_) => StepKind::Person,
            _ => self.kind.unwrap_or(StepKind::Automatic),
        }
    }
}

// === impl Action ===

impl Action {
    /// The name in a runbook.
    pub fn name(&self) -> &'static str {
        match self {
            Action::Preflight => "preflight",
            Action::Replicate(_) => "replicate",
            Action::WaitInStep(_) => "wait-in-step",
            Action::Verify(_) => "verify",
            Action::Rehearse(_) => "rehearse",
            Action::Cutover => "cutover",
            Action::Compare(_) => "compare",
            Action::Command(_) => "command",
            Action::Reconcile(_) => "reconcile",
            Action::Confirm => "confirm",
            Action::Observe => "observe",
            Action::Retire(_) => "retire",
        }
    }
}

// === impl Method ===

impl Method {
    /// The name in a runbook.
    pub fn name(self) -> &'static str {
        match self {
            Method::BlockReplication => "block-replication",
            Method::LogicalReplication => "logical-replication",
            Method::Heterogeneous => "heterogeneous",
            Method::Rebuild => "rebuild",
        }
    }
}
