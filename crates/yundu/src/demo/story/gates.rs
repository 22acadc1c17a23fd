//! Chapter 5: gates that refuse, each with what is missing and how to obtain it; then rehearsal,
//! repair and two approvals, and the gate opens.

use super::estate::key_file;
use super::outcome::STALL_US_LIMIT;
use super::shell::{Lines, REFUSED};
use super::teller::span;
use super::{MOVE, REQUESTER, Story, bank_dir};
use crate::demo::operator::{self, Verb};
use crate::demo::stage::{Site, VOLUME};
use anyhow::{Context as _, Result, bail};

/// Rehearsals before the story gives up on a busy machine.
const REHEARSALS_MAX: usize = 5;

/// Chapter 5.
pub(super) fn run(story: &mut Story) -> Result<()> {
    story
        .teller
        .say("一、没有演练证据。", "First: no evidence of a rehearsal.");
    refuse(story, "rehearsed")?;
    rehearse(story)?;

    story.teller.say(
        "二、申请人批准自己的申请。",
        "Second: the requester approves their own request.",
    );
    approve(story, REQUESTER)?;
    refuse(story, "maker-never-checker")?;

    story.teller.say(
        "三、批准之后计划变了。",
        "Third: the plan changes after its approval.",
    );
    approve(story, "li.wei")?;
    approve(story, "zhang.min")?;
    amend(story, "rto_us: 60000000", "rto_us: 90000000")?;
    refuse(story, "plan-unchanged")?;
    story.teller.say(
        "改回原样，摘要相同，原来的批准重新有效。",
        "Changed back: the digest is the same, so the approvals hold again.",
    );
    amend(story, "", "")?;

    story.teller.say(
        "四、目标端的一个块被悄悄改坏。",
        "Fourth: a block of the target is damaged behind everybody's back.",
    );
    let told = operator::perform(&story.stage, &Verb::Corrupt { site: Site::B })?;
    let offset = told
        .get("offset")
        .map(ToString::to_string)
        .unwrap_or_default();
    story.teller.output(&format!(
        "site-b/core-ledger.img @ {offset}: 64 bytes inverted"
    ));
    story.shell.tell(
        &mut story.teller,
        &["volume", "verify", VOLUME],
        Lines::First(6),
    )?;
    refuse(story, "verified")?;
    story.teller.say(
        "修复，再比对一次；只有干净的比对才算数。",
        "Repaired, then compared again; only a clean comparison counts.",
    );
    story.shell.tell(
        &mut story.teller,
        &["volume", "verify", VOLUME, "--repair"],
        Lines::First(6),
    )?;
    story.shell.done(
        &mut story.teller,
        &["volume", "verify", VOLUME],
        Lines::First(6),
    )?;

    story.shell.done(
        &mut story.teller,
        &["gate", "check", MOVE, "cutover"],
        Lines::First(32),
    )?;
    story.teller.good(
        "演练、修复、两人各以自己的密钥批准之后，闸门打开。",
        "After rehearsal, repair and two approvals, each signed with that person's own key, the gate opens.",
    );
    Ok(())
}

/// The gate must be closed, and `control` must be among the reasons.
fn refuse(story: &mut Story, control: &str) -> Result<()> {
    let words = ["gate", "check", MOVE, "cutover"];
    let said = story.shell.tell(&mut story.teller, &words, Lines::None)?;
    show_missing(story, &said.lines);
    if said.code != REFUSED {
        bail!("the gate is not closed (exit code {})", said.code);
    }
    let failing = format!("✗ {control} ");
    if !said
        .lines
        .iter()
        .any(|line| line.trim_start().starts_with(&failing))
    {
        bail!("the gate is closed, but not for `{control}`");
    }
    story.teller.refused(
        &format!("闸门拒绝（退出码 3），缺 {control}"),
        &format!("The gate refuses (exit code 3), {control} is missing"),
    );
    Ok(())
}

/// Shows the verdict and the controls that do not hold, each with its reasons.
fn show_missing(story: &mut Story, lines: &[String]) {
    let mut is_missing = true;
    for line in lines {
        let is_control = line.starts_with("  ") && !line.starts_with("   ");
        if is_control {
            let mark = line.trim_start().chars().next();
            is_missing = mark != Some('✓') && mark != Some('–');
        }
        // After the controls come only how to compute it again, and the word "closed" once more.
        let is_after = !line.starts_with(' ') && lines.first() != Some(line);
        if is_missing && !is_after {
            story.teller.output(line);
        }
    }
}

