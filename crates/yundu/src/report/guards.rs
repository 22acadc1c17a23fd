//! Gates with every verdict over time, and the decisions of people.

use super::data::{GateEvaluation, ReportData};
use super::html::{both, clock, digest, escape, section, table, time, tr};
use std::fmt::Write as _;
use yundu_comply::{ControlVerdict, Status};

/// Every evaluation of a gate; refused ones unfolded, with what was missing.
pub fn gates(page: &mut String, data: &ReportData) {
    section(page, "gates", "闸门", "Gates");
    if data.gates.is_empty() {
        let _ = write!(
            page,
            "<p class=none>{}</p></section>",
            tr("还没有评估过任何闸门。", "No gate was evaluated yet.")
        );
        return;
    }
    let open = data.gates.iter().filter(|gate| gate.verdict.open).count();
    let closed = data.gates.len() - open;
    let zh = format!(
        "共评估 {} 次：拒绝 {closed} 次，打开 {open} 次。结论只由记录的输入计算得出，可用 yundu gate verify 重算。",
        data.gates.len()
    );
    let en = format!(
        "{} evaluations: {closed} refused, {open} opened. Each verdict follows from its recorded input alone; `yundu gate verify` computes it again.",
        data.gates.len()
    );
    let _ = write!(page, "<p class=lead>{}</p><div class=gates>", tr(&zh, &en));
    for evaluation in &data.gates {
        gate(page, evaluation);
    }
    page.push_str("</div></section>");
}

fn gate(page: &mut String, evaluation: &GateEvaluation) {
    let verdict = &evaluation.verdict;
    let (class, word, unfolded) = match verdict.open {
        true => ("pass", tr("打开", "open"), ""),
        false => ("fail", tr("关闭", "closed"), " open"),
    };
    let passed = verdict
        .controls
        .iter()
        .filter(|control| control.status.lets_pass())
        .count();
    let _ = write!(
        page,
        "<details class=gate{unfolded}><summary><time>{}</time><span class='tag {class}'>{word}</span><b>{}</b><code>{}</code><span class=tally>{passed}/{}</span></summary>",
        clock(evaluation.at_us),
        both(&verdict.title),
        escape(&verdict.gate),
        verdict.controls.len()
    );
    if verdict.controls.is_empty() {
        let _ = write!(
            page,
            "<p class=none>{}</p>",
            tr(
                "没有控制项的闸门总是关闭。",
                "A gate with no controls is closed."
            )
        );
    }
    page.push_str("<ul class=controls>");
    for control in verdict.findings() {
        finding(page, control);
    }
    for control in verdict
        .controls
        .iter()
        .filter(|control| control.status.lets_pass())
    {
        finding(page, control);
    }
    let _ = write!(
        page,
        "</ul><p class=basis>{} {} · {} {} · {} <code>{}</code></p></details>",
        tr("输入", "input"),
        digest(&verdict.input_digest),
        tr("策略", "policies"),
        digest(&verdict.policy_digest),
        tr("记录", "record"),
        escape(&evaluation.id)
    );
}

fn finding(page: &mut String, control: &ControlVerdict) {
    let (class, mark) = match control.status {
        Status::Pass => ("pass", "✓"),
        Status::NotApplicable => ("muted", "–"),
        Status::Fail => ("fail", "✕"),
        Status::Unknown => ("warn", "?"),
    };
    let _ = write!(
        page,
        "<li class={class}><span class=mark aria-label=\"{}\">{mark}</span><div><b>{}</b> <code>{}</code>",
        escape(&control.status.text().en),
        both(&control.title),
        escape(&control.control)
    );
    for reason in &control.reasons {
        let _ = write!(page, "<p>{}</p>", both(reason));
    }
    page.push_str("</div></li>");
}

/// Who decided what, with which key, and what did not count.
pub fn approvals(page: &mut String, data: &ReportData) {
    section(page, "approvals", "审批", "Approvals");
    if data.approvals.is_empty() {
        let _ = write!(
            page,
            "<p class=none>{}</p></section>",
            tr("没有审批记录。", "No approvals.")
        );
        return;
    }
    let zh = format!(
        "申请人 {}。每份审批由本人密钥对下列摘要签名；计划变更后摘要不同，原审批作废。现行摘要：",
        data.requester
    );
    let en = format!(
        "Requested by {}. Each approval is signed with that person's own key over the digest named; a changed plan has another digest, and earlier approvals are void. Digest in force: ",
        data.requester
    );
    let _ = write!(
        page,
        "<p class=lead>{}{}</p>",
        tr(&zh, &en),
        digest(&data.move_digest)
    );
    let rows: Vec<Vec<String>> = data
        .approvals
        .iter()
        .map(|approval| {
            let name = match approval.name.zh.is_empty() && approval.name.en.is_empty() {
                true => escape(&approval.person),
                false => format!(
                    "{}<small>{}</small>",
                    both(&approval.name),
                    escape(&approval.person)
                ),
            };
            let decision = match (approval.decision.as_str(), approval.valid) {
                ("approve", true) => {
                    format!("<span class='tag pass'>{}</span>", tr("同意", "approved"))
                }
                ("approve", false) => format!(
                    "<span class='tag fail'>{}</span><small>{}</small>",
                    tr("不算数", "does not count"),
                    both(&approval.refusal)
                ),
                _ => format!(
                    "<span class='tag warn'>{}</span><small>{}</small>",
                    tr("反对", "objects"),
                    both(&approval.refusal)
                ),
            };
            let subject = match approval.subject_kind.as_str() {
                "move" => tr("迁移单", "move"),
                "reconciliation" => tr("对账", "reconciliation"),
                "retire" => tr("销毁源端", "retirement"),
                other => escape(other),
            };
            vec![
                format!("<span class=nowrap>{}</span>", time(approval.at_us)),
                name,
                escape(&approval.roles.join(", ")),
                format!(
                    "{subject}<small>{}</small>",
                    digest(&approval.subject_digest)
                ),
                decision,
                digest(&approval.key_fingerprint),
            ]
        })
        .collect();
    let head = [
        tr("时间", "time"),
        tr("人员", "person"),
        tr("角色", "roles"),
        tr("对象与摘要", "subject and digest"),
        tr("决定", "decision"),
        tr("密钥指纹", "key fingerprint"),
    ];
    table(page, &head, &rows);
    page.push_str("</section>");
}
