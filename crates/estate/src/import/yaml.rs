//! Our own YAML: `kind: estate`. The format is described in `docs/estate-yaml.md`.

use crate::document::Kind;
use crate::error::{Collector, again};
use crate::import::{Found, estate_file};
use crate::names::identifier;
use crate::text::Text;
use crate::yaml::shape;
use crate::yaml::tree::Node;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// How the identifier of an entry is made.
#[derive(Clone, Copy)]
enum Identity {
    /// The field `id`.
    Own,
    /// `application` `/` `name`; the name is part of the identifier only.
    ApplicationAndName,
    /// `data_store` `@` `site`.
    DataStoreAndSite,
    /// `from` ` -> ` `to`.
    FromAndTo,
}

const SECTIONS: [(&str, Kind, Identity); 10] = [
    ("institution", Kind::Institution, Identity::Own),
    ("sites", Kind::Site, Identity::Own),
    ("teams", Kind::Team, Identity::Own),
    ("applications", Kind::Application, Identity::Own),
    ("components", Kind::Component, Identity::ApplicationAndName),
    ("data_stores", Kind::DataStore, Identity::Own),
    (
        "installations",
        Kind::Installation,
        Identity::DataStoreAndSite,
    ),
    ("volumes", Kind::Volume, Identity::Own),
    ("interfaces", Kind::Interface, Identity::Own),
    ("dependencies", Kind::Dependency, Identity::FromAndTo),
];

/// Reads every document. `is_guessed` says that nobody named the format, so that a file that is
/// neither ours nor a manifest is answered with what would be recognised.
pub(crate) fn read(
    documents: &[Node],
    is_guessed: bool,
    found: &mut Found,
    errors: &mut Collector,
) {
    static SCHEMA: OnceLock<serde_json::Value> = OnceLock::new();
    let schema = SCHEMA.get_or_init(estate_file::schema);
    if documents.iter().all(Node::is_null) && errors.is_empty() {
        let expected = Text::new(
            "至少一个 `kind: estate` 文档",
            "at least one document with `kind: estate`",
        );
        errors.push(0, 0, expected, Text::new("空文件", "an empty file"));
        return;
    }
    for document in documents.iter().filter(|document| !document.is_null()) {
        if is_guessed && document.get("kind").is_none() && document.get("apiVersion").is_none() {
            let expected = Text::new(
                "`kind: estate`（云渡资产文件）或 `apiVersion`（Kubernetes 清单）",
                "`kind: estate` (an estate file) or `apiVersion` (a Kubernetes manifest)",
            );
            errors.push(
                document.line,
                document.column,
                expected,
                document.describe(),
            );
            continue;
        }
        shape::check(schema, schema, document, errors);
        let mut lines: BTreeMap<(Kind, String), u32> = BTreeMap::new();
        for (section, kind, identity) in SECTIONS {
            let Some(node) = document.get(section) else {
                continue;
            };
            let entries = if kind == Kind::Institution {
                std::slice::from_ref(node)
            } else {
                node.items()
            };
            for entry in entries {
                let id = read_entry(entry, kind, identity, found, errors);
                // One pair of applications may need each other in several ways.
                if kind == Kind::Dependency || id.is_empty() {
                    continue;
                }
                if let Some(first) = lines.insert((kind, id.clone()), entry.line) {
                    let expected = Text::new(
                        format!("标识 `{id}` 在一个文件中只出现一次（首次在第 {first} 行）"),
                        format!(
                            "the identifier `{id}` only once in a file (first on line {first})"
                        ),
                    );
                    errors.push(entry.line, entry.column, expected, again());
                }
            }
        }
    }
}

fn read_entry(
    entry: &Node,
    kind: Kind,
    identity: Identity,
    found: &mut Found,
    errors: &mut Collector,
) -> String {
    let part = |key: &str| {
        entry
            .get(key)
            .and_then(Node::text)
            .unwrap_or_default()
            .to_owned()
    };
    let id = match identity {
        Identity::Own => {
            let id = part("id");
            let proper = identifier(&id);
            if let Some(node) = entry.get("id").filter(|_| id != proper && !id.is_empty()) {
                let example = if proper.is_empty() {
                    "core-ledger"
                } else {
                    proper.as_str()
                };
                let expected = Text::new(
                    format!("小写字母、数字与连字符组成的标识，如 `{example}`"),
                    format!(
                        "an identifier of lower-case letters, digits and hyphens, such as `{example}`"
                    ),
                );
                errors.push(node.line, node.column, expected, node.describe());
            }
            id
        }
        Identity::ApplicationAndName => format!("{}/{}", part("application"), part("name")),
        Identity::DataStoreAndSite => format!("{}@{}", part("data_store"), part("site")),
        Identity::FromAndTo => format!("{} -> {}", part("from"), part("to")),
    };
    found.exists(kind, &id, entry.line);
    for field in entry.entries() {
        let is_identity = match identity {
            Identity::Own => field.key == "id",
            Identity::ApplicationAndName => field.key == "name",
            Identity::DataStoreAndSite | Identity::FromAndTo => false,
        };
        if !is_identity && !field.node.is_null() {
            found.say(kind, &id, &field.key, field.node.json(), field.line);
        }
    }
    id
}
