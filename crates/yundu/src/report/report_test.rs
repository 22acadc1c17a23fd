//! The page of a made-up move: complete, escaped, self-contained, in both languages.

use super::*;
use yundu_comply::{ControlVerdict, GateVerdict, Status};
use yundu_estate::text::Text;

const NOW_US: i64 = 1_795_367_000_000_000;

fn control(
    id: &str,
    zh: &str,
    en: &str,
    status: Status,
    reasons: &[(&str, &str)],
) -> ControlVerdict {
    ControlVerdict {
        control: id.into(),
        title: Text::new(zh, en),
        status,
        reasons: reasons.iter().map(|(zh, en)| Text::new(*zh, *en)).collect(),
        remedy: Text::default(),
    }
}

fn evaluation(
    id: &str,
    at_s: i64,
    gate: (&str, &str, &str),
    controls: Vec<ControlVerdict>,
) -> GateEvaluation {
    let open = !controls.is_empty() && controls.iter().all(|control| control.status.lets_pass());
    GateEvaluation {
        id: id.into(),
        at_us: NOW_US + at_s * 1_000_000,
        verdict: GateVerdict {
            gate: gate.0.into(),
            title: Text::new(gate.1, gate.2),
            open,
            input_digest: "5d41402abc4b2a76b9719d911017c592ae2f6d1c9a0f4b7d8e6c5a4f3b2d1e0f".into(),
            policy_digest: "7d793037a0760186574b0282f2f435e79d4f0c1b2a3948576e5d4c3b2a190807"
                .into(),
            controls,
        },
    }
}

fn figure(
    zh: &str,
    en: &str,
    value: Option<i64>,
    unit: Unit,
    at_most: Option<i64>,
    note: (&str, &str),
) -> Figure {
    Figure {
        title: Text::new(zh, en),
        value,
        unit,
        at_most,
        note: Text::new(note.0, note.1),
    }
}

fn step(
    id: &str,
    zh: &str,
    en: &str,
    who: (&str, &str),
    planned_s: i64,
    from_ms: i64,
    until_ms: i64,
) -> Step {
    Step {
        id: id.into(),
        title: Text::new(zh, en),
        operator: who.0.into(),
        checker: who.1.into(),
        state: "done".into(),
        planned_us: planned_s * 1_000_000,
        started_at_us: Some(NOW_US + from_ms * 1_000),
        ended_at_us: Some(NOW_US + until_ms * 1_000),
    }
}

fn incident(zh: &str, en: &str, kind: IncidentKind, from_ms: i64, until_ms: i64) -> Incident {
    Incident {
        title: Text::new(zh, en),
        kind,
        from_us: NOW_US + from_ms * 1_000,
        until_us: NOW_US + until_ms * 1_000,
    }
}

