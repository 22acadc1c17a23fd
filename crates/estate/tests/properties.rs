//! What holds for any input.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use proptest::prelude::*;
use yundu_estate::import::{Input, import};
use yundu_estate::{Estate, Format, SourceDocument, canonical, merge};

const FORMATS: [Option<Format>; 4] = [
    None,
    Some(Format::Yaml),
    Some(Format::Kubernetes),
    Some(Format::Konveyor),
];

/// Fragments that reach deep into the importers, in any order.
fn fragments() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "kind: estate\n",
        "version: 1\n",
        "applications:\n",
        "  - id: a\n",
        "    tier: core\n",
        "    data_grade: 5\n",
        "  - {from: a, to: b}\n",
        "dependencies:\n",
        "---\n",
        "apiVersion: v1\n",
        "kind: Deployment\n",
        "kind: Service\n",
        "kind: CronJob\n",
        "kind: List\n",
        "items:\n",
        "metadata: {name: x, namespace: n}\n",
        "spec:\n",
        "  template:\n",
        "    spec:\n",
        "      containers:\n",
        "        - image: redis\n",
        "          ports: [{containerPort: 5432}]\n",
        "          env: [{name: DB_HOST, value: x}]\n",
        "  volumeClaimTemplates: [{metadata: {name: d}}]\n",
        "&a [*a]\n",
        "x: &b {y: 1}\n",
        "z: *b\n",
        "Record Type,Application Name,Tag Category 1,Tag 1\n",
        "1,Mail,Tier,Core\n",
        "2,Mail,\"x\n",
        "\"",
        ",",
        "\t",
        "[",
        "{",
        "}",
        "]",
        ": ",
        "- ",
        "'",
        "核心",
        "\u{feff}",
        "\r\n",
        "%YAML 1.2\n",
    ]);
    prop::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat())
}

fn never_panics(bytes: &[u8]) {
    for format in FORMATS {
        for path in ["x.yaml", "x.csv"] {
            if let Ok(document) = import(Input {
                source: None,
                is_from_directory: false,
                path,
                format,
                bytes,
                at_us: 1,
            }) {
                let estate = Estate::from_documents(&[document]);
                canonical::digest(&estate).expect("an estate holds integers only");
            }
        }
    }
}

fn document(path: &str, text: &str, at_us: i64) -> SourceDocument {
    import(Input {
        source: None,
        is_from_directory: false,
        path,
        format: None,
        bytes: text.as_bytes(),
        at_us,
    })
    .unwrap()
}

fn estate_file(owners: &[(u8, u8)]) -> String {
    let mut text = String::from("kind: estate\nversion: 1\napplications:\n");
    let mut seen = std::collections::BTreeSet::new();
    for (application, owner) in owners {
        if seen.insert(application) {
            text.push_str(&format!(
                "  - {{id: app-{application}, owner: owner-{owner}}}\n"
            ));
        }
    }
    if seen.is_empty() {
        "kind: estate\nversion: 1\n".to_owned()
    } else {
        text
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn importers_survive_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        never_panics(&bytes);
    }

    #[test]
    fn importers_survive_any_text(text in "\\PC{0,200}") {
        never_panics(text.as_bytes());
    }

    #[test]
    fn importers_survive_any_mixture_of_what_they_know(text in fragments()) {
        never_panics(text.as_bytes());
    }

    #[test]
    fn order_and_repetition_of_imports_do_not_matter(
        files in prop::collection::vec(prop::collection::vec((0u8..6, 0u8..3), 0..6), 1..5),
        order in any::<prop::sample::Index>(),
    ) {
        let documents: Vec<SourceDocument> = files
            .iter()
            .enumerate()
            .map(|(index, owners)| document(&format!("{index}.yaml"), &estate_file(owners), 1))
            .collect();
        let mut forward = Vec::new();
        merge(&mut forward, documents.clone());
        let mut turned = documents.clone();
        turned.rotate_left(order.index(documents.len()));
        turned.reverse();
        let again = turned.iter().map(|it| SourceDocument { at_us: 2, ..it.clone() }).collect();
        let mut other = Vec::new();
        merge(&mut other, turned);
        merge(&mut other, again);
        prop_assert_eq!(&forward, &other);
        prop_assert_eq!(Estate::from_documents(&forward), Estate::from_documents(&documents));
    }

    #[test]
    fn every_statement_is_kept_and_exactly_the_differing_ones_contradict(
        one in 0u8..3, other in 0u8..3, third in 0u8..3,
    ) {
        let documents: Vec<SourceDocument> = [one, other, third]
            .iter()
            .enumerate()
            .map(|(index, owner)| document(&format!("{index}.yaml"), &estate_file(&[(1, *owner)]), 1))
            .collect();
        let estate = Estate::from_documents(&documents);
        prop_assert_eq!(estate.applications["app-1"].owner.facts().len(), 3);
        let differs = !(one == other && other == third);
        prop_assert_eq!(estate.contradictions.len(), usize::from(differs));
        prop_assert_eq!(estate.applications["app-1"].owner.agreed().is_none(), differs);
    }
}
