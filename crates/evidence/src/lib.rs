//! The evidence ledger: an append-only Merkle log in the C2SP tlog-tiles format.
//!
//! A [`Record`] says what was done or measured, on what, by whom or what, and when. Its
//! canonical JSON becomes an entry of the log. The hashes of all entries form a Merkle tree
//! (RFC 6962, SHA-256), cut into tiles of 256 hashes, and a checkpoint with the size and the
//! root of the tree is signed with the log's Ed25519 key. Whoever has the public key can tell
//! whether any byte was altered; whoever *kept* an earlier checkpoint can tell whether history
//! was rewritten and signed again with the real key.
//!
//! ```text
//! checkpoint                  signed note: origin, size, root
//! public.key                  the public key, for convenience
//! tile/entries/NNN[.p/W]      256 (or W) entries, each after its length in two bytes
//! tile/L/NNN[.p/W]            256 (or W) hashes of level L
//! ```
//!
//! [`Ledger`] is the one writer, [`Reader`] reads beside it, [`verify()`] checks
//! everything and names what was altered. The crate knows no network, clock or database: times
//! come from the caller, files lie in a [`TileStore`].

pub mod canonical;
pub mod record;

pub mod key;

pub mod directory_store;
pub mod tile_path;
pub mod tile_store;

mod bundle;
mod merkle;

pub mod checkpoint;
pub mod ledger;
pub mod proof;
pub mod reader;
pub mod repair;
pub mod verify;

pub use checkpoint::SignedCheckpoint;
pub use directory_store::DirectoryStore;
pub use key::{LogKey, VerifierKey};
pub use ledger::{Ledger, LedgerError};
pub use proof::{ConsistencyProof, InclusionProof};
pub use reader::{ReadError, Reader};
pub use record::{Artefact, Record, RecordError};
pub use repair::Repair;
pub use tile_store::{MemoryStore, StoreError, TileStore};
pub use verify::{Problem, VerifyReport, verify};
