//! What follows from several documents together: whose address a configuration holds, and which
//! references lead nowhere.

use crate::document::Kind;
use crate::estate::{Estate, Problem};
use crate::fact::{Fact, Provenance};
use crate::model::{Component, Entity, Interface, Mention};
use crate::text::Text;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Adds a dependency for each address that a component is configured with and that is another
/// component's service. The variable and the place where it stands are kept as the reason.
///
/// Being configured with an address does not prove that it is called: such dependencies are of
/// kind `configured`, or `database` where the URI scheme or the port is a database's.
pub(crate) fn dependencies(estate: &mut Estate) {
    let mut found: Vec<(String, String, &'static str, Text, Provenance)> = Vec::new();
    for component in estate.components.values() {
        let own = component.mentions.facts().iter();
        let references = component.configurations.values();
        let configured = references
            .into_iter()
            .flat_map(|reference| configured(estate, reference));
        for fact in own.chain(configured) {
            for target in targets(estate, component, &fact.value) {
                if target != component.id {
                    found.push(dependency(component, target, fact));
                }
            }
        }
    }
    for (from, to, kind, reason, provenance) in found {
        let id = format!("{from} -> {to}");
        let statements = [
            ("", Value::Null),
            ("from", json!(from)),
            ("to", json!(to)),
            ("kind", json!(kind)),
            ("reason", json!(reason)),
        ];
        for (attribute, value) in statements {
            if let Err(why) =
                estate.accept(Kind::Dependency, id.clone(), attribute, &value, &provenance)
            {
                estate.problems.push(Problem {
                    location: provenance.location.clone(),
                    text: Text::new(why.clone(), why),
                });
            }
        }
    }
}

/// The addresses of a configuration: all of them, or those of one key (`NAMESPACE/NAME#KEY`).
fn configured<'a>(
    estate: &'a Estate,
    reference: &'a str,
) -> impl Iterator<Item = &'a Fact<Mention>> + 'a {
    let (id, key) = match reference.split_once('#') {
        Some((id, key)) => (id, Some(key)),
        None => (reference, None),
    };
    let facts = estate
        .configurations
        .get(id)
        .map_or(&[][..], |it| it.mentions.facts());
    facts
        .iter()
        .filter(move |fact| key.is_none_or(|key| key == fact.value.key))
}

fn dependency(
    component: &Component,
    target: String,
    fact: &Fact<Mention>,
) -> (String, String, &'static str, Text, Provenance) {
    let Mention {
        key,
        host,
        port,
        scheme,
    } = &fact.value;
    let address = match port {
        Some(port) => format!("{host}:{port}"),
        None => host.clone(),
    };
    let database = scheme.as_deref().is_some_and(is_database_scheme)
        || port.is_some_and(|port| crate::engine::by_port(u64::from(port)).is_some());
    let kind = if database { "database" } else { "configured" };
    let reason = Text::new(
        format!("{key} 指向 {address}"),
        format!("{key} points to {address}"),
    );
    (
        component.id.clone(),
        target,
        kind,
        reason,
        fact.provenance.clone(),
    )
}

fn is_database_scheme(scheme: &str) -> bool {
    scheme.starts_with("jdbc:") || crate::engine::by_name(scheme).is_some()
}

/// The components, or failing that the application, behind an address as `component` sees it.
fn targets(estate: &Estate, component: &Component, mention: &Mention) -> BTreeSet<String> {
    let mut parts = mention.host.split('.');
    let name = parts.next().unwrap_or_default();
    let own_namespace = component.namespace.first().map_or("", String::as_str);
    let namespace = parts.next().unwrap_or(own_namespace);
    let mut found = BTreeSet::new();
    for interface in estate.interfaces.values() {
        let host = interface.host.first().map(String::as_str);
        let in_namespace = interface.namespace.first().map_or("", String::as_str) == namespace;
        if host == Some(mention.host.as_str()) || (host == Some(name) && in_namespace) {
            found.extend(behind(estate, interface));
        }
    }
    found
}

fn behind(estate: &Estate, interface: &Interface) -> BTreeSet<String> {
    let selector = interface.selector.values();
    if selector.is_empty() {
        return interface.application.first().cloned().into_iter().collect();
    }
    estate
        .components
        .values()
        .filter(|component| component.namespace.first() == interface.namespace.first())
        .filter(|component| {
            let labels = component.labels.values();
            selector.iter().all(|wanted| labels.contains(wanted))
        })
        .map(|component| component.id.clone())
        .collect()
}

/// Names each reference to a thing that no document describes.
pub(crate) fn references(estate: &mut Estate) {
    let mut problems = Vec::new();
    let mut missing = |kind: Kind, id: &str, provenance: &Provenance| {
        let title = kind.title();
        problems.push(Problem {
            location: provenance.location.clone(),
            text: Text::new(
                format!("引用了没有任何文件描述的{}“{id}”", title.zh),
                format!("refers to the {} `{id}`, which no file describes", title.en),
            ),
        });
    };
    let mut check = |facts: &[Fact<String>], kind: Kind, known: &dyn Fn(&str) -> bool| {
        for fact in facts.iter().filter(|fact| !known(&fact.value)) {
            missing(kind, &fact.value, &fact.provenance);
        }
    };
    let application = |id: &str| estate.applications.contains_key(id);
    let site = |id: &str| estate.sites.contains_key(id);
    let team = |id: &str| estate.teams.contains_key(id);
    let store = |id: &str| estate.data_stores.contains_key(id);
    let component = |id: &str| estate.components.contains_key(id);
    let endpoint = |id: &str| estate.application_of(id).is_some();
    for it in estate.applications.values() {
        check(it.site.facts(), Kind::Site, &site);
        check(it.team.facts(), Kind::Team, &team);
    }
    for it in estate.components.values() {
        check(it.application.facts(), Kind::Application, &application);
    }
    for it in estate.data_stores.values() {
        check(it.application.facts(), Kind::Application, &application);
        check(it.component.facts(), Kind::Component, &component);
    }
    for it in estate.installations.values() {
        check(it.data_store.facts(), Kind::DataStore, &store);
        check(it.site.facts(), Kind::Site, &site);
    }
    for it in estate.volumes.values() {
        check(it.application.facts(), Kind::Application, &application);
        check(it.data_store.facts(), Kind::DataStore, &store);
        check(it.site.facts(), Kind::Site, &site);
    }
    for it in estate.interfaces.values() {
        check(it.application.facts(), Kind::Application, &application);
    }
    for it in estate.dependencies.values() {
        check(it.from.facts(), Kind::Application, &endpoint);
        check(it.to.facts(), Kind::Application, &endpoint);
    }
    estate.problems.extend(problems);
}

/// Duplicate statements by several lines of one document are kept; this only counts things.
pub fn counts(estate: &Estate) -> BTreeMap<Kind, usize> {
    BTreeMap::from([
        (crate::model::Site::KIND, estate.sites.len()),
        (crate::model::Team::KIND, estate.teams.len()),
        (crate::model::Application::KIND, estate.applications.len()),
        (crate::model::Component::KIND, estate.components.len()),
        (crate::model::DataStore::KIND, estate.data_stores.len()),
        (crate::model::Installation::KIND, estate.installations.len()),
        (crate::model::Volume::KIND, estate.volumes.len()),
        (crate::model::Interface::KIND, estate.interfaces.len()),
        (crate::model::Dependency::KIND, estate.dependencies.len()),
    ])
}
