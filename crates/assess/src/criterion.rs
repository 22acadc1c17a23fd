//! The criteria: how each turns facts into milli-points, and says why.

use crate::logarithm::log2_milli;
use serde::Serialize;
use yundu_estate::fact::Facts;
use yundu_estate::model::{Application, Tier};
use yundu_estate::text::Text;

/// What is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CriterionName {
    /// Peak transactions per second.
    TransactionFrequency,
    /// Grade of the most sensitive data.
    DataSensitivity,
    /// Tier of the application.
    Tier,
    /// RTO and RPO targets.
    RecoveryTargets,
    /// Applications that need it.
    Dependents,
}

/// One criterion of one application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Criterion {
    /// What is judged.
    pub name: CriterionName,
    /// The value that counted, as text; `None` when no source states it.
    pub value: Option<String>,
    /// No source states it; it counts as the most critical value.
    pub is_missing: bool,
    /// Sources differ; the most critical statement counts.
    pub is_contradicted: bool,
    /// Share of the score that this criterion can give at most, in milli-points.
    pub weight_milli: u64,
    /// From 0 to 1000.
    pub raw_milli: u64,
    /// Its part of the score, in milli-points.
    pub points_milli: u64,
    /// Why.
    pub reason: Text,
}

/// The highest raw value.
const RAW_MILLI_MAX: u64 = 1000;
/// `log2(16384)`: from 16,383 transactions per second on, more does not count more.
const FREQUENCY_LOG2_MAX: u64 = 14;
/// `log2(131072)`: targets of 36 hours and more count nothing.
const RECOVERY_LOG2_MAX: u64 = 17;
/// Raw milli-points for each dependent application.
const DEPENDENT_MILLI: u64 = 100;

// === impl CriterionName ===

impl CriterionName {
    /// Share of the score; all shares together are 1000.
    pub fn weight_milli(self) -> u64 {
        match self {
            CriterionName::TransactionFrequency | CriterionName::DataSensitivity => 400,
            CriterionName::Tier => 100,
            CriterionName::RecoveryTargets | CriterionName::Dependents => 50,
        }
    }

    /// The criterion in both languages.
    pub fn title(self) -> Text {
        match self {
            CriterionName::TransactionFrequency => Text::new("交易频率", "transaction frequency"),
            CriterionName::DataSensitivity => Text::new("数据敏感度", "data sensitivity"),
            CriterionName::Tier => Text::new("系统等级", "tier"),
            CriterionName::RecoveryTargets => Text::new("恢复目标", "recovery targets"),
            CriterionName::Dependents => Text::new("被依赖程度", "dependents"),
        }
    }
}

// === impl Criterion ===

impl Criterion {
    fn new(
        name: CriterionName,
        value: Option<String>,
        is_contradicted: bool,
        raw: u64,
        said: Text,
    ) -> Self {
        let raw_milli = raw.min(RAW_MILLI_MAX);
        let points_milli = raw_milli * name.weight_milli() / RAW_MILLI_MAX;
        let is_missing = value.is_none();
        let weight = name.weight_milli();
        let (zh, en) = match (is_missing, is_contradicted) {
            (true, _) => ("，按最高风险计", "; counted as the most critical value"),
            (_, true) => (
                "，来源矛盾，取最严格者",
                "; sources differ, the most critical statement counts",
            ),
            _ => ("", ""),
        };
        let reason = Text::new(
            format!(
                "{}{zh}：{raw_milli} × {weight} ÷ 1000 = {points_milli}",
                said.zh
            ),
            format!(
                "{}{en}: {raw_milli} × {weight} ÷ 1000 = {points_milli}",
                said.en
            ),
        );
        Self {
            name,
            value,
            is_missing,
            is_contradicted,
            weight_milli: weight,
            raw_milli,
            points_milli,
            reason,
        }
    }

