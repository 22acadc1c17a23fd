//! Showing moves.

use super::{failure, open, surroundings};
use crate::context::{Classify, Context, Outcome};
use crate::workspace::Workspace;
use serde_json::json;
use yundu_migrate::{MoveStatus, RollbackAssessment, StepState, StepView};

pub(super) fn status(context: &Context, workspace: &Workspace, id: &str) -> Outcome {
    let (a_move, engine) = open(workspace, id)?;
    let around = surroundings::of(workspace, &a_move)?;
    let status = workspace
        .block_on(engine.status(id, &around))
        .map_err(failure)?;
    context.print(&status, || text(context, &status))
}

pub(super) fn list(context: &Context, workspace: &Workspace) -> Outcome {
    let rows = workspace
        .block_on(async { workspace.store().read().await?.moves().await })
        .environment()?;
    let value: Vec<_> = rows
        .iter()
        .map(|row| json!({ "id": row.id, "state": row.state, "digest": row.digest, "application": row.document.get("application"), "at_us": row.at_us }))
        .collect();
    context.print(&value, || {
        if rows.is_empty() {
            return context.tr("还没有迁移单", "there are no moves").to_owned();
        }
        let line = |row: &yundu_store::MoveRow| {
            let state = if row.state == "done" {
                context.tr("完成", "done")
            } else {
                context.tr("进行中", "open")
            };
            format!("{:<24} {state}", row.id)
        };
        rows.iter().map(line).collect::<Vec<_>>().join("\n")
    })
}

fn text(context: &Context, status: &MoveStatus) -> String {
    let digest: String = status.digest.chars().take(12).collect();
    let mut lines = vec![format!(
        "{}  {} {}  {} {}  {} {digest}",
        status.id,
        context.tr("应用系统", "application"),
        status.application,
        context.tr("申请人", "requested by"),
        status.requester,
        context.tr("摘要", "digest"),
    )];
    lines.extend(status.steps.iter().map(|step| step_line(context, step)));
    for approval in &status.approvals {
        let decision = serde_json::to_value(approval.decision).unwrap_or_default();
        let refusal = approval
            .refusal
            .as_ref()
            .map_or("", |text| text.get(context.lang));
        lines.push(format!(
            "  ✎ {} {} {} {refusal}",
            approval.person,
            decision.as_str().unwrap_or_default(),
            approval.subject_kind
        ));
    }
    lines.push(rollback_line(context, &status.rollback));
    match &status.next {
        Some(next) => lines.push(format!("{}{next}", context.tr("下一步：", "next: "))),
        None => lines.push(context.tr("全部完成", "everything is done").to_owned()),
    }
    lines.join("\n")
}

fn step_line(context: &Context, step: &StepView) -> String {
    let mark = match step.state {
        StepState::Done => "✓",
        StepState::Failed => "✗",
        StepState::Intended | StepState::Waiting | StepState::RollingBack => "…",
        StepState::RolledBack => "↶",
        StepState::Pending => "·",
    };
    let actual = step.actual_us.map_or_else(String::new, |us| {
        format!(
            "{} {}.{:03} s",
            context.tr("，实际", ", took"),
            us / 1_000_000,
            us % 1_000_000 / 1_000
        )
    });
    let reason = step.reason.as_ref().map_or_else(String::new, |text| {
        format!("\n      {}", text.get(context.lang))
    });
    let gate = step.gate.as_ref().map_or_else(String::new, |gate| {
        format!(" [{}{gate}]", context.tr("闸门 ", "gate "))
    });
    format!(
        "  {mark} {:<16} {}{gate}  {} ({} {} s{actual}){reason}",
        step.id,
        step.title.get(context.lang),
        step.state.text().get(context.lang),
        context.tr("计划", "planned"),
        step.planned_s,
    )
}

fn rollback_line(context: &Context, rollback: &RollbackAssessment) -> String {
    let unknown = || context.tr("未知", "unknown").to_owned();
    let duration = rollback
        .duration_us
        .map_or_else(unknown, |us| format!("{us} µs"));
    let lost = rollback
        .lost_bytes
        .map_or_else(unknown, |bytes| bytes.to_string());
    let reason = rollback.reason.get(context.lang);
    let (zh, en) = if rollback.possible {
        (
            format!("现在可以回退：用时 {duration}（演练实测），丢失 {lost} 字节；{reason}"),
            format!(
                "rollback is possible now: it takes {duration} (as rehearsed) and loses {lost} bytes; {reason}"
            ),
        )
    } else {
        (
            format!("现在不能回退，会丢失 {lost} 字节：{reason}"),
            format!("rollback is not possible now, it would lose {lost} bytes: {reason}"),
        )
    };
    context.tr(&zh, &en).to_owned()
}
