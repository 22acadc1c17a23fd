//! The input of a gate, put together from what the store holds about a move. Its shape is
//! described in `docs/evidence-kinds.md`.

use crate::context::{Classify, Failure};
use crate::workspace::Workspace;
use anyhow::anyhow;
use serde_json::{Value, json};
use yundu_estate::{Estate, canonical};
use yundu_people::{Approval, Person, verify_signature};
use yundu_store::{ApprovalRow, MoveRow, OutboxRow};

/// Everything that policies may look at, as of `at_us`.
pub fn compose(workspace: &Workspace, move_id: &str, at_us: i64) -> Result<Value, Failure> {
    let people = workspace.people()?;
    let estate = workspace.estate()?;
    let (row, records, approvals, plan) = workspace
        .block_on(async {
            let mut read = workspace.store().read().await?;
            let row = read.move_row(move_id).await?;
            let records = read.records_about(move_id).await?;
            let approvals = read.approvals(move_id).await?;
            let plan = read.latest_plan().await?;
            Ok::<_, yundu_store::StoreError>((row, records, approvals, plan))
        })
        .environment()?;
    let Some(row) = row else {
        return Err(Failure::BadInput(anyhow!(
            "no move `{move_id}`: `yundu move status` lists them, `yundu move create` makes one"
        )));
    };
    let persons: Vec<Value> = people
        .iter()
        .map(|person| json!({ "id": person.id, "roles": person.roles }))
        .collect();
    Ok(json!({
        "now_us": at_us,
        "move": moving(&row),
        "plan": { "digest": plan.map(|plan| plan.digest) },
        "estate": known(&estate, &row)?,
        "evidence": records.iter().map(seen).collect::<Vec<_>>(),
        "approvals": approvals.iter().map(|row| decided(row, &people)).collect::<Vec<_>>(),
        "people": persons,
    }))
}

/// The move's document; id and digest are those of its row.
fn moving(row: &MoveRow) -> Value {
    let mut document = row.document.clone();
    if let Value::Object(fields) = &mut document {
        fields.insert("id".to_owned(), json!(row.id));
        fields.insert("digest".to_owned(), json!(row.digest));
    }
    document
}

/// The moving application alone: an estate may be too large to repeat in every verdict; its
/// digest stands for the rest.
fn known(estate: &Estate, row: &MoveRow) -> Result<Value, Failure> {
    let id = row
        .document
        .get("application")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let applications: Vec<Value> = estate
        .applications
        .get(id)
        .map(|it| {
            json!({
                "id": id,
                "owner": it.owner.first(),
                "tier": it.tier.greatest(),
                "grade": it.data_grade.greatest(),
            })
        })
        .into_iter()
        .collect();
    let contradictions: Vec<Value> = estate
        .contradictions
        .iter()
        .filter(|found| found.id == id)
        .map(|found| json!({ "subject": found.id, "attribute": found.attribute }))
        .collect();
    Ok(json!({
        "digest": canonical::digest(estate).environment()?,
        "applications": applications,
        "contradictions": contradictions,
    }))
}

fn seen(row: &OutboxRow) -> Value {
    let record = &row.record;
    json!({
        "id": record.id, "kind": record.kind, "subject": record.subject, "actor": record.actor,
        "at_us": record.at_us, "body": record.body,
    })
}

fn decided(row: &ApprovalRow, people: &[Person]) -> Value {
    let person = people.iter().find(|person| person.id == row.person);
    let refusal = match serde_json::from_value::<Approval>(row.document.clone()) {
        // The row is an index; what is signed is the document. They must say the same.
        Ok(approval)
            if approval.subject_digest == row.subject_digest
                && approval.subject_kind == row.subject_kind
                && approval.person == row.person
                && approval.about == row.about =>
        {
            verify_signature(&approval, person)
                .err()
                .map(|refusal| json!(refusal.text()))
        }
        _ => Some(json!({
            "zh": "保存的审批与其签名内容不一致",
            "en": "the stored approval does not say what was signed",
        })),
    };
    json!({
        "id": row.id, "subject_kind": row.subject_kind, "subject_digest": row.subject_digest,
        "decision": row.document.get("decision"), "person": row.person,
        "roles": person.map(|person| &person.roles), "at_us": row.at_us,
        "valid": refusal.is_none(), "refusal": refusal,
    })
}