/// A move like the one that the demo makes.
fn complete() -> ReportData {
    use IncidentKind::{Change, Fault};
    use Status::{Fail, Pass};
    let cutover = ("cutover", "存储切换", "Cut-over of the storage");
    let known = || {
        control(
            "estate-known",
            "资产清楚",
            "The estate is known",
            Pass,
            &[(
                "应用系统 core-ledger 在资产中，共 1 个卷",
                "application core-ledger is in the estate, 1 volumes",
            )],
        )
    };
    let preflight = || {
        control(
            "preflight-passed",
            "预检通过",
            "Preflight passed",
            Pass,
            &[(
                "预检通过：architecture, collation, engine-version, page-size",
                "preflight passed: architecture, collation, engine-version, page-size",
            )],
        )
    };
    let in_step = || {
        control(
            "in-step",
            "两端同步",
            "Both copies in step",
            Pass,
            &[("1 个卷全部同步，RPO 为 0", "all 1 volumes in step, RPO 0")],
        )
    };
    let verified = || {
        control(
            "verified",
            "内容已比对",
            "Contents verified",
            Pass,
            &[(
                "卷 ledger-data 比对 268435456 字节，没有差异",
                "volume ledger-data: 268435456 bytes compared, no difference",
            )],
        )
    };
    let rehearsed = || {
        control(
            "rehearsed",
            "已经演练",
            "Rehearsed",
            Pass,
            &[(
                "演练成功：最长停顿 23140 µs（上限 100000），回退 41020 µs，丢失写入 0",
                "rehearsed: longest stall 23140 µs (limit 100000), rollback 41020 µs, lost writes 0",
            )],
        )
    };
    let approved = || {
        control(
            "approved",
            "两人批准",
            "Approved by two",
            Pass,
            &[("由 li.na, wang.fang 批准", "approved by li.na, wang.fang")],
        )
    };
    let person = |id: &str,
                  person: &str,
                  name: (&str, &str),
                  role: &str,
                  at_s: i64,
                  kind: &str,
                  valid: bool| Approval {
        id: id.into(),
        person: person.into(),
        name: Text::new(name.0, name.1),
        roles: vec![role.into()],
        at_us: NOW_US + at_s * 1_000_000,
        subject_kind: kind.into(),
        subject_digest: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".into(),
        decision: "approve".into(),
        key_fingerprint: format!("{:0<64}", "2c26b46b68ffc68ff99b453c1d304134"),
        valid,
        refusal: match valid {
            true => Text::default(),
            false => Text::new(
                "申请人不得审批自己的申请",
                "the requester may not approve their own request",
            ),
        },
    };
    ReportData {
        institution: Text::new("海港银行", "Harbour Bank"),
        move_id: "M-2026-0007".into(),
        application: Text::new("核心账务系统", "Core ledger"),
        application_id: "core-ledger".into(),
        method: Text::new("同步块复制，两步切换", "synchronous block replication, cut-over in two steps"),
        requester: "chen.wei".into(),
        source_site: Text::new("一号机房（A）", "Site A, own data centre"),
        target_site: Text::new("金融云（B）", "Site B, financial cloud"),
        move_digest: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".into(),
        generated_at_us: NOW_US + 130_000_000,
        outcome: Outcome::Succeeded,
        summary: Text::new(
            "核心账务系统在持续交易中从一号机房迁到金融云。没有丢失任何已确认的交易；链路两次中断、一次目标块损坏都被发现并处理；随后一号机房被整体关停，业务继续。",
            "The core ledger moved from the own data centre to the financial cloud while it was written to. No acknowledged transaction was lost; two losses of the link and one corrupted block at the target were found and handled; then site A was killed outright and the business went on.",
        ),
        figures: vec![
            figure("丢失的已确认写入（RPO）", "Acknowledged writes lost (RPO)", Some(0), Unit::Count, Some(0), ("48 213 笔已确认交易逐笔核对", "each of 48 213 acknowledged transactions looked for")),
            figure("最长存储停顿", "Longest storage stall", Some(23_140), Unit::Microseconds, Some(100_000), ("由客户端测量，不含两次断链", "measured by the client, outside the two link faults")),
            figure("应用中断", "Interruption of the application", Some(1_412_000), Unit::Microseconds, Some(60_000_000), ("从 A 最后一笔到 B 第一笔交易", "last transaction at A to the first at B")),
            figure("回退时间（RTO）", "Rollback (RTO)", Some(41_020), Unit::Microseconds, Some(300_000_000), ("演练实测", "measured in rehearsal")),
            figure("重传比", "Resync ratio", Some(1_034), Unit::Milli, Some(1_200), ("重传字节 ÷ 变脏字节", "bytes sent again ÷ bytes dirtied")),
            figure("全量复制", "Full copy", Some(281_018_368), Unit::Bytes, None, ("空洞不传", "holes are not sent")),
            figure("客户端错误", "Client errors", Some(0), Unit::Count, Some(0), ("整个过程", "over the whole story")),
            figure("结果不明的提交", "Commits in doubt", Some(3), Unit::Count, None, ("应用切换瞬间，事后全部查明", "at the moment of the switch, all settled afterwards")),
        ],
        steps: vec![
            step("preflight", "预检：架构、页大小、引擎版本、排序规则", "Preflight: architecture, page size, engine, collation", ("yundu", ""), 3, 0, 1_120),
            step("replicate", "全量复制并保持同步", "Full copy, then keep in step", ("yundu", ""), 30, 1_200, 24_400),
            step("verify", "在线比对，修复一块损坏", "Verify under load, repair one corrupted block", ("yundu", ""), 10, 46_000, 54_300),
            step("rehearse", "演练：切换、回退、测量", "Rehearse: cut over, roll back, measure", ("zhou.lei", "li.na"), 15, 55_000, 67_800),
            step("approve", "两人审批", "Approval by two persons", ("li.na", "wang.fang"), 20, 68_000, 80_500),
            step("cutover", "存储切换到 B", "Cut the storage over to B", ("zhou.lei", "li.na"), 2, 84_000, 84_090),
            step("switch", "应用切换到 B", "Switch the application to B", ("zhou.lei", "li.na"), 10, 92_000, 95_700),
            step("reconcile", "业务对账并签字", "Reconcile and sign", ("wang.fang", ""), 10, 104_000, 112_400),
        ],
        incidents: vec![
            incident("链路被切断", "link cut", Fault, 26_000, 31_000),
            incident("链路静默挂起", "link silently hanging", Fault, 36_000, 41_000),
            incident("目标端一个块被故意损坏", "a block at the target corrupted on purpose", Fault, 45_000, 45_000),
            incident("演练切换", "rehearsed cut-over", Change, 57_000, 57_023),
            incident("演练回退", "rehearsed rollback", Change, 63_000, 63_041),
            incident("存储切换", "storage cut-over", Change, 84_000, 84_023),
            incident("应用切换", "application switch", Change, 92_000, 93_412),
            incident("A 机房整体关停", "site A killed outright", Fault, 98_000, 98_000),
        ],
        samples: (0..120)
            .map(|second: i64| {
                let wobble = (second * 7_919 % 53) as u64;
                let switching = (92..94).contains(&second);
                let faulty = (26..31).contains(&second) || (36..41).contains(&second);
                Sample {
                    at_us: NOW_US + second * 1_000_000,
                    transactions: if switching { 40 } else { 395 + wobble - if faulty { 60 } else { 0 } },
                    latency_us_max: match second {
                        92 => 1_412_000,
                        57 | 63 | 84 => 23_140 + wobble * 100,
                        26 | 36 => 212_000,
                        _ => 6_000 + wobble * 90,
                    },
                }
            })
            .collect(),
        gates: vec![
            evaluation("01JD-gate-1", 1, ("seed", "开始复制", "Start of replication"), vec![known(), preflight()]),
            evaluation("01JD-gate-2", 42, cutover, vec![
                known(), preflight(), in_step(),
                control("rehearsed", "已经演练", "Rehearsed", Fail, &[("没有演练证据：运行 yundu move run M-2026-0007 到演练步骤，它会切换、回退并测量", "there is no evidence of a rehearsal: run `yundu move run M-2026-0007` up to its rehearsal step, which cuts over, rolls back and measures")]),
                control("approved", "两人批准", "Approved by two", Fail, &[("缺少 security-officer 的批准：由一位具备该角色、且不是申请人 chen.wei 的人员运行 yundu move approve M-2026-0007 --as PERSON", "an approval by a security-officer is missing: somebody with that role, other than the requester chen.wei, runs `yundu move approve M-2026-0007 --as PERSON`")]),
                control("maker-never-checker", "申请人不得审批", "Maker is never checker", Fail, &[("申请人 chen.wei 批准了自己的申请，该批准不算数：由另外的人员运行 yundu move approve M-2026-0007 --as PERSON", "the requester chen.wei approved their own request, which does not count: somebody else runs `yundu move approve M-2026-0007 --as PERSON`")]),
            ]),
            evaluation("01JD-gate-3", 47, cutover, vec![
                known(), preflight(), in_step(),
                control("verified", "内容已比对", "Contents verified", Fail, &[("卷 ledger-data 的目标副本有 1 个块与源不同（偏移 8192）：用 yundu volume verify ledger-data --repair 修复，再做一次干净的比对", "1 leaves of the target of volume ledger-data differ from the source (offsets 8192): repair with `yundu volume verify ledger-data --repair`, then verify once more")]),
                rehearsed(),
                control("plan-unchanged", "批准后计划未变", "Plan unchanged since approval", Status::Unknown, &[("策略没有给出 verdict（未定义），通常是缺少证据字段", "the policy gave no verdict (undefined): a field of the evidence is probably missing")]),
            ]),
            evaluation("01JD-gate-4", 83, cutover, vec![known(), preflight(), in_step(), verified(), rehearsed(), approved()]),
        ],
        approvals: vec![
            person("A-1", "chen.wei", ("陈伟", "Chen Wei"), "migration-architect", 41, "move", false),
            person("A-2", "li.na", ("李娜", "Li Na"), "security-officer", 70, "move", true),
            person("A-3", "wang.fang", ("王芳", "Wang Fang"), "business-owner", 80, "move", true),
            person("A-4", "wang.fang", ("王芳", "Wang Fang"), "business-owner", 112, "reconciliation", true),
        ],
        reconciliation: Reconciliation {
            rows: vec![
                ReconciliationRow { name: Text::new("账户余额合计（分）", "sum of accounts (cents)"), before: Some("0".into()), after: Some("0".into()), agrees: Some(true) },
                ReconciliationRow { name: Text::new("柜员余额合计（分）", "sum of tellers (cents)"), before: Some("-183 204".into()), after: Some("-183 204".into()), agrees: Some(true) },
                ReconciliationRow { name: Text::new("流水笔数", "rows of history"), before: Some("31 877".into()), after: Some("48 213".into()), agrees: Some(true) },
                ReconciliationRow { name: Text::new("已确认但缺失的交易", "acknowledged transactions missing"), before: Some("0".into()), after: Some("0".into()), agrees: Some(true) },
            ],
            signed_before: "wang.fang".into(),
            signed_after: "wang.fang".into(),
        },
        volumes: vec![Volume {
            name: "ledger-data".into(),
            size_bytes: 1 << 30,
            cut: "M-2026-0007/cutover".into(),
            source_digest: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262".into(),
            target_digest: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262".into(),
            copy_bytes: 281_018_368,
            resync_bytes: 12_673_024,
            dirtied_bytes: 12_255_232,
        }],
        waves: [("办公与内部", "office and internal", &[("oa", "办公自动化", "Office automation"), ("mail", "邮件", "Mail")][..]), ("渠道", "channels", &[("mobile", "手机银行", "Mobile banking"), ("portal", "网上银行", "Online banking")][..]), ("核心试点", "core pilot", &[("core-ledger", "核心账务系统", "Core ledger")][..])]
            .iter()
            .zip(1..)
            .map(|((zh, en, applications), number)| Wave {
                number,
                title: Text::new(*zh, *en),
                applications: applications.iter().map(|(id, zh, en)| ((*id).into(), Text::new(*zh, *en))).collect(),
            })
            .collect(),
        ranking: vec![
            Ranked { application: "core-ledger".into(), name: Text::new("核心账务系统", "Core ledger"), score_milli: 9_412, reason: Text::new("峰值 4 200 笔/秒；数据 4 级", "4 200 transactions per second at peak; data grade 4") },
            Ranked { application: "cards".into(), name: Text::new("卡系统", "Cards"), score_milli: 8_730, reason: Text::new("峰值 2 900 笔/秒；数据 4 级", "2 900 transactions per second at peak; data grade 4") },
        ],
        contradictions: vec![Contradiction {
            subject: "cards".into(),
            attribute: "rto_us".into(),
            claims: vec![("4 h".into(), "bank.yaml:112".into()), ("24 h".into(), "inventory.csv:9".into())],
        }],
        ledger: Ledger {
            entries: 214,
            checkpoint: "harbour-bank.example/ledger\n214\nq1rF2mO0Gm3y1vZ0YpG2o1V4C7c0n8w3b5x7z9a1c3E=\n\n— harbour-bank.example/ledger mX1Yk5o0Z3Jh…\n".into(),
            verifier_key: "harbour-bank.example/ledger+1a2b3c4d+AQxyz".into(),
            directory: "demo/ledger".into(),
            kinds: vec![("volume.in-step".into(), 4), ("gate.verdict".into(), 4), ("drill.rehearsed".into(), 1), ("reconcile.recorded".into(), 2)],
            verified: Some(true),
        },
    }
}

