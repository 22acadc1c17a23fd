//! What the workspace knows around a move, as recorded input of its gates.

use crate::context::{Classify, Failure};
use crate::workspace::Workspace;
use anyhow::anyhow;
use serde_json::{Value, json};
use yundu_estate::{Estate, Known, Platform};
use yundu_evidence::canonical;
use yundu_migrate::{Move, SiteFacts, Surroundings};
use yundu_plan::Plan;

/// Everything around `a_move`, as of now.
pub fn of(workspace: &Workspace, a_move: &Move) -> Result<Surroundings, Failure> {
    let estate = workspace.estate()?;
    let facts = |site: &str| {
        estate
            .platforms(&a_move.application, site)
            .into_iter()
            .map(site_facts)
            .collect()
    };
    let plan = latest_plan(workspace)?;
    let placement = plan.as_ref().and_then(|plan| {
        let own = |placement: &&yundu_plan::Placement| placement.application == a_move.application;
        plan.placements.iter().find(own)
    });
    Ok(Surroundings {
        source: facts(&a_move.runbook.source_site),
        target: facts(&a_move.runbook.target_site),
        plan_digest: plan.as_ref().map(|plan| plan.digest.clone()),
        wave: placement.and_then(|placement| i64::try_from(placement.wave).ok()),
        placement: placement
            .map_or(Ok(Value::Null), serde_json::to_value)
            .environment()?,
        estate: estate_input(&estate)?,
    })
}

/// Refuses an application that the estate does not know.
pub fn require_application(workspace: &Workspace, application: &str) -> Result<(), Failure> {
    let estate = workspace.estate()?;
    if estate.applications.contains_key(application) {
        return Ok(());
    }
    Err(Failure::BadInput(anyhow!(
        "application {application} is not in the estate: import it first with `yundu estate import FILE`"
    )))
}

fn latest_plan(workspace: &Workspace) -> Result<Option<Plan>, Failure> {
    let row = workspace
        .block_on(async { workspace.store().read().await?.latest_plan().await })
        .environment()?;
    row.map(|row| serde_json::from_value(row.document).environment())
        .transpose()
}

fn estate_input(estate: &Estate) -> Result<Value, Failure> {
    let applications: Vec<Value> = estate
        .applications
        .values()
        .map(|it| {
            json!({
                "id": it.id,
                "owner": it.owner.agreed(),
                "tier": it.tier.greatest(),
                "grade": it.data_grade.greatest(),
                "rto_s": it.rto_s.least(),
                "rpo_s": it.rpo_s.least(),
                "site": it.site.agreed(),
            })
        })
        .collect();
    let contradictions: Vec<Value> = estate
        .contradictions
        .iter()
        .map(|it| json!({ "subject": it.id, "attribute": it.attribute }))
        .collect();
    let documents: Vec<[&str; 3]> = estate
        .documents
        .iter()
        .map(|it| [it.source.as_str(), it.path.as_str(), it.sha256.as_str()])
        .collect();
    let digest = canonical::digest(&documents).environment()?;
    Ok(json!({ "digest": digest, "applications": applications, "contradictions": contradictions }))
}

fn site_facts(platform: Platform) -> SiteFacts {
    let known = |fact: &Known| fact.agreed().map(str::to_owned);
    SiteFacts {
        architecture: known(&platform.processor_architecture),
        page_size: known(&platform.page_size_bytes),
        engine_version: known(&platform.engine_version),
        collation: known(&platform.collation),
        data_store: platform.data_store,
    }
}
