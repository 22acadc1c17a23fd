//! What the engine sees: volumes, their events, and everything a gate is judged by.

use super::Engine;
use crate::assess::{RollbackAssessment, VolumeView, assess};
use crate::error::EngineError;
use crate::moves::{Move, Surroundings};
use crate::plane::{PlaneError, Side};
use serde_json::{Value, json};
use yundu_comply::GateVerdict;
use yundu_evidence::{Artefact, Record};
use yundu_people::{Approval, Person, verify_signature};
use yundu_replicate::control::{Event, Request, Response, Status};
use yundu_store::VerdictRow;

/// Most pages of events taken over at once from one process.
const EVENT_PAGES_MAX: usize = 1_000;

impl Engine {
    /// Asks a volume process away from this thread.
    pub(crate) async fn ask(
        &self,
        volume: &str,
        side: Side,
        request: Request,
    ) -> Result<Response, PlaneError> {
        let (plane, volume) = (self.plane.clone(), volume.to_owned());
        let asked = tokio::task::spawn_blocking(move || plane.ask(&volume, side, &request)).await;
        asked.unwrap_or_else(|error| {
            Err(PlaneError::Unreachable {
                reason: error.to_string(),
            })
        })
    }

    pub(crate) async fn volume_status(
        &self,
        volume: &str,
        side: Side,
    ) -> Result<Status, PlaneError> {
        match self.ask(volume, side, Request::Status).await? {
            Response::Status(status) => Ok(*status),
            other => Err(PlaneError::Refused {
                reason: format!("asked for the status, got {other:?}"),
            }),
        }
    }

    pub(crate) async fn views(&self, a_move: &Move) -> Vec<VolumeView> {
        let mut views = Vec::new();
        for volume in a_move.volumes() {
            views.push(VolumeView {
                volume: volume.to_owned(),
                source: self.volume_status(volume, Side::Source).await.ok(),
                target: self.volume_status(volume, Side::Target).await.ok(),
            });
        }
        views
    }

    /// Takes over what the volume processes journalled, each event once.
    pub(crate) async fn ingest(&self, a_move: &Move) -> Result<(), EngineError> {
        for volume in a_move.volumes() {
            for side in [Side::Source, Side::Target] {
                // A process that does not answer keeps its journal: it is read next time.
                let _ = self.ingest_from(a_move, volume, side).await?;
            }
        }
        Ok(())
    }

    async fn ingest_from(
        &self,
        a_move: &Move,
        volume: &str,
        side: Side,
    ) -> Result<bool, EngineError> {
        let cursor = format!("{}/{volume}/{side:?}", a_move.id);
        for _ in 0..EVENT_PAGES_MAX {
            let since = self.store.read().await?.volume_cursor(&cursor).await?;
            let Ok(Response::Events { events }) =
                self.ask(volume, side, Request::Events { since }).await
            else {
                return Ok(false);
            };
            let Some(last) = events.last().map(|event| event.sequence) else {
                return Ok(true);
            };
            let mut change = self.store.begin().await?;
            for event in &events {
                change.record(&of_event(a_move, volume, event)).await?;
            }
            change.put_volume_cursor(&cursor, last).await?;
            change.commit().await?;
            self.point("", "events taken over")?;
        }
        Ok(true)
    }

    /// The records about a move as they stand in the ledger.
    pub(crate) async fn ledger_records(&self, id: &str) -> Result<Vec<Record>, EngineError> {
        Ok(self.ledger.records_about(&self.store, id).await?)
    }

    pub(crate) async fn latest(&self, id: &str, kind: &str) -> Result<Option<Record>, EngineError> {
        Ok(self
            .ledger_records(id)
            .await?
            .into_iter()
            .rev()
            .find(|record| record.kind == kind))
    }

