//! The estate as all imported documents together describe it.
//!
//! It is rebuilt from the documents each time: nothing is merged by hand, so that importing the
//! same document twice, or documents in another order, gives the same estate.

use crate::document::{Format, Kind, SourceDocument};
use crate::fact::{Fact, Provenance};
use crate::model::{
    Application, Component, Configuration, DataStore, Dependency, DependencyKind, Entity,
    Installation, Institution, Interface, Site, Team, Volume,
};
use crate::text::Text;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Everything the institution runs, as far as the imported documents say.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Estate {
    /// The documents it was built from, in the order of `(source, path)`.
    pub documents: Vec<DocumentSummary>,
    /// By identifier.
    pub institutions: BTreeMap<String, Institution>,
    /// By identifier.
    pub sites: BTreeMap<String, Site>,
    /// By identifier.
    pub teams: BTreeMap<String, Team>,
    /// By identifier.
    pub applications: BTreeMap<String, Application>,
    /// By identifier, `APPLICATION/NAME`.
    pub components: BTreeMap<String, Component>,
    /// By identifier.
    pub data_stores: BTreeMap<String, DataStore>,
    /// By identifier, `DATA_STORE@SITE`.
    pub installations: BTreeMap<String, Installation>,
    /// By identifier.
    pub volumes: BTreeMap<String, Volume>,
    /// By identifier.
    pub interfaces: BTreeMap<String, Interface>,
    /// By identifier, `FROM -> TO`.
    pub dependencies: BTreeMap<String, Dependency>,
    /// By identifier, `NAMESPACE/NAME`.
    pub configurations: BTreeMap<String, Configuration>,
    /// Where sources differ.
    pub contradictions: Vec<Contradiction>,
    /// References to things that no document describes, and statements that do not fit.
    pub problems: Vec<Problem>,
}

/// One document of the estate, without what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DocumentSummary {
    /// Name of the source.
    pub source: String,
    /// Path of the file as it was given.
    pub path: String,
    /// Its format.
    pub format: Format,
    /// SHA-256 of the file.
    pub sha256: String,
    /// When it was imported, in microseconds since the Unix epoch.
    pub at_us: i64,
    /// How many statements it makes.
    pub assertions: usize,
}

/// Sources differ about one attribute.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Contradiction {
    /// The noun.
    pub kind: Kind,
    /// The thing.
    pub id: String,
    /// The attribute.
    pub attribute: String,
    /// Every statement about it.
    pub facts: Vec<Fact<Value>>,
}

/// Something that a person should look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// Where it was said.
    pub location: String,
    /// What is wrong.
    pub text: Text,
}

/// One application needs another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ApplicationDependency {
    /// The application that needs.
    pub from: String,
    /// The application that is needed.
    pub to: String,
    /// How.
    pub kinds: Vec<DependencyKind>,
    /// What was seen.
    pub reasons: Vec<Text>,
    /// Where it was seen.
    pub locations: Vec<String>,
}

// === impl Estate ===

impl Estate {
    /// Builds the estate from every imported document. The order of `documents` does not matter.
    pub fn from_documents(documents: &[SourceDocument]) -> Self {
        let mut sorted: Vec<&SourceDocument> = documents.iter().collect();
        sorted.sort_by_key(|document| document.key());
        let mut estate = Self::default();
        let names = crate::names::Names::of(&sorted, &mut estate.problems);
        for document in sorted {
            estate.documents.push(DocumentSummary {
                source: document.source.clone(),
                path: document.path.clone(),
                format: document.format,
                sha256: document.sha256.clone(),
                at_us: document.at_us,
                assertions: document.assertions.len(),
            });
            for assertion in &document.assertions {
                let provenance = Provenance {
                    source: document.source.clone(),
                    location: format!("{}:{}", document.path, assertion.line),
                    at_us: document.at_us,
                };
                let (id, value) = names.translate(assertion);
                if let Err(why) = estate.accept(
                    assertion.kind,
                    id,
                    &assertion.attribute,
                    &value,
                    &provenance,
                ) {
                    estate.problems.push(Problem {
                        location: provenance.location,
                        text: Text::new(
                            format!("该陈述不适用：{why}"),
                            format!("this statement does not fit: {why}"),
                        ),
                    });
                }
            }
        }
        crate::resolve::dependencies(&mut estate);
        crate::resolve::references(&mut estate);
        estate.contradictions = estate.find_contradictions();
        estate.problems.sort();
        estate.problems.dedup();
        estate
    }

    pub(crate) fn accept(
        &mut self,
        kind: Kind,
        id: String,
        attribute: &str,
        value: &Value,
        provenance: &Provenance,
    ) -> Result<(), String> {
        fn into<E: Entity>(
            map: &mut BTreeMap<String, E>,
            id: String,
            attribute: &str,
            value: &Value,
            provenance: &Provenance,
        ) -> Result<(), String> {
            map.entry(id.clone())
                .or_insert_with(|| E::new(id))
                .accept(attribute, value, provenance)
        }
        match kind {
            Kind::Institution => into(&mut self.institutions, id, attribute, value, provenance),
            Kind::Site => into(&mut self.sites, id, attribute, value, provenance),
            Kind::Team => into(&mut self.teams, id, attribute, value, provenance),
            Kind::Application => into(&mut self.applications, id, attribute, value, provenance),
            Kind::Component => into(&mut self.components, id, attribute, value, provenance),
            Kind::DataStore => into(&mut self.data_stores, id, attribute, value, provenance),
            Kind::Installation => into(&mut self.installations, id, attribute, value, provenance),
            Kind::Volume => into(&mut self.volumes, id, attribute, value, provenance),
            Kind::Interface => into(&mut self.interfaces, id, attribute, value, provenance),
            Kind::Dependency => into(&mut self.dependencies, id, attribute, value, provenance),
            Kind::Configuration => into(&mut self.configurations, id, attribute, value, provenance),
        }
    }

