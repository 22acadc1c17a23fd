//! A small NBD client with one request in flight, which comes back by itself: a request that
//! broke off is asked again on a new connection until `patience` is over. (Both are safe: a
//! repeated write of the same bytes changes nothing, and there is never a later one under way.)

use anyhow::{Context as _, Result, bail};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const MAGIC_HANDSHAKE: u64 = 0x4e42_444d_4147_4943;
const MAGIC_OPTION: u64 = 0x4948_4156_454f_5054;
const MAGIC_OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
const MAGIC_REQUEST: u32 = 0x2560_9513;
const MAGIC_REPLY: u32 = 0x6744_6698;
const OPTION_GO: u32 = 7;
const REPLY_ACK: u32 = 1;
const REPLY_INFO: u32 = 3;
const FIXED_NEWSTYLE_NO_ZEROES: u32 = 3;
const COMMAND_READ: u16 = 0;
const COMMAND_WRITE: u16 = 1;
const COMMAND_FLUSH: u16 = 3;
/// One answer to an option may carry this much, bytes.
const OPTION_REPLY_MAX: u32 = 64 << 10;
/// Longer than any healthy answer; a connection silent for this long is given up and made anew.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// The client.
#[derive(Debug)]
pub struct NbdClient {
    address: String,
    export: String,
    patience: Duration,
    stream: Option<TcpStream>,
    cookie: u64,
    /// Connections made after the first.
    pub reconnects: u64,
}

impl NbdClient {
    /// Connects to `export` at `address` (HOST:PORT), trying for `patience`.
    ///
    /// # Errors
    /// When no server of that export answers within `patience`.
    pub fn connect(address: &str, export: &str, patience: Duration) -> Result<Self> {
        let mut client = Self {
            address: address.to_owned(),
            export: export.to_owned(),
            patience,
            stream: None,
            cookie: 0,
            reconnects: 0,
        };
        let deadline = Instant::now() + patience;
        loop {
            match client.dial() {
                Ok(stream) => {
                    client.stream = Some(stream);
                    return Ok(client);
                }
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// Reads `buffer.len()` bytes at `offset`.
    ///
    /// # Errors
    /// When the server answers with an error, or not at all within the patience.
    pub fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let length = u32::try_from(buffer.len())?;
        self.persist(COMMAND_READ, offset, length, &[], buffer)
    }

    /// Writes `data` at `offset`.
    ///
    /// # Errors
    /// As [`NbdClient::read`].
    pub fn write(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        let length = u32::try_from(data.len())?;
        self.persist(COMMAND_WRITE, offset, length, data, &mut [])
    }

    /// Makes everything written before durable.
    ///
    /// # Errors
    /// As [`NbdClient::read`].
    pub fn flush(&mut self) -> Result<()> {
        self.persist(COMMAND_FLUSH, 0, 0, &[], &mut [])
    }

    fn persist(
        &mut self,
        command: u16,
        offset: u64,
        length: u32,
        data: &[u8],
        answer: &mut [u8],
    ) -> Result<()> {
        let deadline = Instant::now() + self.patience;
        loop {
            match self.attempt(command, offset, length, data, answer) {
                Ok(0) => return Ok(()),
                Ok(code) => bail!(
                    "{} answered error {code} to command {command} at {offset}",
                    self.address
                ),
                Err(error) if Instant::now() >= deadline => {
                    return Err(error).with_context(|| {
                        format!(
                            "no answer from {} within {} s",
                            self.address,
                            self.patience.as_secs()
                        )
                    });
                }
                Err(_) => {
                    self.stream = None;
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
    }

    /// One try; `Ok` holds the server's error code.
    fn attempt(
        &mut self,
        command: u16,
        offset: u64,
        length: u32,
        data: &[u8],
        answer: &mut [u8],
    ) -> Result<u32> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                self.reconnects += 1;
                self.dial()?
            }
        };
        self.cookie += 1;
        let mut request = Vec::with_capacity(28 + data.len());
        request.extend(MAGIC_REQUEST.to_be_bytes());
        request.extend(0_u16.to_be_bytes());
        request.extend(command.to_be_bytes());
        request.extend(self.cookie.to_be_bytes());
        request.extend(offset.to_be_bytes());
        request.extend(length.to_be_bytes());
        request.extend(data);
        stream.write_all(&request)?;
        if read_u32(&mut stream)? != MAGIC_REPLY {
            bail!("{} does not speak NBD (bad reply magic)", self.address);
        }
        let code = read_u32(&mut stream)?;
        if read_u64(&mut stream)? != self.cookie {
            bail!("{} answered a request that was not asked", self.address);
        }
        if code == 0 {
            stream.read_exact(answer)?;
        }
        self.stream = Some(stream);
        Ok(code)
    }

    fn dial(&self) -> Result<TcpStream> {
        use std::net::ToSocketAddrs;
        let address = self
            .address
            .to_socket_addrs()?
            .next()
            .context("no such address")?;
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))
            .with_context(|| format!("cannot connect to {}", self.address))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.set_write_timeout(Some(SILENCE_MAX))?;
        if read_u64(&mut stream)? != MAGIC_HANDSHAKE || read_u64(&mut stream)? != MAGIC_OPTION {
            bail!("{} does not speak NBD", self.address);
        }
        let mut flags = [0_u8; 2];
        stream.read_exact(&mut flags)?;
        let mut hello = Vec::new();
        hello.extend(FIXED_NEWSTYLE_NO_ZEROES.to_be_bytes());
        hello.extend(MAGIC_OPTION.to_be_bytes());
        hello.extend(OPTION_GO.to_be_bytes());
        let name = self.export.as_bytes();
        hello.extend(u32::try_from(name.len() + 6)?.to_be_bytes());
        hello.extend(u32::try_from(name.len())?.to_be_bytes());
        hello.extend(name);
        hello.extend(0_u16.to_be_bytes());
        stream.write_all(&hello)?;
        loop {
            if read_u64(&mut stream)? != MAGIC_OPTION_REPLY {
                bail!("{} does not speak NBD (bad option reply)", self.address);
            }
            let _option = read_u32(&mut stream)?;
            let kind = read_u32(&mut stream)?;
            let length = read_u32(&mut stream)?;
            if length > OPTION_REPLY_MAX {
                bail!("{} sent an option reply of {length} bytes", self.address);
            }
            let mut payload = vec![0; usize::try_from(length)?];
            stream.read_exact(&mut payload)?;
            match kind {
                REPLY_ACK => return Ok(stream),
                REPLY_INFO => {}
                refused => bail!(
                    "{} refuses export `{}` ({refused:#x}: {})",
                    self.address,
                    self.export,
                    String::from_utf8_lossy(&payload)
                ),
            }
        }
    }
}

fn read_u32(stream: &mut TcpStream) -> Result<u32> {
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

fn read_u64(stream: &mut TcpStream) -> Result<u64> {
    let mut bytes = [0; 8];
    stream.read_exact(&mut bytes)?;
    Ok(u64::from_be_bytes(bytes))
}