    /// Whether one can go back now, how long it would take and what it would lose.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn assess_rollback(&self, a_move: &Move) -> Result<RollbackAssessment, EngineError> {
        let records = self.ledger_records(&a_move.id).await?;
        Ok(assess_from(&self.views(a_move).await, &records))
    }

    /// Looks at the world and records what a gate reads of it.
    async fn observe(&self, a_move: &Move) -> Result<(), EngineError> {
        self.ingest(a_move).await?;
        let views = self.views(a_move).await;
        let assessment = assess_from(&views, &self.ledger_records(&a_move.id).await?);
        let at_us = self.clock.now_us();
        let mut change = self.store.begin().await?;
        for view in &views {
            if let Some((side, status)) = view.primary() {
                let suffix = format!("status/{}/{at_us}", view.volume);
                let body = status_body(&view.volume, side, status);
                change
                    .record(&self.at(a_move, "volume.status", &suffix, at_us, body))
                    .await?;
            }
        }
        let body = json!(assessment);
        change
            .record(&self.at(
                a_move,
                "rollback.assessed",
                &format!("rollback/{at_us}"),
                at_us,
                body,
            ))
            .await?;
        change.commit().await?;
        Ok(())
    }

    fn at(&self, a_move: &Move, kind: &str, suffix: &str, at_us: i64, body: Value) -> Record {
        Record {
            at_us,
            ..self.about(&a_move.id, kind, suffix, "yundu", body)
        }
    }

    /// Everything that a gate of this move is judged by, as of now.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn gate_input(
        &self,
        a_move: &Move,
        surroundings: &Surroundings,
    ) -> Result<Value, EngineError> {
        self.observe(a_move).await?;
        let evidence: Vec<Value> = self
            .ledger_records(&a_move.id)
            .await?
            .into_iter()
            .map(|it| json!({ "id": it.id, "kind": it.kind, "subject": it.subject, "actor": it.actor, "at_us": it.at_us, "body": it.body }))
            .collect();
        let people = self.people().await?;
        let digest = a_move.digest(surroundings)?;
        Ok(json!({
            "now_us": self.clock.now_us(),
            "move": a_move.as_input(&digest),
            "plan": { "digest": surroundings.plan_digest, "wave": surroundings.wave },
            "estate": surroundings.estate,
            "evidence": evidence,
            "approvals": self.approvals(&a_move.id, &people).await?,
            "people": people.iter().map(|person| json!({ "id": person.id, "roles": person.roles })).collect::<Vec<_>>(),
        }))
    }

    /// Evaluates a gate now; verdict and input are kept and recorded, open or not.
    ///
    /// # Errors
    /// [`EngineError::Gate`] when it cannot be computed at all.
    pub async fn check_gate(
        &self,
        a_move: &Move,
        surroundings: &Surroundings,
        gate: &str,
    ) -> Result<GateVerdict, EngineError> {
        let input = self.gate_input(a_move, surroundings).await?;
        let failed = |reason: String| EngineError::Gate {
            gate: gate.to_owned(),
            reason,
        };
        let judged = self.gates.evaluate(gate, &input).map_err(failed)?;
        let at_us = self.clock.now_us();
        let artefact = |name: &str, sha256: &str, bytes: &[u8]| Artefact {
            name: name.to_owned(),
            sha256: sha256.to_owned(),
            size_bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        };
        let verdict = judged.verdict;
        let record = Record {
            artefacts: vec![
                artefact("input.json", &verdict.input_digest, &judged.input),
                artefact("bundle.json", &verdict.policy_digest, &judged.bundle),
            ],
            ..self.at(
                a_move,
                "gate.verdict",
                &format!("gate/{gate}/{at_us}"),
                at_us,
                json!(verdict),
            )
        };
        let row = VerdictRow {
            id: record.id.clone(),
            subject: a_move.id.clone(),
            gate: gate.to_owned(),
            open: verdict.open,
            input_digest: verdict.input_digest.clone(),
            policy_digest: verdict.policy_digest.clone(),
            input: String::from_utf8_lossy(&judged.input).into_owned(),
            policy: String::from_utf8_lossy(&judged.bundle).into_owned(),
            verdict: json!(verdict),
            at_us,
        };
        let mut change = self.store.begin().await?;
        change.add_verdict(&row).await?;
        change.record(&record).await?;
        change.commit().await?;
        Ok(verdict)
    }

    pub(crate) async fn people(&self) -> Result<Vec<Person>, EngineError> {
        let rows = self.store.read().await?.people().await?;
        rows.into_iter()
            .map(|row| super::keep::document(&format!("person {}", row.id), row.document))
            .collect()
    }

    /// All decisions about a move as gates see them, whatever digest they bind.
    async fn approvals(&self, id: &str, people: &[Person]) -> Result<Vec<Value>, EngineError> {
        let mut seen = Vec::new();
        for approval in self.decisions(id).await? {
            let person = people.iter().find(|person| person.id == approval.person);
            let outcome = verify_signature(&approval, person);
            seen.push(json!({
                "id": approval.id,
                "subject_kind": approval.subject_kind,
                "subject_digest": approval.subject_digest,
                "decision": approval.decision,
                "reason": approval.reason,
                "person": approval.person,
                "roles": person.map(|person| person.roles.iter().copied().collect::<Vec<_>>()).unwrap_or_default(),
                "at_us": approval.at_us,
                "valid": outcome.is_ok(),
                "refusal": outcome.err().map(|refusal| refusal.text()),
            }));
        }
        Ok(seen)
    }

    pub(crate) async fn decisions(&self, id: &str) -> Result<Vec<Approval>, EngineError> {
        let rows = self.store.read().await?.approvals(id).await?;
        rows.into_iter()
            .map(|row| super::keep::document(&format!("approval {}", row.id), row.document))
            .collect()
    }
}

