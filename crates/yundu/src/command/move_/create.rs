//! Making and amending a move.

use super::{failure, open, surroundings};
use crate::context::{Classify, Context, Failure, Outcome};
use crate::workspace::{Workspace, now_us};
use anyhow::{Context as _, anyhow};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use yundu_migrate::runbook::Runbook;
use yundu_migrate::{Engine, Move, Wiring};

/// Arguments of `yundu move create`.
#[derive(clap::Args, Debug)]
pub struct CreateArgs {
    /// Name of the move
    id: String,
    /// Application of the estate
    #[arg(long)]
    application: String,
    /// Runbook, see docs/runbook.md
    #[arg(long)]
    runbook: PathBuf,
    /// Who asks for the move; their approval never counts
    #[arg(long, value_name = "PERSON")]
    maker: String,
    /// Control socket of a volume's process at the source; one per volume, in the runbook's order
    #[arg(long, required = true, value_name = "SOCK")]
    source_control: Vec<PathBuf>,
    /// Control socket of a volume's process at the target; one per volume, in the runbook's order
    #[arg(long, required = true, value_name = "SOCK")]
    target_control: Vec<PathBuf>,
    /// A value for `${NAME}` in the runbook
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
}

/// Arguments of `yundu move amend`.
#[derive(clap::Args, Debug)]
pub struct AmendArgs {
    /// Name of the move
    id: String,
    /// The runbook that replaces the present one
    #[arg(long)]
    runbook: PathBuf,
    /// A value for `${NAME}` in the runbook; others stay
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
}

pub(super) fn create(context: &Context, workspace: &Workspace, args: CreateArgs) -> Outcome {
    surroundings::require_application(workspace, &args.application)?;
    require_person(workspace, &args.maker)?;
    let variables = variables(BTreeMap::new(), &args.set)?;
    let runbook = read(&args.runbook, &variables)?;
    let volumes = runbook.volumes.len();
    if args.source_control.len() != volumes || args.target_control.len() != volumes {
        return Err(Failure::BadInput(anyhow!(
            "the runbook has {volumes} volumes: give --source-control and --target-control once for each, in its order"
        )));
    }
    let sockets = args.source_control.into_iter().zip(args.target_control);
    let wiring = runbook
        .volumes
        .iter()
        .zip(sockets)
        .map(|(volume, (source, target))| {
            let wiring = Wiring {
                source_control: absolute(&source)?,
                target_control: absolute(&target)?,
            };
            Ok((volume.name.clone(), wiring))
        })
        .collect::<Result<_, Failure>>()?;
    let a_move = Move {
        id: args.id,
        application: args.application,
        requester: args.maker,
        runbook,
        variables,
        wiring,
        created_us: now_us(),
    };
    a_move.validate().bad_input()?;
    let around = surroundings::of(workspace, &a_move)?;
    let digest = workspace
        .block_on(Engine::create(workspace.store(), &a_move, &around))
        .map_err(failure)?;
    workspace.settle()?;
    let value = json!({ "move": a_move.id, "digest": digest, "steps": a_move.runbook.steps.len() });
    context.print(&value, || made(context, &a_move, &digest))
}

fn made(context: &Context, a_move: &Move, digest: &str) -> String {
    let (id, steps) = (&a_move.id, a_move.runbook.steps.len());
    let zh =
        format!("迁移单 {id} 已建立：{steps} 个步骤，摘要 {digest}\n下一步：yundu move run {id}");
    let en = format!("Move {id} made: {steps} steps, digest {digest}\nNext: yundu move run {id}");
    context.tr(&zh, &en).to_owned()
}

pub(super) fn amend(context: &Context, workspace: &Workspace, args: AmendArgs) -> Outcome {
    let _lock = workspace.lock_move(context, &args.id)?;
    let (before, engine) = open(workspace, &args.id)?;
    let variables = variables(before.variables.clone(), &args.set)?;
    let runbook = read(&args.runbook, &variables)?;
    let amended = Move {
        runbook,
        variables,
        ..before
    };
    amended.validate().bad_input()?;
    let around = surroundings::of(workspace, &amended)?;
    let digest = workspace
        .block_on(engine.amend(&amended, &around))
        .map_err(failure)?;
    let value = json!({ "move": amended.id, "digest": digest });
    context.print(&value, || {
        let zh = format!(
            "迁移单 {} 已变更，新摘要 {digest}；针对其他摘要的审批不作数",
            amended.id
        );
        let en = format!(
            "Move {} amended, new digest {digest}; approvals of any other digest do not count",
            amended.id
        );
        context.tr(&zh, &en).to_owned()
    })
}

fn read(file: &Path, variables: &BTreeMap<String, String>) -> Result<Runbook, Failure> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("runbook {}", file.display()))
        .bad_input()?;
    Runbook::parse(&file.display().to_string(), &text, variables).bad_input()
}

fn variables(
    mut known: BTreeMap<String, String>,
    given: &[String],
) -> Result<BTreeMap<String, String>, Failure> {
    for pair in given {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(Failure::BadInput(anyhow!(
                "--set {pair}: expected NAME=VALUE"
            )));
        };
        known.insert(name.to_owned(), value.to_owned());
    }
    Ok(known)
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .with_context(|| format!("control socket {}", path.display()))
        .bad_input()
}

/// Refuses a person who is not registered.
pub(super) fn require_person(workspace: &Workspace, id: &str) -> Result<(), Failure> {
    if workspace.people()?.iter().any(|person| person.id == id) {
        return Ok(());
    }
    Err(Failure::BadInput(anyhow!(
        "{id} is not registered: `yundu people add {id} --role ROLE`"
    )))
}
