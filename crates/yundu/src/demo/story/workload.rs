//! Chapter 3: two sites, the volume at A, the application on it, the business at work.

use super::{Story, tally};
use crate::demo::stage::Site;
use crate::demo::{set, volume};
use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// Chapter 3.
pub(super) fn run(story: &mut Story) -> Result<()> {
    let stage = &story.stage;
    story.outcome.mode = if stage.has_namespaces() {
        "namespaces"
    } else {
        "plain"
    }
    .to_owned();
    set::raise(stage)?;
    set::create_image(stage, Site::A)?;
    let spelled = volume::serve_command(stage)
        .join(" ")
        .replace(&format!("{}/", stage.dir.display()), "");
    story.teller.command(&format!("yundu {spelled} &"));
    volume::start(stage, Site::A)?;
    if stage.has_namespaces() {
        story.teller.say(
            "卷经 NBD 接到 qemu-storage-daemon 的 FUSE 导出，再到环回设备、ext4、PostgreSQL（数据校验和打开）。",
            "NBD → qemu-storage-daemon's FUSE export → loop device → ext4 → PostgreSQL with data checksums.",
        );
    }
    let began = Instant::now();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || sender.send(set::install_application(stage, Site::A)));
        loop {
            match receiver.recv_timeout(Duration::from_millis(120)) {
                Ok(installed) => return installed,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                    let text = story
                        .teller
                        .tr("正在装入账务数据", "loading the books")
                        .to_owned();
                    story
                        .teller
                        .progress(&format!("{text} {} s", began.elapsed().as_secs()));
                }
                Err(error) => return Err(error.into()),
            }
        }
    })?;
    set::start_business(stage)?;
    set::start_probe(stage, Site::A)?;
    std::thread::sleep(Duration::from_secs(2));
    let felt = tally(stage)?;
    if felt.acknowledged_writes == 0 {
        bail!(
            "the business posts nothing; see business.log in {}",
            stage.dir.display()
        );
    }
    let count = felt.acknowledged_writes;
    story.teller.good(
        &format!("业务在跑：2 秒内 {count} 笔转账得到确认，逐笔记在卷外。"),
        &format!("Business is going on: {count} transfers acknowledged in 2 s, each recorded outside the volume."),
    );
    story.teller.say(
        "另有停顿探针：一个独立的 NBD 客户端，约每 2 毫秒写或读一块，记下每次等待。",
        "A stall probe, an NBD client of its own, writes or reads a block about every 2 ms and notes each wait.",
    );
    Ok(())
}
