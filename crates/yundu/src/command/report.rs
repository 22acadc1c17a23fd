//! `yundu report`: the page that an auditor keeps.

pub mod gather;

use crate::context::{Classify, Context, Outcome};
use crate::report::render;
use crate::workspace::{Workspace, now_us};
use anyhow::Context as _;
use serde_json::json;
use std::path::PathBuf;

/// Arguments.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  yundu report M-1
  yundu report M-1 --out /somewhere/M-1.html --lang zh
  yundu report M-1 --json | jq .figures

One HTML file that loads nothing from anywhere: it can be mailed, archived and printed. It opens in
the language of --lang and switches by its button. --json prints what it shows instead.")]
pub struct Args {
    /// Id of the move
    #[arg(value_name = "MOVE")]
    move_id: String,
    /// Where to write it [default: reports/MOVE.html in the workspace]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Outcome {
    let workspace = Workspace::open(context)?;
    workspace.settle()?;
    let data = gather::gather(&workspace, &args.move_id, now_us())?;
    if context.json && args.out.is_none() {
        return context.print(&data, String::new);
    }
    let path = args.out.unwrap_or_else(|| {
        // An id may hold anything; the name of a file may not.
        let safe = |c: char| {
            if c.is_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '_'
            }
        };
        let name: String = args.move_id.chars().map(safe).collect();
        workspace
            .root()
            .join("reports")
            .join(format!("{name}.html"))
    });
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))
            .environment()?;
    }
    std::fs::write(&path, render(&data, context.lang))
        .with_context(|| format!("cannot write {}", path.display()))
        .environment()?;
    let shown = path.display().to_string();
    let value = json!({ "report": shown, "outcome": data.outcome });
    context.print(&value, || {
        format!("{} {shown}", context.tr("报告：", "report:"))
    })
}
