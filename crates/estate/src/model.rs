//! The nouns of the estate and their attributes. Names here are the names in our YAML and in
//! what policies read.

use crate::document::Kind;
use crate::fact::{Attribute, FactSet, Facts, Provenance};
use crate::text::Text;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How much the business depends on an application.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// 办公: office automation, no business impact within a day.
    Office,
    /// 一般: supports the business.
    General,
    /// 重要: the business notices at once.
    Important,
    /// 核心: the business stops.
    Core,
}

/// Instruction set of a machine.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessorArchitecture {
    /// x86-64, also called amd64.
    #[serde(rename = "x86-64")]
    X86_64,
    /// arm64, also called aarch64 (Kunpeng, Phytium, Graviton).
    Arm64,
    /// LoongArch 64.
    Loongarch64,
    /// IBM Power, little endian.
    Ppc64le,
    /// IBM Z.
    S390x,
}

/// What a site is for.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum SiteRole {
    /// Where production runs today.
    Source,
    /// Where it is to run.
    Target,
    /// Remote copy for disasters.
    Remote,
}

/// How one thing needs another.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum DependencyKind {
    /// Waits for the answer.
    Synchronous,
    /// Sends a message and goes on.
    Asynchronous,
    /// Exchanges files or runs at the end of the day.
    Batch,
    /// Reads or writes the other's data store directly.
    Database,
    /// Is configured with the other's address; how it is used is not known.
    Configured,
}

/// Who can reach an application.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Exposure {
    /// Only the institution's own network.
    Internal,
    /// Partners over dedicated lines.
    Partner,
    /// The public internet.
    Internet,
}