pub(crate) fn assess_from(views: &[VolumeView], records: &[Record]) -> RollbackAssessment {
    let rehearsed = records.iter().rev().find(|record| {
        record.kind == "rollback.done"
            || record.kind == "drill.rehearsed"
                && record.body.get("succeeded") == Some(&Value::Bool(true))
    });
    let rollback_us = rehearsed
        .and_then(|record| record.body.get("rollback_us"))
        .and_then(Value::as_i64);
    let retired = records
        .iter()
        .any(|record| record.kind == "source.destroyed");
    assess(views, rollback_us, retired)
}

fn of_event(a_move: &Move, volume: &str, event: &Event) -> Record {
    let mut body = match &event.body {
        Value::Object(fields) => fields.clone(),
        other => [("detail".to_owned(), other.clone())].into_iter().collect(),
    };
    body.insert("volume".into(), volume.into());
    body.insert("node".into(), event.node.clone().into());
    body.insert("set".into(), event.set.clone().into());
    body.insert("sequence".into(), event.sequence.into());
    Record {
        id: format!("{}/{}/{}", a_move.id, event.node, event.sequence),
        kind: event.kind.clone(),
        subject: a_move.id.clone(),
        actor: format!("volume/{volume}"),
        at_us: event.at_us,
        body: Value::Object(body),
        artefacts: vec![],
    }
}

fn status_body(volume: &str, side: Side, status: &Status) -> Value {
    json!({
        "volume": volume,
        "side": side,
        "role": status.role,
        "link": status.link,
        "sync": status.sync,
        "mode": status.mode,
        "policy": status.policy,
        "generation": status.generation,
        "size_bytes": status.size_bytes,
        "remaining_bytes": status.remaining_bytes,
        "copy_bytes": status.copy_bytes,
        "resync_bytes": status.resync_bytes,
        "dirtied_bytes": status.dirtied_bytes,
        "rpo_us": status.rpo_us,
        "client_errors": status.client_errors,
        "wait_us_max": status.wait_us_max,
    })
}
