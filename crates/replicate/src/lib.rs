//! The driver around `yundu-replicate-core`: one process per volume, with an event loop over the
//! image, the NBD clients, the link to the other side and the control socket.
//!
//! - [`process`]: the event loop
//! - [`control`]: the protocol of the control socket, and a client of it
//! - [`image`], [`state`], [`mapped`]: what is on disk
//! - [`workers`]: threads for what may wait for a disk
//! - [`cut_hash`]: the digest of a copy as of a cut
//! - [`client`], [`peer`], [`stream`], [`address`]: connections

pub mod address;
pub mod client;
pub mod control;
pub mod cut_hash;
pub mod image;
pub mod mapped;
pub mod nbd_client;
pub mod peer;
pub mod process;
pub mod state;
pub mod stream;
pub mod workers;
