//! A move as people look at it.

use crate::assess::RollbackAssessment;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::life::{StepLife, StepState};
use crate::moves::{Move, Surroundings};
use crate::runbook::StepKind;
use serde::Serialize;
use serde_json::Value;
use yundu_estate::text::Text;
use yundu_people::{Decision, check};

/// A move as people look at it.
#[derive(Clone, Debug, Serialize)]
pub struct MoveStatus {
    /// Name.
    pub id: String,
    /// Application.
    pub application: String,
    /// Who asked for it.
    pub requester: String,
    /// What people approve, as it is now.
    pub digest: String,
    /// Steps in order.
    pub steps: Vec<StepView>,
    /// First step that is not done.
    pub next: Option<String>,
    /// Decisions on the move, oldest first.
    pub approvals: Vec<ApprovalView>,
    /// Whether one can go back now, how long it would take and what it would lose.
    pub rollback: RollbackAssessment,
}

/// A step as people look at it.
#[derive(Clone, Debug, Serialize)]
pub struct StepView {
    /// Name.
    pub id: String,
    /// For people.
    pub title: Text,
    /// Automatic or a person's.
    pub kind: StepKind,
    /// What it does.
    pub action: &'static str,
    /// Who does it.
    pub operator: String,
    /// Who checks it.
    pub checker: String,
    /// Gate before it.
    pub gate: Option<String>,
    /// Where it stands.
    pub state: StepState,
    /// How often it was begun.
    pub attempt: u32,
    /// Planned, seconds.
    pub planned_s: u64,
    /// Actual, µs; null: not ended.
    pub actual_us: Option<i64>,
    /// Why it failed or waits.
    pub reason: Option<Text>,
    /// What came of it.
    pub outcome: Option<Value>,
}

/// A decision as people look at it.
#[derive(Clone, Debug, Serialize)]
pub struct ApprovalView {
    /// Who.
    pub person: String,
    /// On what: `move`, `retire`, `reconciliation`, `step`.
    pub subject_kind: String,
    /// Yes or no.
    pub decision: Decision,
    /// When, µs.
    pub at_us: i64,
    /// Why it does not count; null: it counts, or is not about the move as a whole.
    pub refusal: Option<Text>,
}

impl Engine {
    /// The move as it stands.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn status(
        &self,
        id: &str,
        surroundings: &Surroundings,
    ) -> Result<MoveStatus, EngineError> {
        let a_move = self.load(id).await?;
        let mut lives = self.lives(id).await?;
        let digest = a_move.digest(surroundings)?;
        let mut steps = Vec::new();
        for step in &a_move.runbook.steps {
            let life: StepLife = lives.remove(&step.id).unwrap_or_default();
            steps.push(StepView {
                id: step.id.clone(),
                title: step.title.clone(),
                kind: step.kind(),
                action: step.action.name(),
                operator: step.operator.clone(),
                checker: step.checker.clone(),
                gate: step.gate.clone(),
                state: life.state,
                attempt: life.attempt,
                planned_s: step.planned_s,
                actual_us: life.actual_us(),
                reason: life.reason,
                outcome: life.outcome,
            });
        }
        Ok(MoveStatus {
            approvals: self.approval_views(&a_move, &digest).await?,
            rollback: self.assess_rollback(&a_move).await?,
            next: steps
                .iter()
                .find(|step| step.state != StepState::Done)
                .map(|step| step.id.clone()),
            application: a_move.application,
            requester: a_move.requester,
            id: a_move.id,
            digest,
            steps,
        })
    }

    async fn approval_views(
        &self,
        a_move: &Move,
        digest: &str,
    ) -> Result<Vec<ApprovalView>, EngineError> {
        let people = self.people().await?;
        let mut views = Vec::new();
        for approval in self.decisions(&a_move.id).await? {
            let person = people.iter().find(|person| person.id == approval.person);
            let on_whole = matches!(approval.subject_kind.as_str(), "move" | "retire");
            let maker = if on_whole {
                a_move.requester.as_str()
            } else {
                ""
            };
            let mut refusal = check(&approval, person, maker, &[])
                .err()
                .map(|refusal| refusal.text());
            if on_whole && approval.subject_digest != digest && refusal.is_none() {
                refusal = Some(Text::new(
                    "迁移单在此之后已变更，审批作废",
                    "the move has changed since: this approval is void",
                ));
            }
            views.push(ApprovalView {
                person: approval.person,
                subject_kind: approval.subject_kind,
                decision: approval.decision,
                at_us: approval.at_us,
                refusal,
            });
        }
        Ok(views)
    }
}
