//! `yundu gate`: what a step waits for, and whether it holds now.

use crate::command::move_::{self, surroundings};
use crate::context::{Classify, Context, Failure, Outcome};
use crate::workspace::Workspace;
use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};
use std::fmt::Write as _;
use yundu_comply::{Bundle, Catalog, GateVerdict, Status, recompute};
use yundu_store::VerdictRow;

/// Arguments.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  yundu gate list
  yundu gate show cutover
  yundu gate show cutover --policies
  yundu gate check M-1 cutover
  yundu gate verify gate-M-1-cutover-1795367000000000

A verdict is computed from recorded evidence alone; what cannot be computed keeps a gate closed.
Exit code 3: the gate is closed, or a recorded verdict does not follow from its recorded input.")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Show all gates and their controls
    List,
    /// Show what a gate asks for, with remedies and sources
    Show {
        /// Id of the gate
        gate: String,
        /// Show the texts of the policies too
        #[arg(long)]
        policies: bool,
    },
    /// Judge a gate for a move now, and record the verdict
    Check {
        /// Id of the move
        #[arg(value_name = "MOVE")]
        move_id: String,
        /// Id of the gate
        gate: String,
    },
    /// Compute a recorded verdict again from its recorded input
    Verify {
        /// Id of the verdict, as `gate check`, `move status` and the report show it
        verdict: String,
    },
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Outcome {
    match args.command {
        Command::List => list(context, &catalog(context)?),
        Command::Show { gate, policies } => {
            let catalog = catalog(context)?;
            show(
                context,
                &catalog.bundle(&gate).bad_input()?,
                &catalog,
                policies,
            )
        }
        Command::Check { move_id, gate } => check(context, &move_id, &gate),
        Command::Verify { verdict } => verify(context, &verdict),
    }
}

/// The workspace's catalog; outside a workspace, the embedded one.
fn catalog(context: &Context) -> Result<Catalog, Failure> {
    Catalog::load(Some(&context.workspace.join("catalog"))).bad_input()
}

fn list(context: &Context, catalog: &Catalog) -> Outcome {
    let gates: Vec<_> = catalog.gates().collect();
    context.print(&gates, || {
        let mut text = String::new();
        for gate in &gates {
            let title = gate.title.get(context.lang);
            let _ = writeln!(text, "{}  {title}", gate.id);
            let _ = writeln!(text, "    {}", gate.guards.get(context.lang));
            let _ = writeln!(text, "    {}", gate.controls.join(", "));
        }
        text.trim_end().to_owned()
    })
}

fn show(context: &Context, bundle: &Bundle, catalog: &Catalog, policies: bool) -> Outcome {
    let faults: Vec<Value> = bundle
        .faults()
        .map(|(control, fault)| json!({ "control": control.id, "fault": fault.to_string() }))
        .collect();
    let texts: Value = bundle
        .controls()
        .iter()
        .filter(|_| policies)
        .map(|control| json!({ "file": control.policy, "text": catalog.policy(&control.policy) }))
        .collect();
    let value = json!({
        "gate": bundle.gate(), "controls": bundle.controls(), "policy_digest": bundle.digest(),
        "faults": faults, "policies": texts,
    });
    context.print(&value, || shown(context, bundle, catalog, policies))
}

fn shown(context: &Context, bundle: &Bundle, catalog: &Catalog, policies: bool) -> String {
    let lang = context.lang;
    let gate = bundle.gate();
    let mut text = format!(
        "{}  {}\n{}\n",
        gate.id,
        gate.title.get(lang),
        gate.guards.get(lang)
    );
    let digest = context.tr("策略摘要", "digest of its policies");
    let _ = writeln!(text, "{digest} {}", bundle.digest());
    for control in bundle.controls() {
        let _ = writeln!(text, "\n{}  {}", control.id, control.title.get(lang));
        let _ = writeln!(text, "  {}", control.requirement.get(lang));
        let remedy = context.tr("如何取得", "how to obtain it");
        let _ = writeln!(text, "  {remedy}: {}", control.remedy.get(lang));
        for reference in &control.references {
            let unverified = match reference.unverified {
                true => context.tr("（未核对）", " (unverified)"),
                false => "",
            };
            let (standard, clause) = (&reference.standard, &reference.clause);
            let _ = writeln!(text, "  {standard} § {clause}{unverified}");
        }
        let _ = writeln!(text, "  catalog/policies/{}", control.policy);
        if let Some(policy) = catalog.policy(&control.policy).filter(|_| policies) {
            for line in policy.lines() {
                let _ = writeln!(text, "    | {line}");
            }
        }
    }
    for (control, fault) in bundle.faults() {
        let warning = context.tr("无法判定", "cannot be judged");
        let _ = writeln!(text, "\n! {}: {warning}: {fault}", control.id);
    }
    text.trim_end().to_owned()
}

