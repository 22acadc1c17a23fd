//! A small blocking NBD client: one request at a time, with time limits, and able to ride through
//! a server that goes away and comes back.
//!
//! Every request of this client may be repeated: a read changes nothing, and a write, write-zeroes
//! or flush done twice leaves what it leaves when done once, as long as nobody else writes to the
//! same bytes. So after a broken connection the client connects again and asks again, until the
//! time given by [`NbdClientOptions::retry_for`] is over. Writes that were replied to but not
//! flushed may be lost with the server's *machine*; that is the NBD contract, and callers who need
//! more use [`NbdClient::write_fua`] or [`NbdClient::flush`].

use bytes::Bytes;
use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};
use yundu_replicate_core::nbd::protocol::ESHUTDOWN;
use yundu_replicate_core::nbd::{
    ClientError, ClientEvent, ClientOptions, ClientSession, Command, Connected, ReplyData,
    ReplyError,
};

/// Pause between two attempts to connect.
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);
/// Longest wait for one connection to be made.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(5);

/// Where an NBD server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NbdAddress {
    /// HOST:PORT
    Tcp(String),
    /// Path of a Unix socket.
    Unix(PathBuf),
}

impl FromStr for NbdAddress {
    type Err = std::convert::Infallible;

    /// `unix:PATH`, or HOST:PORT.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.strip_prefix("unix:") {
            Some(path) => Self::Unix(path.into()),
            None => Self::Tcp(text.to_owned()),
        })
    }
}

impl fmt::Display for NbdAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => formatter.write_str(address),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

/// How patient a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NbdClientOptions {
    /// Longest silence of the server while a reply is due, before the connection counts as broken.
    pub timeout: Duration,
    /// How long a request is tried anew after its connection broke; zero: not at all.
    pub retry_for: Duration,
}

impl Default for NbdClientOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            retry_for: Duration::ZERO,
        }
    }
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum NbdClientError {
    /// The connection could not be made, or broke, and time for retries is over.
    #[error(
        "no connection to the NBD server at {address} after {waited_ms} ms: {source}; is it running?"
    )]
    Connection {
        /// Address of the server.
        address: NbdAddress,
        /// How long the request waited, ms.
        waited_ms: u64,
        /// The last cause.
        source: io::Error,
    },
    /// The server answered with an error; the connection goes on.
    #[error("the NBD server at {address} refused a request: {source}")]
    Reply {
        /// Address of the server.
        address: NbdAddress,
        /// The server's answer.
        source: ReplyError,
    },
    /// The server refused the export or broke the protocol, or the request was out of limits.
    #[error("NBD server at {address}: {source}")]
    Session {
        /// Address of the server.
        address: NbdAddress,
        /// What went wrong.
        source: ClientError,
    },
}

/// What a client measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NbdClientMeters {
    /// Requests that were answered, errors included.
    pub requests: u64,
    /// Times that a lost connection was made anew.
    pub reconnects: u64,
    /// Wait of the last request, retries included, µs.
    pub wait_us_last: u64,
    /// Longest wait of a request, retries included, µs.
    pub wait_us_max: u64,
}

/// A connection to one export.
pub struct NbdClient {
    address: NbdAddress,
    export: String,
    options: NbdClientOptions,
    connection: Option<Connection>,
    granted: Connected,
    meters: NbdClientMeters,
}

impl fmt::Debug for NbdClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("NbdClient")
            .field("address", &self.address)
            .field("export", &self.export)
            .field("granted", &self.granted)
            .field("meters", &self.meters)
            .finish_non_exhaustive()
    }
}

impl NbdClient {
    /// Connects to `export` of the server at `address`; an address that does not answer yet is
    /// tried for [`NbdClientOptions::retry_for`].
    ///
    /// # Errors
    /// [`NbdClientError::Connection`] when nothing answers; [`NbdClientError::Session`] when the
    /// server does not offer the export.
    pub fn connect(
        address: NbdAddress,
        export: &str,
        options: NbdClientOptions,
    ) -> Result<Self, NbdClientError> {
        let granted = nothing_granted();
        let meters = NbdClientMeters::default();
        let export = export.to_owned();
        let mut client = Self {
            address,
            export,
            options,
            connection: None,
            granted,
            meters,
        };
        client.persist(|_| Ok(()))?;
        client.meters.reconnects = 0;
        Ok(client)
    }

