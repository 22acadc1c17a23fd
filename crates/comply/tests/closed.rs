//! What cannot be computed is closed, and a verdict follows from its recorded inputs alone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod fixture;

use fixture::{base, catalog_with, judged_by, judged_within, single};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use yundu_comply::{Bundle, Catalog, CatalogError, EMBEDDED, Status, recompute};

fn status_of(rego: &str) -> (Status, bool, String) {
    let verdict = judged_by(rego).evaluate(&base());
    let control = &verdict.controls[0];
    (control.status, verdict.open, control.reasons[0].en.clone())
}

const PASS: &str = r#"{"status": "pass", "reasons": []}"#;

#[test]
fn anything_but_the_expected_shape_is_unknown_and_closed() {
    let bodies = [
        "verdict := null",
        "verdict := true",
        "verdict := \"pass\"",
        "verdict := 1",
        "verdict := [{\"status\": \"pass\", \"reasons\": []}]",
        "verdict := {\"status\": \"pass\"}",
        "verdict := {\"status\": \"PASS\", \"reasons\": []}",
        "verdict := {\"status\": true, \"reasons\": []}",
        "verdict := {\"status\": \"open\", \"reasons\": []}",
        "verdict := {\"status\": \"pass\", \"reasons\": null}",
        "verdict := {\"status\": \"pass\", \"reasons\": [\"ok\"]}",
        "verdict := {\"status\": \"pass\", \"reasons\": [], \"open\": true}",
        "verdict := {\"status\": \"pass\", \"reasons\": []} if false",
        "verdict := {\"status\": \"pass\", \"reasons\": []} if input.no.such.field",
        "verdict := {\"status\": \"pass\", \"reasons\": []} if 1 / 0 == 1",
        "verdict := {\"status\": \"pass\", \"reasons\": []} if to_number(\"x\") == 1",
        "verdict contains {\"status\": \"pass\", \"reasons\": []}",
        "other := {\"status\": \"pass\", \"reasons\": []}",
        "verdict := {\"status\": \"pass\", \"reasons\": []} if { some x in input.evidence; y == x }",
        "verdict := {\"status\": \"pass\"",
        "verdict := data.other.verdict",
        "verdict := no_such_function(1)",
        "verdict := {\"status\": \"pass\", \"reasons\": []}\nverdict := {\"status\": \"fail\", \"reasons\": []}",
    ];
    for body in bodies {
        let (status, open, reason) = status_of(&format!("package probe\n\n{body}\n"));
        assert_eq!(status, Status::Unknown, "{body}: {reason}");
        assert!(!open, "{body}");
        assert!(!reason.is_empty());
    }
    let (status, open, _) = status_of("");
    assert!(status == Status::Unknown && !open);
    // The same harness opens on the one expected shape, so that the cases above mean something.
    let verdict = judged_by(&format!("package probe\n\nverdict := {PASS}\n")).evaluate(&base());
    assert!(verdict.open);
}

#[test]
fn a_policy_that_runs_too_long_is_unknown_and_closed() {
    let rego = format!(
        "package probe\n\nverdict := {PASS} if {{\n  n := numbers.range(1, 2000)\n  count([1 | some a in n; some b in n; a * b == -1]) == 0\n}}\n"
    );
    let bundle = judged_within(&rego, Duration::from_millis(20));
    let started = Instant::now();
    let verdict = bundle.evaluate(&base());
    assert_eq!(verdict.controls[0].status, Status::Unknown, "{verdict:#?}");
    assert!(!verdict.open);
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "the limit did not stop it"
    );
}

#[test]
fn a_policy_that_asks_for_anything_but_its_input_is_refused_by_name_and_line() {
    let calls = [
        ("time.now_ns()", "time.now_ns"),
        ("time .  now_ns()", "time.now_ns"),
        (
            "http.send({\"method\": \"get\", \"url\": \"http://127.0.0.1\"})",
            "http.send",
        ),
        ("opa.runtime()", "opa.runtime"),
        ("rand.intn(\"a\", 5)", "rand"),
        ("uuid.rfc4122(\"a\")", "uuid.rfc4122"),
        ("net.lookup_ip_addr(\"localhost\")", "net.lookup_ip_addr"),
    ];
    for (call, name) in calls {
        let (status, open, reason) = status_of(&format!(
            "package probe\n\nverdict := {PASS} if {{\n  x := {call}\n}}\n"
        ));
        assert_eq!(status, Status::Unknown);
        assert!(!open);
        assert!(
            reason.contains(&format!("probe.rego:4 uses `{name}`")),
            "{reason}"
        );
    }
    // A name in a comment or a string reaches nowhere.
    let harmless = format!(
        "package probe\n# time.now_ns() is not for policies\nx := \"rand.intn\"\nstrand.x := 1\nverdict := {PASS} if x != `http.send`\n"
    );
    let verdict = judged_by(&harmless).evaluate(&base());
    assert!(verdict.open, "{verdict:#?}");
}

