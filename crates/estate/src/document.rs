//! What one import of one file said, in normal form: this is what is kept, and the estate is
//! built from it again each time.

use crate::text::Text;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The formats that can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Our own documented YAML (`kind: estate`).
    Yaml,
    /// Kubernetes manifests, several documents in one file.
    Kubernetes,
    /// Konveyor's application-import CSV.
    Konveyor,
}

/// The nouns of the estate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The institution itself.
    Institution,
    /// A place where things run.
    Site,
    /// A group of people that owns things.
    Team,
    /// The unit that a business owner recognises.
    Application,
    /// A running part of an application.
    Component,
    /// A database, queue or file system that holds an application's data.
    DataStore,
    /// A data store at one site: `DATA_STORE@SITE`.
    Installation,
    /// A block device.
    Volume,
    /// Where something can be called.
    Interface,
    /// `FROM -> TO`: FROM needs TO.
    Dependency,
    /// A set of configuration keys that components read; values are never kept.
    Configuration,
}

/// One statement: an attribute of a thing has a value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assertion {
    /// The noun.
    pub kind: Kind,
    /// The thing's identifier.
    pub id: String,
    /// The attribute, or empty when the source only says that the thing exists.
    pub attribute: String,
    /// What the source says it is.
    pub value: Value,
    /// Line in the file, from 1.
    pub line: u32,
}

/// Something the importer saw and did not turn into a fact, or wants a person to know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Note {
    /// Line in the file, from 1; 0 for the file as a whole.
    pub line: u32,
    /// What was seen.
    pub text: Text,
}

/// One imported file, in normal form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceDocument {
    /// Name of the source, such as `yaml`, `kubernetes`, `konveyor` or a name given at the import.
    pub source: String,
    /// Path of the file as it was given. `(source, path)` identifies the document.
    pub path: String,
    /// Its format.
    pub format: Format,
    /// SHA-256 of the file's bytes.
    pub sha256: String,
    /// Length of the file in bytes.
    pub size_bytes: u64,
    /// When it was imported, in microseconds since the Unix epoch.
    pub at_us: i64,
    /// What it says.
    pub assertions: Vec<Assertion>,
    /// What else was seen.
    pub notes: Vec<Note>,
}

// === impl Format ===

impl Format {
    /// The name used as the default source name and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::Yaml => "yaml",
            Format::Kubernetes => "kubernetes",
            Format::Konveyor => "konveyor",
        }
    }
}

// === impl Kind ===

impl Kind {
    /// The noun in both languages.
    pub fn title(self) -> Text {
        match self {
            Kind::Institution => Text::new("机构", "institution"),
            Kind::Site => Text::new("站点", "site"),
            Kind::Team => Text::new("团队", "team"),
            Kind::Application => Text::new("应用系统", "application"),
            Kind::Component => Text::new("组件", "component"),
            Kind::DataStore => Text::new("数据存储", "data store"),
            Kind::Installation => Text::new("安装实例", "installation"),
            Kind::Volume => Text::new("卷", "volume"),
            Kind::Interface => Text::new("接口", "interface"),
            Kind::Dependency => Text::new("依赖", "dependency"),
            Kind::Configuration => Text::new("配置", "configuration"),
        }
    }
}

// === impl SourceDocument ===

impl SourceDocument {
    /// `(source, path)`, which identifies the document.
    pub fn key(&self) -> (&str, &str) {
        (&self.source, &self.path)
    }
}

/// What an import did to one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It was not known before.
    Added,
    /// It was known with another content, which it replaces.
    Replaced,
    /// It was known with the same content; nothing changed.
    Unchanged,
}

/// Puts `imported` among `documents`, which stay sorted by `(source, path)`, and says what each
/// did. The same bytes change nothing, not even the time of the import.
pub fn merge(documents: &mut Vec<SourceDocument>, imported: Vec<SourceDocument>) -> Vec<Change> {
    let mut changes = Vec::new();
    for document in imported {
        match documents
            .iter_mut()
            .find(|known| known.key() == document.key())
        {
            Some(known) if known.sha256 == document.sha256 && known.format == document.format => {
                changes.push(Change::Unchanged);
            }
            Some(known) => {
                *known = document;
                changes.push(Change::Replaced);
            }
            None => {
                documents.push(document);
                changes.push(Change::Added);
            }
        }
    }
    documents.sort_by(|one, other| one.key().cmp(&other.key()));
    changes
}
