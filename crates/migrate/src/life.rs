//! The life of a step, as it is kept.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use yundu_estate::text::Text;

/// Where a step stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepState {
    /// Not begun.
    #[default]
    Pending,
    /// It may have changed the world.
    Intended,
    /// Its own part is done; a person's decision or a time is waited for.
    Waiting,
    /// Done, with evidence.
    Done,
    /// It did not succeed; running the move tries it again.
    Failed,
    /// Its way back may have changed the world.
    RollingBack,
    /// Undone, with evidence.
    RolledBack,
}

/// The life of a step so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepLife {
    /// Where it stands.
    pub state: StepState,
    /// How often it was begun; part of the names of its cuts and records.
    pub attempt: u32,
    /// When the present attempt was intended, µs.
    pub intended_us: Option<i64>,
    /// When it ended, µs.
    pub ended_us: Option<i64>,
    /// What came of it.
    pub outcome: Option<Value>,
    /// Why it failed or waits.
    pub reason: Option<Text>,
    /// Parts of the present attempt that are done, by name.
    #[serde(default)]
    pub progress: BTreeMap<String, Value>,
}

// === impl StepState ===

impl StepState {
    /// The name in the store.
    pub fn name(self) -> &'static str {
        match self {
            StepState::Pending => "pending",
            StepState::Intended => "intended",
            StepState::Waiting => "waiting",
            StepState::Done => "done",
            StepState::Failed => "failed",
            StepState::RollingBack => "rolling-back",
            StepState::RolledBack => "rolled-back",
        }
    }

    /// For people.
    pub fn text(self) -> Text {
        match self {
            StepState::Pending => Text::new("未开始", "pending"),
            StepState::Intended => Text::new("进行中", "under way"),
            StepState::Waiting => Text::new("等待", "waiting"),
            StepState::Done => Text::new("完成", "done"),
            StepState::Failed => Text::new("失败", "failed"),
            StepState::RollingBack => Text::new("回退中", "rolling back"),
            StepState::RolledBack => Text::new("已回退", "rolled back"),
        }
    }
}

// === impl StepLife ===

impl StepLife {
    /// How long the last attempt took, µs.
    pub fn actual_us(&self) -> Option<i64> {
        Some(self.ended_us? - self.intended_us?)
    }
}
