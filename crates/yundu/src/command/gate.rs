//! `yundu gate`: what a step waits for, and whether it holds now.

mod input;

use crate::context::{Classify, Context, Failure, Outcome};
use crate::workspace::{Workspace, now_us};
use anyhow::anyhow;
use serde_json::{Value, json};
use std::fmt::Write as _;
use yundu_comply::{Bundle, Catalog, GateVerdict, Status, canonical_input, recompute};
use yundu_evidence::{Artefact, Record};
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

fn check(context: &Context, move_id: &str, gate: &str) -> Outcome {
    let workspace = Workspace::open(context)?;
    let bundle = workspace.catalog()?.bundle(gate).bad_input()?;
    let at_us = now_us();
    let input = input::compose(&workspace, move_id, at_us)?;
    let verdict = bundle.evaluate(&input);
    let row = keep(&workspace, move_id, at_us, &input, &bundle, &verdict)?;
    let value = json!({ "id": row.id, "at_us": at_us, "verdict": verdict });
    context.print(&value, || told(context, &row.id, &verdict))?;
    match verdict.open {
        true => Ok(()),
        false => {
            let word = context.tr("闸门关闭", "the gate is closed");
            Err(Failure::Refused(anyhow!("{word}: {gate}")))
        }
    }
}

/// Writes the verdict and its evidence in one transaction.
fn keep(
    workspace: &Workspace,
    move_id: &str,
    at_us: i64,
    input: &Value,
    bundle: &Bundle,
    verdict: &GateVerdict,
) -> Result<VerdictRow, Failure> {
    let input = canonical_input(input).environment()?;
    let body = serde_json::to_value(verdict).environment()?;
    let gate = &verdict.gate;
    let artefact = |name: &str, sha256: &str, bytes: &[u8]| Artefact {
        name: name.to_owned(),
        sha256: sha256.to_owned(),
        size_bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
    };
    let record = Record {
        id: format!("gate-{move_id}-{gate}-{at_us}"),
        kind: "gate.verdict".to_owned(),
        subject: move_id.to_owned(),
        actor: "yundu".to_owned(),
        at_us,
        body: body.clone(),
        artefacts: vec![
            artefact("input.json", &verdict.input_digest, &input),
            artefact("bundle.json", &verdict.policy_digest, bundle.to_bytes()),
        ],
    };
    let row = VerdictRow {
        id: record.id.clone(),
        subject: move_id.to_owned(),
        gate: gate.clone(),
        open: verdict.open,
        input_digest: verdict.input_digest.clone(),
        policy_digest: verdict.policy_digest.clone(),
        input: String::from_utf8(input).environment()?,
        policy: String::from_utf8(bundle.to_bytes().to_vec()).environment()?,
        verdict: body,
        at_us,
    };
    workspace
        .block_on(async {
            let mut change = workspace.store().begin().await?;
            change.add_verdict(&row).await?;
            change.record(&record).await?;
            change.commit().await
        })
        .environment()?;
    workspace.settle()?;
    Ok(row)
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