/// Whether every element that was opened is closed, in order; the void ones aside.
fn is_balanced(page: &str) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    let body = page.split_once("<body>").map_or(page, |(_, body)| body);
    let body = body.split("<script>").next().unwrap();
    for piece in body.split('<').skip(1) {
        let tag = piece.split('>').next().unwrap();
        let name = tag
            .trim_start_matches('/')
            .split([' ', '/'])
            .next()
            .unwrap();
        if let Some(closed) = tag.strip_prefix('/') {
            let expected = open.pop();
            if expected != Some(closed) {
                return Err(format!("</{closed}> closes {expected:?}"));
            }
        } else if !tag.ends_with('/') && !["br", "meta", "hr"].contains(&name) {
            open.push(name);
        }
    }
    if open.is_empty() {
        Ok(())
    } else {
        Err(format!("never closed: {open:?}"))
    }
}

#[test]
fn the_page_has_every_section_in_both_languages() {
    let data = complete();
    for lang in [Lang::Zh, Lang::En] {
        let page = render(&data, lang);
        for id in [
            "figures",
            "timeline",
            "workload",
            "gates",
            "approvals",
            "reconciliation",
            "copies",
            "plan",
            "contradictions",
            "ledger",
        ] {
            assert!(page.contains(&format!("id={id}")), "no section {id}");
        }
        for text in [
            "没有演练证据",
            "no evidence of a rehearsal",
            "自查",
            "self-check",
            "23.1",
            "yundu ledger verify demo/ledger",
            "python3 docs/verify/verify.py demo/ledger",
        ] {
            assert!(page.contains(text), "{text} is not on the page");
        }
        is_balanced(&page).unwrap();
    }
    assert!(render(&data, Lang::Zh).contains("data-lang=zh"));
    assert!(render(&data, Lang::En).contains("data-lang=en"));
    if let Some(folder) = std::env::var_os("YUNDU_REPORT_SAMPLE") {
        std::fs::create_dir_all(&folder).unwrap();
        for (lang, name) in [(Lang::Zh, "zh.html"), (Lang::En, "en.html")] {
            std::fs::write(
                std::path::Path::new(&folder).join(name),
                render(&data, lang),
            )
            .unwrap();
        }
    }
}