    fn find_contradictions(&self) -> Vec<Contradiction> {
        fn of<E: Entity>(map: &BTreeMap<String, E>, found: &mut Vec<Contradiction>) {
            for entity in map.values() {
                for (attribute, facts) in entity.attributes() {
                    if facts.is_contradicted() {
                        found.push(Contradiction {
                            kind: E::KIND,
                            id: entity.id().to_owned(),
                            attribute: attribute.to_owned(),
                            facts: facts.statements(),
                        });
                    }
                }
            }
        }
        let mut found = Vec::new();
        of(&self.institutions, &mut found);
        of(&self.sites, &mut found);
        of(&self.teams, &mut found);
        of(&self.applications, &mut found);
        of(&self.components, &mut found);
        of(&self.data_stores, &mut found);
        of(&self.installations, &mut found);
        of(&self.volumes, &mut found);
        of(&self.interfaces, &mut found);
        of(&self.dependencies, &mut found);
        of(&self.configurations, &mut found);
        found
    }

    /// The application that `endpoint` is, or is a component of.
    pub fn application_of<'a>(&'a self, endpoint: &'a str) -> Option<&'a str> {
        if self.applications.contains_key(endpoint) {
            return Some(endpoint);
        }
        self.components
            .get(endpoint)?
            .application
            .first()
            .map(String::as_str)
    }

    /// Dependencies between different applications, those of their components included, sorted.
    /// Dependencies whose ends are not described by any document are left out: see `problems`.
    pub fn application_dependencies(&self) -> Vec<ApplicationDependency> {
        let mut merged: BTreeMap<(String, String), ApplicationDependency> = BTreeMap::new();
        for dependency in self.dependencies.values() {
            let (Some(from), Some(to)) = (dependency.from.first(), dependency.to.first()) else {
                continue;
            };
            let (Some(from), Some(to)) = (self.application_of(from), self.application_of(to))
            else {
                continue;
            };
            if from == to {
                continue;
            }
            let entry = merged
                .entry((from.to_owned(), to.to_owned()))
                .or_insert_with(|| ApplicationDependency {
                    from: from.to_owned(),
                    to: to.to_owned(),
                    kinds: Vec::new(),
                    reasons: Vec::new(),
                    locations: Vec::new(),
                });
            entry.kinds.extend(dependency.kind.values());
            entry
                .reasons
                .extend(dependency.reason.values().into_iter().cloned());
            entry
                .locations
                .extend(dependency.seen.iter().map(|seen| seen.location.clone()));
        }
        for dependency in merged.values_mut() {
            dependency.kinds.sort();
            dependency.kinds.dedup();
            dependency.reasons.sort();
            dependency.reasons.dedup();
            dependency.locations.sort();
            dependency.locations.dedup();
        }
        merged.into_values().collect()
    }

    /// For each application, how many others need it, directly or through others.
    pub fn dependents(&self) -> BTreeMap<String, usize> {
        let dependencies = self.application_dependencies();
        let mut needed_by: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for dependency in &dependencies {
            needed_by
                .entry(&dependency.to)
                .or_default()
                .push(&dependency.from);
        }
        let count = |application: &str| {
            let mut found = BTreeSet::from([application]);
            let mut waiting = vec![application];
            while let Some(next) = waiting.pop() {
                for dependent in needed_by.get(next).into_iter().flatten() {
                    if found.insert(dependent) {
                        waiting.push(dependent);
                    }
                }
            }
            found.len() - 1
        };
        self.applications
            .keys()
            .map(|id| (id.clone(), count(id)))
            .collect()
    }

    /// The volumes of an application, sorted by identifier.
    pub fn volumes_of(&self, application: &str) -> Vec<&Volume> {
        let belongs = |volume: &&Volume| {
            let direct = volume.application.first().map(String::as_str);
            let through_store = volume
                .data_store
                .first()
                .and_then(|store| self.data_stores.get(store))
                .and_then(|store| store.application.first())
                .map(String::as_str);
            direct.or(through_store) == Some(application)
        };
        self.volumes.values().filter(belongs).collect()
    }

    /// The data stores of an application, sorted by identifier.
    pub fn data_stores_of(&self, application: &str) -> Vec<&DataStore> {
        self.data_stores
            .values()
            .filter(|store| store.application.first().map(String::as_str) == Some(application))
            .collect()
    }

    /// The components of an application, sorted by identifier.
    pub fn components_of(&self, application: &str) -> Vec<&Component> {
        self.components
            .values()
            .filter(|component| {
                component.application.first().map(String::as_str) == Some(application)
            })
            .collect()
    }
}
