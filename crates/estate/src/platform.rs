//! What a data store stands on at a site, as far as block copy cares: blocks written under one
//! processor architecture, page size, engine version or collation may be unreadable, or worse,
//! quietly wrong, under another.

use crate::estate::Estate;
use crate::fact::Facts;
use crate::model::{Installation, Site};
use crate::text::Text;
use serde::Serialize;

/// What is known about one property.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state", content = "value")]
pub enum Known {
    /// All sources say this.
    Agreed(String),
    /// No source says anything.
    Missing,
    /// Sources differ.
    Contradicted(Vec<String>),
}

/// What a data store stands on at a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Platform {
    /// Identifier of the data store.
    pub data_store: String,
    /// Identifier of the site.
    pub site: String,
    /// `x86-64`, `arm64`…
    pub processor_architecture: Known,
    /// Memory page size in bytes.
    pub page_size_bytes: Known,
    /// Version of the engine.
    pub engine_version: Known,
    /// Collation with its provider and version.
    pub collation: Known,
}

/// One property in which two sites differ, or are not known to agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlatformDifference {
    /// Identifier of the data store.
    pub data_store: String,
    /// Name of the property: `processor_architecture`, `page_size_bytes`, `engine_version`, `collation`.
    pub property: &'static str,
    /// At the source.
    pub source: Known,
    /// At the target.
    pub target: Known,
    /// Why block copy is refused.
    pub reason: Text,
}

// === impl Known ===

impl Known {
    /// The value, when all sources agree.
    pub fn agreed(&self) -> Option<&str> {
        match self {
            Known::Agreed(value) => Some(value),
            Known::Missing | Known::Contradicted(_) => None,
        }
    }

    fn text(&self) -> Text {
        match self {
            Known::Agreed(value) => Text::new(value, value),
            Known::Missing => Text::new("未知", "unknown"),
            Known::Contradicted(values) => Text::new(
                format!("来源矛盾（{}）", values.join("、")),
                format!("contradicted ({})", values.join(", ")),
            ),
        }
    }

    fn of<T: PartialEq + Serialize>(facts: Option<&Facts<T>>) -> Self {
        let plain = |value: &T| match serde_json::to_value(value) {
            Ok(serde_json::Value::String(text)) => text,
            Ok(other) => other.to_string(),
            Err(_) => String::new(),
        };
        let values = facts.map(Facts::values).unwrap_or_default();
        match values.as_slice() {
            [] => Known::Missing,
            [value] => Known::Agreed(plain(value)),
            several => Known::Contradicted(several.iter().map(|value| plain(value)).collect()),
        }
    }

    fn or(self, other: impl FnOnce() -> Known) -> Self {
        if self == Known::Missing {
            other()
        } else {
            self
        }
    }
}

// === impl Platform ===

impl Platform {
    /// The properties that block copy compares, by name.
    pub fn properties(&self) -> [(&'static str, &Known); 4] {
        [
            ("processor_architecture", &self.processor_architecture),
            ("page_size_bytes", &self.page_size_bytes),
            ("engine_version", &self.engine_version),
            ("collation", &self.collation),
        ]
    }
}

impl Estate {
    /// What each data store of `application` stands on at `site`. An installation's own statement
    /// comes before the site's.
    pub fn platforms(&self, application: &str, site: &str) -> Vec<Platform> {
        let at = self.sites.get(site);
        self.data_stores_of(application)
            .into_iter()
            .map(|store| {
                let installed = self.installations.get(&format!("{}@{site}", store.id));
                let own = |pick: fn(&Installation) -> Known| installed.map_or(Known::Missing, pick);
                let general = |pick: fn(&Site) -> Known| at.map_or(Known::Missing, pick);
                Platform {
                    data_store: store.id.clone(),
                    site: site.to_owned(),
                    processor_architecture: own(|it| Known::of(Some(&it.processor_architecture)))
                        .or(|| general(|it| Known::of(Some(&it.processor_architecture)))),
                    page_size_bytes: own(|it| Known::of(Some(&it.page_size_bytes)))
                        .or(|| general(|it| Known::of(Some(&it.page_size_bytes)))),
                    engine_version: own(|it| Known::of(Some(&it.engine_version))),
                    collation: own(|it| Known::of(Some(&it.collation))),
                }
            })
            .collect()
    }

    /// Every property in which the data stores of `application` differ between two sites. What is
    /// missing or contradicted counts as a difference: block copy needs proof that they agree.
    /// Empty when the application has no data store or they all agree.
    pub fn platform_differences(
        &self,
        application: &str,
        source: &str,
        target: &str,
    ) -> Vec<PlatformDifference> {
        let mut differences = Vec::new();
        for (here, there) in self
            .platforms(application, source)
            .iter()
            .zip(self.platforms(application, target))
        {
            for ((property, at_source), (_, at_target)) in
                here.properties().into_iter().zip(there.properties())
            {
                if at_source.agreed().is_some() && at_source == at_target {
                    continue;
                }
                let (one, other) = (at_source.text(), at_target.text());
                let title = property_title(property);
                differences.push(PlatformDifference {
                    data_store: here.data_store.clone(),
                    property,
                    source: at_source.clone(),
                    target: at_target.clone(),
                    reason: Text::new(
                        format!("{}：{} 在站点 {source} 为 {}，在站点 {target} 为 {}，不能按块复制", here.data_store, title.zh, one.zh, other.zh),
                        format!("{}: {} is {} at site {source} and {} at site {target}, so block copy is not safe", here.data_store, title.en, one.en, other.en),
                    ),
                });
            }
        }
        differences
    }
}

fn property_title(property: &str) -> Text {
    match property {
        "processor_architecture" => Text::new("处理器架构", "processor architecture"),
        "page_size_bytes" => Text::new("内存页大小（字节）", "page size in bytes"),
        "engine_version" => Text::new("数据库引擎版本", "engine version"),
        _ => Text::new("排序规则", "collation"),
    }
}
