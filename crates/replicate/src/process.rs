//! One volume process: a single event loop over the image, the clients, the other side and the
//! control socket. What may wait for a disk is done by [`Workers`].

mod clients;
mod controls;
mod effects;
mod peers;
mod status;

use crate::address::Address;
use crate::client::Client;
use crate::control::Handover;
use crate::cut_hash::CutHash;
use crate::image::{Image, ImageError};
use crate::mapped::MappedWords;
use crate::peer::PeerConnection;
use crate::state::{StateDirectory, StateError, boot_id};
use crate::workers::{Finished, Workers};
use mio::net::{TcpListener, UnixListener};
use mio::{Events, Interest, Poll, Token, Waker};
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use yundu_replicate_core::meta::{Meta, Role};
use yundu_replicate_core::nbd::BufferPool;
use yundu_replicate_core::node::{Config, Node, Refusal, Start};

const WAKER: Token = Token(0);
const TICK: Duration = Duration::from_millis(20);
/// Idle time is spent on the digest of a cut in slices of this length.
const HASH_SLICE: Duration = Duration::from_micros(500);
const SCRATCH_BYTES: usize = 512 << 10;
/// Unused payload buffers that the process keeps, bytes.
const POOL_FREE_BYTES_MAX: usize = 24 << 20;

/// How to run a volume process.
#[derive(Clone, Debug)]
pub struct Options {
    /// The image.
    pub image: PathBuf,
    /// Name of the volume and of its export.
    pub name: String,
    /// State directory; beside the image unless told otherwise.
    pub state: Option<PathBuf>,
    /// Control socket; in the state directory unless told otherwise.
    pub control: Option<PathBuf>,
    /// Where NBD clients connect.
    pub clients: Vec<Address>,
    /// Where the other side connects (receiving side).
    pub peers: Option<Address>,
    /// A new copy begins as receiver instead of as source.
    pub receive: bool,
    /// Listen beyond this machine without encryption.
    pub allow_plaintext: bool,
    /// Limits of the state machine.
    pub config: Config,
}

