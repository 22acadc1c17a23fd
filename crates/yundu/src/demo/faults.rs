//! Faults of the replication link and the place of the service address, in both kinds of stage:
//! at a namespace's cables, or at a relay's control file. Times are noted, because the stall of
//! the volume is measured outside the link faults.

use super::relay::{Control, Passage};
use super::sites;
use super::stage::{Site, Stage};
use super::windows::{self, Window};
use anyhow::{Context as _, Result};
use std::net::SocketAddr;
use std::path::PathBuf;

/// What to do to the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Deed {
    /// Cable pulled: connecting fails at once
    Cut,
    /// Everything vanishes without a word
    Hang,
    /// As before
    Mend,
}

/// File in which the faults are noted.
pub fn path(stage: &Stage) -> PathBuf {
    stage.dir.join("faults.jsonl")
}

/// The link faults so far.
pub fn windows(stage: &Stage) -> Vec<Window> {
    windows::load(&path(stage))
}

/// Does it and returns when it was done, Unix µs.
///
/// # Errors
/// When the network of the stage is gone.
pub fn perform(stage: &Stage, deed: Deed) -> Result<i64> {
    let open: Vec<Window> = windows(stage)
        .into_iter()
        .filter(|w| w.end_us == i64::MAX)
        .collect();
    if deed == Deed::Mend {
        set(stage, deed)?;
        for window in open {
            windows::mark(&path(stage), &window.name, false)?;
        }
        return Ok(windows::now_us());
    }
    let name = if deed == Deed::Cut { "cut" } else { "hang" };
    let at_us = if open.iter().any(|window| window.name == name) {
        windows::now_us()
    } else {
        windows::mark(&path(stage), name, true)?
    };
    set(stage, deed)?;
    Ok(at_us)
}

fn set(stage: &Stage, deed: Deed) -> Result<()> {
    if stage.has_namespaces() {
        return match deed {
            Deed::Cut => sites::cut_link(stage),
            Deed::Hang => sites::hang_link(stage),
            Deed::Mend => sites::mend_link(stage),
        };
    }
    let path = stage.relay_control("link");
    let passage = match deed {
        Deed::Cut => Passage::Cut,
        Deed::Hang => Passage::Hang,
        Deed::Mend => Passage::Pass,
    };
    Control {
        passage,
        ..Control::load(&path)?
    }
    .save(&path)
}

/// Writes the first word of both relays (plain mode).
///
/// # Errors
/// When the demo's directory cannot be written.
pub fn prepare_relays(stage: &Stage) -> Result<()> {
    let link = Control {
        to: loopback(stage.ports.receive)?,
        passage: Passage::Pass,
    };
    link.save(&stage.relay_control("link"))?;
    let service = Control {
        to: loopback(stage.ports.nbd_a)?,
        passage: Passage::Pass,
    };
    service.save(&stage.relay_control("service"))
}

/// Points the service address at a site, or at none (plain mode).
///
/// # Errors
/// When the demo's directory cannot be written.
pub fn service(stage: &Stage, site: Option<Site>) -> Result<()> {
    let path = stage.relay_control("service");
    let old = Control::load(&path)?;
    let new = match site {
        Some(site) => {
            let to = stage.nbd_address(site);
            let to = to.parse().with_context(|| format!("{to} is no address"))?;
            Control {
                to,
                passage: Passage::Pass,
            }
        }
        None => Control {
            passage: Passage::Cut,
            ..old
        },
    };
    new.save(&path)
}

fn loopback(port: u16) -> Result<SocketAddr> {
    Ok(SocketAddr::from(([127, 0, 0, 1], port)))
}
