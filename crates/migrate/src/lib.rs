//! The move: its runbook, steps and gates; calls the capabilities in order.
//!
//! A [`Move`] takes one application across, by the [`runbook::Runbook`] that people approved. The
//! [`Engine`] carries it out. Each step is durable: *intended* is committed before the world
//! changes, *done* with its evidence in one transaction after. A crash between any two of these
//! resumes: what was intended is asked of the world (does the volume replicate? has this cut
//! happened? does the check of the command say so?) and only done if it was not.
//!
//! What changes the world stands behind [`DataPlane`] and [`Commands`], who opens gates behind
//! [`GateKeeper`], time behind [`Clock`]. The engine knows no terminal and no HTTP.

pub mod runbook;

mod assess;
mod clock;
mod commands;
mod engine;
mod error;
mod gate;
mod life;
mod moves;
mod plane;
mod preflight;
mod reconcile;
mod status;

pub use assess::{RollbackAssessment, VolumeView};
pub use clock::{Clock, SystemClock};
pub use commands::{CommandError, CommandOutput, Commands, SystemCommands};
pub use engine::{Ask, Engine, Outcome, Point, Silent, Watch};
pub use error::EngineError;
pub use gate::{CatalogKeeper, GateKeeper, Judged};
pub use life::{StepLife, StepState};
pub use moves::{Move, MoveError, Surroundings, Wiring};
pub use plane::{ControlPlane, DataPlane, PlaneError, Side};
pub use preflight::{Check, SiteFacts, compare_sites};
pub use reconcile::{Difference, Facts, compare_facts};
pub use status::{ApprovalView, MoveStatus, StepView};