    /// By the highest stated rate.
    pub(crate) fn transaction_frequency(application: &Application) -> Self {
        let facts = &application.peak_transactions_per_second;
        let rate = facts.greatest().copied();
        let raw = rate.map_or(RAW_MILLI_MAX, |rate| {
            log2_milli(rate.saturating_add(1)) / FREQUENCY_LOG2_MAX
        });
        let said = match rate {
            Some(rate) => Text::new(
                format!("峰值每秒 {rate} 笔"),
                format!("peak of {rate} transactions per second"),
            ),
            None => Text::new("峰值交易率未知", "peak transaction rate unknown"),
        };
        Self::new(
            CriterionName::TransactionFrequency,
            rate.map(|it| it.to_string()),
            differ(facts),
            raw,
            said,
        )
    }

    /// By the highest stated grade.
    pub(crate) fn data_sensitivity(application: &Application) -> Self {
        let facts = &application.data_grade;
        let grade = facts.greatest().copied();
        let raw = grade.map_or(RAW_MILLI_MAX, |grade| {
            u64::from(grade.saturating_sub(1)) * 250
        });
        let said = match grade {
            Some(grade) => Text::new(format!("数据 {grade} 级"), format!("data of grade {grade}")),
            None => Text::new("数据分级未知", "data grade unknown"),
        };
        Self::new(
            CriterionName::DataSensitivity,
            grade.map(|it| it.to_string()),
            differ(facts),
            raw,
            said,
        )
    }

    /// By the highest stated tier.
    pub(crate) fn tier(application: &Application) -> Self {
        let facts = &application.tier;
        let tier = facts.greatest().copied();
        let (raw, value, said) = match tier {
            Some(Tier::Office) => (0, Some("office"), Text::new("办公类", "office tier")),
            Some(Tier::General) => (333, Some("general"), Text::new("一般类", "general tier")),
            Some(Tier::Important) => (
                667,
                Some("important"),
                Text::new("重要类", "important tier"),
            ),
            Some(Tier::Core) => (1000, Some("core"), Text::new("核心类", "core tier")),
            None => (
                RAW_MILLI_MAX,
                None,
                Text::new("系统等级未知", "tier unknown"),
            ),
        };
        Self::new(
            CriterionName::Tier,
            value.map(str::to_owned),
            differ(facts),
            raw,
            said,
        )
    }

    /// By the stricter of the two targets.
    pub(crate) fn recovery_targets(application: &Application) -> Self {
        let (rto, rpo) = (&application.rto_s, &application.rpo_s);
        let (least_rto, least_rpo) = (rto.least().copied(), rpo.least().copied());
        // One missing target may be zero, which is the strictest.
        let strictest = least_rto.zip(least_rpo).map(|(rto, rpo)| rto.min(rpo));
        let raw = strictest.map_or(RAW_MILLI_MAX, |seconds| {
            RAW_MILLI_MAX.saturating_sub(log2_milli(seconds.saturating_add(1)) / RECOVERY_LOG2_MAX)
        });
        let zh =
            |value: Option<u64>| value.map_or_else(|| "未知".to_owned(), |it| format!("{it} 秒"));
        let en =
            |value: Option<u64>| value.map_or_else(|| "unknown".to_owned(), |it| format!("{it} s"));
        let said = Text::new(
            format!("RTO {}，RPO {}", zh(least_rto), zh(least_rpo)),
            format!("RTO {}, RPO {}", en(least_rto), en(least_rpo)),
        );
        let value = strictest.map(|it| it.to_string());
        Self::new(
            CriterionName::RecoveryTargets,
            value,
            differ(rto) || differ(rpo),
            raw,
            said,
        )
    }

    /// By the number of applications that need it.
    pub(crate) fn dependents(count: usize) -> Self {
        let count = count as u64;
        let raw = count.saturating_mul(DEPENDENT_MILLI);
        let said = Text::new(
            format!("{count} 个应用系统依赖它"),
            format!("{count} application(s) need it"),
        );
        Self::new(
            CriterionName::Dependents,
            Some(count.to_string()),
            false,
            raw,
            said,
        )
    }
}

fn differ<T: PartialEq>(facts: &Facts<T>) -> bool {
    facts.values().len() > 1
}
