//! Carries a move out, step by step.

mod act;
mod back;
mod cuts;
mod decide;
mod figures;
mod keep;
mod world;

pub use decide::Ask;

use crate::clock::Clock;
use crate::commands::Commands;
use crate::error::EngineError;
use crate::gate::GateKeeper;
use crate::life::{StepLife, StepState};
use crate::moves::{Move, Surroundings};
use crate::plane::{DataPlane, PlaneError};
use crate::runbook::Step;
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;
use yundu_comply::GateVerdict;
use yundu_estate::text::Text;
use yundu_store::{LedgerHome, Store};

/// Carries moves out. Whoever runs a move sees to it that nobody else runs it at the same time.
#[derive(Clone)]
pub struct Engine {
    /// Everything mutable.
    pub store: Store,
    /// Where evidence ends up.
    pub ledger: LedgerHome,
    /// The volume processes of the move.
    pub plane: Arc<dyn DataPlane>,
    /// Runs programs.
    pub commands: Arc<dyn Commands>,
    /// Opens gates.
    pub gates: Arc<dyn GateKeeper>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who looks on.
    pub watch: Arc<dyn Watch>,
}

/// A place where a process may die: after a durable write, or after a change of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Step.
    pub step: String,
    /// What has just happened.
    pub after: String,
}

/// Looks on while a move runs.
pub trait Watch: Send + Sync {
    /// Something for people to see.
    fn progress(&self, _step: &Step, _text: &Text) {}

    /// Passed at every [`Point`]; `false` stops there as a crash would.
    fn pass(&self, _point: &Point) -> bool {
        true
    }
}

/// Nobody looks on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Watch for Silent {}

/// Where running a move came to.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// Every step is done.
    Finished,
    /// The step asked for is done.
    Reached {
        /// Which.
        step: String,
    },
    /// A gate is closed; nothing was changed.
    Refused {
        /// Step behind the gate.
        step: String,
        /// Why, and how to obtain what is missing.
        verdict: Box<GateVerdict>,
    },
    /// A person decides next.
    NeedsPerson {
        /// Step.
        step: String,
        /// Who, what, and the command to type.
        what: Text,
    },
    /// Time has to pass.
    Waiting {
        /// Step.
        step: String,
        /// Until when, µs since the Unix epoch.
        until_us: i64,
    },
    /// A step did not succeed, or its outcome is not known yet; running again tries again.
    Failed {
        /// Step.
        step: String,
        /// Why.
        reason: Text,
    },
    /// What could be undone is undone.
    RolledBack {
        /// Steps, in the order in which they were undone.
        steps: Vec<String>,
        /// The step that has no way back, and why; `None`: everything is undone.
        stopped_at: Option<(String, Text)>,
    },
}

/// A step in the middle of being carried out.
pub(crate) struct Current<'a> {
    pub a_move: &'a Move,
    pub surroundings: &'a Surroundings,
    pub step: &'a Step,
    pub life: StepLife,
    /// An earlier process intended this attempt.
    pub resumed: bool,
}

/// What an action came to.
pub(crate) enum Performed {
    Done(Value),
    NeedsPerson(Text),
    Until(i64),
}

/// Why an action did not come to its end.
pub(crate) enum Trouble {
    /// It did not succeed, and the world is as the reason says; a new attempt may be made.
    Failed(Text),
    /// Nobody knows what happened; the same attempt is to be resumed.
    Interrupted(Text),
    /// The engine cannot go on.
    Engine(EngineError),
}

// === impl Trouble ===

impl<E: Into<EngineError>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Trouble::Engine(error.into())
    }
}

impl Trouble {
    pub(crate) fn plane(error: PlaneError) -> Self {
        let text = Text::new(error.to_string(), error.to_string());
        match error {
            PlaneError::Refused { .. } => Trouble::Failed(text),
            PlaneError::Unreachable { .. } => Trouble::Interrupted(text),
        }
    }

    pub(crate) fn failed(zh: impl Into<String>, en: impl Into<String>) -> Self {
        Trouble::Failed(Text::new(zh, en))
    }
}

// === impl Engine ===

impl Engine {
    /// Goes on until a gate, a person, time or a failure stops the move, it is finished, or the
    /// step `until` is done.
    ///
    /// # Errors
    /// [`EngineError`]; running again resumes.
    pub async fn run(
        &self,
        id: &str,
        surroundings: &Surroundings,
        until: Option<&str>,
    ) -> Result<Outcome, EngineError> {
        let a_move = self.load(id).await?;
        if let Some(step) = until {
            self.position(&a_move, step)?;
        }
        // Each turn ends a step or the run, so the number of turns is bounded by the steps.
        for step in &a_move.runbook.steps {
            let life = self.life(id, &step.id).await?;
            if life.state == StepState::RollingBack {
                let text = Text::new(
                    format!("步骤 {} 正在回退：先完成 yundu move rollback {id}", step.id),
                    format!(
                        "step {} is rolling back: finish with `yundu move rollback {id}` first",
                        step.id
                    ),
                );
                return Ok(Outcome::Failed {
                    step: step.id.clone(),
                    reason: text,
                });
            }
            if life.state != StepState::Done {
                let mut current = Current {
                    a_move: &a_move,
                    surroundings,
                    step,
                    life,
                    resumed: false,
                };
                if let Some(outcome) = self.advance(&mut current).await? {
                    self.settle(id).await?;
                    return Ok(outcome);
                }
            }
            if until == Some(step.id.as_str()) {
                self.settle(id).await?;
                return Ok(Outcome::Reached {
                    step: step.id.clone(),
                });
            }
        }
        self.finish(&a_move, surroundings).await?;
        self.settle(id).await?;
        Ok(Outcome::Finished)
    }

