//! The one binary: `yundu COMMAND`.

mod command;
mod context;
mod demo;
mod report;
mod workspace;

use clap::{Parser, Subcommand};
use context::{Context, Outcome};
use std::path::PathBuf;
use std::process::ExitCode;
use yundu_estate::text::Lang;

/// 云渡 Yundu moves a financial institution's running systems to the cloud without stopping
/// them, and proves at every step that the move was safe.
#[derive(Parser, Debug)]
#[command(
    name = "yundu",
    version,
    after_help = "Exit codes: 0 done, 2 bad input (nothing changed), 3 refused by a gate, 4 environment."
)]
struct Cli {
    /// Workspace directory, made by `yundu init`
    #[arg(
        long,
        short = 'w',
        global = true,
        env = "YUNDU_WORKSPACE",
        default_value = "."
    )]
    workspace: PathBuf,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    json: bool,
    /// Language of the text: zh or en (default: from the locale)
    #[arg(long, global = true, env = "YUNDU_LANG")]
    lang: Option<Lang>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Make a workspace: database, ledger, log key
    Init(command::init::Args),
    /// Import, show and graph the estate
    Estate(command::estate::Args),
    /// Rank applications by transaction frequency and data sensitivity
    Assess(command::assess::Args),
    /// Place applications in waves
    Plan(command::plan::Args),
    /// Serve, replicate, cut over and roll back volumes
    Volume(command::volume::Args),
    /// Create, run, approve and watch a move
    Move(command::move_::Args),
    /// Show and check gates
    Gate(command::gate::Args),
    /// Show, prove and verify the evidence ledger
    Ledger(command::ledger::Args),
    /// People, their roles and keys
    People(command::people::Args),
    /// Write the report of a move
    Report(command::report::Args),
    /// Show the whole story on this machine
    Demo(command::demo::Args),
}

fn dispatch(context: &Context, command: Command) -> Outcome {
    match command {
        Command::Init(args) => command::init::run(context, args),
        Command::Estate(args) => command::estate::run(context, args),
        Command::Assess(args) => command::assess::run(context, args),
        Command::Plan(args) => command::plan::run(context, args),
        Command::Volume(args) => command::volume::run(context, args),
        Command::Move(args) => command::move_::run(context, args),
        Command::Gate(args) => command::gate::run(context, args),
        Command::Ledger(args) => command::ledger::run(context, args),
        Command::People(args) => command::people::run(context, args),
        Command::Report(args) => command::report::run(context, args),
        Command::Demo(args) => command::demo::run(context, args),
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse_from(command::demo::spell_json(std::env::args_os()));
    let context = Context {
        workspace: cli.workspace,
        json: cli.json,
        lang: cli.lang.unwrap_or_else(Lang::from_environment),
    };
    match dispatch(&context, cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("yundu: {}", failure.message());
            ExitCode::from(failure.exit_code())
        }
    }
}