/// The owner signs the figures from before; the move rehearses, compares at rest and online, and
/// stops at the closed gate.
fn rehearse(story: &mut Story) -> Result<()> {
    let key = key_file(story, "zhang.min");
    let words = [
        "move",
        "approve",
        MOVE,
        "--reconciliation",
        "before",
        "--as",
        "zhang.min",
        "--key",
        &key,
    ];
    story
        .shell
        .done(&mut story.teller, &words, Lines::First(4))?;
    story.teller.say(
        "演练：真的切过去、业务在 B 上写、再切回来；然后停库用 cmp 逐字节比对，再在线比对。",
        "The rehearsal really cuts over, business writes at B, and comes back; then cmp with the database stopped, then online.",
    );
    let body = rehearse_within_limit(story)?;
    let number = |name: &str| body.get(name).and_then(serde_json::Value::as_i64);
    let rollback_us = number("rollback_us").context("the rehearsal measured no rollback")?;
    story.outcome.rollback_us = rollback_us;
    let stall = span(number("stall_us_max").unwrap_or(0));
    let back = span(rollback_us);
    story.teller.good(
        &format!("演练成功：最长停顿 {stall}，回退 {back}，切换后写入的都还在。"),
        &format!("Rehearsed: longest stall {stall}, rollback {back}, what was written after the cut is still there."),
    );
    let said = story
        .shell
        .tell(&mut story.teller, &["move", "run", MOVE], Lines::First(24))?;
    if said.code != REFUSED {
        bail!(
            "`move run` did not stop at the closed gate (exit code {})",
            said.code
        );
    }
    Ok(())
}

/// Rehearses; when the machine was too busy for the limit, rehearses again, as the gate would ask.
fn rehearse_within_limit(story: &mut Story) -> Result<serde_json::Value> {
    for _ in 0..REHEARSALS_MAX {
        let words = ["move", "run", MOVE, "--until", "rehearse"];
        story
            .shell
            .done(&mut story.teller, &words, Lines::First(24))?;
        let body = record(story, "drill.rehearsed")?;
        let stall_us = body.get("stall_us_max").and_then(serde_json::Value::as_i64);
        let stall_us = stall_us.context("the rehearsal measured no stall")?;
        if stall_us < STALL_US_LIMIT {
            return Ok(body);
        }
        let stall = span(stall_us);
        story.teller.refused(
            &format!("停顿 {stall} 超过上限：这样的演练不算数，再来一次。"),
            &format!("A stall of {stall} is over the limit: such a rehearsal does not count, so once more."),
        );
        let words = ["move", "rollback", MOVE, "--to", "figures-before"];
        story
            .shell
            .done(&mut story.teller, &words, Lines::First(8))?;
    }
    bail!("this machine is too busy: no rehearsal of {REHEARSALS_MAX} stayed under the limit")
}

/// Body of the latest record of a kind.
pub(super) fn record(story: &Story, kind: &str) -> Result<serde_json::Value> {
    let (_, records) = story.shell.ask(&["ledger", "show", "--kind", kind])?;
    let list = records
        .as_array()
        .or_else(|| records.get("records").and_then(|r| r.as_array()));
    let last = list
        .and_then(|list| list.last())
        .with_context(|| format!("no record `{kind}`"))?;
    let record = last.get("record").unwrap_or(last);
    record
        .get("body")
        .cloned()
        .with_context(|| format!("record `{kind}` has no body"))
}

fn approve(story: &mut Story, person: &str) -> Result<()> {
    let key = key_file(story, person);
    let words = ["move", "approve", MOVE, "--as", person, "--key", &key];
    story
        .shell
        .done(&mut story.teller, &words, Lines::First(3))?;
    Ok(())
}

/// Changes the runbook and amends the move with it; with empty words, with the runbook as it was.
fn amend(story: &mut Story, from: &str, to: &str) -> Result<()> {
    let bank = bank_dir(&story.stage);
    let mut path = "harbour-bank/runbook-core-ledger.yaml";
    if !from.is_empty() {
        let original = std::fs::read_to_string(bank.join("runbook-core-ledger.yaml"))?;
        std::fs::write(
            bank.join("runbook-changed.yaml"),
            original.replace(from, to),
        )?;
        path = "harbour-bank/runbook-changed.yaml";
    }
    story.shell.done(
        &mut story.teller,
        &["move", "amend", MOVE, "--runbook", path],
        Lines::First(4),
    )?;
    Ok(())
}
