//! Our sample institution, and the inventory template that Konveyor publishes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::path::PathBuf;
use yundu_estate::files::import_paths;
use yundu_estate::import::estate_file::schema;
use yundu_estate::import::{Input, import};
use yundu_estate::model::Tier;
use yundu_estate::text::Lang;
use yundu_estate::{Change, Estate, merge};

fn path(relative: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(relative)
}

fn harbour_bank() -> Estate {
    let documents = import_paths(&[path("examples/harbour-bank")], None, None, 7)
        .unwrap_or_else(|errors| panic!("{}", errors.render(Lang::En)));
    Estate::from_documents(&documents)
}

#[test]
fn the_sample_institution_is_complete() {
    let estate = harbour_bank();
    assert_eq!(estate.problems, []);
    assert!(
        estate.applications.len() >= 30,
        "{}",
        estate.applications.len()
    );
    let ledger = &estate.applications["core-ledger"];
    assert_eq!(ledger.tier.agreed(), Some(&Tier::Core));
    assert_eq!(ledger.display_name().zh, "核心总账");
    let volumes: Vec<_> = estate
        .volumes_of("core-ledger")
        .into_iter()
        .map(|it| (it.id.as_str(), it.site.agreed().unwrap().as_str()))
        .collect();
    assert_eq!(volumes, [("core-ledger-data", "a")]);
}

#[test]
fn contradictions_between_its_sources_are_shown_with_both_places() {
    let estate = harbour_bank();
    let found: Vec<String> = estate
        .contradictions
        .iter()
        .map(|it| {
            let values: Vec<String> = it
                .facts
                .iter()
                .map(|fact| format!("{}={}", fact.provenance.source, fact.value))
                .collect();
            format!("{}.{}: {}", it.id, it.attribute, values.join(" "))
        })
        .collect();
    assert_eq!(
        found,
        [
            "hr.data_grade: konveyor=3 yaml=4",
            r#"mobile-bank.owner: konveyor="Ma Rong" yaml="Wu Tao""#,
            r#"mobile-bank.tier: konveyor="core" yaml="important""#,
        ]
    );
}

#[test]
fn manifests_and_yaml_meet_in_dependencies() {
    let estate = harbour_bank();
    let found: Vec<(String, String)> = estate
        .application_dependencies()
        .into_iter()
        .map(|it| (it.from, it.to))
        .collect();
    for (from, to) in [
        ("api-gateway", "fraud-detection"), // a service in another namespace
        ("api-gateway", "payment-hub"),     // a host that the YAML names
        ("fraud-detection", "message-queue"),
        ("mobile-bank", "marketing"), // the inventory, under another name
    ] {
        assert!(
            found.contains(&(from.to_owned(), to.to_owned())),
            "{from} -> {to}"
        );
    }
}

#[test]
fn block_copy_of_the_ledger_is_possible_and_that_of_others_is_not() {
    let estate = harbour_bank();
    assert_eq!(estate.platforms("core-ledger", "a").len(), 1);
    assert_eq!(estate.platform_differences("core-ledger", "a", "b"), []);
    let properties = |application: &str| -> Vec<&str> {
        estate
            .platform_differences(application, "a", "b")
            .into_iter()
            .map(|it| it.property)
            .collect()
    };
    assert_eq!(
        properties("deposits"),
        ["processor_architecture", "page_size_bytes"]
    );
    assert_eq!(properties("customer-centre"), ["engine_version"]);
    assert_eq!(properties("loans"), ["collation"]);
    // Nobody says which version runs in the cluster: unknown is not the same.
    assert!(properties("fraud-detection").contains(&"engine_version"));
}

#[test]
fn a_changed_document_replaces_what_it_said_and_only_that() {
    let read = |text: &str| {
        import(Input {
            source: None,
            is_from_directory: false,
            path: "a.yaml",
            format: None,
            bytes: text.as_bytes(),
            at_us: 1,
        })
        .unwrap()
    };
    let head = "kind: estate\nversion: 1\napplications:\n";
    let mut documents = Vec::new();
    merge(
        &mut documents,
        vec![read(&format!(
            "{head}  - {{id: a, owner: X}}\n  - {{id: b}}\n"
        ))],
    );
    let changes = merge(
        &mut documents,
        vec![read(&format!("{head}  - {{id: a, owner: Y}}\n"))],
    );
    assert_eq!(changes, [Change::Replaced]);
    let estate = Estate::from_documents(&documents);
    assert_eq!(estate.applications.keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(estate.applications["a"].owner.agreed().unwrap(), "Y");
}

#[test]
fn one_bad_file_among_good_ones_refuses_all() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("good.yaml"),
        "kind: estate\nversion: 1\n",
    )
    .unwrap();
    std::fs::write(folder.path().join("bad.csv"), "1,2,3\n").unwrap();
    std::fs::write(folder.path().join("worse.yaml"), "a: [\n").unwrap();
    std::fs::write(folder.path().join("README.md"), "not read").unwrap();
    let refused = import_paths(&[folder.path().to_owned()], None, None, 1).unwrap_err();
    let files: Vec<bool> = ["bad.csv", "worse.yaml"]
        .map(|name| refused.errors.iter().any(|it| it.file.ends_with(name)))
        .into();
    assert_eq!(files, [true, true]);
}

#[test]
fn values_of_secrets_are_never_kept() {
    let documents = import_paths(&[path("examples/harbour-bank/k8s")], None, None, 1).unwrap();
    let kept = serde_json::to_string(&documents).unwrap();
    assert!(kept.contains("signing.pem") && !kept.contains("made-up-and-never-read"));
}

#[test]
fn the_published_schema_names_every_section() {
    let schema = schema();
    let sections: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
    assert_eq!(sections.len(), 12);
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn konveyors_own_template_is_read_untouched() {
    let file = path("../shared/data/inventory/konveyor_application_import_template.csv");
    if !file.is_file() {
        println!("skipped: {} is not there", file.display());
        return;
    }
    let estate = Estate::from_documents(&import_paths(&[file], None, None, 1).unwrap());
    assert_eq!(
        estate.applications.keys().collect::<Vec<_>>(),
        [
            "api-gateway-service",
            "customer-management",
            "inventory-tracker"
        ]
    );
    let customers = &estate.applications["customer-management"];
    assert_eq!(customers.owner.agreed().unwrap(), "Alex Johnson");
    assert_eq!(customers.display_name().en, "Customer Management");
    assert_eq!(customers.business_service.agreed().unwrap(), "Retail");
    // The template has a blank before a quote: columns after it must not shift.
    let tags: Vec<&str> = customers
        .tags
        .values()
        .into_iter()
        .map(String::as_str)
        .collect();
    assert_eq!(
        tags,
        [
            "Binary: corp.acme.demo:customers-tomcat:0.0.1-SNAPSHOT:war",
            "Database: Oracle",
            "Language: Java",
            "Operating System: RHEL 8",
            "Runtime: Tomcat"
        ]
    );
}

#[test]
fn a_file_in_a_directory_that_is_plainly_something_else_is_a_note() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("runbook.yaml");
    std::fs::write(&other, "steps: []\n").unwrap();
    let documents = import_paths(&[folder.path().to_owned()], None, None, 1).unwrap();
    assert_eq!(
        (documents[0].assertions.len(), documents[0].notes.len()),
        (0, 1)
    );
    assert!(
        import_paths(&[other], None, None, 1).is_err(),
        "it was named, so it must be read"
    );
}
