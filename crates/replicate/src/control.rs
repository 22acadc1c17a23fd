//! The control protocol of a volume process: one JSON request per line on its Unix socket, one
//! JSON response per line back. Long work (a copy, a verification) is started by a request and
//! watched through [`Request::Status`].

use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
pub use yundu_replicate_core::meta::{Mode, Policy, Role};

/// State of the link to the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Link {
    /// No other side is configured.
    None,
    /// Configured, not connected (or silent for longer than the timeout).
    Down,
    /// Connected, both sides agree on set and generation.
    Up,
}

/// How the other copy stands to this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyncState {
    /// No other copy.
    Alone,
    /// The first full copy is under way.
    Copying,
    /// Only what was written meanwhile is being sent.
    Resyncing,
    /// Every reply stands on both copies.
    InStep,
    /// The other copy is left behind: lost, or refused.
    Degraded,
}

/// One request to a volume process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Request {
    /// What is the state now? Answered by [`Response::Status`].
    Status,
    /// Start (or resume) replication to a `volume receive` at `to` (HOST:PORT).
    Replicate {
        /// Address of the receiving process.
        to: String,
        /// Synchronous or asynchronous.
        mode: Mode,
        /// What to do when a synchronous target is lost.
        policy: Policy,
    },
    /// Stop replicating and forget the target.
    Detach,
    /// Hand the primary role to the other side; asked of either side, moves it to the side
    /// named. Answered by [`Response::Handover`] when done. Idempotent per `id`.
    Cutover {
        /// Name of this cut, unique per set: the same id asked twice is done once.
        id: String,
        /// `true`: the side that answers shall become primary; `false`: the other side shall.
        to_me: bool,
    },
    /// Compare both copies leaf by leaf under load; `repair` sends differing leaves again.
    /// Answered at once; progress and outcome stand in the status (`verification`).
    Verify {
        /// Send differing leaves again from the primary.
        repair: bool,
    },
    /// Take the primary role without the other side. RPO is unknown: refused unless accepted.
    Promote {
        /// The caller accepts that acknowledged writes may be missing here.
        accept_unknown_rpo: bool,
    },
    /// Serve (also) an NBD export here.
    Export {
        /// ADDR:PORT or unix:PATH
        listen: String,
        /// Export name.
        export: String,
    },
    /// Refuse new client connections and drop present ones (fencing of this face).
    Unexport,
    /// Events of this process with a sequence greater than `since`.
    Events {
        /// Last sequence number that the caller has.
        since: u64,
    },
    /// Set the longest-wait meters back to zero (start of a measurement window).
    ResetMeters,
    /// Flush, then end the process cleanly.
    Stop,
}

/// Outcome of a hand-over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// Name of the cut.
    pub id: String,
    /// Generation in force after it.
    pub generation: u64,
    /// From holding the first request to releasing all, µs.
    pub hold_us: u64,
    /// Milliseconds are too coarse here: control request to outcome, µs.
    pub total_us: u64,
}

/// Progress or outcome of a comparison of both copies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// Still under way.
    pub running: bool,
    /// Bytes compared so far.
    pub compared_bytes: u64,
    /// Offsets (bytes) of leaves that differed; at most 1,024 are listed.
    pub differing_offsets: Vec<u64>,
    /// Number of leaves that differed.
    pub differing_leaves: u64,
    /// Size of a leaf, bytes.
    pub leaf_bytes: u64,
    /// Leaves that were sent again.
    pub repaired_leaves: u64,
    /// It ended early (link lost): the reason.
    pub aborted: Option<String>,
}

/// Digest of the whole copy as of a cut.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutDigest {
    /// Name of the cut.
    pub id: String,
    /// BLAKE3 root over the leaves, hexadecimal; empty while it is being computed.
    pub root: String,
    /// Bytes hashed so far.
    pub hashed_bytes: u64,
}

