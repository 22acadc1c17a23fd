//! `yundu ledger verify`.

use super::{key_beside, open_directory, read_failure, read_key};
use crate::context::{Classify, Context, Failure, Outcome};
use anyhow::{Context as _, anyhow};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;
use yundu_estate::text::Lang;
use yundu_evidence::verify::{ArtefactReport, verify_artefacts, verify_beside_writer};
use yundu_evidence::{Problem, Reader, VerifyReport};

/// Pause while an append of another process ends.
const PAUSE: Duration = Duration::from_millis(20);

/// Arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Directory of the ledger (default: that of the workspace)
    directory: Option<PathBuf>,
    /// Public key of the ledger, or a file with it, from someone you trust (default: the one beside
    /// the ledger, which says nothing about an administrator who changed both)
    #[arg(long)]
    key: Option<String>,
    /// Checkpoint of this ledger that someone else kept: detects rewritten history
    #[arg(long)]
    kept: Option<PathBuf>,
    /// Directory of the files that the records name: checks their SHA-256
    #[arg(long)]
    artefacts: Option<PathBuf>,
}

#[derive(Serialize)]
struct Verdict {
    #[serde(flatten)]
    ledger: VerifyReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    artefacts: Option<ArtefactReport>,
}

/// Runs the command.
pub(super) fn run(context: &Context, args: Args) -> Outcome {
    let directory = args
        .directory
        .unwrap_or_else(|| context.workspace.join("ledger"));
    let store = open_directory(&directory)?;
    let key = match &args.key {
        Some(key) => read_key(key)?,
        None => key_beside(&directory)?,
    };
    let kept = args.kept.as_deref().map(|file| {
        std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))
    });
    // Bytes that are not UTF-8 are no checkpoint: verification says so.
    let kept = kept
        .transpose()
        .bad_input()?
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let pause = || std::thread::sleep(PAUSE);
    let ledger = verify_beside_writer(&store, &key, kept.as_deref(), pause).environment()?;
    let artefacts = match &args.artefacts {
        Some(directory) if ledger.verified => {
            let reader = Reader::open(&store, &key).map_err(read_failure)?;
            Some(verify_artefacts(&reader, directory).map_err(read_failure)?)
        }
        _ => None,
    };
    let verdict = Verdict { ledger, artefacts };
    context.print(&verdict, || text(context.lang, &verdict))?;
    let count = verdict.problems().count() as u64 + verdict.ledger.problems_omitted;
    match (count, context.lang) {
        (0, _) => Ok(()),
        (_, Lang::Zh) => Err(Failure::Refused(anyhow!("账本未通过核验：{count} 处不符"))),
        (_, Lang::En) => Err(Failure::Refused(anyhow!(
            "the ledger does not verify: {count} findings"
        ))),
    }
}

// === impl Verdict ===

impl Verdict {
    fn problems(&self) -> impl Iterator<Item = &Problem> {
        let artefacts = self.artefacts.iter().flat_map(|report| &report.problems);
        self.ledger.problems.iter().chain(artefacts)
    }
}

fn text(lang: Lang, verdict: &Verdict) -> String {
    let ledger = &verdict.ledger;
    let zh = lang == Lang::Zh;
    let mut lines = Vec::new();
    for problem in verdict.problems() {
        lines.push(if zh {
            format!("✗ {}", problem.zh())
        } else {
            format!("✗ {problem}")
        });
    }
    if ledger.problems_omitted > 0 {
        let count = ledger.problems_omitted;
        lines.push(if zh {
            format!("✗ 另有 {count} 处")
        } else {
            format!("✗ and {count} more")
        });
    }
    if ledger.verified {
        let (origin, size) = (&ledger.origin, ledger.size);
        let (bundles, tiles) = (ledger.bundle_count, ledger.tile_count);
        let root = ledger.root.as_deref().unwrap_or_default();
        lines.push(if zh {
            format!("✓ 账本 {origin}：{size} 条记录、{bundles} 个条目文件、{tiles} 个哈希块与签名一致\n  根哈希 {root}")
        } else {
            format!("✓ ledger {origin}: {size} entries in {bundles} bundles and {tiles} tiles are what was signed\n  root {root}")
        });
        lines.push(match (ledger.kept_size, zh) {
            (Some(kept), true) => format!("✓ 前 {kept} 条与留存的检查点一致：历史未被改写"),
            (Some(kept), false) => {
                format!("✓ the first {kept} entries are those of the kept checkpoint: history was not rewritten")
            }
            (None, true) => "· 未给出留存的检查点（--kept）：无法发现用真实密钥重新签名的改写".to_owned(),
            (None, false) => {
                "· no kept checkpoint was given (--kept): a rewrite signed with the real key would not show".to_owned()
            }
        });
    }
    if let Some(artefacts) = &verdict.artefacts {
        let (intact, absent) = (artefacts.intact_count, artefacts.absent.len());
        lines.push(if zh {
            format!("· 附件：{intact} 个与摘要一致，{absent} 个不在此处")
        } else {
            format!("· artefacts: {intact} have their digest, {absent} are not here")
        });
    }
    lines.join("\n")
}