/// What every noun of the estate can do.
pub trait Entity {
    /// The noun.
    const KIND: Kind;
    /// A thing about which nothing is known yet.
    fn new(id: String) -> Self;
    /// Its identifier.
    fn id(&self) -> &str;
    /// Adds a statement; an empty attribute only says that the thing exists.
    fn accept(
        &mut self,
        attribute: &str,
        value: &Value,
        provenance: &Provenance,
    ) -> Result<(), String>;
    /// Each attribute that some source stated, in the order of the model.
    fn attributes(&self) -> Vec<(&'static str, &dyn Attribute)>;
}

macro_rules! entity {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize)]
        pub struct $name {
            /// Identifier, unique among its kind.
            pub id: String,
            /// Where each source first mentions it.
            pub seen: Vec<Provenance>,
            $($(#[$field_meta])* #[serde(skip_serializing_if = "Attribute::is_empty")] pub $field: $type,)*
        }

        impl Entity for $name {
            const KIND: Kind = Kind::$name;
            fn new(id: String) -> Self {
                Self { id, ..Self::default() }
            }
            fn id(&self) -> &str {
                &self.id
            }
            fn accept(&mut self, attribute: &str, value: &Value, provenance: &Provenance) -> Result<(), String> {
                match attribute {
                    "" => {
                        self.seen.push(provenance.clone());
                        Ok(())
                    }
                    $(stringify!($field) => self.$field.accept(value, provenance),)*
                    other => Err(format!("{} has no attribute `{other}`", Kind::$name.title().en)),
                }
            }
            fn attributes(&self) -> Vec<(&'static str, &dyn Attribute)> {
                let mut attributes: Vec<(&'static str, &dyn Attribute)> = Vec::new();
                $(if !self.$field.is_empty() {
                    attributes.push((stringify!($field), &self.$field));
                })*
                attributes
            }
        }
    };
}

entity! {
    /// The institution.
    Institution {
        /// Its name.
        name: Facts<Text>,
    }
}

entity! {
    /// A place where things run: a machine room, a region, a zone.
    Site {
        /// Its name.
        name: Facts<Text>,
        /// Where it is.
        location: Facts<Text>,
        /// What it is for.
        role: Facts<SiteRole>,
        /// Instruction set of its machines.
        processor_architecture: Facts<ProcessorArchitecture>,
        /// Memory page size of its kernels in bytes.
        page_size_bytes: Facts<u64>,
        /// Operating system, such as `openEuler 22.03`.
        operating_system: Facts<String>,
    }
}

entity! {
    /// A group of people that owns things.
    Team {
        /// Its name.
        name: Facts<Text>,
        /// Who leads it.
        manager: Facts<String>,
    }
}

entity! {
    /// The unit that a business owner recognises.
    Application {
        /// Its name.
        name: Facts<Text>,
        /// What other sources call it; their statements are then statements about this application.
        aliases: FactSet<String>,
        /// The name under which a source lists it, as written there.
        listed_as: FactSet<String>,
        /// What it does.
        description: FactSet<Text>,
        /// The business owner.
        owner: Facts<String>,
        /// Identifier of the team that runs it.
        team: Facts<String>,
        /// The business service it belongs to.
        business_service: Facts<String>,
        /// How much the business depends on it.
        tier: Facts<Tier>,
        /// Level of its most sensitive data, 1 (public) to 5 (most sensitive); JR/T 0197-2020.
        data_grade: Facts<u8>,
        /// Highest measured or declared rate, in transactions per second.
        peak_transactions_per_second: Facts<u64>,
        /// Recovery time objective, in seconds.
        rto_s: Facts<u64>,
        /// Recovery point objective, in seconds.
        rpo_s: Facts<u64>,
        /// Identifier of the site where it runs.
        site: Facts<String>,
        /// Who can reach it.
        exposure: Facts<Exposure>,
        /// Kubernetes namespace.
        namespace: Facts<String>,
        /// Where its source code lives.
        repository: Facts<String>,
        /// `category: value`.
        tags: FactSet<String>,
        /// Remarks.
        comments: FactSet<String>,
    }
}

entity! {
    /// A running part of an application.
    Component {
        /// Identifier of the application.
        application: Facts<String>,
        /// What runs it: `Deployment`, `StatefulSet`, `process`…
        workload: Facts<String>,
        /// Namespace.
        namespace: Facts<String>,
        /// Team named by a label.
        team: Facts<String>,
        /// Container images with their digests.
        images: FactSet<String>,
        /// How many run.
        replicas: Facts<u64>,
        /// Ports it listens on.
        ports: FactSet<u64>,
        /// `key=value` labels of its pods.
        labels: FactSet<String>,
        /// Identifiers of the configurations it reads.
        configurations: FactSet<String>,
        /// Addresses that it is configured with.
        mentions: FactSet<Mention>,
    }
}

entity! {
    /// A database, queue or file system that holds an application's data.
    DataStore {
        /// Identifier of the application.
        application: Facts<String>,
        /// `postgresql`, `mysql`, `oracle`, `db2`, `opengauss`, `redis`, `files`…
        engine: Facts<String>,
        /// Identifier of the component that runs it.
        component: Facts<String>,
        /// Level of its most sensitive data, 1 to 5.
        data_grade: Facts<u8>,
    }
}

entity! {
    /// A data store at one site. What it does not state is the site's.
    Installation {
        /// Identifier of the data store.
        data_store: Facts<String>,
        /// Identifier of the site.
        site: Facts<String>,
        /// Version of the engine, such as `16.4`.
        engine_version: Facts<String>,
        /// Collation with its provider and version, such as `zh_CN.UTF-8 glibc 2.36`.
        collation: Facts<String>,
        /// Instruction set, where it differs from the site's.
        processor_architecture: Facts<ProcessorArchitecture>,
        /// Memory page size in bytes, where it differs from the site's.
        page_size_bytes: Facts<u64>,
    }
}

entity! {
    /// A block device.
    Volume {
        /// Identifier of the application.
        application: Facts<String>,
        /// Identifier of the data store on it.
        data_store: Facts<String>,
        /// Identifier of the component that mounts it.
        component: Facts<String>,
        /// Identifier of the site where it is.
        site: Facts<String>,
        /// Size in bytes.
        size_bytes: Facts<u64>,
        /// Storage class.
        storage_class: Facts<String>,
    }
}

entity! {
    /// Where something can be called.
    Interface {
        /// Identifier of the application.
        application: Facts<String>,
        /// Namespace.
        namespace: Facts<String>,
        /// Name by which others reach it.
        host: Facts<String>,
        /// Ports.
        ports: FactSet<u64>,
        /// Who can reach it.
        exposure: Facts<Exposure>,
        /// `key=value` labels that select the components behind it.
        selector: FactSet<String>,
    }
}

entity! {
    /// One thing needs another.
    Dependency {
        /// Application or component that needs.
        from: Facts<String>,
        /// Application or component that is needed.
        to: Facts<String>,
        /// How.
        kind: FactSet<DependencyKind>,
        /// What was seen.
        reason: FactSet<Text>,
    }
}

entity! {
    /// A set of configuration keys that components read; values are never kept.
    Configuration {
        /// Namespace.
        namespace: Facts<String>,
        /// Names of the keys.
        keys: FactSet<String>,
        /// Addresses that stand in its values.
        mentions: FactSet<Mention>,
    }
}

/// An address that stands in a configuration value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mention {
    /// Name of the variable or key.
    pub key: String,
    /// Host.
    pub host: String,
    /// Port, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// URI scheme, where there is one, such as `jdbc:postgresql`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
}

// === impl Application ===

impl Application {
    /// Its name as the first source gives it; else the name under which it is listed; else its
    /// identifier.
    pub fn display_name(&self) -> Text {
        let listed = self
            .listed_as
            .values()
            .first()
            .map_or(self.id.as_str(), |name| name.as_str());
        self.name
            .first()
            .cloned()
            .unwrap_or_else(|| Text::new(listed, listed))
    }
}