    /// Brings one step forward; `None`: it is done.
    async fn advance(&self, current: &mut Current<'_>) -> Result<Option<Outcome>, EngineError> {
        let step = current.step;
        match current.life.state {
            StepState::Intended | StepState::Waiting => current.resumed = true,
            _ => {
                if let Some(refused) = self.pass_gate(current).await? {
                    return Ok(Some(refused));
                }
                self.intend(current).await?;
            }
        }
        self.tell(
            step,
            Text::new(format!("{}…", step.title.zh), format!("{}…", step.title.en)),
        );
        let performed = self.perform(current).await;
        let name = step.id.clone();
        match performed {
            Ok(Performed::Done(outcome)) => {
                self.done(current, outcome).await?;
                Ok(None)
            }
            Ok(Performed::NeedsPerson(what)) => {
                self.wait(current, what.clone()).await?;
                Ok(Some(Outcome::NeedsPerson { step: name, what }))
            }
            Ok(Performed::Until(until_us)) => {
                let (zh, en) = (
                    format!("等到 {until_us} µs"),
                    format!("until {until_us} µs"),
                );
                self.wait(current, Text::new(zh, en)).await?;
                Ok(Some(Outcome::Waiting {
                    step: name,
                    until_us,
                }))
            }
            Err(Trouble::Failed(reason)) => {
                self.fail(current, reason.clone()).await?;
                Ok(Some(Outcome::Failed { step: name, reason }))
            }
            Err(Trouble::Interrupted(reason)) => Ok(Some(Outcome::Failed { step: name, reason })),
            Err(Trouble::Engine(error)) => Err(error),
        }
    }

    /// Evaluates the step's gate; the outcome when it is closed.
    async fn pass_gate(&self, current: &Current<'_>) -> Result<Option<Outcome>, EngineError> {
        let Some(gate) = &current.step.gate else {
            return Ok(None);
        };
        let verdict = self
            .check_gate(current.a_move, current.surroundings, gate)
            .await?;
        self.point(&current.step.id, "gate evaluated")?;
        if verdict.open {
            return Ok(None);
        }
        Ok(Some(Outcome::Refused {
            step: current.step.id.clone(),
            verdict: Box::new(verdict),
        }))
    }

    /// Begins an attempt: durable before the world changes.
    async fn intend(&self, current: &mut Current<'_>) -> Result<(), EngineError> {
        let attempt = current.life.attempt + 1;
        current.life = StepLife {
            state: StepState::Intended,
            attempt,
            intended_us: Some(self.clock.now_us()),
            ..StepLife::default()
        };
        let body = json!({
            "step": current.step.id,
            "action": current.step.action.name(),
            "attempt": attempt,
            "operator": current.step.operator,
            "checker": current.step.checker,
            "planned_s": current.step.planned_s,
        });
        let record = self.evidence(current, "step.intended", "intended", body);
        self.keep(current, vec![record], "intended").await
    }

    async fn done(&self, current: &mut Current<'_>, outcome: Value) -> Result<(), EngineError> {
        current.life.state = StepState::Done;
        current.life.ended_us = Some(self.clock.now_us());
        current.life.reason = None;
        let body = json!({
            "step": current.step.id,
            "action": current.step.action.name(),
            "attempt": current.life.attempt,
            "operator": current.step.operator,
            "checker": current.step.checker,
            "planned_s": current.step.planned_s,
            "actual_us": current.life.actual_us(),
            "outcome": outcome,
        });
        current.life.outcome = Some(outcome);
        let record = self.evidence(current, "step.done", "done", body);
        self.keep(current, vec![record], "done").await
    }

    async fn fail(&self, current: &mut Current<'_>, reason: Text) -> Result<(), EngineError> {
        current.life.state = StepState::Failed;
        current.life.ended_us = Some(self.clock.now_us());
        let body = json!({
            "step": current.step.id,
            "action": current.step.action.name(),
            "attempt": current.life.attempt,
            "reason": reason,
        });
        current.life.reason = Some(reason);
        let record = self.evidence(current, "step.failed", "failed", body);
        self.keep(current, vec![record], "failed").await
    }

    async fn wait(&self, current: &mut Current<'_>, what: Text) -> Result<(), EngineError> {
        if current.life.state == StepState::Waiting && current.life.reason.as_ref() == Some(&what) {
            return Ok(());
        }
        current.life.state = StepState::Waiting;
        current.life.reason = Some(what);
        self.keep(current, vec![], "waiting").await
    }

    pub(crate) fn tell(&self, step: &Step, text: Text) {
        self.watch.progress(step, &text);
    }

    pub(crate) fn point(&self, step: &str, after: &str) -> Result<(), EngineError> {
        let point = Point {
            step: step.to_owned(),
            after: after.to_owned(),
        };
        if self.watch.pass(&point) {
            Ok(())
        } else {
            Err(EngineError::Stopped(point))
        }
    }

    pub(crate) fn position(&self, a_move: &Move, step: &str) -> Result<usize, EngineError> {
        a_move
            .runbook
            .step(step)
            .map(|(position, _)| position)
            .ok_or_else(|| EngineError::NoStep {
                id: a_move.id.clone(),
                step: step.to_owned(),
                steps: a_move
                    .runbook
                    .steps
                    .iter()
                    .map(|step| step.id.clone())
                    .collect(),
            })
    }
}
