//! Decisions of people: approvals, objections, go and no-go, each signed.

use super::{Current, Engine, Performed, Trouble};
use crate::error::EngineError;
use crate::moves::{Move, Surroundings};
use crate::runbook::{Action, FactPhase};
use serde_json::{Value, json};
use yundu_estate::text::Text;
use yundu_evidence::canonical;
use yundu_people::{Approval, Decision, Person, PersonKey, Role, check, verify_signature};
use yundu_store::ApprovalRow;

/// What somebody decides on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The whole move, as it is now.
    Move,
    /// Destroying the source.
    Retire,
    /// Figures that were taken.
    Figures(FactPhase),
    /// A step that waits for a person.
    Step(String),
}

impl Engine {
    /// Signs a decision with the person's key and keeps it with its evidence. A decision that no
    /// policy will count (the requester's own, for instance) is kept all the same: the gate names it.
    ///
    /// # Errors
    /// [`EngineError::Decision`] when there is nothing to decide on, or the key is not that
    /// person's.
    pub async fn decide(
        &self,
        a_move: &Move,
        surroundings: &Surroundings,
        ask: &Ask,
        by: (&str, &PersonKey),
        decision: Decision,
        reason: &str,
    ) -> Result<Approval, EngineError> {
        let (person_id, key) = by;
        let refused = |reason: String| EngineError::Decision { reason };
        let (subject_kind, subject_digest) = self.subject(a_move, surroundings, ask).await?;
        let at_us = self.clock.now_us();
        let approval = Approval {
            id: format!("{}/{subject_kind}/{person_id}/{at_us}", a_move.id),
            about: a_move.id.clone(),
            subject_kind: subject_kind.to_owned(),
            subject_digest,
            decision,
            reason: reason.to_owned(),
            person: person_id.to_owned(),
            at_us,
            signature: String::new(),
        }
        .sign(key)?;
        let people = self.people().await?;
        let person = people.iter().find(|person| person.id == person_id);
        verify_signature(&approval, person).map_err(|refusal| refused(refusal.to_string()))?;
        if let (Ask::Step(step), Some(person)) = (ask, person) {
            self.may_confirm(a_move, step, person)?;
        }
        let what = format!("approval {}", approval.id);
        let document = serde_json::to_value(&approval)
            .map_err(|source| EngineError::Document { what, source })?;
        let row = ApprovalRow {
            id: approval.id.clone(),
            about: approval.about.clone(),
            subject_kind: approval.subject_kind.clone(),
            subject_digest: approval.subject_digest.clone(),
            person: approval.person.clone(),
            document: document.clone(),
            at_us,
        };
        let mut change = self.store.begin().await?;
        change.add_approval(&row).await?;
        let kind = "approval.signed";
        change
            .record(&self.about(
                &a_move.id,
                kind,
                &format!("{kind}/{person_id}/{at_us}"),
                person_id,
                document,
            ))
            .await?;
        change.commit().await?;
        self.settle(&a_move.id).await?;
        Ok(approval)
    }

    /// Who confirms a step: its operator or checker; figures: the business owner.
    fn may_confirm(&self, a_move: &Move, step: &str, person: &Person) -> Result<(), EngineError> {
        let position = self.position(a_move, step)?;
        let Some(step) = a_move.runbook.steps.get(position) else {
            return Ok(());
        };
        let reason = match step.action {
            Action::Confirm if person.id != step.operator && person.id != step.checker => {
                format!(
                    "step {} is decided by {} or {}",
                    step.id, step.operator, step.checker
                )
            }
            Action::Reconcile(_) if !person.roles.contains(&Role::BusinessOwner) => {
                format!(
                    "the figures of step {} are signed by a business-owner",
                    step.id
                )
            }
            _ => return Ok(()),
        };
        Err(EngineError::Decision { reason })
    }

