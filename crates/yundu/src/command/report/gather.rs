//! Puts together what a report shows from store and ledger. The workload's samples are not in
//! either: whoever measured them adds them.

use crate::context::{Classify, Failure};
use crate::report::{
    Approval, Contradiction, Figure, GateEvaluation, Incident, IncidentKind, Ledger, Outcome,
    Ranked, Reconciliation, ReconciliationRow, ReportData, Step, Unit, Volume, Wave,
};
use crate::workspace::Workspace;
use anyhow::anyhow;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use yundu_estate::Estate;
use yundu_estate::text::Text;
use yundu_evidence::{DirectoryStore, Reader, Record, VerifierKey, tile_path};
use yundu_people::{Person, verify_signature};
use yundu_plan::Plan;
use yundu_store::{ApprovalRow, StepRow, VerdictRow};

/// How many applications of the ranking are shown.
const RANKED_MAX: usize = 8;
/// How many contradictions are shown.
const CONTRADICTIONS_MAX: usize = 20;

/// The report of a move as of `at_us`.
pub fn gather(workspace: &Workspace, move_id: &str, at_us: i64) -> Result<ReportData, Failure> {
    let (row, steps, records, verdicts, approvals, plan) = workspace
        .block_on(async {
            let mut read = workspace.store().read().await?;
            let row = read.move_row(move_id).await?;
            let steps = read.steps(move_id).await?;
            let records = read.records_about(move_id).await?;
            let verdicts = read.verdicts(move_id).await?;
            let approvals = read.approvals(move_id).await?;
            let plan = read.latest_plan().await?;
            Ok::<_, yundu_store::StoreError>((row, steps, records, verdicts, approvals, plan))
        })
        .environment()?;
    let Some(row) = row else {
        return Err(Failure::BadInput(anyhow!(
            "no move `{move_id}`: `yundu move status` lists them"
        )));
    };
    let records: Vec<Record> = records.into_iter().map(|row| row.record).collect();
    let people = workspace.people()?;
    let estate = workspace.estate()?;
    let plan: Option<Plan> = plan.and_then(|row| serde_json::from_value(row.document).ok());
    let application = text_of(&row.document, "application");
    let same = |text: String| Text::new(text.clone(), text);
    let runbook = row.document.get("runbook").unwrap_or(&row.document);
    let site = |field: &str| {
        let id = text_of(runbook, field);
        let name = estate
            .sites
            .get(&id)
            .and_then(|site| site.name.first().cloned());
        name.unwrap_or_else(|| same(id))
    };
    let institution = estate.institutions.values().next();
    let mut data = ReportData {
        institution: institution
            .and_then(|it| it.name.first().cloned())
            .unwrap_or_default(),
        move_id: row.id.clone(),
        application: match estate.applications.get(&application) {
            Some(known) => known.display_name(),
            None => same(application.clone()),
        },
        application_id: application,
        method: method(&text_of(runbook, "method")),
        requester: text_of(&row.document, "requester"),
        source_site: site("source_site"),
        target_site: site("target_site"),
        move_digest: row.digest.clone(),
        generated_at_us: at_us,
        outcome: outcome(&row.state, &records),
        figures: figures(&records, runbook.get("targets").unwrap_or(&Value::Null)),
        steps: in_order(&row.document, &steps),
        incidents: incidents(&records),
        gates: verdicts.into_iter().filter_map(evaluation).collect(),
        approvals: approvals
            .iter()
            .map(|approval| decision(approval, &people, &text_of(&row.document, "requester")))
            .collect(),
        reconciliation: reconciliation(&records, &approvals),
        volumes: volumes(&records),
        waves: plan.as_ref().map(waves).unwrap_or_default(),
        ranking: ranking(&estate),
        contradictions: contradictions(&estate),
        ledger: ledger(workspace, &records)?,
        ..ReportData::default()
    };
    data.steps
        .sort_by_key(|step| step.started_at_us.unwrap_or(i64::MAX));
    data.summary = summary(&data);
    Ok(data)
}

