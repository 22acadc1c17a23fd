//! Runbooks that are refused, each with its line.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::collections::BTreeMap;
use yundu_migrate::runbook::{Runbook, RunbookError};

const GOOD: &str = "id: r
title: { zh: 手册, en: book }
method: block-replication
source_site: a
target_site: b
volumes: [{ name: v, receive: '127.0.0.1:1' }]
observation_us: 0
steps:
  - id: one
    title: { zh: 一, en: one }
    operator: li
    checker: wang
    planned_s: 1
    action: preflight
  - id: two
    title: { zh: 二, en: two }
    operator: li
    checker: wang
    planned_s: 1
    action:
      command: { argv: [run], check: [ran] }
";

fn parse(text: &str) -> Result<Runbook, RunbookError> {
    Runbook::parse("r.yaml", text, &BTreeMap::new())
}

fn refused(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    parse(&GOOD.replacen(from, to, 1)).unwrap_err().to_string()
}

#[test]
fn a_good_runbook_is_read() {
    assert_eq!(parse(GOOD).unwrap().steps.len(), 2);
}

#[test]
fn each_mistake_is_named_with_its_line() {
    let cases = [
        ("action: preflight", "action: preflihgt", "r.yaml:14"),
        ("planned_s: 1", "planed_s: 1", "r.yaml:13"),
        (
            "method: block-replication",
            "method: rebuild",
            "not built yet",
        ),
        ("target_site: b", "target_site: a", "same site"),
        (
            "checker: wang",
            "checker: li",
            "r.yaml:9: step one: li is operator and checker",
        ),
        ("- id: two", "- id: one", "r.yaml:15: a second step `one`"),
        (
            ", check: [ran]",
            "",
            "r.yaml:15: step two: after a crash nobody could tell",
        ),
        ("argv: [run]", "argv: ['${tool}']", "`${tool}` has no value"),
        ("argv: [run]", "argv: []", "argv is empty"),
        (
            ", check: [ran]",
            ", check: [ran], evidence: drill.rehearsed",
            "cannot write evidence `drill.rehearsed`",
        ),
        (
            "observation_us: 0",
            "observation_us: -1",
            "expected 0 or more",
        ),
    ];
    for (from, to, expected) in cases {
        let message = refused(from, to);
        assert!(message.contains(expected), "{to}: {message}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = GOOD
        .replace("checker: wang", "checker: li")
        .replace("target_site: b", "target_site: a");
    assert_eq!(parse(&text).unwrap_err().faults.len(), 3);
}
