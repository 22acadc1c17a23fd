//! The story, chapter by chapter. Each chapter acts through the ordinary commands ([`shell`]) and
//! tells what happens ([`teller`]); what is measured goes into the [`outcome`].

mod cutover;
mod estate;
mod forgery;
mod gates;
mod mirror;
mod outcome;
mod proof;
mod shell;
mod teller;
mod workload;

use super::resources::Resources;
use super::stage::{Ground, Stage};
use super::{business, disk, postgres, set};
use crate::context::Context;
use anyhow::{Context as _, Result, bail};
use outcome::Outcome;
use shell::Shell;
use std::path::{Path, PathBuf};
use std::time::Instant;
use teller::{Teller, megabytes, span};

/// Name of the move and of the application that moves.
const MOVE: &str = "core-ledger";
/// Who asks for the move.
const REQUESTER: &str = "chen.jing";

/// What the chapters share.
struct Story {
    stage: Stage,
    teller: Teller,
    shell: Shell,
    outcome: Outcome,
}

/// Tells the whole story in `dir`, which was [`claim`]ed, and writes its outcome to `json_file`, if one is named.
///
/// # Errors
/// When a step of the story does not come out as it must.
/// Whatever happens, nothing of it stays on the machine but the directory.
pub fn tell(context: &Context, dir: &Path, plain: bool, json_file: Option<&Path>) -> Result<()> {
    let stage = Stage::plan(dir, plain)?;
    let guard = Guard {
        resources: stage.resources(),
    };
    clean_when_interrupted(stage.resources());
    let mut story = Story {
        shell: Shell::new(&stage, context.lang),
        teller: Teller::new(context.lang),
        outcome: Outcome::default(),
        stage,
    };
    story.prologue();
    let told = story.chapters().and_then(|()| story.take_down());
    let resisting = guard.resources.clean();
    for line in resisting {
        story.teller.line(&format!("! {line}"));
    }
    if super::process::INTERRUPTED.load(std::sync::atomic::Ordering::SeqCst) {
        // What failed, failed because it was interrupted.
        std::process::exit(EXIT_INTERRUPTED);
    }
    told?;
    if let Some(path) = json_file {
        let text = serde_json::to_string_pretty(&story.outcome)?;
        std::fs::write(path, text + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    story.epilogue();
    story.outcome.judge()
}

impl Story {
    fn prologue(&mut self) {
        let title = self.teller.tr(
            "云渡：一套正在运行的核心账务系统，边写边迁，并留下证据",
            "Yundu: a live core ledger moves while it is written to, and the evidence proves it",
        );
        let title = self.teller.paint("1", title);
        self.teller.line(&title);
        match &self.stage.ground {
            Ground::Namespaces { postgres_bin } => {
                let bin = postgres_bin.display().to_string();
                self.teller.say(
                    &format!("站点 A、B 是两个网络命名空间；卷上是 ext4 与真实的 PostgreSQL（{bin}）。"),
                    &format!("Sites A and B are network namespaces; the volume carries ext4 and a real PostgreSQL ({bin})."),
                );
            }
            Ground::Plain { reason } => {
                let (zh, en) = (
                    format!(
                        "简化模式（{}）：站点 A、B 在本机回环上，业务由内置账务客户端代替 PostgreSQL。",
                        reason.zh
                    ),
                    format!(
                        "Plain mode ({}): sites A and B are on loopback, a built-in ledger stands in for PostgreSQL.",
                        reason.en
                    ),
                );
                self.teller.say(&zh, &en);
            }
        }
        let dir = self.stage.dir.display().to_string();
        self.teller.say(
            &format!("一切都留在 {dir}"),
            &format!("Everything stays in {dir}"),
        );
    }

    fn chapters(&mut self) -> Result<()> {
        type Chapter = fn(&mut Story) -> Result<()>;
        let chapters: [(&str, &str, &str, Chapter); 7] = [
            ("estate", "资产", "Estate", estate::estate),
            ("plan", "评估与计划", "Assess and plan", estate::plan),
            (
                "workload",
                "真实的业务在运行",
                "A workload that is really running",
                workload::run,
            ),
            (
                "mirror",
                "热迁移：复制、同步镜像、断链、静默",
                "Hot migration: copy, mirror, a cut link, a silent link",
                mirror::run,
            ),
            ("gates", "会拒绝的闸门", "Gates that refuse", gates::run),
            ("cutover", "两步切换", "Cut-over in two steps", cutover::run),
            ("proof", "证明", "Proof", proof::run),
        ];
        for (index, (name, zh, en, chapter)) in chapters.into_iter().enumerate() {
            let began = Instant::now();
            self.teller.chapter(index + 1, zh, en);
            chapter(self).with_context(|| format!("chapter `{name}`"))?;
            let took_us = i64::try_from(began.elapsed().as_micros())?;
            self.outcome.chapters_us.insert(name.to_owned(), took_us);
        }
        Ok(())
    }

    /// Stops the business and its application in order.
    fn take_down(&mut self) -> Result<()> {
        set::stop_probe(&self.stage)?;
        set::stop_business(&self.stage)?;
        if self.stage.has_namespaces() {
            let site = super::operator::active_site(&self.stage);
            postgres::stop(&self.stage, site)?;
            disk::detach(&self.stage, site)?;
        }
        Ok(())
    }

    fn epilogue(&mut self) {
        let outcome = self.outcome.clone();
        let missed = if outcome.stall_goal_met {
            ""
        } else {
            self.teller.tr(
                "（未达到 100 ms 的目标：机器太忙？）",
                " (misses the goal of 100 ms: is the machine busy?)",
            )
        };
        let rows = [
            (
                "确认的转账",
                "acknowledged transfers",
                outcome.acknowledged_writes.to_string(),
            ),
            ("丢失", "lost", outcome.lost_writes.to_string()),
            (
                "业务看到的错误",
                "errors seen by the business",
                outcome.client_errors.to_string(),
            ),
            ("结果不明", "in doubt", outcome.in_doubt_writes.to_string()),
            (
                "存储最长停顿",
                "longest stall of the storage",
                format!("{}{missed}", span(outcome.stall_us_max)),
            ),
            (
                "业务中断",
                "interruption of the business",
                span(outcome.interruption_us),
            ),
            ("回退", "rollback", span(outcome.rollback_us)),
            ("全量复制", "full copy", megabytes(outcome.copy_bytes)),
            (
                "断链后重传 / 写脏",
                "sent again / dirtied in link faults",
                format!(
                    "{} / {}",
                    megabytes(outcome.resync_bytes),
                    megabytes(outcome.dirtied_bytes)
                ),
            ),
            (
                "闸门拒绝 / 打开",
                "gates refused / opened",
                format!("{} / {}", outcome.gates_refused, outcome.gates_opened),
            ),
            (
                "账本记录",
                "records in the ledger",
                outcome.ledger_entries.to_string(),
            ),
            ("报告", "report", outcome.report),
            ("账本", "ledger", outcome.ledger),
            ("外部核对", "outsiders verify with", outcome.verify_command),
        ];
        self.teller.line("");
        for (zh, en, value) in rows {
            self.teller.row(zh, en, &value);
        }
    }
}

/// Takes over a directory: an absent or empty one, or one that an earlier demo made, whose
/// leftovers are removed first.
///
/// # Errors
/// When it holds something else, or what an earlier demo left cannot be removed.
pub fn claim(dir: &Path) -> Result<()> {
    let is_ours = dir.join("stage.json").is_file();
    if is_ours {
        let resisting = Resources::of(dir).clean();
        if !resisting.is_empty() {
            bail!(
                "an earlier demo in {} left things behind: {}",
                dir.display(),
                resisting.join("; ")
            );
        }
        std::fs::remove_dir_all(dir).with_context(|| format!("cannot empty {}", dir.display()))?;
    } else if dir.exists() && std::fs::read_dir(dir)?.next().is_some() {
        bail!(
            "{} is not empty and was not made by a demo: name another directory with --dir",
            dir.display()
        );
    }
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))
}

