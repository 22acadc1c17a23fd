//! Steps that end with a person or with time: figures, observation, retirement.

use super::{Current, Engine, Performed, Trouble};
use crate::reconcile::{Difference, Facts, compare_facts, parse_facts};
use crate::runbook::{Command, FactPhase, Reconcile};
use serde_json::{Value, json};
use yundu_estate::text::Text;
use yundu_evidence::{Record, canonical};
use yundu_people::{Decision, Role};

/// Persons who agree before the source is destroyed.
const RETIRE_PERSONS: usize = 2;

impl Engine {
    pub(super) async fn reconcile(
        &self,
        current: &mut Current<'_>,
        settings: &Reconcile,
    ) -> Result<Performed, Trouble> {
        if !current.life.progress.contains_key("figures") {
            self.take_figures(current, settings).await?;
        }
        let taken = current
            .life
            .progress
            .get("figures")
            .cloned()
            .unwrap_or_default();
        let differences: Vec<Difference> = super::keep::document(
            "differences",
            taken.get("differences").cloned().unwrap_or(json!([])),
        )?;
        if !differences.is_empty() {
            let names: Vec<String> = differences
                .iter()
                .map(|it| format!("{} ({} → {})", it.name, it.before, it.after))
                .collect();
            let names = names.join(", ");
            return Err(Trouble::failed(
                format!("对账不一致：{names}"),
                format!("figures differ: {names}"),
            ));
        }
        let digest = taken
            .get("facts_digest")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let signed = self
            .counted(
                current.a_move,
                "reconciliation",
                digest,
                "",
                &[Role::BusinessOwner],
            )
            .await?;
        if let Some(no) = signed
            .iter()
            .find(|approval| approval.decision == Decision::Object)
        {
            let (person, reason) = (&no.person, &no.reason);
            return Err(Trouble::failed(
                format!("{person} 不认可这些数字：{reason}"),
                format!("{person} objects to the figures: {reason}"),
            ));
        }
        match signed.last() {
            Some(yes) => Ok(Performed::Done(
                json!({ "signed_by": yes.person, "facts_digest": digest, "figures": taken.get("count") }),
            )),
            None => {
                let (id, step) = (&current.a_move.id, &current.step.id);
                let command = format!("yundu move confirm {id} {step} --as PERSON --key FILE");
                Ok(Performed::NeedsPerson(Text::new(
                    format!("由业务负责人签字确认数字：{command}"),
                    format!("a business owner signs the figures: {command}"),
                )))
            }
        }
    }

    async fn take_figures(
        &self,
        current: &mut Current<'_>,
        settings: &Reconcile,
    ) -> Result<(), Trouble> {
        let output = self
            .program(current, &settings.argv, settings.timeout_s)
            .await?;
        if !output.succeeded() {
            return Err(super::act::command_failed(settings.argv.first(), &output));
        }
        let facts = parse_facts(&output.stdout).map_err(|problem| {
            Trouble::failed(
                format!("对账命令的输出不可用：{problem}"),
                format!("the reconciliation's output is of no use: {problem}"),
            )
        })?;
        let differences = match settings.phase {
            FactPhase::Before => Vec::new(),
            FactPhase::After => {
                compare_facts(&self.figures_before(current).await?, &facts, settings)
            }
        };
        let facts_digest = canonical::digest(
            &json!({ "move": current.a_move.id, "phase": settings.phase, "facts": facts }),
        )?;
        let agrees = match settings.phase {
            FactPhase::Before => Value::Null,
            FactPhase::After => json!(differences.is_empty()),
        };
        let body = json!({
            "phase": settings.phase,
            "facts": facts,
            "facts_digest": facts_digest,
            "agrees": agrees,
            "differences": differences,
        });
        let record = self.evidence(current, "reconcile.recorded", "figures", body);
        let part = json!({ "facts_digest": facts_digest, "differences": differences, "count": facts.len() });
        Ok(self
            .keep_part(current, "figures", part, vec![record])
            .await?)
    }

    async fn figures_before(&self, current: &Current<'_>) -> Result<Facts, Trouble> {
        let records = self.ledger_records(&current.a_move.id).await?;
        let is_before = |record: &&Record| {
            record.kind == "reconcile.recorded"
                && record.body.get("phase") == Some(&json!(FactPhase::Before))
        };
        let before = records
            .iter()
            .rev()
            .find(is_before)
            .and_then(|record| record.body.get("facts"))
            .cloned();
        match before {
            Some(facts) => Ok(super::keep::document("figures before", facts)?),
            None => Err(Trouble::failed(
                "没有切换前的数字可比",
                "there are no figures from before to compare with",
            )),
        }
    }

    pub(super) async fn observation(
        &self,
        current: &mut Current<'_>,
    ) -> Result<Performed, Trouble> {
        let records = self.ledger_records(&current.a_move.id).await?;
        let latest = |kind: &str| {
            records
                .iter()
                .rev()
                .find(|record| record.kind == kind)
                .map(|record| record.at_us)
        };
        let Some(since_us) = latest("switch.done").or_else(|| latest("cutover.done")) else {
            return Err(Trouble::failed(
                "还没有切换，没有什么可观察",
                "nothing was switched yet: there is nothing to observe",
            ));
        };
        let until_us = since_us.saturating_add(current.a_move.runbook.observation_us);
        if self.clock.now_us() < until_us {
            return Ok(Performed::Until(until_us));
        }
        Ok(Performed::Done(
            json!({ "since_us": since_us, "until_us": until_us }),
        ))
    }

    pub(super) async fn retire(
        &self,
        current: &mut Current<'_>,
        command: &Command,
    ) -> Result<Performed, Trouble> {
        let digest = current.a_move.digest(current.surroundings)?;
        let decided = self
            .counted(
                current.a_move,
                "retire",
                &digest,
                &current.a_move.requester,
                &[],
            )
            .await?;
        if let Some(no) = decided
            .iter()
            .find(|approval| approval.decision == Decision::Object)
        {
            let (person, reason) = (&no.person, &no.reason);
            return Err(Trouble::failed(
                format!("{person} 反对销毁：{reason}"),
                format!("{person} objects to the destruction: {reason}"),
            ));
        }
        if decided.len() < RETIRE_PERSONS {
            let (id, count) = (&current.a_move.id, decided.len());
            return Ok(Performed::NeedsPerson(Text::new(
                format!(
                    "销毁源端需 {RETIRE_PERSONS} 人批准（现有 {count}）：yundu move approve {id} --retire --as PERSON --key FILE"
                ),
                format!(
                    "{RETIRE_PERSONS} persons approve the destruction (so far {count}): yundu move approve {id} --retire --as PERSON --key FILE"
                ),
            )));
        }
        let persons: Vec<&String> = decided.iter().map(|approval| &approval.person).collect();
        let body = json!({ "volumes": current.a_move.volumes(), "approved_by": persons });
        let ran = self.command(current, command).await?;
        if !current.life.progress.contains_key("destroyed") {
            let record = self.evidence(current, "source.destroyed", "destroyed", body);
            self.keep_part(current, "destroyed", json!(true), vec![record])
                .await?;
        }
        Ok(Performed::Done(ran))
    }
}
