//! How the built-in ledger and the stall probe reach the volume: as any NBD client that comes back by
//! itself when the server was away.

use anyhow::{Context as _, Result};
use std::time::Duration;
use yundu_replicate::nbd_client::{NbdAddress, NbdClient, NbdClientOptions};

use super::stage::VOLUME;

/// How long a request is asked again: as long as the database's own path to the volume waits.
const PATIENCE: Duration = Duration::from_secs(60);
/// A connection silent for this long is given up and made anew.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Connects to the volume served at `address` (HOST:PORT).
///
/// # Errors
/// When nobody serves it there within the patience.
pub fn connect(address: &str) -> Result<NbdClient> {
    let options = NbdClientOptions {
        timeout: SILENCE_MAX,
        retry_for: PATIENCE,
    };
    NbdClient::connect(NbdAddress::Tcp(address.to_owned()), VOLUME, options)
        .with_context(|| format!("no volume `{VOLUME}` at {address}"))
}