/// Why a volume process could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// An address.
    #[error(
        "cannot listen on {address}: {source}; is the port in use, or the address not of this machine?"
    )]
    Listen {
        /// Address.
        address: String,
        /// Cause.
        source: io::Error,
    },
    /// Plain text beyond this machine.
    #[error(
        "{address} is reachable from other machines and this link is not encrypted: listen on a \
         loopback address or a Unix socket, or pass --allow-plaintext on a network that you trust"
    )]
    Plaintext {
        /// Address.
        address: String,
    },
    /// The image does not fit what is remembered of it.
    #[error(
        "image {path} has {image_bytes} bytes but its state directory remembers a volume of \
         {volume_bytes}: was the image replaced or cut? Nothing was changed"
    )]
    Size {
        /// Image.
        path: PathBuf,
        /// Present size.
        image_bytes: u64,
        /// Remembered size.
        volume_bytes: u64,
    },
    /// A source without content.
    #[error("image {path} is empty (0 bytes): give it a size first, e.g. `truncate -s 1G`")]
    NoSize {
        /// Image.
        path: PathBuf,
    },
    /// The state machine refuses.
    #[error(transparent)]
    Node(#[from] Refusal),
    /// The system.
    #[error("the volume process cannot go on: {0}")]
    System(#[from] io::Error),
}

enum Listener {
    TcpClients(TcpListener),
    UnixClients(UnixListener),
    Peers(TcpListener),
    Control(UnixListener),
}

/// A running volume.
pub struct VolumeProcess {
    options: Options,
    poll: Poll,
    image: Image,
    state: StateDirectory,
    node: Node<MappedWords>,
    workers: Workers,
    pool: BufferPool,
    started: Instant,
    next_token: usize,
    listeners: HashMap<Token, Listener>,
    exports: Vec<String>,
    client_tokens: Vec<Token>,
    clients: HashMap<Token, Client>,
    /// Clients whose reading, replying or writing has to be looked after.
    busy: HashSet<Token>,
    peer: Option<(Token, PeerConnection)>,
    candidates: HashMap<Token, (PeerConnection, Instant)>,
    dialling: Option<(Token, mio::net::TcpStream, Instant)>,
    dial_at: Instant,
    controls: HashMap<Token, controls::ControlConnection>,
    cut_hash: Option<CutHash>,
    handover: Option<Handover>,
    meters: status::Meters,
    scratch: Vec<u8>,
    broken: Option<String>,
    stopping: bool,
    events_unsynced: bool,
}

impl VolumeProcess {
    /// Opens everything; afterwards [`VolumeProcess::run`] serves.
    ///
    /// # Errors
    /// [`ProcessError`]; nothing was changed then, apart from an empty state directory.
    pub fn start(options: Options) -> Result<Self, ProcessError> {
        for address in options.clients.iter().chain(&options.peers) {
            if !address.is_local() && !options.allow_plaintext {
                return Err(ProcessError::Plaintext {
                    address: address.to_string(),
                });
            }
        }
        let image = Image::open(&options.image, options.receive)?;
        let state_path = options
            .state
            .clone()
            .unwrap_or_else(|| StateDirectory::path_for(&options.image));
        let (mut state, stored) = StateDirectory::open(&state_path)?;
        let boot = boot_id();
        let image_bytes = image.size_bytes()?;
        let is_new = stored.is_none();
        let mut meta = stored.unwrap_or_else(|| new_meta(options.receive, image_bytes, &boot));
        let mut empty = false;
        if meta.set.is_empty() {
            empty = image.is_empty()?;
            meta.size_bytes = image_bytes;
        } else if image_bytes < meta.size_bytes {
            return Err(ProcessError::Size {
                path: options.image,
                image_bytes,
                volume_bytes: meta.size_bytes,
            });
        }
        if meta.role == Role::Primary && meta.size_bytes == 0 {
            return Err(ProcessError::NoSize {
                path: options.image,
            });
        }
        let power_lost = meta.boot != boot;
        meta.boot = boot;
        let words = state.map_bitmap(meta.size_bytes)?;
        let activity = state.load_activity(meta.size_bytes)?;
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let pool = BufferPool::new(POOL_FREE_BYTES_MAX);
        let workers = Workers::start(&image, &pool, &waker)?;
        let mut process_listeners = Vec::new();
        for address in &options.clients {
            process_listeners.push((listen_for_clients(address)?, Some(address.to_string())));
        }
        if let Some(address) = &options.peers {
            process_listeners.push((listen_for_peers(address)?, None));
        }
        let control = options
            .control
            .clone()
            .unwrap_or_else(|| state_path.join("control.sock"));
        process_listeners.push((listen_for_control(&control)?, None));
        // Only now, with every address taken, is anything written; and of a known copy only what
        // the state machine decides: it must not forget a power loss before it has acted on it.
        if is_new {
            state.write_meta(&meta)?;
        }
        let started = Instant::now();
        let node = Node::start(Start {
            config: options.config.clone(),
            meta,
            words,
            activity,
            power_lost,
            empty,
            now_us: (0, unix_us()),
        })?;
        let mut process = Self {
            options,
            poll,
            image,
            state,
            node,
            workers,
            pool,
            started,
            next_token: 1,
            listeners: HashMap::new(),
            exports: Vec::new(),
            client_tokens: Vec::new(),
            clients: HashMap::new(),
            busy: HashSet::new(),
            peer: None,
            candidates: HashMap::new(),
            dialling: None,
            dial_at: started,
            controls: HashMap::new(),
            cut_hash: None,
            handover: None,
            meters: status::Meters::default(),
            scratch: vec![0; SCRATCH_BYTES],
            broken: None,
            stopping: false,
            events_unsynced: false,
        };
        for (listener, export) in process_listeners {
            process.add_listener(listener, export)?;
        }
        process.record(
            "volume.started",
            serde_json::json!({
                "volume": process.options.name,
                "role": process.node.meta().role,
                "generation": process.node.meta().generation,
                "size_bytes": process.node.meta().size_bytes,
                "new": is_new,
                "after_power_loss": power_lost && !is_new,
            }),
        );
        Ok(process)
    }

    fn add_listener(&mut self, mut listener: Listener, export: Option<String>) -> io::Result<()> {
        let token = self.fresh_token();
        let registry = self.poll.registry();
        match &mut listener {
            Listener::TcpClients(l) | Listener::Peers(l) => {
                registry.register(l, token, Interest::READABLE)?;
            }
            Listener::UnixClients(l) | Listener::Control(l) => {
                registry.register(l, token, Interest::READABLE)?;
            }
        }
        if let Some(export) = export {
            self.exports.push(export);
            self.client_tokens.push(token);
        }
        self.listeners.insert(token, listener);
        Ok(())
    }

    fn fresh_token(&mut self) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        token
    }

    /// Serves until asked to stop.
    ///
    /// # Errors
    /// [`ProcessError::System`] when the process cannot go on.
    pub fn run(&mut self) -> Result<(), ProcessError> {
        let mut events = Events::with_capacity(256);
        self.pump();
        while !self.stopping {
            let idle_work = self.cut_hash.as_ref().is_some_and(|hash| !hash.is_done());
            let timeout = if idle_work { Duration::ZERO } else { TICK };
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            let quiet = events.is_empty();
            let now_us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.node.tick(now_us, unix_us());
            for event in &events {
                self.ready(event.token(), event.is_readable(), event.is_writable());
            }
            while let Some(finished) = self.workers.next_finished() {
                self.finished(finished);
            }
            self.look_after_link();
            self.pump();
            if quiet && idle_work {
                self.hash_step();
            }
            if let Some(reason) = self.broken.take() {
                return Err(ProcessError::System(io::Error::other(reason)));
            }
        }
        self.image.flush()?;
        Ok(())
    }

    fn ready(&mut self, token: Token, readable: bool, writable: bool) {
        if token == WAKER {
            return;
        }
        if let Some(client) = self.clients.get_mut(&token) {
            if readable {
                client.set_readable();
            }
            self.busy.insert(token);
        } else if self.listeners.contains_key(&token) {
            self.accept(token);
        } else if self.controls.contains_key(&token) {
            self.serve_control(token, readable);
        } else {
            self.peer_ready(token, readable, writable);
        }
    }

    fn finished(&mut self, finished: Finished) {
        match finished {
            Finished::Local { id, outcome } => self.node.local_done(id, outcome),
            Finished::Activity(pages) => self.node.activity_durable(&pages),
            Finished::Bitmap => self.node.bitmap_durable(),
            Finished::Broken(reason) => self.broken = Some(reason),
        }
    }

    /// Carries out effects and serves connections until there is nothing to do but wait.
    fn pump(&mut self) {
        loop {
            let mut progress = false;
            while let Some(effect) = self.node.next_effect() {
                self.carry_out(effect);
                progress = true;
            }
            progress |= self.receive_from_peer();
            progress |= self.serve_clients();
            if !progress {
                break;
            }
        }
        self.flush_peer();
        if std::mem::take(&mut self.events_unsynced)
            && let Ok(file) = self.state.events_file()
        {
            self.workers.sync_events(file);
        }
    }

    fn hash_step(&mut self) {
        let Some(hash) = &mut self.cut_hash else {
            return;
        };
        let since = Instant::now();
        let mut stepped = hash.step(&self.image);
        // Holes cost next to nothing: take many of them in one go.
        while matches!(stepped, Ok(false)) && since.elapsed() < HASH_SLICE {
            stepped = hash.step(&self.image);
        }
        match stepped {
            Ok(true) => {
                let (digest, generation) = (hash.digest(), hash.generation());
                let size_bytes = self.node.meta().size_bytes;
                self.record(
                    "volume.cut-digest",
                    serde_json::json!({
                        "cut": digest.id, "root": digest.root, "size_bytes": size_bytes,
                        "generation": generation, "algorithm": "blake3-tree-4MiB",
                    }),
                );
                self.events_unsynced = true;
            }
            Ok(false) => {}
            Err(error) => {
                tracing::error!("the digest of the cut was given up: {error}");
                self.cut_hash = None;
            }
        }
    }

    /// Writes an event into the journal of this process.
    fn record(&mut self, kind: &str, body: serde_json::Value) {
        tracing::info!(kind, %body, "event");
        let meta = self.node.meta().clone();
        if let Err(error) = self.state.append_event(&meta, unix_us(), kind, body) {
            tracing::error!("event {kind} cannot be written: {error}");
        }
        self.events_unsynced = true;
    }
}

