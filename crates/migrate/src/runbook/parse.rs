//! Reading a runbook and refusing nonsense, all of it at once, each with its line.

use super::{Action, Command, Method, Runbook, Step, StepKind, WayBack};
use serde::Deserialize;
use serde_saphyr::Spanned;
use std::collections::{BTreeMap, BTreeSet};

/// Most steps of a runbook.
const STEPS_MAX: usize = 200;

/// Names that the engine sets in every command.
pub(crate) const BUILT_IN_VARIABLES: [&str; 3] = ["move", "step", "attempt"];

/// A mistake in a runbook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunbookFault {
    /// Line, from 1; 0 when unknown.
    pub line: u64,
    /// What is wrong, and what was expected.
    pub problem: String,
}

/// Why a runbook is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", shown(file, faults))]
pub struct RunbookError {
    /// The file.
    pub file: String,
    /// Everything that is wrong.
    pub faults: Vec<RunbookFault>,
}

fn shown(file: &str, faults: &[RunbookFault]) -> String {
    let lines: Vec<String> = faults
        .iter()
        .map(|fault| format!("{file}:{}: {}", fault.line, fault.problem))
        .collect();
    lines.join("\n")
}

/// Where things stand.
#[derive(Deserialize)]
struct Places {
    steps: Vec<Spanned<serde::de::IgnoredAny>>,
}

/// What a check of one runbook has found so far.
struct Faults {
    lines: Vec<u64>,
    found: Vec<RunbookFault>,
}

// === impl Runbook ===

impl Runbook {
    /// Reads the text of `file`; `variables` are the values for its `${name}`s.
    ///
    /// # Errors
    /// [`RunbookError`] with every mistake and its line.
    pub fn parse(
        file: &str,
        text: &str,
        variables: &BTreeMap<String, String>,
    ) -> Result<Self, RunbookError> {
        let refused = |faults| RunbookError {
            file: file.to_owned(),
            faults,
        };
        let runbook: Self = serde_saphyr::from_str(text).map_err(|error| {
            let line = error.location().map_or(0, |location| location.line());
            let message = error.without_snippet().to_string();
            let problem = message.split_whitespace().collect::<Vec<_>>().join(" ");
            refused(vec![RunbookFault { line, problem }])
        })?;
        let lines = serde_saphyr::from_str::<Places>(text)
            .map(|places| {
                places
                    .steps
                    .iter()
                    .map(|step| step.referenced.line())
                    .collect()
            })
            .unwrap_or_default();
        let faults = runbook.faults(lines, variables);
        if faults.is_empty() {
            Ok(runbook)
        } else {
            Err(refused(faults))
        }
    }

    fn faults(&self, lines: Vec<u64>, variables: &BTreeMap<String, String>) -> Vec<RunbookFault> {
        let mut faults = Faults {
            lines,
            found: Vec::new(),
        };
        if self.method != Method::BlockReplication {
            faults.whole(format!(
                "method {} is not built yet: use block-replication",
                self.method.name()
            ));
        }
        if self.source_site == self.target_site {
            faults.whole(format!(
                "source and target are the same site {}",
                self.source_site
            ));
        }
        if self.volumes.is_empty() {
            faults.whole("no volumes: name at least one, with `receive: HOST:PORT`".into());
        }
        let names: BTreeSet<&str> = self
            .volumes
            .iter()
            .map(|volume| volume.name.as_str())
            .collect();
        if names.len() != self.volumes.len() {
            faults.whole("two volumes have the same name".into());
        }
        if self.steps.is_empty() || self.steps.len() > STEPS_MAX {
            faults.whole(format!(
                "{} steps: a runbook has 1 to {STEPS_MAX}",
                self.steps.len()
            ));
        }
        if self.observation_us < 0 {
            faults.whole(format!(
                "observation_us is {}: expected 0 or more µs",
                self.observation_us
            ));
        }
        for volume in &self.volumes {
            if let Some(name) = unknown_variable(&volume.receive, variables) {
                faults.whole(format!(
                    "volume {}: `${{{name}}}` has no value: give --set {name}=…",
                    volume.name
                ));
            }
        }
        let mut ids = BTreeSet::new();
        for (position, step) in self.steps.iter().enumerate() {
            if !ids.insert(&step.id) {
                faults.step(
                    position,
                    format!("a second step `{}`: ids are unique", step.id),
                );
            }
            check_step(step, position, variables, &mut faults);
        }
        faults.found
    }

    /// The step with this id and its position.
    pub fn step(&self, id: &str) -> Option<(usize, &Step)> {
        self.steps
            .iter()
            .enumerate()
            .find(|(_, step)| step.id == id)
    }
}

