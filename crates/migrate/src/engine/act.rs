//! What each action does. Every one may be begun again after a crash: it asks the world first.

use super::{Current, Engine, Performed, Trouble};
use crate::commands::CommandOutput;
use crate::life::StepState;
use crate::plane::Side;
use crate::preflight::compare_sites;
use crate::runbook::{Action, Command, Replicate, Verify};
use serde_json::{Value, json};
use std::time::Duration;
use yundu_estate::text::Text;
use yundu_replicate::control::{Link, Request, Role, Status, SyncState, Verification};

/// Between two looks at a volume.
const POLL: Duration = Duration::from_millis(200);

/// Looks at a volume between two lines for people.
const POLLS_PER_LINE: u64 = 10;

/// Rounds of a comparison that repairs: it must end with a clean one.
const VERIFY_ROUNDS_MAX: u32 = 3;

/// Differing offsets that evidence names.
const OFFSETS_MAX: usize = 256;

impl Engine {
    pub(super) async fn perform(&self, current: &mut Current<'_>) -> Result<Performed, Trouble> {
        match &current.step.action {
            Action::Preflight => self.preflight(current).await,
            Action::Replicate(settings) => self.replicate(current, settings).await,
            Action::WaitInStep(wait) => self.wait_in_step(current, wait.timeout_s).await,
            Action::Verify(settings) => self.verify(current, settings).await,
            Action::Rehearse(settings) => self.rehearse(current, settings).await,
            Action::Cutover => self.cut_over(current).await,
            Action::Compare(wait) => self.compare(current, wait.timeout_s).await,
            Action::Command(command) => self.command(current, command).await.map(Performed::Done),
            Action::Reconcile(settings) => self.reconcile(current, settings).await,
            Action::Confirm => self.confirm(current).await,
            Action::Observe => self.observation(current).await,
            Action::Retire(command) => self.retire(current, command).await,
        }
    }

    async fn preflight(&self, current: &mut Current<'_>) -> Result<Performed, Trouble> {
        let checks = compare_sites(&current.surroundings.source, &current.surroundings.target);
        let passed = !checks.is_empty() && checks.iter().all(|check| check.passed);
        let kind = if passed {
            "preflight.passed"
        } else {
            "preflight.refused"
        };
        let body = json!({
            "volumes": current.a_move.volumes(),
            "method": current.a_move.runbook.method,
            "source_site": current.a_move.runbook.source_site,
            "target_site": current.a_move.runbook.target_site,
            "checks": checks,
        });
        let record = self.evidence(current, kind, "preflight", body.clone());
        if !current.life.progress.contains_key("compared") {
            self.keep_part(current, "compared", json!(passed), vec![record])
                .await?;
        }
        if passed {
            return Ok(Performed::Done(body));
        }
        if checks.is_empty() {
            let application = &current.a_move.application;
            return Err(Trouble::failed(
                format!("资产中没有 {application} 的数据存储：块复制无法判断能否进行，请补充资产"),
                format!(
                    "the estate has no data store of {application}: whether a block copy fits cannot be told; add it to the estate"
                ),
            ));
        }
        let refused: Vec<&Text> = checks
            .iter()
            .filter(|check| !check.passed)
            .map(|check| &check.reason)
            .collect();
        let join = |pick: fn(&Text) -> &str, with: &str| {
            refused
                .iter()
                .map(|text| pick(text))
                .collect::<Vec<_>>()
                .join(with)
        };
        Err(Trouble::failed(
            join(|text| &text.zh, "；"),
            join(|text| &text.en, "; "),
        ))
    }