/// State of a volume process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Name of the volume (its export name).
    pub volume: String,
    /// Path of the image.
    pub image: PathBuf,
    /// Identity of the replica set.
    pub set: String,
    /// Which side this is.
    pub role: Role,
    /// Generation: rises with every change of primary.
    pub generation: u64,
    /// Size in bytes.
    pub size_bytes: u64,
    /// State of the link.
    pub link: Link,
    /// How the other copy stands.
    pub sync: SyncState,
    /// Mode, when replicating.
    pub mode: Option<Mode>,
    /// Policy, when replicating.
    pub policy: Option<Policy>,
    /// Address of the other side, when this side dials it.
    pub peer: Option<String>,
    /// Why the link is down or was refused, for people.
    pub link_reason: Option<String>,
    /// Still to be sent until in step, bytes.
    pub remaining_bytes: u64,
    /// Sent by the first full copy, bytes (holes are not sent).
    pub copy_bytes: u64,
    /// Sent by resynchronisations after link losses, bytes.
    pub resync_bytes: u64,
    /// Union of 4 KiB blocks that had to be sent again after link losses, bytes.
    pub dirtied_bytes: u64,
    /// Mirrored by foreground writes, bytes.
    pub mirrored_bytes: u64,
    /// Bytes per second that copy or resync sends now.
    pub rate_bytes_per_s: u64,
    /// Replied client requests since start.
    pub client_requests: u64,
    /// Client requests answered with an error since start.
    pub client_errors: u64,
    /// Longest wait of one client request since the meters were reset, µs.
    pub wait_us_max: u64,
    /// Zero only while every flushed write stands on both copies; `None`: unknown.
    pub rpo_us: Option<u64>,
    /// Comparison under way or last done.
    pub verification: Option<Verification>,
    /// Digest as of the last cut.
    pub cut_digest: Option<CutDigest>,
    /// The last hand-over.
    pub handover: Option<Handover>,
    /// Addresses on which NBD clients are served.
    pub exports: Vec<String>,
    /// Sequence number of the last event.
    pub event_sequence: u64,
}

/// Something that happened, as the process journals it (one JSON object per line, durable).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Rises by one; unique together with `node`.
    pub sequence: u64,
    /// Identity of this copy.
    pub node: String,
    /// Identity of the replica set.
    pub set: String,
    /// Unix time, µs.
    pub at_us: i64,
    /// `volume.started`, `volume.link-up`, `volume.link-lost`, `volume.in-step`,
    /// `volume.copy-started`, `volume.handover`, `volume.verified`, `volume.promoted` …
    pub kind: String,
    /// Particulars, integers and strings only.
    pub body: serde_json::Value,
}

/// Answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Response {
    /// State.
    Status(Box<Status>),
    /// Done, nothing to tell.
    Done,
    /// Hand-over done.
    Handover(Handover),
    /// Events asked for.
    Events {
        /// In order of sequence; at most 1,000.
        events: Vec<Event>,
    },
    /// Refused; nothing was changed.
    Refused {
        /// What is wrong and what to do.
        reason: String,
    },
}

/// Why a control request failed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nothing listens there.
    #[error("no volume process answers at {path}: {source}; is `yundu volume serve` running?")]
    Connect {
        /// Socket path.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// The connection broke; the request may or may not have been carried out (ask again: every
    /// request is idempotent).
    #[error("the volume process at {path} broke off: {source}")]
    Broken {
        /// Socket path.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// It refused.
    #[error("{reason}")]
    Refused {
        /// What is wrong and what to do.
        reason: String,
    },
    /// It answered with something else than expected.
    #[error("unexpected answer from the volume process at {path}: {answer}")]
    Unexpected {
        /// Socket path.
        path: PathBuf,
        /// What came.
        answer: String,
    },
}

/// A connection to a volume process.
#[derive(Debug)]
pub struct ControlClient {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl ControlClient {
    /// Connects to the control socket at `path` (`IMAGE.yundu/control.sock` unless told
    /// otherwise).
    ///
    /// # Errors
    /// [`ControlError::Connect`] when nothing listens there.
    pub fn connect(path: &Path) -> Result<Self, ControlError> {
        let connect = |source| ControlError::Connect {
            path: path.to_owned(),
            source,
        };
        let stream = UnixStream::connect(path).map_err(connect)?;
        stream
            .set_read_timeout(Some(Duration::from_secs(120)))
            .map_err(connect)?;
        Ok(Self {
            path: path.to_owned(),
            stream: BufReader::new(stream),
        })
    }

    /// Sends one request and waits for its answer; a refusal is an error.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with the reason; [`ControlError::Broken`] when the process went
    /// away meanwhile.
    pub fn request(&mut self, request: &Request) -> Result<Response, ControlError> {
        let broken = |source| ControlError::Broken {
            path: self.path.clone(),
            source,
        };
        let mut line = serde_json::to_vec(request).map_err(|e| broken(e.into()))?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line).map_err(broken)?;
        let mut answer = String::new();
        let read = self.stream.read_line(&mut answer).map_err(broken)?;
        if read == 0 {
            return Err(broken(std::io::ErrorKind::UnexpectedEof.into()));
        }
        match serde_json::from_str(&answer) {
            Ok(Response::Refused { reason }) => Err(ControlError::Refused { reason }),
            Ok(response) => Ok(response),
            Err(_) => Err(self.unexpected(answer)),
        }
    }

    /// The present state.
    ///
    /// # Errors
    /// As [`ControlClient::request`].
    pub fn status(&mut self) -> Result<Status, ControlError> {
        match self.request(&Request::Status)? {
            Response::Status(status) => Ok(*status),
            other => Err(self.unexpected(format!("{other:?}"))),
        }
    }

    fn unexpected(&self, answer: String) -> ControlError {
        ControlError::Unexpected {
            path: self.path.clone(),
            answer,
        }
    }
}