fn text_of(value: &Value, field: &str) -> String {
    value
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn integer(value: &Value, field: &str) -> Option<i64> {
    value.get(field).and_then(Value::as_i64)
}

fn latest<'a>(records: &'a [Record], kind: &str) -> Option<&'a Record> {
    records
        .iter()
        .filter(|record| record.kind == kind)
        .max_by_key(|record| record.at_us)
}

fn method(name: &str) -> Text {
    match name {
        "block-replication" => Text::new("同步块复制", "synchronous block replication"),
        other => Text::new(other, other),
    }
}

fn outcome(state: &str, records: &[Record]) -> Outcome {
    match state {
        "done" | "succeeded" | "completed" => Outcome::Succeeded,
        "rolled-back" => Outcome::RolledBack,
        "failed" => Outcome::Failed,
        _ => {
            let at = |kind| latest(records, kind).map(|record| record.at_us);
            match (at("cutover.done"), at("rollback.done")) {
                (Some(cut), Some(back)) if back > cut => Outcome::RolledBack,
                _ => Outcome::Running,
            }
        }
    }
}

fn summary(data: &ReportData) -> Text {
    let refused = data.gates.iter().filter(|gate| !gate.verdict.open).count();
    let opened = data.gates.len() - refused;
    let entries = data.ledger.entries;
    Text::new(
        format!(
            "闸门评估 {} 次，拒绝 {refused} 次，打开 {opened} 次；账本共 {entries} 条记录。",
            data.gates.len()
        ),
        format!(
            "Gates were evaluated {} times: {refused} refused, {opened} opened. The ledger holds {entries} records.",
            data.gates.len()
        ),
    )
}

fn figures(records: &[Record], targets: &Value) -> Vec<Figure> {
    let body = |kind: &str| latest(records, kind).map_or(&Value::Null, |record| &record.body);
    let (drill, cut, switch) = (
        body("drill.rehearsed"),
        body("cutover.done"),
        body("switch.done"),
    );
    let status = body("volume.status");
    // Each process counts what it sent itself; the one that did the copying has the figure.
    let sent = |field: &str| {
        let statuses = records
            .iter()
            .filter(|record| record.kind == "volume.status");
        statuses
            .filter_map(|record| integer(&record.body, field))
            .filter(|bytes| *bytes > 0)
            .max()
    };
    let mut figures = Vec::new();
    let mut add = |zh: &str,
                   en: &str,
                   value: Option<i64>,
                   unit: Unit,
                   at_most: Option<i64>,
                   note: (&str, &str)| {
        figures.push(Figure {
            title: Text::new(zh, en),
            value,
            unit,
            at_most,
            note: Text::new(note.0, note.1),
        });
    };
    if !cut.is_null() {
        add(
            "最长存储停顿",
            "Longest storage stall",
            integer(cut, "stall_us_max"),
            Unit::Microseconds,
            integer(targets, "stall_us_max"),
            (
                "正式切换实测，请求最长等待",
                "longest wait of a request, measured",
            ),
        );
    }
    if !drill.is_null() {
        add(
            "演练最长存储停顿",
            "Longest storage stall, rehearsal",
            integer(drill, "stall_us_max"),
            Unit::Microseconds,
            integer(targets, "stall_us_max"),
            (
                "演练实测，请求最长等待",
                "longest wait of a request, measured",
            ),
        );
    }
    if !switch.is_null() {
        add(
            "应用中断",
            "Interruption of the application",
            integer(switch, "interruption_us"),
            Unit::Microseconds,
            integer(targets, "rto_us"),
            ("应用切换实测", "measured at the switch"),
        );
    }
    if !drill.is_null() {
        add(
            "演练丢失的写入",
            "Writes lost in rehearsal",
            integer(drill, "lost_writes"),
            Unit::Count,
            Some(0),
            ("切换并回退之后", "after cutting over and rolling back"),
        );
        add(
            "回退时间",
            "Rollback",
            integer(drill, "rollback_us"),
            Unit::Microseconds,
            integer(targets, "rto_us"),
            ("演练实测", "measured in rehearsal"),
        );
    }
    if !status.is_null() {
        add(
            "RPO",
            "RPO",
            integer(status, "rpo_us"),
            Unit::Microseconds,
            integer(targets, "rpo_us"),
            ("最近一次状态", "latest status"),
        );
        if let Some(bytes) = sent("copy_bytes") {
            add(
                "全量复制",
                "Full copy",
                Some(bytes),
                Unit::Bytes,
                None,
                ("空洞不传", "holes are not sent"),
            );
        }
        if let (Some(sent), Some(dirtied @ 1..)) = (sent("resync_bytes"), sent("dirtied_bytes")) {
            let ratio = i64::try_from(i128::from(sent) * 1_000 / i128::from(dirtied)).ok();
            add(
                "重传比",
                "Resync ratio",
                ratio,
                Unit::Milli,
                Some(1_200),
                ("重传字节 ÷ 变脏字节", "bytes sent again ÷ bytes dirtied"),
            );
        }
    }
    figures
}

