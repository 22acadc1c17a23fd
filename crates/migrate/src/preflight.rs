//! Whether the sites fit for block copy: blocks written under one processor architecture, page
//! size, engine version or collation may be unreadable, or quietly wrong, under another.

use serde::{Deserialize, Serialize};
use yundu_estate::text::Text;

/// What one data store stands on at one site; `None`: nobody knows, or sources contradict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteFacts {
    /// Data store of the application.
    pub data_store: String,
    /// Processor architecture.
    pub architecture: Option<String>,
    /// Memory page size.
    pub page_size: Option<String>,
    /// Version of the engine.
    pub engine_version: Option<String>,
    /// Collation of its texts.
    pub collation: Option<String>,
}

/// One comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// `architecture`, `page-size`, `engine-version`, `collation`.
    pub name: String,
    /// Which data store.
    pub data_store: String,
    /// At the source; null: unknown.
    pub source: Option<String>,
    /// At the target; null: unknown.
    pub target: Option<String>,
    /// Known on both sides, and the same.
    pub passed: bool,
    /// Why it did not pass; empty when it did.
    pub reason: Text,
}

/// Compares both sites, data store by data store. Unknown never passes.
pub fn compare_sites(source: &[SiteFacts], target: &[SiteFacts]) -> Vec<Check> {
    let mut checks = Vec::new();
    for here in source {
        let there = target
            .iter()
            .find(|there| there.data_store == here.data_store)
            .cloned()
            .unwrap_or_default();
        let pairs = [
            (
                "architecture",
                Text::new("处理器架构", "processor architecture"),
                &here.architecture,
                &there.architecture,
            ),
            (
                "page-size",
                Text::new("内存页大小", "page size"),
                &here.page_size,
                &there.page_size,
            ),
            (
                "engine-version",
                Text::new("引擎版本", "engine version"),
                &here.engine_version,
                &there.engine_version,
            ),
            (
                "collation",
                Text::new("排序规则", "collation"),
                &here.collation,
                &there.collation,
            ),
        ];
        for (name, title, at_source, at_target) in pairs {
            let passed = at_source.is_some() && at_source == at_target;
            let reason = if passed {
                Text::default()
            } else {
                refusal(&here.data_store, &title, at_source, at_target)
            };
            checks.push(Check {
                name: name.to_owned(),
                data_store: here.data_store.clone(),
                source: at_source.clone(),
                target: at_target.clone(),
                passed,
                reason,
            });
        }
    }
    checks
}

fn refusal(store: &str, title: &Text, source: &Option<String>, target: &Option<String>) -> Text {
    let zh = |value: &Option<String>| value.clone().unwrap_or_else(|| "未知".into());
    let en = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".into());
    Text::new(
        format!(
            "{store}：{}在源端为 {}，在目标端为 {}，块复制不能跨越",
            title.zh,
            zh(source),
            zh(target)
        ),
        format!(
            "{store}: {} is {} at the source and {} at the target; a block copy cannot cross that",
            title.en,
            en(source),
            en(target)
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> SiteFacts {
        SiteFacts {
            data_store: "ledger-db".into(),
            architecture: Some("x86-64".into()),
            page_size: Some("4096".into()),
            engine_version: Some("15.6".into()),
            collation: Some("C.UTF-8".into()),
        }
    }

    #[test]
    fn equal_sites_pass_all_four_checks() {
        let checks = compare_sites(&[facts()], &[facts()]);
        assert_eq!(checks.len(), 4);
        assert!(checks.iter().all(|check| check.passed));
    }

    #[test]
    fn each_difference_is_refused_and_named() {
        let other = |change: fn(&mut SiteFacts)| {
            let mut there = facts();
            change(&mut there);
            there
        };
        let cases = [
            (
                "architecture",
                other(|it| it.architecture = Some("arm64".into())),
            ),
            ("page-size", other(|it| it.page_size = Some("65536".into()))),
            (
                "engine-version",
                other(|it| it.engine_version = Some("16.1".into())),
            ),
            ("collation", other(|it| it.collation = None)),
        ];
        for (name, there) in cases {
            let checks = compare_sites(&[facts()], &[there]);
            let failed: Vec<&Check> = checks.iter().filter(|check| !check.passed).collect();
            assert_eq!(failed.len(), 1, "{name}");
            assert_eq!(failed[0].name, name);
            assert!(failed[0].reason.en.contains("block copy"));
        }
    }

    #[test]
    fn what_neither_side_knows_never_passes() {
        let unknown = SiteFacts {
            data_store: "d".into(),
            ..SiteFacts::default()
        };
        assert!(
            compare_sites(
                std::slice::from_ref(&unknown),
                std::slice::from_ref(&unknown)
            )
            .iter()
            .all(|check| !check.passed)
        );
        assert!(
            compare_sites(&[facts()], &[])
                .iter()
                .all(|check| !check.passed)
        );
    }
}