    async fn subject(
        &self,
        a_move: &Move,
        surroundings: &Surroundings,
        ask: &Ask,
    ) -> Result<(&'static str, String), EngineError> {
        match ask {
            Ask::Move => Ok(("move", a_move.digest(surroundings)?)),
            Ask::Retire => Ok(("retire", a_move.digest(surroundings)?)),
            Ask::Figures(phase) => {
                Ok(("reconciliation", self.figures_digest(a_move, *phase).await?))
            }
            Ask::Step(id) => {
                let position = self.position(a_move, id)?;
                match a_move.runbook.steps.get(position).map(|step| &step.action) {
                    Some(Action::Reconcile(settings)) => Ok((
                        "reconciliation",
                        self.figures_digest(a_move, settings.phase).await?,
                    )),
                    Some(Action::Retire(_)) => Ok(("retire", a_move.digest(surroundings)?)),
                    Some(Action::Confirm) => {
                        let life = self.life(&a_move.id, id).await?;
                        if life.state != crate::life::StepState::Waiting {
                            let reason = format!(
                                "step {id} is {}, it waits for nobody: `yundu move run {}` first",
                                life.state.name(),
                                a_move.id
                            );
                            return Err(EngineError::Decision { reason });
                        }
                        Ok(("step", step_digest(a_move, surroundings, id, life.attempt)?))
                    }
                    _ => {
                        let reason = format!(
                            "step {id} is not a person's: `yundu move run {}` does it",
                            a_move.id
                        );
                        Err(EngineError::Decision { reason })
                    }
                }
            }
        }
    }

    async fn figures_digest(&self, a_move: &Move, phase: FactPhase) -> Result<String, EngineError> {
        let phase = json!(phase);
        let records = self.ledger_records(&a_move.id).await?;
        let taken = records.iter().rev().find(|record| {
            record.kind == "reconcile.recorded" && record.body.get("phase") == Some(&phase)
        });
        let digest = taken
            .and_then(|record| record.body.get("facts_digest"))
            .and_then(Value::as_str);
        digest
            .map(str::to_owned)
            .ok_or_else(|| EngineError::Decision {
                reason: format!(
                    "no figures were taken {}: `yundu move run {}` takes them",
                    phase.as_str().unwrap_or_default(),
                    a_move.id
                ),
            })
    }

    /// The decisions that count on a digest: known people, right signatures, the latest of each.
    pub(super) async fn counted(
        &self,
        a_move: &Move,
        kind: &str,
        digest: &str,
        maker: &str,
        roles: &[Role],
    ) -> Result<Vec<Approval>, EngineError> {
        let people = self.people().await?;
        let mut latest: Vec<Approval> = Vec::new();
        for approval in self.decisions(&a_move.id).await? {
            let person = people.iter().find(|person| person.id == approval.person);
            let binds = approval.subject_kind == kind && approval.subject_digest == digest;
            if binds && check(&approval, person, maker, roles).is_ok() {
                latest.retain(|other| other.person != approval.person);
                latest.push(approval);
            }
        }
        Ok(latest)
    }

    pub(super) async fn confirm(&self, current: &mut Current<'_>) -> Result<Performed, Trouble> {
        let (a_move, step) = (current.a_move, current.step);
        let digest = step_digest(a_move, current.surroundings, &step.id, current.life.attempt)?;
        let decided = self.counted(a_move, "step", &digest, "", &[]).await?;
        if let Some(no) = decided
            .iter()
            .find(|approval| approval.decision == Decision::Object)
        {
            let (person, reason) = (&no.person, &no.reason);
            return Err(Trouble::failed(
                format!("{person} 决定不做：{reason}"),
                format!("{person} decided no-go: {reason}"),
            ));
        }
        match decided.last() {
            Some(yes) => Ok(Performed::Done(
                json!({ "person": yes.person, "approval": yes.id }),
            )),
            None => Ok(Performed::NeedsPerson(Text::new(
                format!(
                    "由 {} 或 {} 决定：yundu move confirm {} {} --as PERSON --key FILE",
                    step.operator, step.checker, a_move.id, step.id
                ),
                format!(
                    "{} or {} decides: yundu move confirm {} {} --as PERSON --key FILE",
                    step.operator, step.checker, a_move.id, step.id
                ),
            ))),
        }
    }
}

/// What a go or no-go binds to: the move as it is, the step, the attempt.
fn step_digest(
    a_move: &Move,
    surroundings: &Surroundings,
    step: &str,
    attempt: u32,
) -> Result<String, EngineError> {
    let digest = a_move.digest(surroundings)?;
    Ok(canonical::digest(
        &json!({ "document": "yundu-step-1", "move_digest": digest, "step": step, "attempt": attempt }),
    )?)
}
