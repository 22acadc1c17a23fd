//! One requirement from a catalog, judged by a policy.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use yundu_estate::text::Text;

/// Which side of the institution a control looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dimension {
    /// 技术: measured on the machines.
    Technology,
    /// 管理: the process.
    Management,
    /// 组织: the people.
    Organisation,
}

/// Phase of a move in which a control is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// 评估
    Assess,
    /// 准备
    Prepare,
    /// 迁移
    Migrate,
    /// 优化
    Optimise,
}

/// Where a requirement comes from. Statements are paraphrased; what was not read in the
/// standard itself is marked unverified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Standard, such as `JR/T 0167-2020`.
    pub standard: String,
    /// Clause, or `unverified`.
    pub clause: String,
    /// `true`: from memory or a secondary source; to be checked by the institution.
    #[serde(default)]
    pub unverified: bool,
    /// Where the statement came from.
    #[serde(default)]
    pub source: Option<Text>,
}

/// A control as it stands in `catalog/controls/ID.yaml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// Name, kebab-case, unique in a catalog.
    pub id: String,
    /// A few words.
    pub title: Text,
    /// What must hold.
    pub requirement: Text,
    /// How to obtain what is missing; command lines included.
    pub remedy: Text,
    /// Technology, management or organisation.
    pub dimension: Dimension,
    /// Phase in which it is judged.
    pub phase: Phase,
    /// Sources of the requirement.
    pub references: Vec<Reference>,
    /// File name of the policy under `catalog/policies`.
    pub policy: String,
    /// Values that the institution may set; the policy sees them as `data.parameters`.
    #[serde(default)]
    pub parameters: BTreeMap<String, Parameter>,
}

/// A setting of a control.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Parameter {
    /// An integer; its unit is the last word of its name.
    Integer(i64),
    /// Several words.
    Words(Vec<String>),
    /// One word.
    Word(String),
}