#[test]
fn nothing_from_data_becomes_markup() {
    const EVIL: &str = "</span><script>alert(1)</script><img src=x onerror='a' \"b\" &";
    let mut value = serde_json::to_value(complete()).unwrap();
    poison(&mut value, EVIL);
    let data: ReportData = serde_json::from_value(value).unwrap();
    let page = render(&data, Lang::En);
    assert_eq!(page.matches("<script>").count(), 1, "only our own script");
    assert!(!page.contains("<img"));
    assert!(page.contains("&lt;script&gt;alert(1)"));
    is_balanced(&page).unwrap();
}

/// Replaces every free text by `evil`; the words of enumerations stay.
fn poison(value: &mut serde_json::Value, evil: &str) {
    use serde_json::Value;
    const WORDS: [&str; 14] = [
        "succeeded",
        "count",
        "microseconds",
        "bytes",
        "milli",
        "fault",
        "change",
        "pass",
        "fail",
        "unknown",
        "not-applicable",
        "running",
        "failed",
        "rolled-back",
    ];
    match value {
        Value::String(text) if !WORDS.contains(&text.as_str()) => *text = evil.to_owned(),
        Value::Array(items) => items.iter_mut().for_each(|item| poison(item, evil)),
        Value::Object(fields) => fields.values_mut().for_each(|field| poison(field, evil)),
        _ => {}
    }
}

