//! What an evaluation says.

use serde::{Deserialize, Serialize};
use yundu_estate::text::Text;

/// How one control came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Holds.
    Pass,
    /// Does not hold.
    Fail,
    /// Could not be computed; never open.
    Unknown,
    /// Does not concern this move.
    NotApplicable,
}

impl Status {
    /// Whether a gate may open with a control in this state.
    pub fn lets_pass(self) -> bool {
        matches!(self, Status::Pass | Status::NotApplicable)
    }

    /// In both languages.
    pub fn text(self) -> Text {
        match self {
            Status::Pass => Text::new("通过", "pass"),
            Status::Fail => Text::new("不通过", "fail"),
            Status::Unknown => Text::new("无法判定", "unknown"),
            Status::NotApplicable => Text::new("不适用", "not applicable"),
        }
    }
}

/// Verdict on one control.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlVerdict {
    /// Id of the control.
    pub control: String,
    /// Its title at the time.
    pub title: Text,
    /// How it came out.
    pub status: Status,
    /// Why, for people; what is missing and how to obtain it.
    pub reasons: Vec<Text>,
    /// The control's general remedy; empty when it passes.
    pub remedy: Text,
}

/// Verdict on a gate; recorded as evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateVerdict {
    /// Id of the gate.
    pub gate: String,
    /// Its title at the time.
    pub title: Text,
    /// Whether the step may be taken.
    pub open: bool,
    /// SHA-256 of the canonical input.
    pub input_digest: String,
    /// SHA-256 of the bundle: gate, controls, parameters, policy texts.
    pub policy_digest: String,
    /// One verdict per control, in the gate's order.
    pub controls: Vec<ControlVerdict>,
}

impl GateVerdict {
    /// The controls that keep the gate closed.
    pub fn findings(&self) -> impl Iterator<Item = &ControlVerdict> {
        self.controls
            .iter()
            .filter(|control| !control.status.lets_pass())
    }
}