    /// What the server granted: size, flags, limits.
    #[must_use]
    pub fn granted(&self) -> &Connected {
        &self.granted
    }

    /// What was measured so far.
    #[must_use]
    pub fn meters(&self) -> NbdClientMeters {
        self.meters
    }

    /// Starts a new window for [`NbdClientMeters::wait_us_max`].
    pub fn reset_wait_max(&mut self) {
        self.meters.wait_us_max = 0;
    }

    /// Reads `length` bytes from `offset`.
    ///
    /// # Errors
    /// As [`NbdClient::write`].
    pub fn read(&mut self, offset: u64, length: u32) -> Result<Bytes, NbdClientError> {
        match self.ask(&Command::Read {
            offset,
            length,
            dont_fragment: false,
        })? {
            ReplyData::Data(data) => Ok(data),
            _ => Ok(Bytes::new()),
        }
    }

    /// Writes `data` at `offset`: every copy that the server's policy requires holds it in memory.
    ///
    /// # Errors
    /// [`NbdClientError::Reply`]: the server refused; it may be asked again.
    /// [`NbdClientError::Connection`]: the outcome is unknown.
    pub fn write(&mut self, offset: u64, data: Bytes) -> Result<(), NbdClientError> {
        self.ask(&Command::Write {
            offset,
            data,
            fua: false,
        })
        .map(drop)
    }

    /// Writes `data` at `offset` to stable storage.
    ///
    /// # Errors
    /// As [`NbdClient::write`].
    pub fn write_fua(&mut self, offset: u64, data: Bytes) -> Result<(), NbdClientError> {
        self.ask(&Command::Write {
            offset,
            data,
            fua: true,
        })
        .map(drop)
    }

    /// Makes `length` bytes from `offset` read as zeroes.
    ///
    /// # Errors
    /// As [`NbdClient::write`].
    pub fn write_zeroes(&mut self, offset: u64, length: u32) -> Result<(), NbdClientError> {
        let length = u64::from(length);
        let (fua, no_hole, fast) = (false, false, false);
        self.ask(&Command::WriteZeroes {
            offset,
            length,
            fua,
            no_hole,
            fast,
        })
        .map(drop)
    }

    /// Returns when every write replied to before is on stable storage.
    ///
    /// # Errors
    /// As [`NbdClient::write`].
    pub fn flush(&mut self) -> Result<(), NbdClientError> {
        self.ask(&Command::Flush).map(drop)
    }

    /// Any command, with its data.
    ///
    /// # Errors
    /// As [`NbdClient::write`].
    pub fn ask(&mut self, command: &Command) -> Result<ReplyData, NbdClientError> {
        let begun = Instant::now();
        let outcome = self.persist(|connection| connection.ask(command));
        let waited = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.meters.wait_us_last = waited;
        self.meters.wait_us_max = self.meters.wait_us_max.max(waited);
        if matches!(outcome, Ok(_) | Err(NbdClientError::Reply { .. })) {
            self.meters.requests += 1;
        }
        outcome
    }

    /// Says goodbye; errors do not matter any more.
    pub fn disconnect(mut self) {
        if let Some(mut connection) = self.connection.take() {
            connection.session.disconnect();
            let _ = connection.write_output();
        }
    }

    /// Does `work` on a connection, and again on a new one while that breaks and time is left.
    fn persist<T>(
        &mut self,
        mut work: impl FnMut(&mut Connection) -> Result<T, Trouble>,
    ) -> Result<T, NbdClientError> {
        let begun = Instant::now();
        loop {
            let outcome = self.connected().and_then(&mut work);
            let trouble = match outcome {
                Ok(done) => return Ok(done),
                Err(trouble) => trouble,
            };
            let address = self.address.clone();
            let source = match trouble {
                Trouble::Reply(source) => return Err(NbdClientError::Reply { address, source }),
                // Refused before anything was sent: the connection is as good as before.
                Trouble::Session(
                    source @ (ClientError::TooLong { .. } | ClientError::TooManyRequests),
                ) => return Err(NbdClientError::Session { address, source }),
                Trouble::Session(source) => {
                    self.connection = None;
                    return Err(NbdClientError::Session { address, source });
                }
                Trouble::Connection(source) => source,
            };
            self.connection = None;
            let waited = begun.elapsed();
            if waited >= self.options.retry_for {
                let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
                return Err(NbdClientError::Connection {
                    address,
                    waited_ms,
                    source,
                });
            }
            std::thread::sleep(RECONNECT_PAUSE.min(self.options.retry_for - waited));
        }
    }