    async fn replicate(
        &self,
        current: &mut Current<'_>,
        settings: &Replicate,
    ) -> Result<Performed, Trouble> {
        for volume in &current.a_move.runbook.volumes {
            let to = current
                .a_move
                .expand(&volume.receive, &current.step.id, current.life.attempt);
            let status = self
                .volume_status(&volume.name, Side::Source)
                .await
                .map_err(Trouble::plane)?;
            if status.peer.as_deref() != Some(to.as_str())
                || status.mode != Some(settings.mode)
                || status.policy != Some(settings.policy)
            {
                let request = Request::Replicate {
                    to,
                    mode: settings.mode,
                    policy: settings.policy,
                };
                self.ask(&volume.name, Side::Source, request)
                    .await
                    .map_err(Trouble::plane)?;
                self.point(&current.step.id, "replication started")?;
            }
        }
        Ok(Performed::Done(
            json!({ "volumes": current.a_move.volumes() }),
        ))
    }

    async fn wait_in_step(
        &self,
        current: &mut Current<'_>,
        timeout_s: u64,
    ) -> Result<Performed, Trouble> {
        let mut outcome = Vec::new();
        for volume in current.a_move.volumes() {
            let status = self.until_in_step(current, volume, timeout_s).await?;
            outcome.push(json!({ "volume": volume, "copy_bytes": status.copy_bytes, "resync_bytes": status.resync_bytes }));
        }
        Ok(Performed::Done(json!({ "volumes": outcome })))
    }

    /// Polls until both copies of a volume hold everything.
    pub(super) async fn until_in_step(
        &self,
        current: &Current<'_>,
        volume: &str,
        timeout_s: u64,
    ) -> Result<Status, Trouble> {
        let begun_us = self.clock.now_us();
        let mut polls = 0;
        loop {
            let (side, status) = self.primary(volume).await?;
            if status.sync == SyncState::InStep
                && status.link == Link::Up
                && status.remaining_bytes == 0
            {
                return Ok(status);
            }
            if self.timed_out(begun_us, timeout_s) {
                let reason = status.link_reason.clone().unwrap_or_default();
                return Err(Trouble::failed(
                    format!(
                        "{timeout_s} 秒内没有同步：{:?}，还差 {} 字节 {reason}",
                        status.sync, status.remaining_bytes
                    ),
                    format!(
                        "not in step within {timeout_s} s: {:?}, {} bytes to go {reason}",
                        status.sync, status.remaining_bytes
                    ),
                ));
            }
            if polls % POLLS_PER_LINE == 0 {
                let mib = |bytes: u64| bytes >> 20;
                let line = format!(
                    "{volume} ({side:?}): {} MiB, {} MiB, {} MiB/s",
                    mib(status.copy_bytes),
                    mib(status.remaining_bytes),
                    mib(status.rate_bytes_per_s)
                );
                self.tell(
                    current.step,
                    Text::new(
                        format!("已复制、剩余、速率 {line}"),
                        format!("copied, to go, rate {line}"),
                    ),
                );
            }
            polls += 1;
            self.clock.sleep(POLL).await;
        }
    }

    /// The side that orders the writes of a volume now, and its status.
    pub(super) async fn primary(&self, volume: &str) -> Result<(Side, Status), Trouble> {
        let source = self.volume_status(volume, Side::Source).await;
        if let Ok(status) = &source
            && status.role == Role::Primary
        {
            return Ok((Side::Source, status.clone()));
        }
        match self.volume_status(volume, Side::Target).await {
            Ok(status) if status.role == Role::Primary => Ok((Side::Target, status)),
            Err(error) => Err(Trouble::plane(source.err().unwrap_or(error))),
            Ok(_) => Err(Trouble::Interrupted(Text::new(
                format!("卷 {volume} 没有主端应答"),
                format!("no primary of volume {volume} answers"),
            ))),
        }
    }