/// The runbook's steps in its order, each with its life so far.
fn in_order(document: &Value, rows: &[StepRow]) -> Vec<Step> {
    let planned = document.pointer("/runbook/steps").and_then(Value::as_array);
    let planned = planned.map(Vec::as_slice).unwrap_or_default();
    planned
        .iter()
        .map(|plan| {
            let id = text_of(plan, "id");
            let row = rows.iter().find(|row| row.step_id == id);
            let life = row.map_or(&Value::Null, |row| &row.document);
            let title = plan
                .get("title")
                .and_then(|it| serde_json::from_value(it.clone()).ok());
            Step {
                title: title.unwrap_or_else(|| Text::new(id.as_str(), id.as_str())),
                operator: text_of(plan, "operator"),
                checker: text_of(plan, "checker"),
                state: row.map_or_else(|| "pending".to_owned(), |row| row.state.clone()),
                planned_us: integer(plan, "planned_s")
                    .unwrap_or(0)
                    .saturating_mul(1_000_000),
                started_at_us: integer(life, "intended_us"),
                ended_at_us: integer(life, "ended_us"),
                id,
            }
        })
        .collect()
}

fn incidents(records: &[Record]) -> Vec<Incident> {
    let mut incidents = Vec::new();
    let until = |kind: &str, from_us: i64| {
        let later = records
            .iter()
            .filter(|other| other.kind == kind && other.at_us >= from_us);
        later.map(|record| record.at_us).min().unwrap_or(from_us)
    };
    for record in records {
        let back = |field| {
            record
                .at_us
                .saturating_sub(integer(&record.body, field).unwrap_or(0))
        };
        let (text, kind, from_us, until_us) = match record.kind.as_str() {
            "volume.link-lost" => {
                let text = Text::new("链路中断", "link lost");
                (
                    text,
                    IncidentKind::Fault,
                    record.at_us,
                    until("volume.link-up", record.at_us),
                )
            }
            "volume.verified" if integer(&record.body, "differing_leaves") > Some(0) => {
                let text = Text::new("比对发现差异", "verification found a difference");
                (text, IncidentKind::Fault, record.at_us, record.at_us)
            }
            "volume.handover" => {
                let text = Text::new("主副本交接", "hand-over of the primary");
                (text, IncidentKind::Change, back("hold_us"), record.at_us)
            }
            "switch.done" => {
                let text = Text::new("应用切换", "application switch");
                (
                    text,
                    IncidentKind::Change,
                    back("interruption_us"),
                    record.at_us,
                )
            }
            _ => continue,
        };
        incidents.push(Incident {
            title: text,
            kind,
            from_us,
            until_us,
        });
    }
    incidents.sort_by_key(|incident| incident.from_us);
    incidents
}

