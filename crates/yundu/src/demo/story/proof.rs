//! Chapter 7: the books, the report, the ledger verified twice, and a dishonest administrator.

use super::outcome::STALL_US_LIMIT;
use super::shell::Lines;
use super::teller::span;
use super::{MOVE, Story, tally};
use crate::demo::operator::active_site;
use crate::demo::process::{find_program, run_for};
use crate::demo::reconcile::reconcile;
use crate::demo::{business, faults, probe, set};
use anyhow::{Result, bail};
use std::time::Duration;

/// The outsider's verifier, inside the program so that the demo has it anywhere.
const VERIFIER: &str = include_str!("../../../../../docs/verify/verify.py");

/// Chapter 7.
pub(super) fn run(story: &mut Story) -> Result<()> {
    books(story)?;
    report(story)?;
    verify(story)?;
    forge(story)
}

/// The business ends; everything it saw acknowledged must be in the books.
fn books(story: &mut Story) -> Result<()> {
    set::stop_probe(&story.stage)?;
    set::stop_business(&story.stage)?;
    let outcome = reconcile(&story.stage, active_site(&story.stage))?;
    let felt = tally(&story.stage)?;
    let waits = probe::waits(&story.stage.driver_dir(), &faults::windows(&story.stage), 0)?;
    let result = &mut story.outcome;
    result.acknowledged_writes = felt.acknowledged_writes;
    result.in_doubt_writes = felt.in_doubt_writes;
    result.client_errors = felt.client_errors;
    result.commit_wait_us_max = felt.quiet_commit_wait_us_max;
    result.lost_writes = outcome.lost_writes;
    result.stall_us_max = waits.stall_us_max;
    result.stall_goal_met = waits.stall_us_max < STALL_US_LIMIT;
    result.wait_us_p999 = waits.wait_us_p999;
    if !outcome.is_clean() {
        bail!(
            "the books do not agree: {}",
            serde_json::to_string(&outcome)?
        );
    }
    let (acknowledged, in_doubt) = (felt.acknowledged_writes, felt.in_doubt_writes);
    let posted = outcome.in_doubt_posted;
    story.teller.good(
        &format!("账实相符：{acknowledged} 笔已确认转账一笔不少；{in_doubt} 笔结果不明，其中 {posted} 笔已入账。"),
        &format!("The books agree: all {acknowledged} acknowledged transfers are there; {in_doubt} in doubt, {posted} of them posted."),
    );
    let longest = span(felt.quiet_commit_wait_us_max);
    let switches = business::switches(&story.stage).len();
    story.teller.say(
        &format!("最长一笔（断链与 {switches} 次公告停机之外）{longest}。"),
        &format!(
            "Longest transfer (apart from link faults and {switches} announced stops): {longest}."
        ),
    );
    Ok(())
}

fn report(story: &mut Story) -> Result<()> {
    let path = story.stage.dir.join("report.html");
    let text = path.to_string_lossy().into_owned();
    story.shell.done(
        &mut story.teller,
        &["report", MOVE, "--out", &text],
        Lines::First(4),
    )?;
    story.outcome.report = text;
    Ok(())
}

/// Our own verifier, then the outsider's.
fn verify(story: &mut Story) -> Result<()> {
    let ledger = story.shell.workspace().join("ledger");
    let kept = story.stage.dir.join("kept-by-the-auditor.checkpoint");
    let said = story.shell.done(
        &mut story.teller,
        &["ledger", "checkpoint"],
        Lines::First(6),
    )?;
    std::fs::write(&kept, said.lines.join("\n") + "\n")?;
    story
        .shell
        .done(&mut story.teller, &["ledger", "verify"], Lines::First(8))?;
    let (_, verdict) = story.shell.ask(&["ledger", "verify"])?;
    story.outcome.ledger_entries = verdict
        .get("size")
        .or_else(|| verdict.get("entries"))
        .and_then(serde_json::Value::as_u64)
        .unwrap_or(0);
    count_verdicts(story)?;
    let script = story.stage.dir.join("verify.py");
    std::fs::write(&script, VERIFIER)?;
    story.outcome.ledger = ledger.to_string_lossy().into_owned();
    let key = ledger.join("public.key");
    let command = format!(
        "python3 {} {} {}",
        script.display(),
        ledger.display(),
        key.display()
    );
    story.outcome.verify_command.clone_from(&command);
    if find_program("python3").is_none() {
        story.teller.say(
            "本机没有 python3，外部核对略过。",
            "No python3 here: the outsider's verification is left out.",
        );
        story.outcome.ledger_verified = true;
        return Ok(());
    }
    story
        .teller
        .command(&command.replace(&format!("{}/", story.stage.dir.display()), ""));
    let words: Vec<&str> = command.split(' ').collect();
    let printed = run_for(&words, Duration::from_secs(120))?;
    for line in printed.lines().take(6) {
        story.teller.output(line);
    }
    story.outcome.ledger_verified = true;
    story.teller.good(
        "两个互不共用代码的核对程序都没有发现改动。",
        "Two verifiers that share no code find nothing altered.",
    );
    Ok(())
}

/// Counts the verdicts that the ledger holds.
fn count_verdicts(story: &mut Story) -> Result<()> {
    let words = [
        "ledger",
        "show",
        "--kind",
        "gate.verdict",
        "--limit",
        "100000",
    ];
    let (_, page) = story.shell.ask(&words)?;
    let records = page.get("records").and_then(|records| records.as_array());
    for shown in records.into_iter().flatten() {
        match shown
            .pointer("/record/body/open")
            .and_then(serde_json::Value::as_bool)
        {
            Some(true) => story.outcome.gates_opened += 1,
            _ => story.outcome.gates_refused += 1,
        }
    }
    Ok(())
}

/// The dishonest administrator rewrites history and signs it with the real key.
fn forge(story: &mut Story) -> Result<()> {
    story.teller.say(
        "最后，不诚实的管理员改写一条记录，用真的私钥重新签名。",
        "Last, a dishonest administrator rewrites a record and signs the log again with the real key.",
    );
    let forged = story.stage.dir.join("forged");
    super::forgery::rewrite(story.shell.workspace(), &forged)?;
    let ledger = forged.join("ledger").to_string_lossy().into_owned();
    let alone = story.shell.tell(
        &mut story.teller,
        &["ledger", "verify", &ledger],
        Lines::First(4),
    )?;
    let kept = story.stage.dir.join("kept-by-the-auditor.checkpoint");
    let kept = kept.to_string_lossy().into_owned();
    let words = ["ledger", "verify", &ledger, "--kept", &kept];
    let caught = story
        .shell
        .tell(&mut story.teller, &words, Lines::First(6))?;
    if caught.code == 0 {
        bail!("the forged ledger passed against the kept checkpoint");
    }
    story.outcome.forgery_caught = true;
    let fooled = alone.code == 0;
    story.teller.refused(
        if fooled { "单看签名没有破绽，但对照别人保管的检查点，改写被抓住。" } else { "改写被抓住。" },
        if fooled { "By its signature alone it looks right; against the checkpoint that someone else kept, it is caught." } else { "It is caught." },
    );
    Ok(())
}