    fn connected(&mut self) -> Result<&mut Connection, Trouble> {
        if self.connection.is_none() {
            let connection = Connection::open(&self.address, &self.export, self.options.timeout)?;
            self.granted = connection.granted.clone();
            self.meters.reconnects += 1;
            self.connection = Some(connection);
        }
        let lost = || Trouble::Connection(io::ErrorKind::NotConnected.into());
        self.connection.as_mut().ok_or_else(lost)
    }
}

/// What stands in the way of one attempt.
enum Trouble {
    /// Worth another attempt.
    Connection(io::Error),
    Reply(ReplyError),
    Session(ClientError),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Connection(error)
    }
}

impl From<ClientError> for Trouble {
    fn from(error: ClientError) -> Self {
        Self::Session(error)
    }
}

/// A socket with its session.
struct Connection {
    stream: Box<dyn Stream>,
    session: ClientSession,
    granted: Connected,
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

impl Connection {
    fn open(address: &NbdAddress, export: &str, timeout: Duration) -> Result<Self, Trouble> {
        let session = ClientSession::new(ClientOptions {
            export: export.to_owned(),
            structured: true,
            block_status: true,
        });
        let stream = open_stream(address, timeout)?;
        let mut connection = Self {
            stream,
            session,
            granted: nothing_granted(),
        };
        loop {
            match connection.next_event()? {
                ClientEvent::Connected(granted) => {
                    connection.granted = granted;
                    return Ok(connection);
                }
                ClientEvent::Failed(error) => {
                    // The goodbye is a courtesy.
                    let _ = connection.write_output();
                    return Err(error.into());
                }
                ClientEvent::Reply { .. } => {}
            }
        }
    }

    fn ask(&mut self, command: &Command) -> Result<ReplyData, Trouble> {
        let asked = self.session.request(command)?;
        loop {
            match self.next_event()? {
                ClientEvent::Reply { cookie, outcome } if cookie == asked => {
                    return outcome.map_err(|error| match error.errno {
                        // The server is going: the next one answers.
                        ESHUTDOWN => Trouble::Connection(io::Error::other(error)),
                        _ => Trouble::Reply(error),
                    });
                }
                ClientEvent::Failed(error) => return Err(error.into()),
                ClientEvent::Reply { .. } | ClientEvent::Connected(_) => {}
            }
        }
    }

    fn next_event(&mut self) -> Result<ClientEvent, Trouble> {
        loop {
            if let Some(event) = self.session.next_event() {
                return Ok(event);
            }
            self.write_output()?;
            let count = loop {
                match self.stream.read(self.session.input()) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(silence(error).into()),
                    Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                    Ok(count) => break count,
                }
            };
            self.session.consumed_input(count);
        }
    }

    fn write_output(&mut self) -> io::Result<()> {
        while self.session.output_bytes() > 0 {
            let mut slices = [IoSlice::new(&[]); 16];
            let count = self.session.output_slices(&mut slices);
            let slices = slices.get(..count).unwrap_or_default();
            match self.stream.write_vectored(slices) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(silence(error)),
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.session.advance_output(count),
            }
        }
        Ok(())
    }
}

fn open_stream(address: &NbdAddress, timeout: Duration) -> io::Result<Box<dyn Stream>> {
    let path = match address {
        NbdAddress::Unix(path) => path,
        NbdAddress::Tcp(name) => return open_tcp(name, timeout),
    };
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    Ok(Box::new(stream))
}

fn open_tcp(name: &str, timeout: Duration) -> io::Result<Box<dyn Stream>> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in name.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout.min(CONNECT_TIMEOUT_MAX)) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))?;
                return Ok(Box::new(stream));
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// A time limit on a socket shows as "would block", which would mislead people.
fn silence(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::new(
            io::ErrorKind::TimedOut,
            "the server was silent for too long",
        ),
        _ => error,
    }
}

fn nothing_granted() -> Connected {
    Connected {
        size_bytes: 0,
        flags: 0,
        structured: false,
        block_status: false,
        block_size_min: 1,
        block_size_preferred: 4096,
        payload_bytes_max: 0,
    }
}
