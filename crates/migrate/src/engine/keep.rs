//! What the engine keeps: moves, steps and their evidence, each change with its evidence in one
//! transaction.

use super::{Current, Engine};
use crate::error::EngineError;
use crate::life::StepLife;
use crate::moves::{Move, Surroundings};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use yundu_evidence::{Record, canonical};
use yundu_store::{MoveRow, StepRow, Store};

impl Engine {
    /// Reads a move without an engine: its wiring tells which engine it needs.
    ///
    /// # Errors
    /// [`EngineError::NoMove`].
    pub async fn load_from(store: &Store, id: &str) -> Result<Move, EngineError> {
        let row = store.read().await?.move_row(id).await?;
        let row = row.ok_or_else(|| EngineError::NoMove { id: id.to_owned() })?;
        document(&format!("move {id}"), row.document)
    }

    pub(crate) async fn load(&self, id: &str) -> Result<Move, EngineError> {
        Self::load_from(&self.store, id).await
    }

    /// Keeps a new move, with its evidence.
    ///
    /// # Errors
    /// [`EngineError::MoveExists`].
    pub async fn create(
        store: &Store,
        a_move: &Move,
        surroundings: &Surroundings,
    ) -> Result<String, EngineError> {
        let digest = a_move.digest(surroundings)?;
        let mut change = store.begin().await?;
        if change.move_row(&a_move.id).await?.is_some() {
            return Err(EngineError::MoveExists {
                id: a_move.id.clone(),
            });
        }
        change
            .put_move(&row(a_move, "open", &digest, a_move.created_us)?)
            .await?;
        change
            .record(&born(a_move, "move.created", &digest, a_move.created_us)?)
            .await?;
        change.commit().await?;
        Ok(digest)
    }

    /// Replaces runbook and values of a move. Steps that were begun stay as they are: they and
    /// their order must be in the new runbook too.
    ///
    /// # Errors
    /// [`EngineError::AmendsThePast`].
    pub async fn amend(
        &self,
        amended: &Move,
        surroundings: &Surroundings,
    ) -> Result<String, EngineError> {
        let before = self.load(&amended.id).await?;
        let lives = self.lives(&amended.id).await?;
        for (position, step) in before.runbook.steps.iter().enumerate() {
            let Some(life) = lives.get(&step.id).filter(|life| life.attempt > 0) else {
                continue;
            };
            let same = amended.runbook.steps.get(position).is_some_and(|other| {
                // A step under way or done is history; one that failed or waits may be corrected.
                let settled = matches!(life.state.name(), "done" | "intended" | "rolling-back");
                other.id == step.id && (!settled || other == step)
            });
            if !same {
                return Err(EngineError::AmendsThePast {
                    step: step.id.clone(),
                    state: life.state.name(),
                });
            }
        }
        let digest = amended.digest(surroundings)?;
        let at_us = self.clock.now_us();
        let mut change = self.store.begin().await?;
        change
            .put_move(&row(amended, "open", &digest, at_us)?)
            .await?;
        change
            .record(&born(amended, "move.amended", &digest, at_us)?)
            .await?;
        change.commit().await?;
        self.settle(&amended.id).await?;
        Ok(digest)
    }

    /// The last step is done.
    pub(crate) async fn finish(
        &self,
        a_move: &Move,
        surroundings: &Surroundings,
    ) -> Result<(), EngineError> {
        let digest = a_move.digest(surroundings)?;
        let at_us = self.clock.now_us();
        let mut change = self.store.begin().await?;
        let known = change.move_row(&a_move.id).await?;
        if known.is_some_and(|row| row.state == "done") {
            return Ok(());
        }
        change
            .put_move(&row(a_move, "done", &digest, at_us)?)
            .await?;
        change
            .record(&self.about(
                &a_move.id,
                "move.done",
                &format!("done/{at_us}"),
                "yundu",
                json!({}),
            ))
            .await?;
        change.commit().await?;
        Ok(())
    }

    pub(crate) async fn life(&self, id: &str, step: &str) -> Result<StepLife, EngineError> {
        Ok(self.lives(id).await?.remove(step).unwrap_or_default())
    }

