//! Cut-overs: the rehearsal, the real one, and the way back.

use super::act::command_failed;
use super::{Current, Engine, Performed, Trouble};
use crate::plane::{PlaneError, Side};
use crate::runbook::Rehearse;
use serde_json::{Value, json};
use yundu_estate::text::Text;
use yundu_replicate::control::{Handover, Request, Response, Role};

/// How long a cut waits for both copies to be in step.
const IN_STEP_TIMEOUT_S: u64 = 120;

/// Name of a cut of one volume.
pub(super) fn cut_id(cut: &str, volume: &str, way: &str) -> String {
    format!("{cut}/{volume}/{way}")
}

impl Engine {
    pub(super) fn cut_name(current: &Current<'_>) -> String {
        format!(
            "{}/{}/{}",
            current.a_move.id, current.step.id, current.life.attempt
        )
    }

    /// Hands the primary role of a volume to `to`, once per name, and notes it.
    pub(super) async fn cut(
        &self,
        current: &mut Current<'_>,
        volume: &str,
        way: &str,
        to: Side,
    ) -> Result<Handover, Trouble> {
        let part = format!("{way}/{volume}");
        if let Some(value) = current.life.progress.get(&part) {
            return Ok(super::keep::document(&part, value.clone())?);
        }
        let id = cut_id(&Self::cut_name(current), volume, way);
        let handover = match self.past_handover(volume, &id).await {
            Some(handover) => handover,
            None => {
                self.until_in_step(current, volume, IN_STEP_TIMEOUT_S)
                    .await?;
                let handover = self
                    .request_cut(volume, &id, to)
                    .await
                    .map_err(Trouble::plane)?;
                self.point(&current.step.id, &format!("cut {way}"))?;
                handover
            }
        };
        self.keep_part(current, &part, json!(handover), vec![])
            .await?;
        Ok(handover)
    }

    /// The hand-over `id`, if a side says that it was its last.
    async fn past_handover(&self, volume: &str, id: &str) -> Option<Handover> {
        for side in [Side::Source, Side::Target] {
            let status = self.volume_status(volume, side).await.ok();
            let handover = status
                .and_then(|status| status.handover)
                .filter(|handover| handover.id == id);
            if handover.is_some() {
                return handover;
            }
        }
        None
    }

    async fn request_cut(&self, volume: &str, id: &str, to: Side) -> Result<Handover, PlaneError> {
        // The source keeps the clients' connections, so it is asked first; either side can tell.
        let mut lost: Option<String> = None;
        for side in [Side::Source, Side::Target] {
            let request = Request::Cutover {
                id: id.to_owned(),
                to_me: side == to,
            };
            match self.ask(volume, side, request).await {
                Ok(Response::Handover(handover)) => return Ok(handover),
                Ok(other) => {
                    return Err(PlaneError::Unreachable {
                        reason: format!("asked for a hand-over, got {other:?}"),
                    });
                }
                Err(error @ PlaneError::Refused { .. }) => {
                    // One side may have begun before it was lost: what the other refuses says
                    // nothing of that. The same cut is asked for again.
                    return Err(match lost {
                        None => error,
                        Some(reason) => PlaneError::Unreachable {
                            reason: format!("{reason}; {error}"),
                        },
                    });
                }
                Err(error) => lost = Some(error.to_string()),
            }
        }
        Err(PlaneError::Unreachable {
            reason: lost.unwrap_or_default(),
        })
    }

    /// Sets the meters of a volume's both sides back, once per attempt and name.
    async fn reset_meters(&self, current: &mut Current<'_>, name: &str) -> Result<(), Trouble> {
        if current.life.progress.contains_key(name) {
            return Ok(());
        }
        for volume in current.a_move.volumes() {
            for side in [Side::Source, Side::Target] {
                self.ask(volume, side, Request::ResetMeters)
                    .await
                    .map_err(Trouble::plane)?;
            }
        }
        Ok(self.keep_part(current, name, json!(true), vec![]).await?)
    }

    /// The longest wait of a client since the meters were set back, µs, over both sides.
    async fn longest_wait_us(&self, current: &Current<'_>) -> u64 {
        let mut longest = 0;
        for volume in current.a_move.volumes() {
            for side in [Side::Source, Side::Target] {
                let status = self.volume_status(volume, side).await;
                longest = longest.max(status.map_or(0, |status| status.wait_us_max));
            }
        }
        longest
    }

    pub(super) async fn cut_over(&self, current: &mut Current<'_>) -> Result<Performed, Trouble> {
        self.reset_meters(current, "meters").await?;
        let (mut hold_us, mut total_us) = (0, 0);
        for volume in current.a_move.volumes() {
            let handover = self.cut(current, volume, "over", Side::Target).await?;
            (hold_us, total_us) = (
                hold_us.max(handover.hold_us),
                total_us.max(handover.total_us),
            );
        }
        let stall_us_max = self.longest_wait_us(current).await.max(hold_us);
        let body = json!({
            "cut": Self::cut_name(current),
            "hold_us": hold_us,
            "total_us": total_us,
            "stall_us_max": stall_us_max,
            "volumes": current.a_move.volumes(),
        });
        if !current.life.progress.contains_key("cut") {
            let record = self.evidence(current, "cutover.done", "cut", body.clone());
            self.keep_part(current, "cut", json!(true), vec![record])
                .await?;
        }
        self.ingest(current.a_move).await?;
        Ok(Performed::Done(body))
    }

