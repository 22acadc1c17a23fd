//! Chapter 6: first the storage, under the running application; then the application; then site
//! A is killed outright.

use super::estate::key_file;
use super::shell::Lines;
use super::teller::span;
use super::{MOVE, Story, tally};
use crate::demo::operator::{self, Verb};
use crate::demo::stage::Site;
use crate::demo::{disk, faults, probe, set, sites, volume};
use anyhow::{Context as _, Result, bail};
use std::time::Duration;

/// How long a dying site may still send.
const DYING: Duration = Duration::from_millis(200);
/// How long business is watched after site A died.
const AFTERWARDS: Duration = Duration::from_secs(4);

/// Chapter 6.
pub(super) fn run(story: &mut Story) -> Result<()> {
    story.teller.say(
        "先切存储：客户端保持原有连接，B 成为主副本，A 在后面跟着；再停 A 上的应用、隔离、在 B 启动、切换地址。",
        "First the storage: clients keep their connection, B becomes primary, A follows. Then the application: stopped and fenced at A, started at B, its address switched.",
    );
    let said = story
        .shell
        .tell(&mut story.teller, &["move", "run", MOVE], Lines::First(32))?;
    if said.code != 0 {
        bail!("`move run` ended with exit code {}", said.code);
    }
    if operator::perform(&story.stage, &Verb::IsAt { site: Site::B }).is_err() {
        bail!("the application does not run at B");
    }
    digests(story)?;
    let waits = probe::waits(&story.stage.driver_dir(), &faults::windows(&story.stage), 0)?;
    if let Some(error) = waits.errors.first() {
        bail!("the stall probe: {error}");
    }
    let felt = tally(&story.stage)?;
    let find = |name: &str| felt.interruptions.iter().find(|i| i.name == name);
    let switch = find("switch-to-b")
        .context("the switch was not announced")?
        .interruption_us;
    story.outcome.interruption_us = switch;
    story.outcome.rehearsal_interruption_us =
        find("comparison-at-rest").map_or(0, |i| i.interruption_us);
    story.outcome.stall_us_max = waits.stall_us_max;
    story.outcome.wait_us_p999 = waits.wait_us_p999;
    story.outcome.fault_wait_us_max = waits.fault_wait_us_max;
    let (stall, interruption) = (span(waits.stall_us_max), span(switch));
    story.teller.good(
        &format!("存储最长停顿 {stall}（客户端测得，不含两次断链）；业务中断 {interruption}。"),
        &format!("Longest stall of the storage {stall} (the client's measure, link faults apart); business interrupted for {interruption}."),
    );
    sign_after(story)?;
    status(story)?;
    kill_site_a(story)
}

/// Digests of both copies as of the cut.
fn digests(story: &mut Story) -> Result<()> {
    let digest = |site: Site| -> Result<String> {
        let status = volume::status(&story.stage, site)?;
        Ok(status
            .cut_digest
            .map(|digest| digest.root)
            .unwrap_or_default())
    };
    let (source, target) = (digest(Site::A)?, digest(Site::B)?);
    let same = !source.is_empty() && source == target;
    story.teller.output(&format!("A {source}"));
    story.teller.output(&format!("B {target}"));
    if same {
        story.teller.good(
            "切换点两端摘要相同",
            "Both digests as of the cut are the same",
        );
    }
    story.outcome.source_digest = source;
    story.outcome.target_digest = target;
    Ok(())
}

fn sign_after(story: &mut Story) -> Result<()> {
    let key = key_file(story, "zhang.min");
    let words = [
        "move",
        "approve",
        MOVE,
        "--reconciliation",
        "after",
        "--as",
        "zhang.min",
        "--key",
        &key,
    ];
    story
        .shell
        .done(&mut story.teller, &words, Lines::First(4))?;
    story
        .shell
        .tell(&mut story.teller, &["move", "run", MOVE], Lines::First(12))?;
    Ok(())
}

/// The move as people look at it, with its way back.
fn status(story: &mut Story) -> Result<()> {
    story.shell.done(
        &mut story.teller,
        &["move", "status", MOVE],
        Lines::First(32),
    )?;
    Ok(())
}

fn kill_site_a(story: &mut Story) -> Result<()> {
    let stage = &story.stage;
    let before = tally(stage)?.acknowledged_writes;
    story.teller.say(
        "现在站点 A 整个死掉：进程被杀，网线被拔。",
        "Now site A dies outright: its processes killed, its cables pulled.",
    );
    if let Some(process) = disk::recorded(stage, &volume::process_name(Site::A)) {
        process.signal(rustix::process::Signal::KILL);
        process.wait_gone(Duration::from_secs(5));
    }
    // The dying system still closes its connections; only then is there silence. (A site that
    // falls silent at once is the hanging link of chapter 4.)
    std::thread::sleep(DYING);
    if stage.has_namespaces() {
        sites::isolate(stage, Site::A)?;
    }
    set::start_probe(stage, Site::B)?;
    let began = std::time::Instant::now();
    while began.elapsed() < AFTERWARDS {
        let more = tally(stage)?.acknowledged_writes - before;
        let text = match story.teller.lang() {
            yundu_estate::text::Lang::Zh => format!("B 上又确认 {more} 笔"),
            yundu_estate::text::Lang::En => format!("{more} more transfers acknowledged at B"),
        };
        story.teller.progress(&text);
        std::thread::sleep(Duration::from_millis(120));
    }
    let felt = tally(stage)?;
    let more = felt.acknowledged_writes - before;
    if more == 0 || felt.client_errors > 0 {
        bail!(
            "after the death of A: {more} transfers, {} errors: {:?}",
            felt.client_errors,
            felt.error_samples
        );
    }
    story.teller.good(
        &format!("业务在 B 上继续：又确认 {more} 笔，0 个错误。"),
        &format!("Business goes on from B: {more} more transfers acknowledged, no error."),
    );
    Ok(())
}
