//! Everything a verdict depends on beside its input, and the evaluation itself.

use crate::control::Control;
use crate::gate::Gate;
use crate::input::canonical_input;
use crate::policy::{Answer, POLICY_TIME_MAX, Policy, PolicyFault};
use crate::verdict::{ControlVerdict, GateVerdict, Status};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;
use yundu_estate::text::Text;
use yundu_evidence::canonical;

/// A gate with its controls and the texts of their policies, compiled.
#[derive(Clone, Debug)]
pub struct Bundle {
    content: Content,
    bytes: Vec<u8>,
    policies: Vec<Result<Policy, PolicyFault>>,
}

/// What is serialised and digested.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    gate: Gate,
    controls: Vec<Control>,
    /// File name under `catalog/policies` → text.
    policies: BTreeMap<String, String>,
}

/// Why bytes are not a bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Not the JSON of a bundle.
    #[error("not a policy bundle: {0}; take the artefact `bundle.json` that the verdict names")]
    Parse(#[from] serde_json::Error),
    /// It cannot be written canonically.
    #[error("the bundle cannot be written canonically: {0}")]
    Canonical(#[from] canonical::CanonicalError),
}

impl Bundle {
    /// Puts a bundle together and compiles its policies; a policy that cannot be used makes its
    /// control unknown, it does not fail the bundle.
    pub(crate) fn new(
        gate: Gate,
        controls: Vec<Control>,
        policies: BTreeMap<String, String>,
        time_max: Duration,
    ) -> Result<Self, BundleError> {
        let content = Content {
            gate,
            controls,
            policies,
        };
        let bytes = canonical::to_bytes(&serde_json::to_value(&content)?)?;
        let policies = content
            .controls
            .iter()
            .map(|control| {
                Policy::compile(
                    &control.policy,
                    &content.policies,
                    &control.parameters,
                    time_max,
                )
            })
            .collect();
        Ok(Self {
            content,
            bytes,
            policies,
        })
    }

    /// Reads what [`Bundle::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`BundleError`] when the bytes are something else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BundleError> {
        let content: Content = serde_json::from_slice(bytes)?;
        Self::new(
            content.gate,
            content.controls,
            content.policies,
            POLICY_TIME_MAX,
        )
    }

    /// Canonical JSON of gate, controls, parameters and policy texts; artefact `bundle.json`.
    pub fn to_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of [`Bundle::to_bytes`].
    pub fn digest(&self) -> String {
        sha256(&self.bytes)
    }

    /// The gate.
    pub fn gate(&self) -> &Gate {
        &self.content.gate
    }

    /// Its controls, in its order.
    pub fn controls(&self) -> &[Control] {
        &self.content.controls
    }

    /// Policies that cannot be used, with the control that each leaves unknown.
    pub fn faults(&self) -> impl Iterator<Item = (&Control, &PolicyFault)> {
        let pairs = self.content.controls.iter().zip(&self.policies);
        pairs.filter_map(|(control, policy)| policy.as_ref().err().map(|fault| (control, fault)))
    }

    /// Judges every control over `input`. A pure function: the same bundle and input give the same
    /// verdict. What cannot be computed is unknown, and unknown is never open.
    pub fn evaluate(&self, input: &Value) -> GateVerdict {
        let canonical = canonical_input(input);
        let (input_digest, judged) = match &canonical {
            Ok(bytes) => (sha256(bytes), serde_json::from_slice::<Value>(bytes).ok()),
            Err(_) => (sha256(input.to_string().as_bytes()), None),
        };
        let problem = match (&canonical, &judged) {
            (Err(error), _) => Some(error.to_string()),
            (Ok(_), None) => Some("the canonical input cannot be read back".to_owned()),
            _ => None,
        };
        let controls: Vec<_> = self
            .content
            .controls
            .iter()
            .zip(&self.policies)
            .map(|(control, policy)| {
                let answer = match (policy, &judged) {
                    (Ok(policy), Some(input)) => policy.ask(input),
                    (Err(fault), _) => unknown(&fault.to_string()),
                    (Ok(_), None) => unknown(problem.as_deref().unwrap_or_default()),
                };
                let remedy = match answer.status.lets_pass() {
                    true => Text::default(),
                    false => control.remedy.clone(),
                };
                ControlVerdict {
                    control: control.id.clone(),
                    title: control.title.clone(),
                    status: answer.status,
                    reasons: answer.reasons,
                    remedy,
                }
            })
            .collect();
        let open = !controls.is_empty() && controls.iter().all(|c| c.status.lets_pass());
        GateVerdict {
            gate: self.content.gate.id.clone(),
            title: self.content.gate.title.clone(),
            open,
            input_digest,
            policy_digest: self.digest(),
            controls,
        }
    }
}

/// Whether a recorded verdict follows from what was recorded with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recomputation {
    /// It does.
    pub follows: bool,
    /// What differs, for people; empty when it follows.
    pub differences: Vec<Text>,
}

/// Computes `verdict` again from the recorded `input` and `bundle`.
///
/// # Errors
/// [`BundleError`] when `bundle` is not a bundle at all.
pub fn recompute(
    verdict: &GateVerdict,
    input: &Value,
    bundle: &[u8],
) -> Result<Recomputation, BundleError> {
    let bundle = Bundle::from_bytes(bundle)?;
    let again = bundle.evaluate(input);
    let mut differences = Vec::new();
    let mut differs = |zh: String, en: String| differences.push(Text::new(zh, en));
    if again.input_digest != verdict.input_digest {
        let (old, new) = (&verdict.input_digest, &again.input_digest);
        differs(
            format!("输入已变：判定记录的摘要是 {old}，现在是 {new}"),
            format!("the input changed: the verdict names digest {old}, this one has {new}"),
        );
    }
    if again.policy_digest != verdict.policy_digest {
        let (old, new) = (&verdict.policy_digest, &again.policy_digest);
        differs(
            format!("策略已变：判定记录的摘要是 {old}，现在是 {new}"),
            format!("the policies changed: the verdict names digest {old}, these have {new}"),
        );
    }
    if again.open != verdict.open || again.gate != verdict.gate || again.title != verdict.title {
        let (old, new) = (word(verdict.open), word(again.open));
        differs(
            format!("闸门 {} 记录为{}，重算为{}", verdict.gate, old.zh, new.zh),
            format!(
                "gate {} was recorded as {}, computed again: {}",
                verdict.gate, old.en, new.en
            ),
        );
    }
    if again.controls != verdict.controls {
        let named: Vec<_> = again
            .controls
            .iter()
            .filter(|control| !verdict.controls.contains(control))
            .map(|control| control.control.as_str())
            .collect();
        let named = if named.is_empty() {
            "-".to_owned()
        } else {
            named.join(", ")
        };
        differs(
            format!("控制项结论不同：{named}"),
            format!("verdicts on controls differ: {named}"),
        );
    }
    Ok(Recomputation {
        follows: differences.is_empty(),
        differences,
    })
}

fn word(open: bool) -> Text {
    if open {
        Text::new("打开", "open")
    } else {
        Text::new("关闭", "closed")
    }
}

fn unknown(message: &str) -> Answer {
    let text = Text::new(
        format!("无法计算：{message}"),
        format!("cannot be computed: {message}"),
    );
    Answer {
        status: Status::Unknown,
        reasons: vec![text],
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
