//! `yundu move`: create, run, approve and watch a move.

mod create;
mod decide;
mod run;
mod show;
pub mod surroundings;

use crate::context::{Context, Failure, Outcome};
use crate::workspace::Workspace;
use clap::Subcommand;
use std::sync::Arc;
use yundu_migrate::{
    CatalogKeeper, ControlPlane, Engine, EngineError, Move, Silent, SystemClock, SystemCommands,
    Watch,
};

/// Arguments.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  yundu move create core-ledger --application core-ledger --runbook runbook.yaml --maker wang.fang \\
      --source-control a.img.yundu/control.sock --target-control b.img.yundu/control.sock --set receive=10.0.2.2:11000
  yundu move run core-ledger --until rehearse
  yundu move status core-ledger
  yundu move approve core-ledger --as li.wei --key ~/li.wei.key
  yundu move confirm core-ledger figures-before --as zhang.min --key ~/zhang.min.key
  yundu move rollback core-ledger --to verify

`run` goes on by itself until a gate, a person or time stops it; after kill -9 it resumes where it was.
Exit codes: 0 done or somebody is waited for, 2 bad input, 3 a gate is closed or a step failed, 4 environment.
Runbooks are described in docs/runbook.md.")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Make a move of one application from a runbook
    Create(create::CreateArgs),
    /// Replace a move's runbook or values; approvals of what it was before do not count
    Amend(create::AmendArgs),
    /// Go on until a gate, a person or time stops it
    Run(run::RunArgs),
    /// Undo what was done, last step first, as far as there is a way back
    Rollback(run::RollbackArgs),
    /// Show steps, decisions, and whether one can go back now
    Status {
        /// Move
        id: String,
    },
    /// Approve the move (or object), signed with your own key
    Approve(decide::ApproveArgs),
    /// Decide a step that waits for a person, signed with your own key
    Confirm(decide::ConfirmArgs),
    /// Show all moves
    List,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Outcome {
    let workspace = Workspace::open(context)?;
    match args.command {
        Command::Create(args) => create::create(context, &workspace, args),
        Command::Amend(args) => create::amend(context, &workspace, args),
        Command::Run(args) => run::run(context, &workspace, args),
        Command::Rollback(args) => run::roll_back(context, &workspace, args),
        Command::Status { id } => show::status(context, &workspace, &id),
        Command::Approve(args) => decide::approve(context, &workspace, args),
        Command::Confirm(args) => decide::confirm(context, &workspace, args),
        Command::List => show::list(context, &workspace),
    }
}

/// The move and the engine that its wiring asks for.
pub fn open(workspace: &Workspace, id: &str) -> Result<(Move, Engine), Failure> {
    open_watched(workspace, id, Arc::new(Silent))
}

/// As [`open`]; `watch` looks on.
pub fn open_watched(
    workspace: &Workspace,
    id: &str,
    watch: Arc<dyn Watch>,
) -> Result<(Move, Engine), Failure> {
    let a_move = workspace
        .block_on(Engine::load_from(workspace.store(), id))
        .map_err(failure)?;
    let engine = Engine {
        store: workspace.store().clone(),
        ledger: workspace.ledger().clone(),
        plane: Arc::new(ControlPlane::new(a_move.wiring.clone())),
        commands: Arc::new(SystemCommands),
        gates: Arc::new(CatalogKeeper(workspace.catalog()?)),
        clock: Arc::new(SystemClock),
        watch,
    };
    Ok((a_move, engine))
}

/// The exit code that an engine's error deserves.
pub fn failure(error: EngineError) -> Failure {
    match error {
        EngineError::NoMove { .. }
        | EngineError::MoveExists { .. }
        | EngineError::NoStep { .. }
        | EngineError::AmendsThePast { .. } => Failure::BadInput(error.into()),
        EngineError::Decision { .. } | EngineError::Gate { .. } => Failure::Refused(error.into()),
        _ => Failure::Environment(error.into()),
    }
}
