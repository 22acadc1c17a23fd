//! Why the store refuses or fails.

/// Why something cannot be read from or written to the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL names no backend.
    #[error("`{url}` is not a database of ours: use sqlite:PATH or postgres://USER@HOST/DATABASE")]
    Url {
        /// What was given, without a password.
        url: String,
    },
    /// The database cannot be opened.
    #[error("database {url}: {source}")]
    Open {
        /// What was opened, without a password.
        url: String,
        /// Cause.
        source: sqlx::Error,
    },
    /// The tables cannot be made or do not fit this version of the program.
    #[error("database {url}: its tables do not fit this version of yundu: {source}")]
    Migrate {
        /// What was opened, without a password.
        url: String,
        /// Cause.
        source: sqlx::migrate::MigrateError,
    },
    /// A query failed; nothing of its transaction was kept.
    #[error("{what}: {source}; nothing was changed")]
    Query {
        /// What was being done.
        what: &'static str,
        /// Cause.
        source: sqlx::Error,
    },
    /// A document in a row is not JSON: somebody changed it by hand.
    #[error("{what}: the document of `{key}` is not JSON: {source}")]
    Document {
        /// What was being done.
        what: &'static str,
        /// Key of the row.
        key: String,
        /// Cause.
        source: serde_json::Error,
    },
    /// The record cannot become a ledger entry.
    #[error(transparent)]
    Record(#[from] yundu_evidence::RecordError),
    /// A different record has the same id.
    #[error("a different record with the id `{id}` was written before: choose another id")]
    RecordIdTaken {
        /// The id.
        id: String,
    },
    /// The ledger refuses or fails.
    #[error(transparent)]
    Ledger(#[from] yundu_evidence::LedgerError),
    /// The key that signs the ledger cannot be used.
    #[error(transparent)]
    LogKey(#[from] yundu_evidence::key::KeyError),
    /// The ledger cannot be read.
    #[error(transparent)]
    LedgerRead(#[from] yundu_evidence::ReadError),
    /// The ledger lacks entries that the database saw in it.
    #[error(
        "the ledger has {ledger_size} entries, but the database saw entry {seen} in it: the ledger was replaced or cut; restore it from its copy"
    )]
    LedgerBehind {
        /// Entries in the ledger.
        ledger_size: u64,
        /// Greatest index noted in the outbox.
        seen: u64,
    },
    /// The sequencer was stopped between two of its operations (tests inject this).
    #[error("the sequencer was stopped {at:?}")]
    Stopped {
        /// Where.
        at: crate::sequencer::Boundary,
    },
}