fn new_meta(receive: bool, image_bytes: u64, boot: &str) -> Meta {
    let node = uuid::Uuid::new_v4().simple().to_string();
    if receive {
        Meta::new_receiver(node, boot.to_owned())
    } else {
        let set = uuid::Uuid::new_v4().simple().to_string();
        Meta::new_primary(node, set, image_bytes, boot.to_owned())
    }
}

/// Unix time, µs.
fn unix_us() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_micros()).ok())
        .unwrap_or(0)
}

fn listen_for_clients(address: &Address) -> Result<Listener, ProcessError> {
    let listen = |source| ProcessError::Listen {
        address: address.to_string(),
        source,
    };
    match address {
        Address::Tcp(tcp) => TcpListener::bind(*tcp)
            .map(Listener::TcpClients)
            .map_err(listen),
        Address::Unix(path) => unix_listener(path)
            .map(Listener::UnixClients)
            .map_err(listen),
    }
}

fn listen_for_peers(address: &Address) -> Result<Listener, ProcessError> {
    let listen = |source| ProcessError::Listen {
        address: address.to_string(),
        source,
    };
    match address {
        Address::Tcp(tcp) => TcpListener::bind(*tcp).map(Listener::Peers).map_err(listen),
        Address::Unix(_) => Err(listen(io::Error::other("replication listens on TCP"))),
    }
}

fn listen_for_control(path: &std::path::Path) -> Result<Listener, ProcessError> {
    use std::os::unix::fs::PermissionsExt;
    let listen = |source| ProcessError::Listen {
        address: format!("unix:{}", path.display()),
        source,
    };
    let listener = unix_listener(path).map_err(listen)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(listen)?;
    Ok(Listener::Control(listener))
}

/// A Unix socket left behind by a process that was killed is replaced; one that answers is not.
fn unix_listener(path: &std::path::Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        other => other,
    }
}
