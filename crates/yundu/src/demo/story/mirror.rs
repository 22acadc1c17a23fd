//! Chapter 4: the copy under load, then synchronous mirroring, then a cut and a silent link.

use super::shell::Lines;
use super::teller::megabytes;
use super::{MOVE, REQUESTER, Story, tally};
use crate::demo::faults::{self, Deed};
use crate::demo::stage::Site;
use crate::demo::volume;
use anyhow::{Context as _, Result, bail};
use std::time::{Duration, Instant};
use yundu_replicate::control::SyncState;

/// How long each link fault lasts.
const FAULT: Duration = Duration::from_secs(5);
const IN_STEP_WITHIN: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(120);

/// Chapter 4.
pub(super) fn run(story: &mut Story) -> Result<()> {
    receive(story)?;
    create_move(story)?;
    story.teller.say(
        "迁移单按运行手册走：预检、全量复制、同步镜像，直到需要人签字为止。业务一直在写。",
        "The move follows its runbook: preflight, full copy, mirroring, until a person must sign. Business keeps writing.",
    );
    story
        .shell
        .tell(&mut story.teller, &["move", "run", MOVE], Lines::First(24))?;
    wait_in_step(story)?;
    let copied = volume::status(&story.stage, Site::A)?.copy_bytes;
    story.outcome.copy_bytes = copied;
    let size = megabytes(copied);
    story.teller.good(
        &format!("已同步：复制了 {size}（空洞不传），此后每个应答都意味着两地都有。"),
        &format!("In step: {size} copied (holes are not sent); from now on every reply stands on both sites."),
    );
    fault(story, Deed::Cut)?;
    fault(story, Deed::Hang)?;
    let status = volume::status(&story.stage, Site::A)?;
    story.outcome.resync_bytes = status.resync_bytes;
    story.outcome.dirtied_bytes = status.dirtied_bytes;
    let felt = tally(&story.stage)?;
    if felt.client_errors > 0 {
        bail!(
            "the business saw {} errors: {:?}",
            felt.client_errors,
            felt.error_samples
        );
    }
    let (sent, dirtied) = (
        megabytes(status.resync_bytes),
        megabytes(status.dirtied_bytes),
    );
    story.teller.good(
        &format!("两次故障，业务 0 个错误；期间写脏 {dirtied}，只重传 {sent}。"),
        &format!(
            "Two faults, no error for the business; {dirtied} dirtied meanwhile, {sent} sent again."
        ),
    );
    Ok(())
}

fn receive(story: &mut Story) -> Result<()> {
    let stage = &story.stage;
    let spelled = volume::receive_command(stage).join(" ");
    let spelled = spelled.replace(&format!("{}/", stage.dir.display()), "");
    story.teller.command(&format!("yundu {spelled} &"));
    volume::start(stage, Site::B)?;
    Ok(())
}

fn create_move(story: &mut Story) -> Result<()> {
    let stage = &story.stage;
    let settings = [
        format!("yundu={}", stage.program.display()),
        format!("dir={}", stage.dir.display()),
        format!("receive={}", stage.link_address()),
    ];
    let [source, target] = [Site::A, Site::B].map(|site| volume::control_socket(stage, site));
    let (source, target) = (source.to_string_lossy(), target.to_string_lossy());
    let mut words = vec!["move", "create", MOVE, "--application", "core-ledger"];
    words.extend([
        "--runbook",
        "harbour-bank/runbook-core-ledger.yaml",
        "--maker",
        REQUESTER,
    ]);
    words.extend(["--source-control", &*source, "--target-control", &*target]);
    for setting in &settings {
        words.extend(["--set", setting]);
    }
    story
        .shell
        .done(&mut story.teller, &words, Lines::First(8))?;
    Ok(())
}

/// Waits until both copies hold everything, telling how far it is.
pub(super) fn wait_in_step(story: &mut Story) -> Result<()> {
    let began = Instant::now();
    loop {
        let status = volume::status(&story.stage, Site::A)?;
        if status.sync == SyncState::InStep {
            return Ok(());
        }
        if began.elapsed() > IN_STEP_WITHIN {
            bail!(
                "not in step within {} s: {:?}",
                IN_STEP_WITHIN.as_secs(),
                status.link_reason
            );
        }
        let left = megabytes(status.remaining_bytes);
        let text = format!("{} {left}", story.teller.tr("还差", "still to send"));
        story.teller.progress(&text);
        std::thread::sleep(TICK);
    }
}

fn fault(story: &mut Story, deed: Deed) -> Result<()> {
    let (zh, en) = match deed {
        Deed::Cut => (
            "复制链路被拔断 5 秒",
            "The replication link is cut for 5 seconds",
        ),
        _ => (
            "链路静默 5 秒：报文消失，没有任何错误",
            "The link hangs silently for 5 seconds: packets vanish, no error",
        ),
    };
    story.teller.say(&format!("{zh}……"), &format!("{en} …"));
    faults::perform(&story.stage, deed)?;
    let began = Instant::now();
    let before = tally(&story.stage)?.acknowledged_writes;
    while began.elapsed() < FAULT {
        let status = volume::status(&story.stage, Site::A)?;
        let now = tally(&story.stage)?.acknowledged_writes;
        let (seconds, more) = (began.elapsed().as_secs(), now - before);
        let is_in_step = status.sync == SyncState::InStep;
        let (state_zh, state_en) = if is_in_step {
            ("同步", "in step")
        } else {
            (
                "目标落后，记下写脏的块",
                "left behind, dirty blocks are noted",
            )
        };
        let (zh, en) = (
            format!("{seconds} 秒，业务又确认 {more} 笔；{state_zh}"),
            format!("{seconds} s, {more} more transfers acknowledged; copy {state_en}"),
        );
        let text = story.teller.tr(&zh, &en).to_owned();
        story.teller.progress(&text);
        std::thread::sleep(TICK);
    }
    faults::perform(&story.stage, Deed::Mend)?;
    let mended = Instant::now();
    // A silent link may not have been noticed on both sides yet.
    wait_in_step(story).context("after the link was mended")?;
    let count = tally(&story.stage)?.acknowledged_writes - before;
    let took_ms = mended.elapsed().as_millis();
    story.teller.good(
        &format!("期间确认 {count} 笔；恢复后 {took_ms} 毫秒重新同步"),
        &format!("{count} transfers acknowledged meanwhile; in step again {took_ms} ms after it was mended"),
    );
    Ok(())
}
