//! Malformed files name the place and what was expected, all errors at once, and nothing is used.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use yundu_estate::import::{Input, import};
use yundu_estate::text::Lang;
use yundu_estate::{Format, ImportErrors};

fn errors(path: &str, format: Option<Format>, text: &[u8]) -> ImportErrors {
    import(Input {
        source: None,
        is_from_directory: false,
        path,
        format,
        bytes: text,
        at_us: 0,
    })
    .expect_err("must be refused")
}

fn both(errors: &ImportErrors) -> String {
    format!("{}\n\n{}", errors.render(Lang::En), errors.render(Lang::Zh))
}

const BAD_ESTATE: &str = "\
kind: estate
version: 2
applications:
  - id: Core Ledger
    ownr: Chen
    tier: vital
    data_grade: 6
    rto_s: -1
    peak_transactions_per_second: 1.5
    name: Ledger
  - name: {zh: 总账, en: Ledger}
  - id: mail
    rto_s: soon
    rto_s: 5
  - id: mail
installations:
  - {data_store: x, site: a, engine_version: 16}
dependencies: mail
colour: blue
";

#[test]
fn an_estate_file_names_every_error_at_once() {
    insta::assert_snapshot!(both(&errors("estate.yaml", None, BAD_ESTATE.as_bytes())));
}

#[test]
fn broken_yaml_names_the_place_and_reading_goes_on_with_the_next_document() {
    let text =
        "kind: estate\nversion: 1\nteams: [\n  {id: a\n---\nkind: estate\nversion: 1\nsites: 3\n";
    insta::assert_snapshot!(both(&errors("estate.yaml", None, text.as_bytes())));
}

const BAD_MANIFESTS: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: one
spec:
  template:
    spec:
      containers: none
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: two
spec:
  resources: {requests: {storage: ten}}
---
apiVersion: v1
kind: Service
metadata: {}
---
- a
";

#[test]
fn manifests_name_every_error_at_once() {
    insta::assert_snapshot!(both(&errors("k8s.yaml", None, BAD_MANIFESTS.as_bytes())));
}

const BAD_INVENTORY: &str = "\
Record Type,Application Name,Dependency,Dependency Direction,Owner,Tag Category 1,Tag 1
1,Mail,,,Liu Yang,Tier,Vital
3,Mail,,,,,
1,,,,Liu Yang,,
2,Mail,Identity,sideways,,,
2,Mail,,southbound,,,
1,Portal,,,Liu Yang,Data Grade,9,,more
1,Search,,,,,Java
";

#[test]
fn an_inventory_names_row_and_column() {
    insta::assert_snapshot!(both(&errors(
        "inventory.csv",
        None,
        BAD_INVENTORY.as_bytes()
    )));
}

#[test]
fn an_inventory_without_its_columns_is_refused() {
    let refused = errors("inventory.csv", None, "姓名;部门\n张三;科技部\n".as_bytes());
    insta::assert_snapshot!(both(&refused));
}

#[test]
fn other_bytes_than_utf8_are_refused_with_their_line() {
    let refused = errors(
        "inventory.csv",
        None,
        b"Record Type,Application Name\n1,\xba\xcb\xd0\xc4\n",
    );
    insta::assert_snapshot!(both(&refused));
}

#[test]
fn a_file_of_another_kind_is_answered_with_what_would_be_recognised() {
    insta::assert_snapshot!(both(&errors("values.yaml", None, b"replicaCount: 3\n")));
    insta::assert_snapshot!(both(&errors("empty.yaml", None, b"")));
}

#[test]
fn aliases_of_aliases_cannot_grow_without_limit() {
    let mut text = String::from("kind: estate\nversion: 1\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..12 {
        let below = level - 1;
        let list = vec![format!("*a{below}"); 10].join(",");
        text.push_str(&format!("a{level}: &a{level} [{list}]\n"));
    }
    let refused = errors("bomb.yaml", None, text.as_bytes());
    assert!(
        refused
            .errors
            .iter()
            .any(|error| error.expected.en.contains("nodes in one file")),
        "{refused}"
    );
}
