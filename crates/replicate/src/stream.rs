//! A connection, TCP or Unix, without waiting.

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use std::io::{self, IoSlice, Read, Write};

/// A non-blocking connection.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// Unix.
    Unix(UnixStream),
}

/// What became of an attempt to read or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// So many bytes.
    Bytes(usize),
    /// Not now.
    WouldBlock,
    /// The other side is gone.
    Closed,
}

impl Stream {
    /// Announces the connection to the event loop.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self {
            Self::Tcp(stream) => {
                // A reply of a few bytes must not wait for company.
                stream.set_nodelay(true)?;
                stream.register(registry, token, interest)
            }
            Self::Unix(stream) => stream.register(registry, token, interest),
        }
    }

    /// Reads what is there.
    pub fn read(&mut self, buffer: &mut [u8]) -> Transfer {
        loop {
            let result = match self {
                Self::Tcp(stream) => stream.read(buffer),
                Self::Unix(stream) => stream.read(buffer),
            };
            if let Some(transfer) = judge(result) {
                return transfer;
            }
        }
    }

    /// Writes what fits.
    pub fn write(&mut self, slices: &[IoSlice<'_>]) -> Transfer {
        loop {
            let result = match self {
                Self::Tcp(stream) => stream.write_vectored(slices),
                Self::Unix(stream) => stream.write_vectored(slices),
            };
            if let Some(transfer) = judge(result) {
                return transfer;
            }
        }
    }
}

fn judge(result: io::Result<usize>) -> Option<Transfer> {
    match result {
        Ok(0) => Some(Transfer::Closed),
        Ok(count) => Some(Transfer::Bytes(count)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => None,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(Transfer::WouldBlock),
        Err(_) => Some(Transfer::Closed),
    }
}
