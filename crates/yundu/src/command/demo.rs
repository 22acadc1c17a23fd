//! `yundu demo`.

use crate::context::{Classify, Context, Failure, Outcome};
use crate::demo;
use std::path::PathBuf;

/// Arguments.
#[derive(clap::Args, Debug)]
#[command(
    args_conflicts_with_subcommands = false,
    after_help = "Examples:\n  yundu demo\n  yundu demo --lang zh --dir /tmp/story --json result.json\n  yundu demo --clean --dir /tmp/story"
)]
pub struct Args {
    /// Directory that takes everything; made by the demo, or made by an earlier demo
    #[arg(long, env = "YUNDU_DEMO_DIR", default_value = "yundu-demo")]
    pub dir: PathBuf,
    /// Write the outcome as JSON to this file (`--json FILE` means the same here)
    #[arg(long, value_name = "FILE")]
    pub json_file: Option<PathBuf>,
    /// No namespaces, no PostgreSQL: loopback and the built-in ledger
    #[arg(long)]
    pub plain: bool,
    /// Only remove what an interrupted demo left on the machine
    #[arg(long)]
    pub clean: bool,
    /// A part that runs as a process of its own
    #[command(subcommand)]
    pub part: Option<demo::Part>,
}

/// Runs the command.
pub fn run(_context: &Context, args: Args) -> Outcome {
    if let Some(part) = &args.part {
        return demo::run_part(&args.dir, part).environment();
    }
    if args.clean {
        let resisting = demo::resources::Resources::of(&args.dir).clean();
        if resisting.is_empty() {
            return Ok(());
        }
        return Err(Failure::Environment(anyhow::anyhow!(resisting.join("; "))));
    }
    Err(Failure::Environment(anyhow::anyhow!(
        "the story is not told yet"
    )))
}
