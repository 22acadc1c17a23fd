//! Addresses that a volume process listens on or dials.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;

/// Where to listen: `ADDR:PORT`, `[ADDR]:PORT` or `unix:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP.
    Tcp(SocketAddr),
    /// Unix socket.
    Unix(PathBuf),
}

/// The text is no address.
#[derive(Debug, Clone, thiserror::Error)]
#[error("`{0}` is no address: give ADDR:PORT (127.0.0.1:10809) or unix:PATH")]
pub struct AddressError(String);

impl FromStr for Address {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        resolve(text)
            .map(Self::Tcp)
            .ok_or_else(|| AddressError(text.to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Address {
    /// Does it stay on this machine?
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

/// The first address that HOST:PORT stands for.
pub fn resolve(text: &str) -> Option<SocketAddr> {
    text.to_socket_addrs().ok()?.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_nonsense_is_named() {
        assert!(Address::from_str("127.0.0.1:10809").unwrap().is_local());
        assert!(Address::from_str("unix:/run/v.sock").unwrap().is_local());
        assert!(!Address::from_str("192.0.2.1:10809").unwrap().is_local());
        let error = Address::from_str("10809").unwrap_err().to_string();
        assert!(error.contains("`10809`"), "{error}");
    }
}