/// Judged by the engine, from the same input as a step's own gate: what a check says is what a
/// run would find.
fn check(context: &Context, move_id: &str, gate: &str) -> Outcome {
    let workspace = Workspace::open(context)?;
    workspace.catalog()?.bundle(gate).bad_input()?;
    let (a_move, engine) = move_::open(&workspace, move_id)?;
    let around = surroundings::of(&workspace, &a_move)?;
    let verdict = workspace
        .block_on(engine.check_gate(&a_move, &around, gate))
        .map_err(move_::failure)?;
    workspace.settle()?;
    let row = latest(&workspace, move_id, gate)?;
    let value = json!({ "id": row.id, "at_us": row.at_us, "verdict": verdict });
    context.print(&value, || told(context, &row.id, &verdict))?;
    match verdict.open {
        true => Ok(()),
        false => {
            let word = context.tr("闸门关闭", "the gate is closed");
            Err(Failure::Refused(anyhow!("{word}: {gate}")))
        }
    }
}

/// The verdict on `gate` that was recorded last.
fn latest(workspace: &Workspace, move_id: &str, gate: &str) -> Result<VerdictRow, Failure> {
    let rows = workspace
        .block_on(async { workspace.store().read().await?.verdicts(move_id).await })
        .environment()?;
    let newest = rows
        .into_iter()
        .filter(|row| row.gate == gate)
        .max_by_key(|row| row.at_us);
    newest
        .with_context(|| format!("the verdict on {gate} was not kept"))
        .environment()
}

fn told(context: &Context, id: &str, verdict: &GateVerdict) -> String {
    let lang = context.lang;
    let word = match verdict.open {
        true => context.tr("打开", "open"),
        false => context.tr("关闭", "closed"),
    };
    let mut text = format!("{} {}: {word}\n", verdict.gate, verdict.title.get(lang));
    for control in &verdict.controls {
        let mark = match control.status {
            Status::Pass => "✓",
            Status::NotApplicable => "–",
            Status::Fail => "✗",
            Status::Unknown => "?",
        };
        let _ = writeln!(
            text,
            "  {mark} {}  {}",
            control.control,
            control.title.get(lang)
        );
        for reason in &control.reasons {
            let _ = writeln!(text, "      {}", reason.get(lang));
        }
    }
    let again = context.tr("重算", "compute it again");
    let _ = write!(text, "{again}: yundu gate verify {id}");
    text
}

fn verify(context: &Context, id: &str) -> Outcome {
    let workspace = Workspace::open(context)?;
    let row = find(&workspace, id)?;
    let verdict: GateVerdict = serde_json::from_value(row.verdict).environment()?;
    let input: Value = serde_json::from_str(&row.input).environment()?;
    let again = recompute(&verdict, &input, row.policy.as_bytes()).environment()?;
    context.print(&again, || {
        if again.follows {
            let (zh, en) = (
                "结论由记录的输入得出",
                "the verdict follows from its recorded input",
            );
            return format!("✓ {id}: {}", context.tr(zh, en));
        }
        let lines: Vec<_> = again
            .differences
            .iter()
            .map(|text| format!("  {}", text.get(context.lang)))
            .collect();
        format!("✗ {id}\n{}", lines.join("\n"))
    })?;
    match again.follows {
        true => Ok(()),
        false => Err(Failure::Refused(anyhow!(
            "{} {id}",
            context.tr(
                "结论不成立",
                "the verdict does not follow from its recorded input:"
            )
        ))),
    }
}

fn find(workspace: &Workspace, id: &str) -> Result<VerdictRow, Failure> {
    let found = workspace
        .block_on(async {
            let mut read = workspace.store().read().await?;
            for one in read.moves().await? {
                let rows = read.verdicts(&one.id).await?;
                if let Some(row) = rows.into_iter().find(|row| row.id == id) {
                    return Ok(Some(row));
                }
            }
            Ok::<_, yundu_store::StoreError>(None)
        })
        .environment()?;
    let missing =
        || Failure::BadInput(anyhow!("no verdict `{id}`: `yundu report MOVE` lists them"));
    found.ok_or_else(missing)
}
