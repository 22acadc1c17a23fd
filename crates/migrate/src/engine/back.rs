//! The way back: what was done is undone in reverse, as far as there is a way.

use super::{Current, Engine, Outcome, Trouble};
use crate::error::EngineError;
use crate::life::StepState;
use crate::moves::Surroundings;
use crate::plane::Side;
use crate::runbook::{Action, Step, WayBack};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use yundu_estate::text::Text;
use yundu_replicate::control::{Request, Role};

impl Engine {
    /// Undoes what was done, last first, down to the step after `keep`. A step without a way back
    /// stops it; a crash in between resumes.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn roll_back(
        &self,
        id: &str,
        surroundings: &Surroundings,
        keep: Option<&str>,
    ) -> Result<Outcome, EngineError> {
        let a_move = self.load(id).await?;
        let first = match keep {
            Some(step) => self.position(&a_move, step)? + 1,
            None => 0,
        };
        let mut undone = Vec::new();
        let mut stopped_at = None;
        for step in a_move.runbook.steps.iter().skip(first).rev() {
            let life = self.life(id, &step.id).await?;
            if matches!(life.state, StepState::Pending | StepState::RolledBack) {
                continue;
            }
            if let Some(reason) = no_way_back(step) {
                stopped_at = Some((step.id.clone(), reason));
                break;
            }
            let resumed = life.state == StepState::RollingBack;
            let mut current = Current {
                a_move: &a_move,
                surroundings,
                step,
                life,
                resumed,
            };
            match self.undo(&mut current).await {
                Ok(()) => undone.push(step.id.clone()),
                Err(Trouble::Engine(error)) => return Err(error),
                Err(Trouble::Failed(reason) | Trouble::Interrupted(reason)) => {
                    self.settle(id).await?;
                    return Ok(Outcome::Failed {
                        step: step.id.clone(),
                        reason,
                    });
                }
            }
        }
        self.settle(id).await?;
        Ok(Outcome::RolledBack {
            steps: undone,
            stopped_at,
        })
    }

    async fn undo(&self, current: &mut Current<'_>) -> Result<(), Trouble> {
        if current.life.state != StepState::RollingBack {
            current.life.state = StepState::RollingBack;
            // Parts of the way there say nothing about the way back, except which cuts were made.
            current.life.progress = BTreeMap::new();
            let body = json!({ "step": current.step.id, "attempt": current.life.attempt });
            let record = self.evidence(current, "step.rolling-back", "rolling-back", body);
            self.keep(current, vec![record], "rolling back").await?;
        }
        let title = &current.step.title;
        self.tell(
            current.step,
            Text::new(
                format!("回退：{}", title.zh),
                format!("rolling back: {}", title.en),
            ),
        );
        let outcome = self.perform_back(current).await?;
        current.life.state = StepState::RolledBack;
        current.life.ended_us = Some(self.clock.now_us());
        let body =
            json!({ "step": current.step.id, "attempt": current.life.attempt, "outcome": outcome });
        let record = self.evidence(current, "step.rolled-back", "rolled-back", body);
        Ok(self.keep(current, vec![record], "rolled back").await?)
    }

    async fn perform_back(&self, current: &mut Current<'_>) -> Result<Value, Trouble> {
        match &current.step.action {
            Action::Cutover | Action::Rehearse(_) => self.cut_back(current).await,
            Action::Replicate(_) => self.detach(current).await,
            Action::Command(_) => match &current.step.way_back {
                Some(WayBack::Command(command)) => self.command(current, command).await,
                _ => Ok(json!({})),
            },
            _ => Ok(json!({})),
        }
    }

    async fn detach(&self, current: &mut Current<'_>) -> Result<Value, Trouble> {
        for volume in current.a_move.volumes() {
            let status = self
                .volume_status(volume, Side::Source)
                .await
                .map_err(Trouble::plane)?;
            if status.role != Role::Primary {
                return Err(Trouble::failed(
                    format!("卷 {volume} 的主端不在源端：先回退切换"),
                    format!(
                        "the source of volume {volume} is not primary: roll the cut-over back first"
                    ),
                ));
            }
            if status.peer.is_some() {
                self.ask(volume, Side::Source, Request::Detach)
                    .await
                    .map_err(Trouble::plane)?;
                self.point(&current.step.id, "detached")?;
            }
        }
        Ok(json!({ "detached": current.a_move.volumes() }))
    }
}

fn no_way_back(step: &Step) -> Option<Text> {
    match (&step.action, &step.way_back) {
        (Action::Retire(_), _) => Some(Text::new(
            "源端已销毁，无法回退",
            "the source is destroyed: there is no way back",
        )),
        (Action::Command(_), None) => Some(Text::new(
            "此命令没有回退办法（runbook 中没有 way_back）",
            "this command has no way_back in the runbook",
        )),
        _ => None,
    }
}
