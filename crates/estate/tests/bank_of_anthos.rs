//! The manifests of a real demonstration bank, untouched. What follows from them was worked out
//! by hand from the manifests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::collections::BTreeSet;
use std::path::PathBuf;
use yundu_estate::files::import_paths;
use yundu_estate::model::DependencyKind;
use yundu_estate::{Estate, merge};

fn manifests() -> Option<PathBuf> {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/k8s/bank-of-anthos");
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: {} is not there", path.display());
    None
}

fn estate() -> Option<Estate> {
    let documents = import_paths(&[manifests()?], None, None, 7).expect("the manifests are valid");
    Some(Estate::from_documents(&documents))
}

#[test]
fn the_nine_services_are_components_of_their_applications() {
    let Some(estate) = estate() else { return };
    let components: Vec<&str> = estate.components.keys().map(String::as_str).collect();
    assert_eq!(
        components,
        [
            "bank-of-anthos/accounts-db",
            "bank-of-anthos/balancereader",
            "bank-of-anthos/contacts",
            "bank-of-anthos/frontend",
            "bank-of-anthos/ledger-db",
            "bank-of-anthos/ledgerwriter",
            "bank-of-anthos/transactionhistory",
            "bank-of-anthos/userservice",
            // carries no `application` label
            "loadgenerator/loadgenerator",
        ]
    );
    let applications: Vec<&str> = estate.applications.keys().map(String::as_str).collect();
    assert_eq!(applications, ["bank-of-anthos", "loadgenerator"]);
    assert_eq!(estate.problems, []);
    assert_eq!(estate.contradictions, []);
}

#[test]
fn both_databases_are_data_stores_with_their_engine() {
    let Some(estate) = estate() else { return };
    let stores: Vec<(&str, &str)> = estate
        .data_stores
        .values()
        .map(|store| (store.id.as_str(), store.engine.agreed().unwrap().as_str()))
        .collect();
    assert_eq!(
        stores,
        [
            ("bank-of-anthos/accounts-db", "postgresql"),
            ("bank-of-anthos/ledger-db", "postgresql")
        ]
    );
}

#[test]
fn dependencies_are_those_that_the_manifests_configure() {
    let Some(estate) = estate() else { return };
    let bank = |name: &str| format!("bank-of-anthos/{name}");
    let mut expected = BTreeSet::new();
    // service-api-config names these five; frontend and ledgerwriter read all of it.
    for reader in ["frontend", "ledgerwriter"] {
        for service in [
            "ledgerwriter",
            "balancereader",
            "transactionhistory",
            "contacts",
            "userservice",
        ] {
            if reader != service {
                expected.insert((bank(reader), bank(service), DependencyKind::Configured));
            }
        }
    }
    // ledger-db-config holds a JDBC URI.
    for reader in ["balancereader", "ledgerwriter", "transactionhistory"] {
        expected.insert((bank(reader), bank("ledger-db"), DependencyKind::Database));
    }
    // accounts-db-config holds a PostgreSQL URI.
    for reader in ["contacts", "userservice"] {
        expected.insert((bank(reader), bank("accounts-db"), DependencyKind::Database));
    }
    expected.insert((
        "loadgenerator/loadgenerator".to_owned(),
        bank("frontend"),
        DependencyKind::Configured,
    ));
    let found: BTreeSet<_> = estate
        .dependencies
        .values()
        .flat_map(|it| {
            let ends = (
                it.from.agreed().unwrap().clone(),
                it.to.agreed().unwrap().clone(),
            );
            it.kind
                .values()
                .into_iter()
                .map(move |kind| (ends.0.clone(), ends.1.clone(), *kind))
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn a_dependency_says_where_it_was_seen() {
    let Some(estate) = estate() else { return };
    let dependency =
        &estate.dependencies["bank-of-anthos/ledgerwriter -> bank-of-anthos/ledger-db"];
    let fact = &dependency.reason.facts()[0];
    assert_eq!(
        fact.value.en,
        "SPRING_DATASOURCE_URL points to ledger-db:5432"
    );
    assert!(
        fact.provenance
            .location
            .ends_with("bank-of-anthos/ledger-db.yaml:21"),
        "{}",
        fact.provenance.location
    );
}

#[test]
fn no_password_is_kept() {
    let Some(path) = manifests() else { return };
    let documents = import_paths(&[path], None, None, 7).unwrap();
    let kept = serde_json::to_string(&documents).unwrap();
    for secret in ["accounts-pwd", "bankofanthos", "accounts-admin"] {
        assert!(!kept.contains(secret), "{secret} is kept");
    }
}

#[test]
fn importing_twice_changes_nothing() {
    let Some(path) = manifests() else { return };
    let mut documents = Vec::new();
    merge(
        &mut documents,
        import_paths(std::slice::from_ref(&path), None, None, 7).unwrap(),
    );
    let before = documents.clone();
    merge(
        &mut documents,
        import_paths(&[path], None, None, 8).unwrap(),
    );
    assert_eq!(documents, before);
}