#[test]
fn built_ins_that_are_not_functions_of_their_arguments_do_not_exist() {
    // Names split over lines escape the scan; the engine itself must not know them either.
    for call in [
        "time.\n  now_ns()",
        "http.\n send({})",
        "opa.\n runtime()",
        "rand.\n intn(\"a\", 5)",
    ] {
        let (status, open, _) = status_of(&format!(
            "package probe\n\nverdict := {PASS} if {{\n  x := {call}\n}}\n"
        ));
        assert_eq!(status, Status::Unknown, "{call}");
        assert!(!open, "{call}");
    }
}

#[test]
fn a_gate_with_no_controls_is_closed() {
    let gate =
        "id: none\ntitle: { zh: 无, en: none }\nguards: { zh: 无, en: none }\ncontrols: []\n";
    let bundle = catalog_with(&[("gates/none.yaml", gate)])
        .bundle("none")
        .unwrap();
    assert!(!bundle.evaluate(&base()).open);
}

#[test]
fn one_closed_control_among_many_closes_the_gate() {
    let bundle = Catalog::load(None).unwrap().bundle("cutover").unwrap();
    let mut input = base();
    input["move"]["digest"] = json!("0".repeat(64));
    let verdict = bundle.evaluate(&input);
    assert!(!verdict.open);
    let found: Vec<_> = verdict
        .findings()
        .map(|control| control.control.as_str())
        .collect();
    assert_eq!(found, ["approved", "plan-unchanged"]);
}

#[test]
fn an_input_without_a_canonical_form_is_closed() {
    let bundle = single("estate-known");
    for input in [
        json!(null),
        json!([]),
        json!("pass"),
        json!({"now_us": 1.5, "move": {}}),
    ] {
        let verdict = bundle.evaluate(&input);
        assert!(!verdict.open);
        assert_eq!(verdict.controls[0].status, Status::Unknown);
    }
}

#[test]
fn a_verdict_follows_from_its_recorded_input_and_from_no_other() {
    let bundle = Catalog::load(None).unwrap().bundle("cutover").unwrap();
    let input = base();
    let verdict = bundle.evaluate(&input);
    let kept: yundu_comply::GateVerdict =
        serde_json::from_str(&serde_json::to_string(&verdict).unwrap()).unwrap();
    let again = recompute(&kept, &input, bundle.to_bytes()).unwrap();
    assert!(again.follows, "{:?}", again.differences);

    let mut altered = input.clone();
    altered["evidence"][4]["body"]["stall_us_max"] = json!(22_999);
    let again = recompute(&kept, &altered, bundle.to_bytes()).unwrap();
    assert!(!again.follows);
    assert!(
        again.differences[0].en.contains("input changed"),
        "{:?}",
        again.differences
    );

    let text = String::from_utf8(bundle.to_bytes().to_vec()).unwrap();
    let looser = text.replace("\"stall_us_max\":100000", "\"stall_us_max\":900000");
    assert_ne!(text, looser);
    assert!(!recompute(&kept, &input, looser.as_bytes()).unwrap().follows);

    let mut forged = kept.clone();
    forged.open = !forged.open;
    assert!(
        !recompute(&forged, &input, bundle.to_bytes())
            .unwrap()
            .follows
    );
    let mut forged = kept.clone();
    forged.controls[3].status = Status::NotApplicable;
    let again = recompute(&forged, &input, bundle.to_bytes()).unwrap();
    assert!(
        again.differences.iter().any(|d| d.en.contains("verified")),
        "{:?}",
        again.differences
    );
    let mut forged = kept;
    forged.controls.pop();
    assert!(
        !recompute(&forged, &input, bundle.to_bytes())
            .unwrap()
            .follows
    );
    assert!(Bundle::from_bytes(b"{}").is_err());
}