    fn timed_out(&self, begun_us: i64, timeout_s: u64) -> bool {
        let limit_us = i64::try_from(timeout_s.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
        self.clock.now_us().saturating_sub(begun_us) > limit_us
    }

    async fn verify(
        &self,
        current: &mut Current<'_>,
        settings: &Verify,
    ) -> Result<Performed, Trouble> {
        let mut outcome = Vec::new();
        for volume in current.a_move.volumes() {
            let mut round = 1;
            let clean = loop {
                let done = self.verify_once(current, volume, settings, round).await?;
                if done.differing_leaves == 0 && done.repaired_leaves == 0 && done.aborted.is_none()
                {
                    break done;
                }
                if !settings.repair || done.aborted.is_some() || round == VERIFY_ROUNDS_MAX {
                    return Err(not_clean(volume, &done));
                }
                round += 1;
            };
            outcome.push(json!({ "volume": volume, "compared_bytes": clean.compared_bytes, "rounds": round }));
        }
        Ok(Performed::Done(json!({ "volumes": outcome })))
    }

    /// One comparison of a volume, with its evidence; done before in this attempt, it stands.
    async fn verify_once(
        &self,
        current: &mut Current<'_>,
        volume: &str,
        settings: &Verify,
        round: u32,
    ) -> Result<Verification, Trouble> {
        let part = format!("verified/{volume}/{round}");
        if let Some(value) = current.life.progress.get(&part) {
            return Ok(super::keep::document(&part, value.clone())?);
        }
        let (side, status) = self.primary(volume).await?;
        if !status
            .verification
            .is_some_and(|verification| verification.running)
        {
            let request = Request::Verify {
                repair: settings.repair,
            };
            self.ask(volume, side, request)
                .await
                .map_err(Trouble::plane)?;
            self.point(&current.step.id, "verification started")?;
        }
        let begun_us = self.clock.now_us();
        let done = loop {
            let status = self
                .volume_status(volume, side)
                .await
                .map_err(Trouble::plane)?;
            match status.verification {
                Some(verification) if !verification.running => break verification,
                None => {
                    return Err(Trouble::failed(
                        "比对丢失：卷进程重启过，重新运行",
                        "the comparison is gone: the volume process was restarted; run again",
                    ));
                }
                Some(_) => {}
            }
            if self.timed_out(begun_us, settings.timeout_s) {
                let seconds = settings.timeout_s;
                return Err(Trouble::failed(
                    format!("{seconds} 秒内没有比完"),
                    format!("not compared within {seconds} s"),
                ));
            }
            self.clock.sleep(POLL).await;
        };
        let offsets: Vec<u64> = done
            .differing_offsets
            .iter()
            .take(OFFSETS_MAX)
            .copied()
            .collect();
        let body = json!({
            "volume": volume,
            "compared_bytes": done.compared_bytes,
            "differing_leaves": done.differing_leaves,
            "repaired_leaves": done.repaired_leaves,
            "differing_offsets": offsets,
            "leaf_bytes": done.leaf_bytes,
            "aborted": done.aborted,
        });
        let record = self.evidence(current, "volume.verified", &part, body);
        self.keep_part(current, &part, json!(done), vec![record])
            .await?;
        Ok(done)
    }

    async fn compare(
        &self,
        current: &mut Current<'_>,
        timeout_s: u64,
    ) -> Result<Performed, Trouble> {
        let cutover = self.latest(&current.a_move.id, "cutover.done").await?;
        let cut = cutover
            .as_ref()
            .and_then(|record| record.body.get("cut"))
            .and_then(Value::as_str)
            .map(str::to_owned);
        let Some(cut) = cut else {
            return Err(Trouble::failed(
                "还没有切换：没有切换点可比",
                "nothing was cut over: there is no cut to compare at",
            ));
        };
        for volume in current.a_move.volumes() {
            let part = format!("compared/{volume}");
            if current.life.progress.contains_key(&part) {
                continue;
            }
            let id = super::cuts::cut_id(&cut, volume, "over");
            let Some((source, target)) = self.cut_digests(current, volume, &id, timeout_s).await?
            else {
                self.compare_under_load(current, volume, &cut, timeout_s)
                    .await?;
                continue;
            };
            let equal = source == target;
            let body = json!({ "volume": volume, "cut": cut, "by": "digest", "source_digest": source, "target_digest": target, "equal": equal });
            let record = self.evidence(current, "volume.compared", &part, body);
            self.keep_part(current, &part, json!(equal), vec![record])
                .await?;
            if !equal {
                return Err(Trouble::failed(
                    format!(
                        "卷 {volume} 两端在切换点不同：源 {source}，目标 {target}；保留源端，查明原因"
                    ),
                    format!(
                        "the copies of volume {volume} differ as of the cut: source {source}, target {target}; keep the source and find the cause"
                    ),
                ));
            }
        }
        Ok(Performed::Done(json!({ "cut": cut, "equal": true })))
    }

    /// Stands in for the digests as of the cut when they are lost: a comparison after the cut, while
    /// the source follows. What was overwritten since is equal because both wrote it; the rest is as
    /// it was at the cut.
    async fn compare_under_load(
        &self,
        current: &mut Current<'_>,
        volume: &str,
        cut: &str,
        timeout_s: u64,
    ) -> Result<(), Trouble> {
        self.tell(
            current.step,
            Text::new(
                format!("{volume}：卷进程重启过，切换点摘要已丢失，改为在线比对"),
                format!(
                    "{volume}: a volume process was restarted and its digest as of the cut is lost: comparing under load instead"
                ),
            ),
        );
        self.until_in_step(current, volume, timeout_s).await?;
        let settings = Verify {
            repair: false,
            timeout_s,
        };
        let done = self.verify_once(current, volume, &settings, 1).await?;
        if done.differing_leaves > 0 || done.aborted.is_some() {
            return Err(not_clean(volume, &done));
        }
        let part = format!("compared/{volume}");
        let body = json!({ "volume": volume, "cut": cut, "by": "verification", "source_digest": null, "target_digest": null, "compared_bytes": done.compared_bytes, "equal": true });
        let record = self.evidence(current, "volume.compared", &part, body);
        Ok(self
            .keep_part(current, &part, json!(true), vec![record])
            .await?)
    }

    /// Waits for the digests of both sides as of a cut; `None`: one of them is lost, because it was
    /// in the making in a process that died.
    async fn cut_digests(
        &self,
        current: &Current<'_>,
        volume: &str,
        cut: &str,
        timeout_s: u64,
    ) -> Result<Option<(String, String)>, Trouble> {
        let begun_us = self.clock.now_us();
        let mut polls = 0;
        loop {
            let mut roots = Vec::new();
            let mut lost = false;
            for side in [Side::Source, Side::Target] {
                let status = self
                    .volume_status(volume, side)
                    .await
                    .map_err(Trouble::plane)?;
                let begun = status.cut_digest.filter(|digest| digest.id == cut);
                // Both sides begin theirs at the latest when they meet after the cut.
                lost |= begun.is_none() && status.link == Link::Up;
                roots.extend(
                    begun
                        .filter(|digest| !digest.root.is_empty())
                        .map(|digest| digest.root),
                );
            }
            if let [source, target] = roots.as_slice() {
                return Ok(Some((source.clone(), target.clone())));
            }
            if lost {
                return Ok(None);
            }
            if self.timed_out(begun_us, timeout_s) {
                return Err(Trouble::failed(
                    format!("卷 {volume} 在 {timeout_s} 秒内没有算出切换点 {cut} 的两端摘要"),
                    format!(
                        "volume {volume}: no digests of both sides as of cut {cut} within {timeout_s} s"
                    ),
                ));
            }
            if polls % POLLS_PER_LINE == 0 {
                self.tell(
                    current.step,
                    Text::new(
                        format!("{volume}：正在计算切换点摘要"),
                        format!("{volume}: digests as of the cut are being computed"),
                    ),
                );
            }
            polls += 1;
            self.clock.sleep(POLL).await;
        }
    }

    /// Runs a program unless an earlier attempt of it has succeeded already.
    pub(super) async fn command(
        &self,
        current: &mut Current<'_>,
        command: &Command,
    ) -> Result<Value, Trouble> {
        if let Some(outcome) = current.life.progress.get("ran") {
            return Ok(outcome.clone());
        }
        let begun_us = self.clock.now_us();
        let may_have_run = current.resumed
            || current.life.attempt > 1
            || current.life.state == StepState::RollingBack;
        let mut output = None;
        if may_have_run && !command.check.is_empty() {
            output = Some(
                self.program(current, &command.check, command.timeout_s)
                    .await?,
            )
            .filter(CommandOutput::succeeded);
        }
        let already = output.is_some();
        let output = match output {
            Some(output) => output,
            None => {
                let output = self
                    .program(current, &command.argv, command.timeout_s)
                    .await?;
                self.point(&current.step.id, "command ran")?;
                output
            }
        };
        if !output.succeeded() {
            return Err(command_failed(command.argv.first(), &output));
        }
        let elapsed_us = self.clock.now_us().saturating_sub(begun_us);
        let printed = printed_body(command, &output, already)?;
        let body = json!({ "argv": self.argv(current, &command.argv), "had_happened": already, "elapsed_us": elapsed_us, "printed": printed });
        let mut records = vec![self.evidence(
            current,
            "command.done",
            &format!("{}/command", current.life.state.name()),
            body.clone(),
        )];
        if let (Some(kind), Some(printed)) = (&command.evidence, printed) {
            records.push(self.evidence(
                current,
                kind,
                &format!("{}/{kind}", current.life.state.name()),
                printed,
            ));
        }
        self.keep_part(current, "ran", body.clone(), records)
            .await?;
        Ok(body)
    }

    pub(super) async fn program(
        &self,
        current: &Current<'_>,
        argv: &[String],
        timeout_s: u64,
    ) -> Result<CommandOutput, Trouble> {
        let argv = self.argv(current, argv);
        let run = self
            .commands
            .run(&argv, Duration::from_secs(timeout_s))
            .await;
        run.map_err(|error| Trouble::failed(error.to_string(), error.to_string()))
    }

    fn argv(&self, current: &Current<'_>, argv: &[String]) -> Vec<String> {
        argv.iter()
            .map(|word| {
                current
                    .a_move
                    .expand(word, &current.step.id, current.life.attempt)
            })
            .collect()
    }
}

fn not_clean(volume: &str, done: &Verification) -> Trouble {
    if let Some(reason) = &done.aborted {
        return Trouble::failed(
            format!("卷 {volume} 的比对中途停止：{reason}"),
            format!("the comparison of volume {volume} ended early: {reason}"),
        );
    }
    let offsets: Vec<String> = done
        .differing_offsets
        .iter()
        .take(8)
        .map(u64::to_string)
        .collect();
    let (count, offsets) = (done.differing_leaves, offsets.join(", "));
    Trouble::failed(
        format!("卷 {volume} 有 {count} 个块与源不同（偏移 {offsets}）：修复后重新比对"),
        format!(
            "{count} leaves of volume {volume} differ (offsets {offsets}): repair, then verify again"
        ),
    )
}

pub(super) fn command_failed(program: Option<&String>, output: &CommandOutput) -> Trouble {
    let program = program.map_or("", String::as_str);
    let code = output
        .code
        .map_or_else(|| "signal".to_owned(), |code| code.to_string());
    let complaint = output.complaint();
    Trouble::failed(
        format!("{program} 以 {code} 结束：{complaint}"),
        format!("{program} ended with {code}: {complaint}"),
    )
}

/// What the program printed, when its output is to become evidence.
fn printed_body(
    command: &Command,
    output: &CommandOutput,
    already: bool,
) -> Result<Option<Value>, Trouble> {
    if command.evidence.is_none() {
        return Ok(None);
    }
    match crate::reconcile::parse_facts(&output.stdout) {
        Ok(facts) => Ok(Some(json!(facts))),
        // The check that it has happened need not print anything.
        Err(_) if already => Ok(Some(json!({ "had_happened": 1 }))),
        Err(problem) => Err(Trouble::failed(
            format!("输出不是证据：{problem}"),
            format!("its output is not evidence: {problem}"),
        )),
    }
}
