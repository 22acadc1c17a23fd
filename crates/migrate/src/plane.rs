//! The volume processes of both sides, through their control sockets.

use std::collections::BTreeMap;
use std::path::PathBuf;
use yundu_replicate::control::{ControlClient, ControlError, Request, Response, Status};

use crate::moves::Wiring;
use serde::{Deserialize, Serialize};

/// One of the two sites of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The site that is left.
    Source,
    /// The site that is moved to.
    Target,
}

/// Why a request was not carried out, or may not have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaneError {
    /// No answer; the request may or may not have been carried out.
    #[error("{reason}")]
    Unreachable {
        /// What happened.
        reason: String,
    },
    /// The process refused; nothing was changed.
    #[error("{reason}")]
    Refused {
        /// What is wrong and what to do.
        reason: String,
    },
}

/// Carries requests to volume processes. Blocking: the engine calls it away from its own thread.
pub trait DataPlane: Send + Sync {
    /// Sends one request to the process of `volume` at `side`.
    ///
    /// # Errors
    /// [`PlaneError`].
    fn ask(&self, volume: &str, side: Side, request: &Request) -> Result<Response, PlaneError>;
}

/// The real one.
#[derive(Clone, Debug, Default)]
pub struct ControlPlane {
    wiring: BTreeMap<String, Wiring>,
}

// === impl Side ===

impl Side {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Side::Source => Side::Target,
            Side::Target => Side::Source,
        }
    }
}

// === impl dyn DataPlane ===

impl dyn DataPlane {
    /// The state of `volume` at `side`.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub fn status(&self, volume: &str, side: Side) -> Result<Status, PlaneError> {
        match self.ask(volume, side, &Request::Status)? {
            Response::Status(status) => Ok(*status),
            other => Err(PlaneError::Refused {
                reason: format!("asked for the status, got {other:?}"),
            }),
        }
    }
}

// === impl ControlPlane ===

impl ControlPlane {
    /// Reaches each volume through the sockets that its wiring names.
    pub fn new(wiring: BTreeMap<String, Wiring>) -> Self {
        Self { wiring }
    }
}

impl DataPlane for ControlPlane {
    fn ask(&self, volume: &str, side: Side, request: &Request) -> Result<Response, PlaneError> {
        let socket: &PathBuf = match (self.wiring.get(volume), side) {
            (Some(wiring), Side::Source) => &wiring.source_control,
            (Some(wiring), Side::Target) => &wiring.target_control,
            (None, _) => {
                return Err(PlaneError::Refused {
                    reason: format!("the move names no control socket for {volume}"),
                });
            }
        };
        let asked = ControlClient::connect(socket).and_then(|mut client| client.request(request));
        asked.map_err(|error| match error {
            ControlError::Refused { reason } => PlaneError::Refused { reason },
            other => PlaneError::Unreachable {
                reason: other.to_string(),
            },
        })
    }
}
