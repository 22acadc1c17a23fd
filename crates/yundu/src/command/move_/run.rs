//! Running a move, and its way back.

use super::{failure, open_watched, surroundings};
use crate::context::{Context, Failure, Outcome as Done};
use crate::workspace::Workspace;
use anyhow::anyhow;
use std::sync::Arc;
use yundu_comply::GateVerdict;
use yundu_estate::text::{Lang, Text};
use yundu_migrate::runbook::Step;
use yundu_migrate::{Outcome, Watch};

/// Arguments of `yundu move run`.
#[derive(clap::Args, Debug)]
pub struct RunArgs {
    /// Name of the move
    id: String,
    /// Stop when this step is done
    #[arg(long, value_name = "STEP")]
    until: Option<String>,
}

/// Arguments of `yundu move rollback`.
#[derive(clap::Args, Debug)]
pub struct RollbackArgs {
    /// Name of the move
    id: String,
    /// Keep this step and those before it [default: undo everything that can be undone]
    #[arg(long, value_name = "STEP")]
    to: Option<String>,
}

/// Prints each step as it goes, unless the output is for a machine.
struct Lines {
    lang: Lang,
    json: bool,
}

impl Watch for Lines {
    fn progress(&self, step: &Step, text: &Text) {
        if !self.json {
            println!("[{}] {}", step.id, text.get(self.lang));
        }
    }
}

pub(super) fn run(context: &Context, workspace: &Workspace, args: RunArgs) -> Done {
    let _lock = workspace.lock_move(context, &args.id)?;
    let watch = Arc::new(Lines {
        lang: context.lang,
        json: context.json,
    });
    let (a_move, engine) = open_watched(workspace, &args.id, watch)?;
    let around = surroundings::of(workspace, &a_move)?;
    let outcome = workspace
        .block_on(engine.run(&args.id, &around, args.until.as_deref()))
        .map_err(failure)?;
    tell(context, &args.id, &outcome)
}

pub(super) fn roll_back(context: &Context, workspace: &Workspace, args: RollbackArgs) -> Done {
    let _lock = workspace.lock_move(context, &args.id)?;
    let watch = Arc::new(Lines {
        lang: context.lang,
        json: context.json,
    });
    let (a_move, engine) = open_watched(workspace, &args.id, watch)?;
    let around = surroundings::of(workspace, &a_move)?;
    let outcome = workspace
        .block_on(engine.roll_back(&args.id, &around, args.to.as_deref()))
        .map_err(failure)?;
    tell(context, &args.id, &outcome)
}

fn tell(context: &Context, id: &str, outcome: &Outcome) -> Done {
    match outcome {
        Outcome::Refused { step, verdict } => {
            let text = refusal(context, step, verdict);
            refuse(context, outcome, &text)
        }
        Outcome::Failed { step, reason } => {
            let reason = reason.get(context.lang);
            let text = context
                .tr(
                    &format!("步骤 {step} 没有成功：{reason}\n排除原因后再运行 yundu move run {id}，或回退 yundu move rollback {id}"),
                    &format!("step {step} did not succeed: {reason}\nremove the cause and run `yundu move run {id}` again, or go back with `yundu move rollback {id}`"),
                )
                .to_owned();
            refuse(context, outcome, &text)
        }
        Outcome::RolledBack {
            stopped_at: Some(_),
            ..
        } => refuse(context, outcome, &news(context, id, outcome)),
        _ => context.print(outcome, || news(context, id, outcome)),
    }
}

/// Exit code 3, with the document on standard output when it is for a machine.
fn refuse(context: &Context, outcome: &Outcome, text: &str) -> Done {
    if context.json {
        context.print(outcome, String::new)?;
    }
    Err(Failure::Refused(anyhow!("{text}")))
}

fn news(context: &Context, id: &str, outcome: &Outcome) -> String {
    let (zh, en) = match outcome {
        Outcome::Finished => (
            format!("迁移单 {id} 全部完成"),
            format!("move {id} is done"),
        ),
        Outcome::Reached { step } => (
            format!("步骤 {step} 已完成"),
            format!("step {step} is done"),
        ),
        Outcome::NeedsPerson { step, what } => (
            format!("步骤 {step} 等待：{}", what.zh),
            format!("step {step} waits: {}", what.en),
        ),
        Outcome::Waiting { step, until_us } => {
            let until = jiff::Timestamp::from_microsecond(*until_us)
                .map_or_else(|_| until_us.to_string(), |at| at.to_string());
            (
                format!("步骤 {step} 等到 {until}"),
                format!("step {step} waits until {until}"),
            )
        }
        Outcome::RolledBack { steps, stopped_at } => {
            let steps = steps.join(", ");
            match stopped_at {
                None => (format!("已回退：{steps}"), format!("rolled back: {steps}")),
                Some((step, reason)) => (
                    format!("已回退：{steps}；停在 {step}：{}", reason.zh),
                    format!("rolled back: {steps}; stopped at {step}: {}", reason.en),
                ),
            }
        }
        Outcome::Refused { .. } | Outcome::Failed { .. } => (String::new(), String::new()),
    };
    context.tr(&zh, &en).to_owned()
}

/// What is missing, control by control, and how to obtain it.
pub fn refusal(context: &Context, step: &str, verdict: &GateVerdict) -> String {
    let title = verdict.title.get(context.lang);
    let head = context
        .tr(
            &format!(
                "闸门 {}（{title}）关闭，步骤 {step} 没有执行：",
                verdict.gate
            ),
            &format!(
                "gate {} ({title}) is closed, step {step} was not taken:",
                verdict.gate
            ),
        )
        .to_owned();
    let mut lines = vec![head];
    for finding in verdict.findings() {
        lines.push(format!(
            "  ✗ {} [{}]",
            finding.title.get(context.lang),
            finding.status.text().get(context.lang)
        ));
        lines.extend(
            finding
                .reasons
                .iter()
                .map(|reason| format!("      {}", reason.get(context.lang))),
        );
        lines.push(format!("    → {}", finding.remedy.get(context.lang)));
    }
    lines.join("\n")
}
