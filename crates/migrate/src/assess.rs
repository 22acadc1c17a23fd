//! Whether one can go back now, how long it would take and what it would lose.

use crate::plane::Side;
use serde::{Deserialize, Serialize};
use yundu_estate::text::Text;
use yundu_replicate::control::{Link, Role, Status, SyncState};

/// What both sides of a volume say; `None`: no answer.
#[derive(Clone, Debug)]
pub struct VolumeView {
    /// Name.
    pub volume: String,
    /// At the source.
    pub source: Option<Status>,
    /// At the target.
    pub target: Option<Status>,
}

/// Answer for the whole move, as of one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackAssessment {
    /// The storage can go back to (or stay at) the source now.
    pub possible: bool,
    /// Measured in the last rehearsal, µs; null: unknown.
    pub duration_us: Option<i64>,
    /// Acknowledged writes that would be lost; null: unknown.
    pub lost_writes: Option<u64>,
    /// Bytes that the source lacks; null: unknown.
    pub lost_bytes: Option<u64>,
    /// Why, for people.
    pub reason: Text,
}

// === impl VolumeView ===

impl VolumeView {
    /// The side that orders the writes; `None`: nobody says so.
    pub fn primary(&self) -> Option<(Side, &Status)> {
        let primary = |status: &&Status| status.role == Role::Primary;
        let source = self.source.as_ref().filter(primary);
        let target = self.target.as_ref().filter(primary);
        match (source, target) {
            // Both: the higher generation is the one in force.
            (Some(source), Some(target)) if target.generation > source.generation => {
                Some((Side::Target, target))
            }
            (Some(source), _) => Some((Side::Source, source)),
            (None, Some(target)) => Some((Side::Target, target)),
            (None, None) => None,
        }
    }
}

/// Judges from what the volumes say, the last rehearsal's way back, and whether the source still
/// exists.
pub(crate) fn assess(
    views: &[VolumeView],
    rehearsed_us: Option<i64>,
    retired: bool,
) -> RollbackAssessment {
    let no = |lost_bytes, reason| RollbackAssessment {
        possible: false,
        duration_us: rehearsed_us,
        lost_writes: None,
        lost_bytes,
        reason,
    };
    if retired {
        return no(None, Text::new("源端已销毁", "the source was destroyed"));
    }
    let mut all_at_source = true;
    for view in views {
        let name = &view.volume;
        match view.primary() {
            None => {
                let (zh, en) = (
                    format!("卷 {name} 没有主端应答"),
                    format!("no primary of volume {name} answers"),
                );
                return no(None, Text::new(zh, en));
            }
            Some((Side::Source, _)) => {}
            Some((Side::Target, status)) => {
                all_at_source = false;
                if status.sync != SyncState::InStep || status.link != Link::Up {
                    let text = Text::new(
                        format!("卷 {name} 在源端的副本落后 {} 字节", status.remaining_bytes),
                        format!(
                            "the source's copy of volume {name} is {} bytes behind",
                            status.remaining_bytes
                        ),
                    );
                    return no(Some(status.remaining_bytes), text);
                }
            }
        }
    }
    let reason = if all_at_source {
        Text::new(
            "源端仍是主端，停在源端不丢失数据",
            "the source is still primary: staying there loses nothing",
        )
    } else {
        Text::new(
            "源端与主端同步，可以切回",
            "the source is in step behind the primary and can take over again",
        )
    };
    RollbackAssessment {
        possible: true,
        duration_us: rehearsed_us,
        lost_writes: Some(0),
        lost_bytes: Some(0),
        reason,
    }
}
