//! Limits and periods.

#[cfg(feature = "planted-bugs")]
use super::planted::Bug;

/// Limits and periods of a node.
#[derive(Clone, Debug)]
pub struct Config {
    /// Without a sign of life for this long the link counts as lost, µs.
    pub silence_us: u64,
    /// Quiet links are pinged this often, µs.
    pub ping_us: u64,
    /// Without a client's flush for this long, one is made, so that marks clear, µs.
    pub background_flush_us: u64,
    /// A local write that found no space is tried again after this long, µs.
    pub retry_us: u64,
    /// Bytes that one step of a copy or resync sends.
    pub copy_chunk_bytes: u64,
    /// Bytes of a copy or resync that may be on their way at once.
    pub copy_window_bytes: u64,
    /// Bytes of a leaf of an online comparison.
    pub verify_leaf_bytes: u64,
    /// Unacknowledged bytes after which an asynchronous target counts as left behind.
    pub async_backlog_bytes_max: u64,
    /// Hot extents after which idle ones are cooled.
    pub hot_extents_max: u64,
    /// A deliberate mistake.
    #[cfg(feature = "planted-bugs")]
    pub planted: Option<Bug>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            silence_us: 1_000_000,
            ping_us: 100_000,
            background_flush_us: 1_000_000,
            retry_us: 1_000_000,
            copy_chunk_bytes: 512 << 10,
            copy_window_bytes: 4 << 20,
            verify_leaf_bytes: 1 << 20,
            async_backlog_bytes_max: 16 << 20,
            hot_extents_max: 4096,
            #[cfg(feature = "planted-bugs")]
            planted: None,
        }
    }
}
