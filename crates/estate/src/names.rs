//! One application, many names: spreadsheets, manifests and people each call it something else.

use crate::document::{Assertion, Kind, SourceDocument};
use crate::estate::Problem;
use crate::text::Text;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Which identifier each alias stands for.
#[derive(Debug, Default)]
pub(crate) struct Names {
    identifiers: BTreeMap<String, String>,
}

/// The identifier made from a name: lower case, letters and digits of any script kept, everything
/// else a single hyphen. `Core Ledger` becomes `core-ledger`; `核心账务` stays as it is.
pub fn identifier(name: &str) -> String {
    let mut made = String::with_capacity(name.len());
    for character in name.trim().chars() {
        if character.is_alphanumeric() {
            made.extend(character.to_lowercase());
        } else if !made.is_empty() && !made.ends_with('-') {
            made.push('-');
        }
    }
    made.trim_end_matches('-').to_owned()
}

// === impl Names ===

impl Names {
    /// Collects the aliases that any document states. An alias that two applications claim, or
    /// that is another application's identifier, stands for nobody and is a problem.
    pub(crate) fn of(documents: &[&SourceDocument], problems: &mut Vec<Problem>) -> Self {
        let mut claims: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        let mut applications = BTreeSet::new();
        for document in documents {
            for assertion in document
                .assertions
                .iter()
                .filter(|it| it.kind == Kind::Application)
            {
                if assertion.attribute != "aliases" {
                    // Only our own YAML chooses identifiers; the others derive them from names.
                    if document.format == crate::document::Format::Yaml {
                        applications.insert(assertion.id.clone());
                    }
                    continue;
                }
                let listed: Vec<&str> = match &assertion.value {
                    Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
                    other => other.as_str().into_iter().collect(),
                };
                for alias in listed {
                    let location = format!("{}:{}", document.path, assertion.line);
                    claims
                        .entry(identifier(alias))
                        .or_default()
                        .insert(assertion.id.clone(), location);
                }
            }
        }
        let mut names = Self::default();
        for (alias, claimants) in claims {
            let taken = applications.contains(&alias) && !claimants.contains_key(&alias);
            let mut each = claimants.into_iter();
            let Some((id, location)) = each.next() else {
                continue;
            };
            if taken || each.next().is_some() {
                problems.push(Problem {
                    location,
                    text: Text::new(
                        format!("别名“{alias}”同时指向多个应用系统，未采用"),
                        format!(
                            "the alias `{alias}` stands for several applications and is not used"
                        ),
                    ),
                });
            } else {
                names.identifiers.insert(alias, id);
            }
        }
        names
    }

    /// The identifier and value of `assertion` with aliases replaced.
    pub(crate) fn translate(&self, assertion: &Assertion) -> (String, Value) {
        let refers = matches!(assertion.attribute.as_str(), "application" | "from" | "to");
        let value = match &assertion.value {
            Value::String(name) if refers => Value::String(self.canonical(name)),
            other => other.clone(),
        };
        let id = match assertion.kind {
            Kind::Application => self.canonical(&assertion.id),
            Kind::Dependency => match assertion.id.split_once(" -> ") {
                Some((from, to)) => format!("{} -> {}", self.canonical(from), self.canonical(to)),
                None => assertion.id.clone(),
            },
            _ => assertion.id.clone(),
        };
        (id, value)
    }

    fn canonical(&self, name: &str) -> String {
        self.identifiers
            .get(name)
            .cloned()
            .unwrap_or_else(|| name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::identifier;

    #[test]
    fn an_identifier_keeps_letters_of_any_script() {
        assert_eq!(identifier("  Core Ledger (v2) "), "core-ledger-v2");
        assert_eq!(identifier("核心账务系统"), "核心账务系统");
        assert_eq!(identifier("--"), "");
    }
}