    pub(crate) async fn lives(&self, id: &str) -> Result<BTreeMap<String, StepLife>, EngineError> {
        let rows = self.store.read().await?.steps(id).await?;
        rows.into_iter()
            .map(|row| {
                Ok((
                    row.step_id.clone(),
                    document(&format!("step {}", row.step_id), row.document)?,
                ))
            })
            .collect()
    }

    /// Writes the step's life and the evidence of it together; then a crash may come.
    pub(crate) async fn keep(
        &self,
        current: &Current<'_>,
        records: Vec<Record>,
        after: &str,
    ) -> Result<(), EngineError> {
        let what = format!("step {}", current.step.id);
        let row = StepRow {
            move_id: current.a_move.id.clone(),
            step_id: current.step.id.clone(),
            state: current.life.state.name().to_owned(),
            document: serde_json::to_value(&current.life)
                .map_err(|source| EngineError::Document { what, source })?,
            at_us: self.clock.now_us(),
        };
        let mut change = self.store.begin().await?;
        change.put_step(&row).await?;
        for record in &records {
            change.record(record).await?;
        }
        change.commit().await?;
        self.point(&current.step.id, &format!("kept {after}"))
    }

    /// Notes that a part of the attempt is done.
    pub(crate) async fn keep_part(
        &self,
        current: &mut Current<'_>,
        name: &str,
        value: Value,
        records: Vec<Record>,
    ) -> Result<(), EngineError> {
        current.life.progress.insert(name.to_owned(), value);
        self.keep(current, records, name).await
    }

    /// Evidence of a step's present attempt; `name` makes its id, the same after a crash.
    pub(crate) fn evidence(
        &self,
        current: &Current<'_>,
        kind: &str,
        name: &str,
        body: Value,
    ) -> Record {
        let suffix = format!("{}/{}/{name}", current.step.id, current.life.attempt);
        self.about(
            &current.a_move.id,
            kind,
            &suffix,
            &current.step.operator,
            body,
        )
    }

    pub(crate) fn about(
        &self,
        id: &str,
        kind: &str,
        suffix: &str,
        actor: &str,
        body: Value,
    ) -> Record {
        Record {
            id: format!("{id}/{suffix}"),
            kind: kind.to_owned(),
            subject: id.to_owned(),
            actor: actor.to_owned(),
            at_us: self.clock.now_us(),
            body,
            artefacts: vec![],
        }
    }

    pub(crate) async fn settle(&self, _id: &str) -> Result<(), EngineError> {
        self.ledger.settle(&self.store).await?;
        Ok(())
    }
}

fn row(a_move: &Move, state: &str, digest: &str, at_us: i64) -> Result<MoveRow, EngineError> {
    let what = format!("move {}", a_move.id);
    Ok(MoveRow {
        id: a_move.id.clone(),
        state: state.to_owned(),
        digest: digest.to_owned(),
        document: serde_json::to_value(a_move)
            .map_err(|source| EngineError::Document { what, source })?,
        at_us,
    })
}

fn born(a_move: &Move, kind: &str, digest: &str, at_us: i64) -> Result<Record, EngineError> {
    Ok(Record {
        id: format!("{}/{kind}/{at_us}", a_move.id),
        kind: kind.to_owned(),
        subject: a_move.id.clone(),
        actor: a_move.requester.clone(),
        at_us,
        body: json!({
            "application": a_move.application,
            "method": a_move.runbook.method,
            "digest": digest,
            "runbook": a_move.runbook.id,
            "runbook_digest": canonical::digest(&a_move.runbook)?,
            "volumes": a_move.volumes(),
            "source_site": a_move.runbook.source_site,
            "target_site": a_move.runbook.target_site,
            "variables": a_move.variables,
        }),
        artefacts: vec![],
    })
}

pub(crate) fn document<T: DeserializeOwned>(what: &str, value: Value) -> Result<T, EngineError> {
    serde_json::from_value(value).map_err(|source| EngineError::Document {
        what: what.to_owned(),
        source,
    })
}