#[test]
fn a_catalog_with_faults_is_refused_with_all_of_them_named() {
    let files = [
        (
            "controls/a.yaml",
            "id: a\ntitle: { zh: 甲, en: a }\nrequirment: x\n",
        ),
        (
            "gates/b.yaml",
            "id: b\ntitle: { zh: 乙, en: b }\nguards: { zh: 乙, en: b }\ncontrols:\n  - nowhere\n",
        ),
        (
            "gates/c.yaml",
            "id: other\ntitle: { zh: 乙, en: b }\nguards: { zh: 乙, en: b }\ncontrols: []\n",
        ),
    ];
    let result = Catalog::from_files(files.iter().map(|(path, text)| (*path, *path, *text)));
    let Err(CatalogError::Faults { faults }) = result else {
        panic!("{result:?}")
    };
    assert_eq!(faults.len(), 3, "{faults:#?}");
    assert_eq!(
        (faults[0].file.as_str(), faults[0].line),
        ("controls/a.yaml", Some(3))
    );
    assert!(
        faults
            .iter()
            .any(|f| f.line == Some(5) && f.message.contains("nowhere"))
    );
    assert!(faults.iter().any(|f| f.remedy.contains("gates/other.yaml")));
}

#[test]
fn a_workspace_catalog_replaces_and_adds() {
    let folder = tempfile::tempdir().unwrap();
    for kind in ["controls", "gates"] {
        std::fs::create_dir(folder.path().join(kind)).unwrap();
    }
    let rehearsed = EMBEDDED
        .iter()
        .find(|(path, _)| *path == "controls/rehearsed.yaml")
        .unwrap()
        .1;
    let stricter = rehearsed.replace("stall_us_max: 100000", "stall_us_max: 1000");
    std::fs::write(folder.path().join("controls/rehearsed.yaml"), stricter).unwrap();
    let own =
        "id: own\ntitle: { zh: 自, en: own }\nguards: { zh: 自, en: own }\ncontrols: [rehearsed]\n";
    std::fs::write(folder.path().join("gates/own.yaml"), own).unwrap();
    let catalog = Catalog::load(Some(folder.path())).unwrap();
    let verdict = catalog.bundle("own").unwrap().evaluate(&base());
    assert!(!verdict.open);
    assert!(
        verdict.controls[0].reasons[0].en.contains("under 1000"),
        "{verdict:#?}"
    );

    std::fs::write(folder.path().join("gates/own.yaml"), "id: [").unwrap();
    let error = Catalog::load(Some(folder.path())).unwrap_err().to_string();
    assert!(error.contains("own.yaml:1"), "{error}");
}

#[test]
fn the_embedded_list_is_the_catalog_folder() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../catalog");
    let mut found = Vec::new();
    for kind in ["controls", "gates", "policies"] {
        for entry in std::fs::read_dir(root.join(kind)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            found.push(format!("{kind}/{name}"));
        }
    }
    found.sort();
    let listed: Vec<_> = EMBEDDED
        .iter()
        .map(|(path, _)| (*path).to_owned())
        .collect();
    assert_eq!(found, listed);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_order_of_collected_records_changes_neither_verdict_nor_digest(
        order in Just((0..14usize).collect::<Vec<_>>()).prop_shuffle(),
        approvals in Just((0..6usize).collect::<Vec<_>>()).prop_shuffle(),
        taken_out in proptest::option::of(0..14usize),
    ) {
        let bundle = Catalog::load(None).unwrap().bundle("cutover").unwrap();
        let mut input = base();
        if let Some(index) = taken_out {
            input["evidence"][index]["subject"] = json!("another move");
        }
        let mut shuffled = input.clone();
        let pick = |from: &Value, order: &[usize]| -> Value {
            order.iter().map(|index| from[*index].clone()).collect()
        };
        shuffled["evidence"] = pick(&input["evidence"], &order);
        shuffled["approvals"] = pick(&input["approvals"], &approvals);
        let one = bundle.evaluate(&input);
        prop_assert_eq!(&one, &bundle.evaluate(&shuffled));
        prop_assert_eq!(&one, &bundle.evaluate(&input));
    }
}
