//! Persistence of everything mutable: SQLite embedded, PostgreSQL shared.
//!
//! One set of query texts serves both backends. A change and its evidence go into one
//! [`Transaction`]: [`Transaction::record`] writes an outbox row, and [`sequencer::drain`] feeds
//! those rows to the ledger in order, exactly once, however often anything crashes.
//!
//! Rows carry a JSON document and the few columns that are searched for. What the documents mean is
//! known to the capability that writes them, not here.
//!
//! ```text
//! let mut change = store.begin().await?;      // one writer at a time
//! change.put_move(&row).await?;
//! change.record(&record).await?;              // evidence, in the same transaction
//! change.commit().await?;
//! sequencer::drain(&store, &mut ledger).await?;
//! ```

#[macro_use]
mod query;

mod approvals;
mod cursors;
mod error;
mod ledger_home;
mod moves;
mod outbox;
mod people;
mod plans;
pub mod sequencer;
mod sources;
mod store;
mod verdicts;

pub use approvals::ApprovalRow;
pub use error::StoreError;
pub use ledger_home::LedgerHome;
pub use moves::{MoveRow, StepRow};
pub use outbox::OutboxRow;
pub use people::PersonRow;
pub use plans::PlanRow;
pub use sources::SourceRow;
pub use store::{Store, Transaction};
pub use verdicts::VerdictRow;
