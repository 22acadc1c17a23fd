//! The shape of our own YAML. The JSON Schema made from these types is what we publish
//! (`yundu estate schema`) and what the importer checks against.

use crate::model::{DependencyKind, Exposure, ProcessorArchitecture, SiteRole, Tier};
use crate::text::Text;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize};

/// An estate file: what the institution runs. Everything but `kind` and `version` may be left
/// out; what is left out is unknown, not zero. Several files add up.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Yundu estate file")]
pub struct EstateFile {
    /// Always `estate`.
    pub kind: FileKind,
    /// Version of this format: 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// The institution.
    #[serde(default)]
    pub institution: Option<InstitutionEntry>,
    /// Places where things run.
    #[serde(default)]
    pub sites: Option<Vec<SiteEntry>>,
    /// Groups of people that own things.
    #[serde(default)]
    pub teams: Option<Vec<TeamEntry>>,
    /// The units that business owners recognise.
    #[serde(default)]
    pub applications: Option<Vec<ApplicationEntry>>,
    /// Running parts of applications.
    #[serde(default)]
    pub components: Option<Vec<ComponentEntry>>,
    /// Databases, queues and file systems.
    #[serde(default)]
    pub data_stores: Option<Vec<DataStoreEntry>>,
    /// Data stores at sites.
    #[serde(default)]
    pub installations: Option<Vec<InstallationEntry>>,
    /// Block devices.
    #[serde(default)]
    pub volumes: Option<Vec<VolumeEntry>>,
    /// Where things can be called.
    #[serde(default)]
    pub interfaces: Option<Vec<InterfaceEntry>>,
    /// Who needs whom.
    #[serde(default)]
    pub dependencies: Option<Vec<DependencyEntry>>,
}

/// What the file is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// An estate file.
    Estate,
}

/// The institution.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InstitutionEntry {
    /// Identifier.
    #[schemars(length(min = 1))]
    pub id: String,
    /// Name in both languages.
    pub name: Option<Text>,
}

/// A place where things run.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SiteEntry {
    /// Identifier.
    #[schemars(length(min = 1))]
    pub id: String,
    /// Name in both languages.
    pub name: Option<Text>,
    /// Where it is.
    pub location: Option<Text>,
    /// What it is for.
    pub role: Option<SiteRole>,
    /// Instruction set of its machines.
    pub processor_architecture: Option<ProcessorArchitecture>,
    /// Memory page size of its kernels in bytes (`getconf PAGESIZE`).
    #[schemars(range(min = 512, max = 1_073_741_824))]
    pub page_size_bytes: Option<u64>,
    /// Operating system, such as `openEuler 22.03`.
    pub operating_system: Option<String>,
}

/// A group of people that owns things.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TeamEntry {
    /// Identifier.
    #[schemars(length(min = 1))]
    pub id: String,
    /// Name in both languages.
    pub name: Option<Text>,
    /// Who leads it.
    pub manager: Option<String>,
}

/// The unit that a business owner recognises.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplicationEntry {
    /// Identifier: lower case, digits and hyphens, letters of any script.
    #[schemars(length(min = 1))]
    pub id: String,
    /// Name in both languages.
    pub name: Option<Text>,
    /// What other sources call it; their statements are then statements about this application.
    pub aliases: Option<Vec<String>>,
    /// What it does.
    pub description: Option<Text>,
    /// The business owner.
    pub owner: Option<String>,
    /// Identifier of the team that runs it.
    pub team: Option<String>,
    /// The business service it belongs to.
    pub business_service: Option<String>,
    /// How much the business depends on it.
    pub tier: Option<Tier>,
    /// Level of its most sensitive data, 1 (public) to 5 (most sensitive); JR/T 0197-2020.
    #[schemars(range(min = 1, max = 5))]
    pub data_grade: Option<u8>,
    /// Highest rate in transactions per second.
    #[schemars(range(max = 1_000_000_000_000_u64))]
    pub peak_transactions_per_second: Option<u64>,
    /// Recovery time objective in seconds.
    #[schemars(range(max = 1_000_000_000_000_u64))]
    pub rto_s: Option<u64>,
    /// Recovery point objective in seconds.
    #[schemars(range(max = 1_000_000_000_000_u64))]
    pub rpo_s: Option<u64>,
    /// Identifier of the site where it runs.
    pub site: Option<String>,
    /// Who can reach it.
    pub exposure: Option<Exposure>,
    /// Kubernetes namespace.
    pub namespace: Option<String>,
    /// Where its source code lives.
    pub repository: Option<String>,
    /// `category: value`.
    pub tags: Option<Vec<String>>,
    /// Remarks.
    pub comments: Option<Vec<String>>,
}

