//! A fact is a value with its provenance; several sources may state the same attribute.
//!
//! `Facts` holds an attribute that has one true value: differing statements contradict each
//! other and all of them are kept. `FactSet` holds an attribute that may have many values at
//! once (tags, aliases): differing statements add up.

use serde::de::DeserializeOwned;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

/// Who said so, where and when.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Provenance {
    /// Name of the source, such as `yaml`, `kubernetes` or the name given at the import.
    pub source: String,
    /// `file:line`.
    pub location: String,
    /// When it was imported, in microseconds since the Unix epoch.
    pub at_us: i64,
}

/// One statement about one attribute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fact<T> {
    /// What the source said.
    pub value: T,
    /// Where it said so.
    #[serde(flatten)]
    pub provenance: Provenance,
}

/// What every attribute can do, whatever its type.
pub trait Attribute {
    /// Adds a statement. The error says why the value does not fit.
    fn accept(&mut self, value: &Value, provenance: &Provenance) -> Result<(), String>;
    /// No source said anything.
    fn is_empty(&self) -> bool;
    /// Sources differ about the one value.
    fn is_contradicted(&self) -> bool;
    /// Every statement, in the order of the sources.
    fn statements(&self) -> Vec<Fact<Value>>;
}

/// Every statement about an attribute that has one true value.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts<T>(Vec<Fact<T>>);

/// Every statement about an attribute that may have many values.
#[derive(Clone, Debug, PartialEq)]
pub struct FactSet<T>(Vec<Fact<T>>);

// === impl Facts ===

impl<T> Default for Facts<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: PartialEq> Facts<T> {
    /// The value, when there is at least one statement and all of them say the same.
    pub fn agreed(&self) -> Option<&T> {
        match self.0.split_first() {
            Some((first, rest)) if rest.iter().all(|fact| fact.value == first.value) => {
                Some(&first.value)
            }
            _ => None,
        }
    }

    /// Each different value once, in the order of the sources.
    pub fn values(&self) -> Vec<&T> {
        let mut values: Vec<&T> = Vec::new();
        for fact in &self.0 {
            if !values.contains(&&fact.value) {
                values.push(&fact.value);
            }
        }
        values
    }

    /// The value of the first source: for display only, where a contradiction is shown beside it.
    pub fn first(&self) -> Option<&T> {
        self.0.first().map(|fact| &fact.value)
    }

    /// Every statement.
    pub fn facts(&self) -> &[Fact<T>] {
        &self.0
    }

    /// Adds a statement.
    pub fn push(&mut self, value: T, provenance: Provenance) {
        self.0.push(Fact { value, provenance });
    }
}

impl<T: Ord> Facts<T> {
    /// The greatest stated value: the conservative one where greater means more critical.
    pub fn greatest(&self) -> Option<&T> {
        self.0.iter().map(|fact| &fact.value).max()
    }

    /// The least stated value: the conservative one where less means more critical.
    pub fn least(&self) -> Option<&T> {
        self.0.iter().map(|fact| &fact.value).min()
    }
}

impl<T: Serialize + DeserializeOwned + PartialEq> Attribute for Facts<T> {
    fn accept(&mut self, value: &Value, provenance: &Provenance) -> Result<(), String> {
        let value = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
        self.push(value, provenance.clone());
        Ok(())
    }
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    fn is_contradicted(&self) -> bool {
        !self.0.is_empty() && self.agreed().is_none()
    }
    fn statements(&self) -> Vec<Fact<Value>> {
        statements(&self.0)
    }
}

/// `{"value": agreed or null, "contradicted": bool, "facts": [...]}`: a policy reads `value`, and
/// gets nothing where sources differ.
impl<T: Serialize + PartialEq> Serialize for Facts<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let agreed = self.agreed();
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("value", &agreed)?;
        map.serialize_entry("contradicted", &(!self.0.is_empty() && agreed.is_none()))?;
        map.serialize_entry("facts", &self.0)?;
        map.end()
    }
}

// === impl FactSet ===

impl<T> Default for FactSet<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Ord> FactSet<T> {
    /// Each different value once, sorted.
    pub fn values(&self) -> Vec<&T> {
        let mut values: Vec<&T> = self.0.iter().map(|fact| &fact.value).collect();
        values.sort();
        values.dedup();
        values
    }

    /// Every statement.
    pub fn facts(&self) -> &[Fact<T>] {
        &self.0
    }
}

/// Accepts one value, or a list of which each item becomes a statement of its own.
impl<T: Serialize + DeserializeOwned + PartialEq> Attribute for FactSet<T> {
    fn accept(&mut self, value: &Value, provenance: &Provenance) -> Result<(), String> {
        let items = match value {
            Value::Array(items) => items.as_slice(),
            other => std::slice::from_ref(other),
        };
        for item in items {
            let value = serde_json::from_value(item.clone()).map_err(|error| error.to_string())?;
            self.0.push(Fact {
                value,
                provenance: provenance.clone(),
            });
        }
        Ok(())
    }
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    fn is_contradicted(&self) -> bool {
        false
    }
    fn statements(&self) -> Vec<Fact<Value>> {
        statements(&self.0)
    }
}

/// `{"values": [each once, sorted], "facts": [...]}`.
impl<T: Serialize + Ord> Serialize for FactSet<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("values", &self.values())?;
        map.serialize_entry("facts", &self.0)?;
        map.end()
    }
}

fn statements<T: Serialize>(facts: &[Fact<T>]) -> Vec<Fact<Value>> {
    facts
        .iter()
        .map(|fact| Fact {
            value: serde_json::to_value(&fact.value).unwrap_or(Value::Null),
            provenance: fact.provenance.clone(),
        })
        .collect()
}
