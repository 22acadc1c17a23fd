//! Decisions on a move, signed with the person's own key.

use super::create::require_person;
use super::{failure, open, surroundings};
use crate::context::{Classify, Context, Outcome};
use crate::workspace::Workspace;
use clap::ValueEnum;
use std::path::PathBuf;
use yundu_migrate::Ask;
use yundu_migrate::runbook::FactPhase;
use yundu_people::{Decision, PersonKey};

/// Who decides.
#[derive(clap::Args, Debug)]
struct By {
    /// Who decides
    #[arg(long = "as", value_name = "PERSON")]
    person: String,
    /// Their private key [default: the one kept in the workspace]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Why, in your words
    #[arg(long, default_value = "")]
    reason: String,
}

/// Arguments of `yundu move approve`.
#[derive(clap::Args, Debug)]
pub struct ApproveArgs {
    /// Name of the move
    id: String,
    #[command(flatten)]
    by: By,
    /// Object instead of approving
    #[arg(long, requires = "reason")]
    object: bool,
    /// Decide on destroying the source
    #[arg(long, conflicts_with = "reconciliation")]
    retire: bool,
    /// Sign the figures taken before or after
    #[arg(long, value_name = "PHASE")]
    reconciliation: Option<Phase>,
}

/// When the figures were taken.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Phase {
    /// At the source
    Before,
    /// At the target
    After,
}

/// Arguments of `yundu move confirm`.
#[derive(clap::Args, Debug)]
pub struct ConfirmArgs {
    /// Name of the move
    id: String,
    /// Step that waits
    step: String,
    #[command(flatten)]
    by: By,
    /// Decide against it
    #[arg(long, requires = "reason")]
    no_go: bool,
}

pub(super) fn approve(context: &Context, workspace: &Workspace, args: ApproveArgs) -> Outcome {
    let ask = match (args.retire, args.reconciliation) {
        (true, _) => Ask::Retire,
        (false, Some(Phase::Before)) => Ask::Figures(FactPhase::Before),
        (false, Some(Phase::After)) => Ask::Figures(FactPhase::After),
        (false, None) => Ask::Move,
    };
    decide(context, workspace, &args.id, &ask, &args.by, args.object)
}

pub(super) fn confirm(context: &Context, workspace: &Workspace, args: ConfirmArgs) -> Outcome {
    decide(
        context,
        workspace,
        &args.id,
        &Ask::Step(args.step),
        &args.by,
        args.no_go,
    )
}

fn decide(
    context: &Context,
    workspace: &Workspace,
    id: &str,
    ask: &Ask,
    by: &By,
    against: bool,
) -> Outcome {
    let (a_move, engine) = open(workspace, id)?;
    require_person(workspace, &by.person)?;
    let file = by
        .key
        .clone()
        .unwrap_or_else(|| workspace.person_key_file(&by.person));
    let key = PersonKey::load(&file).bad_input()?;
    let around = surroundings::of(workspace, &a_move)?;
    let decision = if against {
        Decision::Object
    } else {
        Decision::Approve
    };
    let work = engine.decide(
        &a_move,
        &around,
        ask,
        (&by.person, &key),
        decision,
        &by.reason,
    );
    let approval = workspace.block_on(work).map_err(failure)?;
    // Kept and named by the gate; it counts for nothing, and its giver should know.
    let own = matches!(ask, Ask::Move | Ask::Retire) && by.person == a_move.requester;
    context.print(&approval, || {
        let (person, kind) = (&approval.person, &approval.subject_kind);
        let digest: String = approval.subject_digest.chars().take(12).collect();
        let (zh, en) = match decision {
            Decision::Approve => ("批准", "approved"),
            Decision::Object => ("反对", "objected to"),
        };
        let mut text = context
            .tr(
                &format!("{person} 已{zh}（{kind} {digest}）"),
                &format!("{person} {en} ({kind} {digest})"),
            )
            .to_owned();
        if own {
            text.push('\n');
            text.push_str(context.tr(
                "注意：申请人的审批不计入",
                "note: the requester's own approval counts for nothing",
            ));
        }
        text
    })
}