/// Removes what is on the machine when the story ends in any way that unwinds.
struct Guard {
    resources: Resources,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.resources.clean();
    }
}

/// As shells have it: 128 and the number of the signal of Ctrl-C.
const EXIT_INTERRUPTED: i32 = 130;

/// Ctrl-C, a hang-up or an orderly kill removes everything before the process ends.
fn clean_when_interrupted(resources: Resources) {
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
        else {
            return;
        };
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = (
                signal(SignalKind::interrupt()),
                signal(SignalKind::terminate()),
                signal(SignalKind::hangup()),
            ) else {
                return;
            };
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            super::process::INTERRUPTED.store(true, std::sync::atomic::Ordering::SeqCst);
            eprintln!("\nyundu: interrupted, cleaning up …");
            for line in resources.clean() {
                eprintln!("yundu: {line}");
            }
            std::process::exit(EXIT_INTERRUPTED);
        });
    });
}

/// Where the sample institution's files are written.
fn bank_dir(stage: &Stage) -> PathBuf {
    stage.dir.join("harbour-bank")
}

/// What the business felt so far.
fn tally(stage: &Stage) -> Result<super::transfers::Tally> {
    let outcomes = super::transfers::Outcomes::load(&stage.driver_dir())?;
    Ok(outcomes.tally(&business::switches(stage), &super::faults::windows(stage)))
}