#[test]
fn the_page_loads_nothing_from_anywhere() {
    let page = render(&complete(), Lang::Zh);
    for word in [
        "http://", "https://", "url(", "@import", "src=", "href=", "<link", "<img",
    ] {
        assert!(!page.contains(word), "{word}");
    }
}

#[test]
fn an_empty_report_is_still_a_page_and_says_what_is_missing() {
    let page = render(&ReportData::default(), Lang::En);
    is_balanced(&page).unwrap();
    for text in [
        "No gate was evaluated yet",
        "No approvals",
        "No reconciliation",
        "not verified by this report",
    ] {
        assert!(page.contains(text), "{text}");
    }
}

#[test]
fn an_unknown_figure_with_a_target_is_not_shown_as_met() {
    let mut data = ReportData {
        figures: vec![figure(
            "停顿",
            "Stall",
            None,
            Unit::Microseconds,
            Some(1),
            ("", ""),
        )],
        ..ReportData::default()
    };
    let page = render(&data, Lang::En);
    assert!(page.contains("'figure missed'") && !page.contains("'figure met'"));
    data.figures = vec![figure(
        "停顿",
        "Stall",
        Some(2),
        Unit::Microseconds,
        Some(1),
        ("", ""),
    )];
    assert!(render(&data, Lang::En).contains("'figure missed'"));
    data.figures = vec![figure(
        "停顿",
        "Stall",
        Some(1),
        Unit::Microseconds,
        Some(1),
        ("", ""),
    )];
    assert!(render(&data, Lang::En).contains("'figure met'"));
}

#[test]
fn the_same_data_gives_the_same_page() {
    assert_eq!(render(&complete(), Lang::Zh), render(&complete(), Lang::Zh));
}

#[test]
fn a_long_series_keeps_its_extremes_and_stays_small() {
    let mut data = complete();
    data.samples = (0..86_400)
        .map(|second| Sample {
            at_us: NOW_US + second * 1_000_000,
            transactions: if second == 40_000 { 0 } else { 500 },
            latency_us_max: 1_000,
        })
        .collect();
    let page = render(&data, Lang::En);
    assert!(page.len() < 400_000, "{} bytes", page.len());
    assert!(
        page.contains(" 118L"),
        "the second without transactions is drawn at the bottom"
    );
}