fn evaluation(row: VerdictRow) -> Option<GateEvaluation> {
    let verdict = serde_json::from_value(row.verdict).ok()?;
    Some(GateEvaluation {
        id: row.id,
        at_us: row.at_us,
        verdict,
    })
}

fn decision(row: &ApprovalRow, people: &[Person], requester: &str) -> Approval {
    let person = people.iter().find(|person| person.id == row.person);
    let signed: Option<yundu_people::Approval> = serde_json::from_value(row.document.clone()).ok();
    let refusal = match &signed {
        None => Some(Text::new("无法读取", "it cannot be read")),
        Some(_) if row.person == requester && row.subject_kind != "reconciliation" => {
            Some(Text::new(
                "申请人不得审批自己的申请",
                "the requester may not approve their own request",
            ))
        }
        Some(signed) => verify_signature(signed, person)
            .err()
            .map(|refusal| refusal.text()),
    };
    let fingerprint =
        |person: &Person| hex::encode(Sha256::digest(person.public_key.to_string().as_bytes()));
    Approval {
        id: row.id.clone(),
        person: row.person.clone(),
        name: person.map(|person| person.name.clone()).unwrap_or_default(),
        roles: person
            .map(|person| {
                person
                    .roles
                    .iter()
                    .map(|role| role.name().to_owned())
                    .collect()
            })
            .unwrap_or_default(),
        at_us: row.at_us,
        subject_kind: row.subject_kind.clone(),
        subject_digest: row.subject_digest.clone(),
        decision: text_of(&row.document, "decision"),
        key_fingerprint: person.map(fingerprint).unwrap_or_default(),
        valid: refusal.is_none(),
        refusal: refusal.unwrap_or_default(),
    }
}

fn reconciliation(records: &[Record], approvals: &[ApprovalRow]) -> Reconciliation {
    let of_phase = |phase: &str| {
        let matching = records.iter().filter(|record| {
            record.kind == "reconcile.recorded" && text_of(&record.body, "phase") == phase
        });
        matching
            .max_by_key(|record| record.at_us)
            .map_or(&Value::Null, |record| &record.body)
    };
    let (before, after) = (of_phase("before"), of_phase("after"));
    let facts = |body: &Value| -> BTreeMap<String, String> {
        let Some(Value::Object(facts)) = body.get("facts") else {
            return BTreeMap::new();
        };
        let shown = |value: &Value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        };
        facts
            .iter()
            .map(|(name, value)| (name.clone(), shown(value)))
            .collect()
    };
    let (old, new) = (facts(before), facts(after));
    let differs = |name: &str| {
        let differences = after.get("differences").and_then(Value::as_array);
        differences.is_some_and(|all| all.iter().any(|one| text_of(one, "name") == name))
    };
    let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let rows = names
        .into_iter()
        .map(|name| ReconciliationRow {
            name: Text::new(name.as_str(), name.as_str()),
            before: old.get(name).cloned(),
            after: new.get(name).cloned(),
            agrees: (old.contains_key(name) && new.contains_key(name)).then(|| !differs(name)),
        })
        .collect();
    let signer = |body: &Value| {
        let digest = text_of(body, "facts_digest");
        let signed = approvals.iter().find(|approval| {
            approval.subject_kind == "reconciliation"
                && !digest.is_empty()
                && approval.subject_digest == digest
        });
        signed
            .map(|approval| approval.person.clone())
            .unwrap_or_default()
    };
    Reconciliation {
        rows,
        signed_before: signer(before),
        signed_after: signer(after),
    }
}

