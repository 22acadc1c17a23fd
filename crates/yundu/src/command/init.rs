//! `yundu init`: make a workspace.

use crate::context::{Context, Outcome};
use crate::workspace::{Workspace, now_us};
use serde_json::json;
use std::path::PathBuf;
use yundu_evidence::Record;

/// Arguments.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  yundu init /srv/yundu
  yundu init --origin harbour-bank.example/ledger work

The directory then holds yundu.db (everything mutable), ledger/ (the evidence, readable by any
tlog-tiles client), keys/ (the log's key, readable by you alone) and reports/.")]
pub struct Args {
    /// Directory, absent or empty [default: that of --workspace]
    dir: Option<PathBuf>,
    /// Name of the ledger, as a URL without its scheme: it stands in every signed checkpoint
    #[arg(long, default_value = "yundu.example/ledger")]
    origin: String,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Outcome {
    let root = args.dir.unwrap_or_else(|| context.workspace.clone());
    let workspace = Workspace::create(&root, &args.origin)?;
    let at_us = now_us();
    workspace.record(&Record {
        id: format!("workspace.created-{}", uuid::Uuid::now_v7()),
        kind: "workspace.created".into(),
        subject: "workspace".into(),
        actor: "yundu init".into(),
        at_us,
        body: json!({ "origin": args.origin, "version": env!("CARGO_PKG_VERSION") }),
        artefacts: vec![],
    })?;
    let public_key = std::fs::read_to_string(root.join("ledger/public.key")).unwrap_or_default();
    let public_key = public_key.trim_end();
    let value = json!({ "workspace": root, "origin": args.origin, "public_key": public_key });
    context.print(&value, || {
        let (zh, en) = (
            format!("工作区已建立：{}\n账本公钥（请另行保管一份）：{public_key}", root.display()),
            format!("Workspace made: {}\nPublic key of the ledger (keep a copy elsewhere): {public_key}", root.display()),
        );
        context.tr(&zh, &en).to_owned()
    })
}
