//! Two sites and the business between them, as network namespaces:
//!
//! ```text
//!    a ── svc ──┐                    ┌── svc ── c (the business)
//!               ├── bridge svc (k) ──┤
//!    b ── svc ──┘                    
//!    a ── rep ───── bridge rep (k) ───── rep ── b
//! ```
//!
//! The service address stands on one site's `svc` at a time. Both carry the same virtual MAC, as
//! routers do under VRRP (RFC 5798, 7.3), so that the business needs no new ARP entry: taking the
//! old port down empties the bridge's table for it, and the next frame finds the new site.

use super::process::run;
use super::resources::Resource;
use super::stage::{CLIENT_ADDRESS, SERVICE_ADDRESS, Site, Stage};
use anyhow::{Context as _, Result};

/// The virtual MAC that goes with the service address (RFC 5798, virtual router 77).
const SERVICE_MAC: &str = "00:00:5e:00:01:4d";

/// Makes the namespaces, bridges and cables; the service address stands at A.
///
/// # Errors
/// When the kernel refuses one of them; what was made until then is in the resources.
pub fn raise(stage: &Stage) -> Result<()> {
    let resources = stage.resources();
    for part in ["k", "a", "b", "c"] {
        let name = stage.namespace(part);
        resources.record(&Resource::Namespace { name: name.clone() })?;
        run(&["ip", "netns", "add", &name])?;
        ip(stage, part, "link set lo up")?;
    }
    for bridge in ["svc", "rep"] {
        ip(
            stage,
            "k",
            &format!("link add {bridge} type bridge forward_delay 0"),
        )?;
        ip(stage, "k", &format!("link set {bridge} up"))?;
    }
    for (part, network) in [
        ("a", "svc"),
        ("b", "svc"),
        ("c", "svc"),
        ("a", "rep"),
        ("b", "rep"),
    ] {
        plug(stage, part, network)?;
    }
    for site in [Site::A, Site::B] {
        let part = site.letter();
        ip(stage, part, &format!("link set svc address {SERVICE_MAC}"))?;
        ip(
            stage,
            part,
            &format!("addr add {}/24 dev rep", site.replication_address()),
        )?;
        ip(stage, part, "link set rep up")?;
    }
    ip(stage, "c", &format!("addr add {CLIENT_ADDRESS}/24 dev svc"))?;
    ip(stage, "c", "link set svc up")?;
    take_service_address(stage, Site::A)
}

/// A cable from a namespace to a bridge in the core.
fn plug(stage: &Stage, part: &str, network: &str) -> Result<()> {
    let port = format!("{network}-{part}");
    let far = stage.namespace(part);
    ip(
        stage,
        "k",
        &format!("link add {port} type veth peer name {network} netns {far}"),
    )?;
    ip(stage, "k", &format!("link set {port} master {network}"))?;
    ip(stage, "k", &format!("link set {port} up"))
}

/// Puts the service address on a site.
///
/// # Errors
/// When the site is gone.
pub fn take_service_address(stage: &Stage, site: Site) -> Result<()> {
    let part = site.letter();
    ip(
        stage,
        part,
        &format!("addr replace {SERVICE_ADDRESS}/24 dev svc"),
    )?;
    ip(stage, part, "link set svc up")
}

/// Takes the service address from a site and closes its port: nothing that still runs there can
/// answer the business.
///
/// # Errors
/// When the core is gone.
pub fn drop_service_address(stage: &Stage, site: Site) -> Result<()> {
    let part = site.letter();
    ip(stage, "k", &format!("link set svc-{part} down"))?;
    ip(stage, part, "addr flush dev svc")?;
    ip(stage, part, "link set svc down")
}

/// Opens a site's service port again (it is closed by [`drop_service_address`]).
///
/// # Errors
/// When the core is gone.
pub fn open_service_port(stage: &Stage, site: Site) -> Result<()> {
    ip(stage, "k", &format!("link set svc-{} up", site.letter()))
}

/// Pulls the replication cable at A: the interface is down, connecting fails at once.
///
/// # Errors
/// When the site is gone.
pub fn cut_link(stage: &Stage) -> Result<()> {
    ip(stage, "a", "link set rep down")
}

/// Lets every frame between the sites vanish in the core: no error, no reset, just silence.
///
/// # Errors
/// When the core is gone.
pub fn hang_link(stage: &Stage) -> Result<()> {
    port_state(stage, "0")
}

/// Undoes [`cut_link`] and [`hang_link`].
///
/// # Errors
/// When a site is gone.
pub fn mend_link(stage: &Stage) -> Result<()> {
    ip(stage, "a", "link set rep up")?;
    port_state(stage, "3")
}

/// State of the bridge port towards B: 0 disabled, 3 forwarding.
fn port_state(stage: &Stage, state: &str) -> Result<()> {
    let argv = ["bridge", "link", "set", "dev", "rep-b", "state", state];
    run(&stage.inside("k", &argv)).map(drop)
}

/// A dead site sends nothing any more: both its cables are pulled.
///
/// # Errors
/// When the core is gone.
pub fn isolate(stage: &Stage, site: Site) -> Result<()> {
    ip(stage, "k", &format!("link set svc-{} down", site.letter()))?;
    ip(stage, "k", &format!("link set rep-{} down", site.letter()))
}

fn ip(stage: &Stage, part: &str, arguments: &str) -> Result<()> {
    let namespace = stage.namespace(part);
    let mut argv = vec!["ip", "-n", &namespace];
    argv.extend(arguments.split(' '));
    run(&argv)
        .map(drop)
        .with_context(|| format!("network of `{part}`"))
}
