//! Mistakes that the simulator must find. They exist only with the feature `planted-bugs`, which
//! nothing but this crate's own test turns on; without it every question here is answered `false`
//! at compile time.

use super::Node;

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A synchronous write is replied to before the other copy has it.
    ReplyEarly,
    /// A block is marked after it was written.
    MarkAfterWrite,
    /// Marks clear when a flush begins.
    ClearAtFlushBegin,
    /// A flush does not reach the other copy.
    FlushOnlyLocal,
    /// Replies go out before "outdated" is durable.
    ReleaseBeforeOutdated,
    /// A block is copied while it is written to.
    CopyWithoutLock,
    /// A hand-over is accepted before the new role is durable.
    AcceptBeforeDurable,
    /// A resync does not wait for work of the former link.
    IgnoreEarlierWork,
    /// After a restart a promise to cede is forgotten.
    ForgetPromise,
    /// A resync begins without telling the other copy that it is inconsistent.
    ResyncUnannounced,
}

#[cfg(feature = "planted-bugs")]
impl Bug {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::ReplyEarly,
        Self::MarkAfterWrite,
        Self::ClearAtFlushBegin,
        Self::FlushOnlyLocal,
        Self::ReleaseBeforeOutdated,
        Self::CopyWithoutLock,
        Self::AcceptBeforeDurable,
        Self::IgnoreEarlierWork,
        Self::ForgetPromise,
        Self::ResyncUnannounced,
    ];
}

impl<W> Node<W> {
    /// Is this mistake to be made?
    #[cfg(feature = "planted-bugs")]
    pub(super) fn has(&self, bug: Bug) -> bool {
        self.config.planted == Some(bug)
    }

    /// Is this mistake to be made?
    #[cfg(not(feature = "planted-bugs"))]
    #[expect(clippy::unused_self, reason = "the other build asks the configuration")]
    pub(super) const fn has(&self, _bug: Bug) -> bool {
        false
    }
}