    /// Moves the primary role back to the source; nothing is done for a volume that is there.
    pub(super) async fn cut_back(&self, current: &mut Current<'_>) -> Result<Value, Trouble> {
        let mut rollback_us = 0;
        for volume in current.a_move.volumes() {
            let way = "back";
            let known = current
                .life
                .progress
                .contains_key(&format!("{way}/{volume}"));
            let source = self
                .volume_status(volume, Side::Source)
                .await
                .map_err(Trouble::plane)?;
            if known || source.role != Role::Primary {
                let handover = self.cut(current, volume, way, Side::Source).await?;
                rollback_us = rollback_us.max(handover.total_us);
            }
        }
        let body = json!({ "cut": Self::cut_name(current), "rollback_us": rollback_us });
        let record = self.evidence(current, "rollback.done", "cut-back", body.clone());
        // Where nothing had been cut over, no way back was measured either.
        let was_cut = current
            .life
            .progress
            .keys()
            .any(|part| part.starts_with("back/"));
        if was_cut && !current.life.progress.contains_key("cut-back") {
            self.keep_part(current, "cut-back", json!(true), vec![record])
                .await?;
        }
        self.ingest(current.a_move).await?;
        Ok(body)
    }

    pub(super) async fn rehearse(
        &self,
        current: &mut Current<'_>,
        settings: &Rehearse,
    ) -> Result<Performed, Trouble> {
        self.reset_meters(current, "meters").await?;
        let (mut hold_us, mut total_us, mut rollback_us) = (0, 0, 0);
        for volume in current.a_move.volumes() {
            let handover = self.cut(current, volume, "over", Side::Target).await?;
            (hold_us, total_us) = (
                hold_us.max(handover.hold_us),
                total_us.max(handover.total_us),
            );
        }
        self.tell(
            current.step,
            Text::new(
                format!("已切到目标端，停顿 {hold_us} µs"),
                format!("at the target, held {hold_us} µs"),
            ),
        );
        let checked = self
            .rehearsal_check(current, "check", &settings.check, settings.timeout_s)
            .await?;
        for volume in current.a_move.volumes() {
            // Whatever stands in the way, the rehearsal is over only when the source is primary.
            let back = self.cut(current, volume, "back", Side::Source).await;
            let handover = back.map_err(|trouble| match trouble {
                Trouble::Failed(reason) => Trouble::Interrupted(reason),
                other => other,
            })?;
            (hold_us, rollback_us) = (
                hold_us.max(handover.hold_us),
                rollback_us.max(handover.total_us),
            );
        }
        let after = self
            .rehearsal_check(
                current,
                "check-after",
                &settings.check_after,
                settings.timeout_s,
            )
            .await?;
        let stall_us_max = self.longest_wait_us(current).await.max(hold_us);
        let told = |value: &Value| value.get("lost_writes").and_then(Value::as_i64);
        // Both hand-overs waited for both copies to be in step: nothing acknowledged was behind.
        let lost_writes = told(&after).or_else(|| told(&checked)).unwrap_or(0);
        let failure = [&checked, &after].into_iter().find_map(|value| {
            value
                .get("failed")
                .and_then(Value::as_str)
                .map(str::to_owned)
        });
        let body = json!({
            "succeeded": failure.is_none() && lost_writes == 0,
            "cut": Self::cut_name(current),
            "hold_us": hold_us,
            "total_us": total_us,
            "stall_us_max": stall_us_max,
            "rollback_us": rollback_us,
            "lost_writes": lost_writes,
            "lost_writes_by": if told(&after).or_else(|| told(&checked)).is_some() { "check" } else { "in-step" },
            "move_digest": current.a_move.digest(current.surroundings)?,
        });
        if !current.life.progress.contains_key("drill") {
            let record = self.evidence(current, "drill.rehearsed", "drill", body.clone());
            self.keep_part(current, "drill", json!(true), vec![record])
                .await?;
        }
        self.ingest(current.a_move).await?;
        match failure {
            Some(reason) => Err(Trouble::failed(
                format!("演练检查没有通过（已切回源端）：{reason}"),
                format!("the rehearsal's check failed (back at the source): {reason}"),
            )),
            None if lost_writes > 0 => Err(Trouble::failed(
                format!("演练丢失了 {lost_writes} 笔写入"),
                format!("the rehearsal lost {lost_writes} writes"),
            )),
            None => Ok(Performed::Done(body)),
        }
    }

    /// Runs a check of the rehearsal once; its failure is noted, not raised: the way back comes first.
    async fn rehearsal_check(
        &self,
        current: &mut Current<'_>,
        part: &str,
        argv: &[String],
        timeout_s: u64,
    ) -> Result<Value, Trouble> {
        if let Some(value) = current.life.progress.get(part) {
            return Ok(value.clone());
        }
        if argv.is_empty() {
            return Ok(json!({}));
        }
        let value = match self.program(current, argv, timeout_s).await {
            Ok(output) if output.succeeded() => {
                let printed = crate::reconcile::parse_facts(&output.stdout);
                printed.map_or_else(|_| json!({}), |facts| json!(facts))
            }
            Ok(output) => match command_failed(argv.first(), &output) {
                Trouble::Failed(reason) => json!({ "failed": reason.en }),
                other => return Err(other),
            },
            Err(Trouble::Failed(reason)) => json!({ "failed": reason.en }),
            Err(other) => return Err(other),
        };
        self.keep_part(current, part, value.clone(), vec![]).await?;
        Ok(value)
    }
}
