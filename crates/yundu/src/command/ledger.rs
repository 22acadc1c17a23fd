//! `yundu ledger`: show, prove and verify the evidence ledger.

mod show;
mod verify;

use crate::context::{Classify, Context, Failure, Outcome};
use anyhow::{Context as _, anyhow};
use clap::Subcommand;
use std::path::{Path, PathBuf};
use yundu_estate::text::Lang;
use yundu_evidence::tile_path::PUBLIC_KEY_FILE;
use yundu_evidence::{DirectoryStore, InclusionProof, ReadError, Reader, VerifierKey};

/// Arguments.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  \
yundu ledger show --kind gate.verdict --limit 5\n  \
yundu ledger checkpoint > /somewhere/else/kept.checkpoint   # give it to someone else to keep\n  \
yundu ledger verify --kept /somewhere/else/kept.checkpoint\n  \
yundu ledger verify copy-of/ledger --key 'harbour-bank.example/ledger+1a2b3c4d+AQ…'\n  \
yundu ledger prove 17 --out entry-17.json\n  \
yundu ledger check-proof entry-17.json --key public.key\n\n\
None of these needs to stop a process that appends. Exit code 3: something was altered, or a proof\n\
proves nothing. Without Yundu: python3 docs/verify/verify.py LEDGER PUBLIC_KEY")]
pub struct Args {
    #[command(subcommand)]
    command: LedgerCommand,
}

#[derive(Subcommand, Debug)]
enum LedgerCommand {
    /// Show records, the newest unless --from is given
    Show(show::Args),
    /// Make a proof that an entry is in the ledger: a file that anyone checks with the public key
    Prove {
        /// Place of the entry, counted from 0
        index: u64,
        /// File to write (default: standard output)
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Check a proof that `prove` made
    CheckProof {
        /// The proof
        file: PathBuf,
        /// Public key of the ledger, or a file with it, from someone you trust
        #[arg(long)]
        key: String,
    },
    /// Check every entry, tile and signature, and name what was altered
    Verify(verify::Args),
    /// Print the signed checkpoint: whoever keeps it can prove later that history was rewritten
    Checkpoint,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Outcome {
    match args.command {
        LedgerCommand::Show(args) => show::run(context, args),
        LedgerCommand::Prove { index, out } => prove(context, index, out.as_deref()),
        LedgerCommand::CheckProof { file, key } => check_proof(context, &file, &key),
        LedgerCommand::Verify(args) => verify::run(context, args),
        LedgerCommand::Checkpoint => checkpoint(context),
    }
}

fn prove(context: &Context, index: u64, out: Option<&Path>) -> Outcome {
    let proof = open(context)?.prove(index).map_err(read_failure)?;
    let json = serde_json::to_string_pretty(&proof).environment()?;
    let Some(out) = out else {
        println!("{json}");
        return Ok(());
    };
    std::fs::write(out, json + "\n")
        .with_context(|| format!("{} cannot be written", out.display()))
        .environment()?;
    let value = serde_json::json!({"index": index, "file": out});
    context.print(&value, || match context.lang {
        Lang::Zh => format!(
            "条目 {index} 的证明已写入 {0}；核对：yundu ledger check-proof {0} --key 公钥",
            out.display()
        ),
        Lang::En => format!(
            "proof of entry {index} written to {0}; check it: yundu ledger check-proof {0} --key PUBLIC_KEY",
            out.display()
        ),
    })
}

fn check_proof(context: &Context, file: &Path, key: &str) -> Outcome {
    let key = read_key(key)?;
    let name = file.display();
    let text = std::fs::read(file)
        .with_context(|| format!("{name} cannot be read"))
        .bad_input()?;
    let proof: InclusionProof = serde_json::from_slice(&text)
        .with_context(|| format!("{name} is no proof that `yundu ledger prove` made"))
        .bad_input()?;
    let checkpoint = proof
        .check(&key)
        .with_context(|| match context.lang {
            Lang::Zh => format!("{name} 不能证明任何事"),
            Lang::En => format!("{name} proves nothing"),
        })
        .refused()?;
    let (index, record, size) = (proof.index, &proof.record, checkpoint.size);
    let value = serde_json::json!({
        "proved": true, "origin": checkpoint.origin, "size": size, "index": index, "record": record,
    });
    context.print(&value, || {
        let (at, id) = (show::time(record.at_us), &record.id);
        let (kind, subject, actor) = (&record.kind, &record.subject, &record.actor);
        match context.lang {
            Lang::Zh => format!(
                "已证明：账本 {}（{size} 条）的第 {index} 条是记录 {id}\n{at}  {kind}  {subject}  执行者 {actor}",
                checkpoint.origin
            ),
            Lang::En => format!(
                "proved: entry {index} of the ledger {} ({size} entries) is record {id}\n{at}  {kind}  {subject}  by {actor}",
                checkpoint.origin
            ),
        }
    })
}

fn checkpoint(context: &Context) -> Outcome {
    let reader = open(context)?;
    let checkpoint = reader.checkpoint();
    let value = serde_json::json!({
        "origin": checkpoint.origin, "size": checkpoint.size,
        "root": checkpoint.root.to_string(), "checkpoint": checkpoint.text,
    });
    if context.json {
        return context.print(&value, String::new);
    }
    // Byte for byte, so that the output can be kept as a file.
    print!("{}", checkpoint.text);
    Ok(())
}

/// The ledger of the workspace, for reading.
fn open(context: &Context) -> Result<Reader<DirectoryStore>, Failure> {
    let directory = context.workspace.join("ledger");
    let store = open_directory(&directory)?;
    let key = key_beside(&directory)?;
    Reader::open(store, &key).map_err(read_failure)
}

fn open_directory(directory: &Path) -> Result<DirectoryStore, Failure> {
    DirectoryStore::open_read_only(directory)
        .with_context(|| {
            format!(
                "no ledger at {}: give its directory, or a workspace made by `yundu init` with --workspace",
                directory.display()
            )
        })
        .bad_input()
}

/// The public key that lies beside a ledger: good against accidents, not against its owner.
fn key_beside(directory: &Path) -> Result<VerifierKey, Failure> {
    let file = directory.join(PUBLIC_KEY_FILE);
    let text = std::fs::read_to_string(&file)
        .with_context(|| {
            format!(
                "{} cannot be read: give the public key with --key",
                file.display()
            )
        })
        .bad_input()?;
    VerifierKey::parse(&text)
        .with_context(|| format!("{} altered", file.display()))
        .refused()
}

/// A public key, or a file with one.
fn read_key(text_or_file: &str) -> Result<VerifierKey, Failure> {
    if Path::new(text_or_file).is_file() {
        let text = std::fs::read_to_string(text_or_file)
            .with_context(|| format!("{text_or_file} cannot be read"))
            .bad_input()?;
        return VerifierKey::parse(&text)
            .with_context(|| text_or_file.to_owned())
            .bad_input();
    }
    VerifierKey::parse(text_or_file)
        .with_context(|| format!("there is no file `{text_or_file}` either"))
        .bad_input()
}

fn read_failure(error: ReadError) -> Failure {
    match error {
        ReadError::Store(_) => Failure::Environment(error.into()),
        ReadError::Checkpoint(_) | ReadError::Damaged { .. } | ReadError::Proof(_) => {
            Failure::Refused(error.into())
        }
        _ => Failure::BadInput(anyhow!(error)),
    }
}
