//! `yundu demo`: a sample institution's core ledger moves while it is written to.
//!
//! Only the sample institution lives here: its sites ([`sites`], [`relay`]), its application
//! ([`disk`], [`postgres`]), its business ([`business`]), its operators ([`operator`]) and the
//! story that is told ([`story`]). Everything that Yundu does, the story asks of the ordinary
//! commands.

pub mod business;
pub mod disk;
pub mod faults;
pub mod nbd;
pub mod operator;
pub mod postgres;
pub mod probe;
pub mod process;
pub mod reconcile;
pub mod relay;
pub mod resources;
pub mod set;
pub mod sites;
pub mod stage;
pub mod story;
#[cfg(test)]
mod substrate_test;
pub mod transfers;
pub mod volume;
pub mod windows;

use anyhow::{Context as _, Result};
use stage::{Site, Stage};
use std::path::Path;

/// A part of the demo that runs as a process of its own.
#[derive(clap::Subcommand, Debug, Clone)]
pub enum Part {
    /// What an operator does, as a runbook's command steps call it
    Operator {
        #[command(subcommand)]
        verb: operator::Verb,
    },
    /// The business, until it is told to stop
    Business,
    /// The stall probe at a site
    Probe {
        /// a or b
        site: Site,
    },
    /// A TCP relay
    Relay {
        /// link or service
        name: String,
    },
}

/// Runs one part of the demo that stands in `dir`.
///
/// # Errors
/// When it cannot do its work; what is wrong is said.
pub fn run_part(dir: &Path, part: &Part) -> Result<()> {
    let stage = Stage::load(dir)?;
    match part {
        Part::Operator { verb } => {
            let told = operator::perform(&stage, verb)?;
            println!("{told}");
            Ok(())
        }
        Part::Business => business::run(&stage),
        Part::Probe { site } => {
            let stop = stage.driver_dir().join("stop-probe");
            probe::probe(&stage.nbd_address(*site), &stage.driver_dir(), || {
                stop.exists()
            })
        }
        Part::Relay { name } => {
            let port = match name.as_str() {
                "link" => stage.ports.link,
                "service" => stage.ports.service,
                other => anyhow::bail!("no relay `{other}`"),
            };
            let control = stage.relay_control(name);
            relay::serve(([127, 0, 0, 1], port).into(), control, || false)
                .with_context(|| format!("relay {name}"))
        }
    }
}
