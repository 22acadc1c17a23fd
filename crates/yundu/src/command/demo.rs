//! `yundu demo`.

use crate::context::{Classify, Context, Failure, Outcome};
use crate::demo;
use std::ffi::OsString;
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
pub fn run(context: &Context, args: Args) -> Outcome {
    if let Some(part) = &args.part {
        return demo::run_part(&args.dir, part).environment();
    }
    if args.clean {
        let resisting = demo::resources::Resources::of(&args.dir).clean();
        if resisting.is_empty() {
            return context.print(&serde_json::json!({ "clean": true }), || {
                context.tr("没有留下任何东西", "nothing is left").to_owned()
            });
        }
        return Err(Failure::Environment(anyhow::anyhow!(resisting.join("; "))));
    }
    demo::story::claim(&args.dir).bad_input()?;
    demo::story::tell(context, &args.dir, args.plain, args.json_file.as_deref()).environment()
}

/// Here `--json FILE` writes the outcome to a file, while everywhere else `--json` stands alone:
/// spelled `--json-file FILE` before the arguments are parsed.
pub fn spell_json(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut spelled: Vec<OsString> = Vec::new();
    let mut is_demo = false;
    for argument in arguments {
        is_demo |= argument == "demo";
        let word = match argument.to_str() {
            Some("--json") if is_demo => "--json-file".into(),
            Some(word) if is_demo && word.starts_with("--json=") => {
                word.replacen("--json=", "--json-file=", 1).into()
            }
            _ => argument,
        };
        spelled.push(word);
    }
    spelled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(words: &[&str]) -> Vec<String> {
        let words = words.iter().map(OsString::from);
        spell_json(words)
            .into_iter()
            .map(|word| word.into_string().unwrap())
            .collect()
    }

    #[test]
    fn json_of_the_demo_takes_a_file_and_no_other_json_changes() {
        assert_eq!(
            spelled(&["yundu", "demo", "--json", "out.json"]),
            ["yundu", "demo", "--json-file", "out.json"]
        );
        assert_eq!(
            spelled(&["yundu", "demo", "--json=x"]),
            ["yundu", "demo", "--json-file=x"]
        );
        assert_eq!(
            spelled(&["yundu", "--json", "plan"]),
            ["yundu", "--json", "plan"]
        );
    }
}