/// A running part of an application; its identifier is `APPLICATION/NAME`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ComponentEntry {
    /// Identifier of the application.
    #[schemars(length(min = 1))]
    pub application: String,
    /// Name within the application.
    #[schemars(length(min = 1))]
    pub name: String,
    /// What runs it: `process`, `Deployment`…
    pub workload: Option<String>,
    /// Container images.
    pub images: Option<Vec<String>>,
    /// How many run.
    #[schemars(range(max = 1_000_000))]
    pub replicas: Option<u64>,
    /// Ports it listens on.
    pub ports: Option<Vec<u16>>,
}

/// A database, queue or file system.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataStoreEntry {
    /// Identifier.
    #[schemars(length(min = 1))]
    pub id: String,
    /// Identifier of the application.
    pub application: Option<String>,
    /// `postgresql`, `mysql`, `oracle`, `db2`, `opengauss`, `redis`, `files`…
    pub engine: Option<String>,
    /// Level of its most sensitive data, 1 to 5.
    #[schemars(range(min = 1, max = 5))]
    pub data_grade: Option<u8>,
}

/// A data store at one site; its identifier is `DATA_STORE@SITE`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InstallationEntry {
    /// Identifier of the data store.
    #[schemars(length(min = 1))]
    pub data_store: String,
    /// Identifier of the site.
    #[schemars(length(min = 1))]
    pub site: String,
    /// Version of the engine, such as `"16.4"` (in quotes).
    pub engine_version: Option<String>,
    /// Collation with its provider and version, such as `zh_CN.UTF-8 glibc 2.36`.
    pub collation: Option<String>,
    /// Instruction set, where it differs from the site's.
    pub processor_architecture: Option<ProcessorArchitecture>,
    /// Memory page size in bytes, where it differs from the site's.
    #[schemars(range(min = 512, max = 1_073_741_824))]
    pub page_size_bytes: Option<u64>,
}

/// A block device.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VolumeEntry {
    /// Identifier.
    #[schemars(length(min = 1))]
    pub id: String,
    /// Identifier of the application.
    pub application: Option<String>,
    /// Identifier of the data store on it.
    pub data_store: Option<String>,
    /// Identifier of the site where it is.
    pub site: Option<String>,
    /// Size in bytes.
    #[schemars(range(max = 1_152_921_504_606_846_976_u64))]
    pub size_bytes: Option<u64>,
    /// Storage class.
    pub storage_class: Option<String>,
}

/// Where something can be called.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InterfaceEntry {
    /// Identifier.
    #[schemars(length(min = 1))]
    pub id: String,
    /// Identifier of the application.
    pub application: Option<String>,
    /// Name by which others reach it.
    pub host: Option<String>,
    /// Ports.
    pub ports: Option<Vec<u16>>,
    /// Who can reach it.
    pub exposure: Option<Exposure>,
}

/// One thing needs another.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DependencyEntry {
    /// Application or component that needs.
    #[schemars(length(min = 1))]
    pub from: String,
    /// Application or component that is needed.
    #[schemars(length(min = 1))]
    pub to: String,
    /// How.
    pub kind: Option<DependencyKind>,
    /// What for.
    pub reason: Option<Text>,
}

/// The JSON Schema (draft 2020-12) of an estate file.
pub fn schema() -> serde_json::Value {
    SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<EstateFile>()
        .to_value()
}