fn volumes(records: &[Record]) -> Vec<Volume> {
    let mut volumes: BTreeMap<String, Volume> = BTreeMap::new();
    let mut ordered: Vec<&Record> = records.iter().collect();
    ordered.sort_by_key(|record| record.at_us);
    for record in ordered {
        let name = text_of(&record.body, "volume");
        if name.is_empty() || !["volume.status", "volume.compared"].contains(&record.kind.as_str())
        {
            continue;
        }
        let volume = volumes.entry(name.clone()).or_default();
        volume.name = name;
        let bytes =
            |field| integer(&record.body, field).and_then(|bytes| u64::try_from(bytes).ok());
        if record.kind == "volume.compared" {
            volume.cut = text_of(&record.body, "cut");
            volume.source_digest = text_of(&record.body, "source_digest");
            volume.target_digest = text_of(&record.body, "target_digest");
        } else {
            volume.size_bytes = bytes("size_bytes").unwrap_or(volume.size_bytes);
            volume.copy_bytes = volume.copy_bytes.max(bytes("copy_bytes").unwrap_or(0));
            volume.resync_bytes = volume.resync_bytes.max(bytes("resync_bytes").unwrap_or(0));
            volume.dirtied_bytes = volume
                .dirtied_bytes
                .max(bytes("dirtied_bytes").unwrap_or(0));
        }
    }
    volumes.into_values().collect()
}

fn waves(plan: &Plan) -> Vec<Wave> {
    let name = |id: &String| {
        let known = plan.placement(id).map(|placement| placement.name.clone());
        (
            id.clone(),
            known.unwrap_or_else(|| Text::new(id.as_str(), id.as_str())),
        )
    };
    let wave = |wave: &yundu_plan::Wave| Wave {
        number: i64::try_from(wave.number).unwrap_or(i64::MAX),
        title: wave.stage.title(),
        applications: wave.applications.iter().map(name).collect(),
    };
    plan.waves.iter().map(wave).collect()
}

fn ranking(estate: &Estate) -> Vec<Ranked> {
    let ranked = yundu_assess::rank(estate).into_iter().take(RANKED_MAX);
    ranked
        .map(|ranked| {
            let reasons = |pick: fn(&Text) -> &String| {
                let all = ranked
                    .criteria
                    .iter()
                    .map(|criterion| pick(&criterion.reason).as_str());
                all.collect::<Vec<_>>().join("; ")
            };
            Ranked {
                score_milli: i64::try_from(ranked.score_milli).unwrap_or(i64::MAX),
                reason: Text::new(reasons(|text| &text.zh), reasons(|text| &text.en)),
                application: ranked.application,
                name: ranked.name,
            }
        })
        .collect()
}

fn contradictions(estate: &Estate) -> Vec<Contradiction> {
    let shown = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let found = estate.contradictions.iter().take(CONTRADICTIONS_MAX);
    found
        .map(|found| Contradiction {
            subject: found.id.clone(),
            attribute: found.attribute.clone(),
            claims: found
                .facts
                .iter()
                .map(|fact| (shown(&fact.value), fact.provenance.location.clone()))
                .collect(),
        })
        .collect()
}

fn ledger(workspace: &Workspace, records: &[Record]) -> Result<Ledger, Failure> {
    let directory = workspace.ledger().directory();
    let store = DirectoryStore::open_read_only(directory).environment()?;
    let text = std::fs::read_to_string(directory.join(tile_path::PUBLIC_KEY_FILE)).environment()?;
    let key = VerifierKey::parse(&text).environment()?;
    let verified = yundu_evidence::verify::verify(&store, &key, None)
        .environment()?
        .verified;
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    for record in records {
        *kinds.entry(record.kind.clone()).or_default() += 1;
    }
    let (entries, checkpoint) = match Reader::open(store, &key) {
        Ok(reader) => (reader.size(), reader.checkpoint().text.clone()),
        // An altered ledger is reported, it does not keep the report from being made.
        Err(_) => (0, String::new()),
    };
    Ok(Ledger {
        entries,
        checkpoint,
        verifier_key: text.trim().to_owned(),
        directory: directory.display().to_string(),
        kinds: kinds.into_iter().collect(),
        verified: Some(verified),
    })
}
