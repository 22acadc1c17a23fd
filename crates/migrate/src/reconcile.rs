//! Figures of the business before and after.

use crate::runbook::{Reconcile, Rule};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Most figures of one reconciliation.
const FACTS_MAX: usize = 500;

/// Figures by name: integers or strings.
pub type Facts = BTreeMap<String, Value>;

/// A figure that breaks its rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Name of the figure.
    pub name: String,
    /// Before; null: absent.
    pub before: Value,
    /// After; null: absent.
    pub after: Value,
}

/// Reads what a reconciliation command printed.
pub(crate) fn parse_facts(stdout: &str) -> Result<Facts, String> {
    let facts: Facts = serde_json::from_str(stdout.trim())
        .map_err(|error| format!("expected one JSON object of integers and strings: {error}"))?;
    let plain = |value: &Value| value.is_string() || value.is_i64() || value.is_u64();
    match facts.iter().find(|(_, value)| !plain(value)) {
        Some((name, value)) => Err(format!(
            "`{name}` is {value}: expected an integer or a string"
        )),
        None if facts.is_empty() => Err("no figures were printed".into()),
        None if facts.len() > FACTS_MAX => {
            Err(format!("{} figures: at most {FACTS_MAX}", facts.len()))
        }
        None => Ok(facts),
    }
}

/// Figures that break their rule; a figure that is there on one side only always does.
pub fn compare_facts(before: &Facts, after: &Facts, rules: &Reconcile) -> Vec<Difference> {
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut differences = Vec::new();
    for name in names {
        let (was, is) = (before.get(name), after.get(name));
        let rule = rules.rules.get(name).copied().unwrap_or(rules.default_rule);
        let holds = match (was, is, rule) {
            (Some(was), Some(is), Rule::Equal) => was == is,
            (Some(was), Some(is), Rule::AtLeast) => was
                .as_i64()
                .zip(is.as_i64())
                .is_some_and(|(was, is)| is >= was),
            _ => false,
        };
        if !holds {
            differences.push(Difference {
                name: name.clone(),
                before: was.cloned().unwrap_or(Value::Null),
                after: is.cloned().unwrap_or(Value::Null),
            });
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runbook::FactPhase;
    use serde_json::json;

    fn rules() -> Reconcile {
        Reconcile {
            phase: FactPhase::After,
            argv: vec![],
            timeout_s: 1,
            rules: [("rows".to_owned(), Rule::AtLeast)].into(),
            default_rule: Rule::Equal,
        }
    }

    fn facts(text: &str) -> Facts {
        parse_facts(text).unwrap()
    }

    #[test]
    fn growth_is_allowed_only_where_the_rule_says_so() {
        let before = facts(r#"{"rows": 10, "sum": 0}"#);
        assert_eq!(
            compare_facts(&before, &facts(r#"{"rows": 12, "sum": 0}"#), &rules()),
            []
        );
        let differences = compare_facts(&before, &facts(r#"{"rows": 9, "sum": 1}"#), &rules());
        let names: Vec<&str> = differences.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["rows", "sum"]);
    }

    #[test]
    fn a_figure_that_vanished_or_appeared_is_a_difference() {
        let differences = compare_facts(&facts(r#"{"a": 1}"#), &facts(r#"{"b": 1}"#), &rules());
        assert_eq!(differences.len(), 2);
        assert_eq!(differences[0].after, json!(null));
    }

    #[test]
    fn floats_and_empty_output_are_refused() {
        assert!(
            parse_facts(r#"{"sum": 1.5}"#)
                .unwrap_err()
                .contains("`sum`")
        );
        assert!(parse_facts("{}").is_err());
        assert!(parse_facts("12").is_err());
    }
}