fn check_step(
    step: &Step,
    position: usize,
    variables: &BTreeMap<String, String>,
    faults: &mut Faults,
) {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    if step.id.is_empty() || step.id.len() > 64 || !step.id.bytes().all(allowed) {
        faults.step(
            position,
            format!("step id `{}`: use 1 to 64 of a-z, 0-9, `-`, `.`", step.id),
        );
    }
    if step.operator == step.checker {
        faults.step(
            position,
            format!(
                "step {}: {} is operator and checker: two persons are needed",
                step.id, step.operator
            ),
        );
    }
    if step.kind == Some(StepKind::Automatic) && step.kind() == StepKind::Person {
        faults.step(
            position,
            format!(
                "step {}: `{}` is a person's step, not automatic",
                step.id,
                step.action.name()
            ),
        );
    }
    match &step.action {
        Action::Command(command) | Action::Retire(command) => {
            check_command(step, command, position, faults)
        }
        _ => {}
    }
    match (&step.way_back, &step.action) {
        (None | Some(WayBack::Nothing(_)), _) => {}
        (Some(WayBack::Command(command)), Action::Command(_)) => {
            check_command(step, command, position, faults)
        }
        (Some(WayBack::Command(_)), action) => {
            faults.step(
                position,
                format!(
                    "step {}: `{}` knows its own way back: remove way_back",
                    step.id,
                    action.name()
                ),
            );
        }
    }
    for text in texts(step) {
        if let Some(name) = unknown_variable(text, variables) {
            faults.step(
                position,
                format!(
                    "step {}: `${{{name}}}` has no value: give --set {name}=…",
                    step.id
                ),
            );
        }
    }
    for argv in argvs(step) {
        if argv.is_empty() {
            faults.step(
                position,
                format!(
                    "step {}: argv is empty: expected a program and its arguments",
                    step.id
                ),
            );
        }
    }
}

fn check_command(step: &Step, command: &Command, position: usize, faults: &mut Faults) {
    if command.check.is_empty() && !command.repeatable {
        faults.step(
            position,
            format!(
                "step {}: after a crash nobody could tell whether the command has run: give `check` (exit 0: it has) or `repeatable: true`",
                step.id
            ),
        );
    }
    // Otherwise a runbook could write its own rehearsal or verification.
    let own = |kind: &String| kind == "switch.done" || kind.starts_with("application.");
    if let Some(kind) = command.evidence.as_ref().filter(|kind| !own(kind)) {
        faults.step(
            position,
            format!("step {}: a command cannot write evidence `{kind}`: use switch.done or application.NAME", step.id),
        );
    }
}

/// Every text of a step in which variables stand.
fn texts(step: &Step) -> impl Iterator<Item = &String> {
    let command = match &step.action {
        Action::Command(command) | Action::Retire(command) => Some(command),
        _ => None,
    };
    let back = match &step.way_back {
        Some(WayBack::Command(command)) => Some(command),
        _ => None,
    };
    let commands = command
        .into_iter()
        .chain(back)
        .flat_map(|command| command.argv.iter().chain(&command.check));
    let checks = match &step.action {
        Action::Rehearse(rehearse) => [rehearse.check.as_slice(), &rehearse.check_after],
        Action::Reconcile(reconcile) => [reconcile.argv.as_slice(), &[]],
        _ => [[].as_slice(), &[]],
    };
    commands.chain(checks.into_iter().flatten())
}

/// Programs that must be there.
fn argvs(step: &Step) -> Vec<&Vec<String>> {
    let mut all = Vec::new();
    match &step.action {
        Action::Command(command) | Action::Retire(command) => all.push(&command.argv),
        Action::Reconcile(reconcile) => all.push(&reconcile.argv),
        _ => {}
    }
    if let Some(WayBack::Command(command)) = &step.way_back {
        all.push(&command.argv);
    }
    all
}

/// The first `${name}` in `text` for which there is no value.
fn unknown_variable(text: &str, variables: &BTreeMap<String, String>) -> Option<String> {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("${") {
        let (name, tail) = after.split_once('}').unwrap_or((after, ""));
        if !variables.contains_key(name) && !BUILT_IN_VARIABLES.contains(&name) {
            return Some(name.to_owned());
        }
        rest = tail;
    }
    None
}

/// `text` with its variables replaced, once: values are not looked at again.
pub(crate) fn expand(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut output = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        output.push_str(before);
        let (name, tail) = after.split_once('}').unwrap_or((after, ""));
        output.push_str(&value(name).unwrap_or_default());
        rest = tail;
    }
    output.push_str(rest);
    output
}

// === impl Faults ===

impl Faults {
    fn whole(&mut self, problem: String) {
        self.found.push(RunbookFault { line: 1, problem });
    }

    fn step(&mut self, position: usize, problem: String) {
        let line = self.lines.get(position).copied().unwrap_or(0);
        self.found.push(RunbookFault { line, problem });
    }
}
