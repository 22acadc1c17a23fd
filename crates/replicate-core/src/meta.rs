//! What a copy knows about itself and must still know after a crash.

use serde::{Deserialize, Serialize};

/// Which side of the set this copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Orders the writes.
    Primary,
    /// Follows.
    Secondary,
}

/// How far a reply waits for the other copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// A reply means that both copies hold the data.
    Sync,
    /// A reply means that this copy holds the data.
    Async,
}

/// What happens to writes while a synchronous target is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Go on and track what the target lacks.
    Available,
    /// Hold writes until the target is back.
    Protect,
}

/// The other copy, as this one remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerMeta {
    /// Identity of the other copy; empty until it has been met.
    pub node: String,
    /// Synchronous or asynchronous.
    pub mode: Mode,
    /// What to do when it is lost.
    pub policy: Policy,
    /// Address to dial; empty on the side that is dialled.
    pub address: String,
    /// The first full copy has not been completed.
    pub full_copy_pending: bool,
    /// The blocks of the first full copy are marked in the bitmap; `false`: the image must be
    /// searched for data (again).
    #[serde(default)]
    pub copy_planned: bool,
    /// The target held data of another life: holes must be sent as zeroes too.
    pub overwrite: bool,
    /// Every flushed write stands on the other copy too. `false`: it is outdated, and this is
    /// durable before any reply that it did not see.
    pub in_step: bool,
    /// Since when it is outdated, Unix time in µs.
    pub outdated_since_us: Option<i64>,
}

/// A hand-over that this copy has promised and not yet seen accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ceding {
    /// Name of the cut.
    pub name: String,
    /// Generation that the other copy is to take.
    pub generation: u64,
}

/// The last cut between generations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Name of the cut.
    pub name: String,
    /// Generation that began with it.
    pub generation: u64,
}

/// Everything about a copy that is durable apart from its data, bitmap and activity log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Identity of this copy.
    pub node: String,
    /// Identity of the replica set; empty while a receiving copy has not been given to one.
    pub set: String,
    /// Size of the volume, bytes; 0 while a receiving copy has not been given to a set.
    pub size_bytes: u64,
    /// Which side this is.
    pub role: Role,
    /// Rises with every change of primary.
    pub generation: u64,
    /// As a secondary: holds a state that was once the primary's at one moment. `false` in the
    /// middle of a copy or a resync.
    pub consistent: bool,
    /// The other copy.
    pub peer: Option<PeerMeta>,
    /// A hand-over under way.
    pub ceding: Option<Ceding>,
    /// The last cut.
    pub last_cut: Option<Cut>,
    /// This copy failed (a failed fdatasync is never retried into success): why.
    pub failed: Option<String>,
    /// Start of the machine on which this was written, to tell a process death from a power
    /// loss.
    pub boot: String,
}

impl Meta {
    /// A new source: primary of a set of its own.
    pub fn new_primary(node: String, set: String, size_bytes: u64, boot: String) -> Self {
        Self {
            node,
            set,
            size_bytes,
            role: Role::Primary,
            generation: 1,
            consistent: true,
            peer: None,
            ceding: None,
            last_cut: None,
            failed: None,
            boot,
        }
    }

    /// What a power loss takes away: the plan of a full copy (marks may be lost, and what was
    /// copied may be gone here), and an asynchronous copy's order.
    pub fn power_was_lost(&mut self) {
        let Some(peer) = &mut self.peer else { return };
        match self.role {
            Role::Primary if peer.full_copy_pending => {
                peer.copy_planned = false;
                peer.overwrite = true;
            }
            Role::Secondary if peer.mode == Mode::Async => self.consistent = false,
            _ => {}
        }
    }

    /// A new receiver, which belongs to no set yet.
    pub fn new_receiver(node: String, boot: String) -> Self {
        Self {
            set: String::new(),
            size_bytes: 0,
            role: Role::Secondary,
            generation: 0,
            consistent: false,
            ..Self::new_primary(node, String::new(), 0, boot)
        }
    }
}
