//! `yundu plan`: place applications in waves.

use crate::command::estate::documents;
use crate::context::{Classify, Context, Failure, Outcome};
use serde_json::json;
use yundu_assess::rank;
use yundu_estate::Estate;
use yundu_estate::model::Tier;
use yundu_estate::table::Table;
use yundu_evidence::Record;
use yundu_plan::{Candidate, Need, Plan, PlanInput, waves};
use yundu_store::PlanRow;

/// Arguments.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  yundu plan
  yundu plan --capacity 4 --reasons
  yundu plan --save
  yundu plan --json | jq -r .digest

Non-core first, then one core system as a pilot, then the rest of the core and what needs it.
Nothing moves before what it needs; systems that need each other in a circle move together.
The digest is what approvals refer to: the same estate and capacity give the same digest.")]
pub struct Args {
    /// Most applications in one wave
    #[arg(long, value_name = "N", default_value_t = 6)]
    capacity: usize,
    /// Show why each application stands where it stands
    #[arg(long)]
    reasons: bool,
    /// Keep the plan as the latest one, with its record among the evidence
    #[arg(long)]
    save: bool,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Outcome {
    let plan = make(&documents::estate(context)?, args.capacity)?;
    if args.save {
        save(context, &plan)?;
    }
    context.print(&plan, || text(context, &plan, args.reasons))
}

/// Makes `plan` the latest one; saving the latest plan again changes nothing.
pub fn save(context: &Context, plan: &Plan) -> Result<(), Failure> {
    let at_us = jiff::Timestamp::now().as_microsecond();
    let document = serde_json::to_value(plan).environment()?;
    documents::blocking(async {
        let store = documents::open(context).await?;
        let mut transaction = store.begin().await.environment()?;
        let latest = transaction.latest_plan().await.environment()?;
        if latest.is_none_or(|latest| latest.digest != plan.digest) {
            let row = PlanRow {
                digest: plan.digest.clone(),
                document,
                at_us,
            };
            transaction.put_plan(&row).await.environment()?;
            transaction
                .record(&evidence(plan, at_us))
                .await
                .environment()?;
            transaction.commit().await.environment()?;
        }
        store.close().await;
        Ok(())
    })
}

fn evidence(plan: &Plan, at_us: i64) -> Record {
    Record {
        id: format!("plan.saved-{}-{at_us}", plan.digest),
        kind: "plan.saved".to_owned(),
        subject: "plan".to_owned(),
        actor: "yundu plan".to_owned(),
        at_us,
        body: json!({
            "digest": plan.digest,
            "capacity": plan.capacity,
            "waves": plan.waves.len(),
            "applications": plan.placements.len(),
        }),
        artefacts: Vec::new(),
    }
}

/// The plan for everything in `estate`, at most `capacity` applications in a wave. An application
/// whose tier no source states counts as core.
pub fn make(estate: &Estate, capacity: usize) -> Result<Plan, Failure> {
    let candidates = rank(estate)
        .into_iter()
        .map(|ranked| {
            let tier = estate
                .applications
                .get(&ranked.application)
                .and_then(|it| it.tier.greatest());
            Candidate {
                is_core: tier.is_none_or(|tier| *tier == Tier::Core),
                application: ranked.application,
                name: ranked.name,
                score_milli: ranked.score_milli,
            }
        })
        .collect();
    let needs = estate
        .application_dependencies()
        .into_iter()
        .map(|dependency| Need {
            from: dependency.from,
            to: dependency.to,
        })
        .collect();
    waves(&PlanInput {
        candidates,
        needs,
        capacity,
    })
    .bad_input()
}

fn text(context: &Context, plan: &Plan, with_reasons: bool) -> String {
    let lang = context.lang;
    let mut table = Table::new([
        context.tr("批次", "wave"),
        context.tr("阶段", "stage"),
        context.tr("次序", "order"),
        context.tr("标识", "id"),
        context.tr("名称", "name"),
    ])
    .right([0, 2]);
    for placement in &plan.placements {
        table.row([
            placement.wave.to_string(),
            placement.stage.title().get(lang).to_owned(),
            placement.order.to_string(),
            placement.application.clone(),
            placement.name.get(lang).to_owned(),
        ]);
    }
    let mut parts = vec![table.render()];
    if with_reasons {
        let lines: Vec<String> = plan
            .placements
            .iter()
            .map(|it| {
                format!(
                    "{:>3}  {}: {}",
                    it.wave,
                    it.application,
                    it.reason.get(lang)
                )
            })
            .collect();
        parts.push(lines.join("\n"));
    }
    parts.push(format!(
        "{}: {}",
        context.tr("计划摘要 (SHA-256)", "digest of the plan (SHA-256)"),
        plan.digest
    ));
    parts.join("\n\n")
}
