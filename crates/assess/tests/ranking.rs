//! What a ranking promises.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use proptest::prelude::*;
use yundu_assess::{CriterionName, Ranked, log2_milli, rank};
use yundu_estate::Estate;
use yundu_estate::import::{Input, import};

fn estate(files: &[String]) -> Estate {
    let documents: Vec<_> = files
        .iter()
        .enumerate()
        .map(|(index, body)| {
            let text = format!("kind: estate\nversion: 1\napplications:\n{body}");
            let path = format!("{index}.yaml");
            import(Input {
                source: None,
                is_from_directory: false,
                path: &path,
                format: None,
                bytes: text.as_bytes(),
                at_us: 1,
            })
            .unwrap()
        })
        .collect();
    Estate::from_documents(&documents)
}

fn entry(id: &str, rate: Option<u64>, grade: Option<u8>) -> String {
    let rate = rate
        .map(|it| format!(", peak_transactions_per_second: {it}"))
        .unwrap_or_default();
    let grade = grade
        .map(|it| format!(", data_grade: {it}"))
        .unwrap_or_default();
    format!("  - {{id: {id}, tier: general, rto_s: 60, rpo_s: 60{rate}{grade}}}\n")
}

fn score(ranked: &[Ranked], id: &str) -> u64 {
    ranked
        .iter()
        .find(|it| it.application == id)
        .unwrap()
        .score_milli
}

proptest! {
    #[test]
    fn the_criteria_add_up_to_the_score(rate in prop::option::of(0u64..1_000_000_000_000), grade in prop::option::of(1u8..=5)) {
        let ranked = rank(&estate(&[entry("a", rate, grade)]));
        let sum: u64 = ranked[0].criteria.iter().map(|it| it.points_milli).sum();
        prop_assert_eq!(sum, ranked[0].score_milli);
        prop_assert!(ranked[0].score_milli <= 1000);
        prop_assert_eq!(ranked[0].criteria.iter().map(|it| it.weight_milli).sum::<u64>(), 1000);
    }

    #[test]
    fn more_transactions_or_more_sensitive_data_never_rank_lower(rate in 0u64..100_000, more in 0u64..100_000, grade in 1u8..=5, up in 0u8..5) {
        let higher = (grade + up).min(5);
        let ranked = rank(&estate(&[entry("less", Some(rate), Some(grade)) + &entry("more", Some(rate + more), Some(higher))]));
        prop_assert!(score(&ranked, "more") >= score(&ranked, "less"));
    }

    #[test]
    fn what_is_missing_never_ranks_lower_than_anything_stated(rate in 0u64..1_000_000, grade in 1u8..=5) {
        let ranked = rank(&estate(&[entry("stated", Some(rate), Some(grade)) + &entry("missing", None, None)]));
        prop_assert!(score(&ranked, "missing") >= score(&ranked, "stated"));
        let missing: Vec<CriterionName> =
            ranked.iter().find(|it| it.application == "missing").unwrap().missing().map(|it| it.name).collect();
        prop_assert_eq!(missing, [CriterionName::TransactionFrequency, CriterionName::DataSensitivity]);
    }

    #[test]
    fn where_sources_differ_the_most_critical_statement_counts(one in 1u8..=5, other in 1u8..=5) {
        let both = rank(&estate(&[entry("a", Some(5), Some(one)), entry("a", Some(5), Some(other))]));
        let worst = rank(&estate(&[entry("a", Some(5), Some(one.max(other)))]));
        prop_assert_eq!(both[0].score_milli, worst[0].score_milli);
        let grade = both[0].criteria.iter().find(|it| it.name == CriterionName::DataSensitivity).unwrap();
        prop_assert_eq!(grade.is_contradicted, one != other);
    }

    #[test]
    fn the_logarithm_never_falls(value in 0u64..u64::MAX) {
        prop_assert!(log2_milli(value) <= log2_milli(value + 1));
    }
}

#[test]
fn the_reason_shows_the_arithmetic_in_both_languages() {
    // 1 + 1023 = 2^10, so the logarithm is 10,000 thousandths, and 10,000 / 14 = 714; 714 * 400 / 1000 = 285.
    let ranked = rank(&estate(&[entry("a", Some(1023), Some(4))]));
    let first = &ranked[0].criteria[0];
    assert_eq!((first.raw_milli, first.points_milli), (714, 285));
    assert_eq!(
        first.reason.en,
        "peak of 1023 transactions per second: 714 × 400 ÷ 1000 = 285"
    );
    assert_eq!(first.reason.zh, "峰值每秒 1023 笔：714 × 400 ÷ 1000 = 285");
    // (4 - 1) * 250 = 750; 750 * 400 / 1000 = 300
    assert_eq!(ranked[0].criteria[1].points_milli, 300);
}
