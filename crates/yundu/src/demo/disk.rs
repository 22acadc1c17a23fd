//! A file system on a volume: NBD → `qemu-storage-daemon`'s FUSE export → loop device → ext4.
//!
//! `reconnect-delay` lets the path ride through a volume process that is killed or silent for
//! less than a minute. (`nbdfuse` in its place answers EIO, ext4 turns read-only and PostgreSQL
//! panics.)

use super::process::{Process, find_program, run, run_for, spawn, wait_until};
use super::resources::{Resource, is_mounted, loops_on};
use super::stage::{PROBE_BYTES, Site, Stage, VOLUME, VOLUME_BYTES};
use anyhow::{Context as _, Result};
use std::path::PathBuf;
use std::time::Duration;

/// How much of the images is compared: all but the probe's end, bytes.
pub const COMPARED_BYTES: u64 = VOLUME_BYTES - PROBE_BYTES;
/// How long requests wait for the volume process to come back, seconds.
const RECONNECT_S: u32 = 60;

/// The file that the FUSE export shows: the volume as one regular file.
fn export_file(stage: &Stage, site: Site) -> PathBuf {
    stage.run_dir().join(format!("disk-{}", site.letter()))
}

/// Where the file system of a site is mounted.
pub fn mount_point(stage: &Stage, site: Site) -> PathBuf {
    stage.run_dir().join(format!("fs-{}", site.letter()))
}

/// Attaches the volume at a site as a loop device and returns the device's path.
///
/// # Errors
/// When no NBD server answers at the site or the kernel refuses the device.
pub fn attach(stage: &Stage, site: Site) -> Result<String> {
    let resources = stage.resources();
    let file = export_file(stage, site);
    std::fs::write(&file, b"")?;
    resources.record(&Resource::Mount { path: file.clone() })?;
    let address = stage.nbd_address(site);
    let (host, port) = address
        .rsplit_once(':')
        .context("an NBD address is HOST:PORT")?;
    let blockdev = format!(
        "driver=nbd,node-name=disk,server.type=inet,server.host={host},server.port={port},\
         export={VOLUME},reconnect-delay={RECONNECT_S}"
    );
    let export = format!(
        "type=fuse,id=export,node-name=disk,mountpoint={},writable=on,growable=off",
        file.display()
    );
    let argv = [
        "qemu-storage-daemon",
        "--blockdev",
        &blockdev,
        "--export",
        &export,
    ];
    let log = stage.site_dir(site).join("qemu-storage-daemon.log");
    let daemon = spawn(
        &resources,
        &daemon_name(site),
        &stage.inside(site.letter(), &argv),
        &log,
    )?;
    wait_until(
        &format!(
            "the volume appears at site {}; see {}",
            site.letter(),
            log.display()
        ),
        Duration::from_secs(10),
        || is_mounted(&file) || !daemon.is_alive(),
    )?;
    resources.record(&Resource::Loop {
        backing: file.clone(),
    })?;
    let device = run(&["losetup", "--find", "--show", &file.to_string_lossy()])
        .with_context(|| format!("attaching the volume; see {}", log.display()))?;
    Ok(device.trim().to_owned())
}

/// Makes ext4 on `device`, leaving the end of the volume to the stall probe.
///
/// # Errors
/// When `mkfs.ext4` fails.
pub fn format(device: &str) -> Result<()> {
    let size = format!("{}K", (VOLUME_BYTES - PROBE_BYTES) >> 10);
    let now = "nodiscard,lazy_itable_init=0,lazy_journal_init=0";
    run(&["mkfs.ext4", "-q", "-m", "0", "-E", now, device, &size]).map(drop)
}

/// Mounts `device` at the site's mount point.
///
/// # Errors
/// When the file system is damaged or the point is in use.
pub fn mount(stage: &Stage, site: Site, device: &str) -> Result<()> {
    let point = mount_point(stage, site);
    std::fs::create_dir_all(&point)?;
    stage.resources().record(&Resource::Mount {
        path: point.clone(),
    })?;
    let point = point.to_string_lossy();
    // An error must be seen by PostgreSQL, never be passed over.
    run(&["mount", "-o", "noatime,errors=remount-ro", device, &point]).map(drop)
}

/// Unmounts and detaches the volume at a site; every write stands on it afterwards. Doing it
/// twice is harmless.
///
/// # Errors
/// When a file is still open there.
pub fn detach(stage: &Stage, site: Site) -> Result<()> {
    let resources = stage.resources();
    let point = mount_point(stage, site);
    if is_mounted(&point) {
        run_for(
            &["umount", &point.to_string_lossy()],
            Duration::from_secs(60),
        )?;
    }
    resources.release(&Resource::Mount { path: point })?;
    let file = export_file(stage, site);
    for device in loops_on(&file) {
        run(&["losetup", "--detach", &device])?;
    }
    if let Some(daemon) = recorded(stage, &daemon_name(site)) {
        daemon.end(rustix::process::Signal::TERM, Duration::from_secs(10));
        resources.release(&Resource::Process {
            name: daemon_name(site),
            process: daemon,
        })?;
    }
    resources.release(&Resource::Loop {
        backing: file.clone(),
    })?;
    resources.release(&Resource::Mount { path: file })
}

fn daemon_name(site: Site) -> String {
    format!("qemu-storage-daemon-{}", site.letter())
}

/// The background process recorded under `name`.
pub fn recorded(stage: &Stage, name: &str) -> Option<Process> {
    stage
        .resources()
        .remaining()
        .into_iter()
        .find_map(|resource| match resource {
            Resource::Process {
                name: found,
                process,
            } if found == name => Some(process),
            _ => None,
        })
}

/// Compares the file-system part of both images byte by byte; the end of the volume is left out,
/// where the stall probe goes on writing. `None`: equal, else the offset of the first difference.
///
/// # Errors
/// When an image cannot be read.
pub fn first_difference(stage: &Stage) -> Result<Option<u64>> {
    let (a, b) = (stage.image(Site::A), stage.image(Site::B));
    if find_program("cmp").is_none() || find_program("nice").is_none() {
        return compare_images(&a, &b);
    }
    let bytes = COMPARED_BYTES.to_string();
    // Nicely: the volume goes on serving, and its requests come first.
    let output = std::process::Command::new("nice")
        .args(["-n", "15", "cmp"])
        .args(["--bytes", &bytes])
        .args([&a, &b])
        .env("LC_ALL", "C")
        .output()
        .context("cannot start cmp")?;
    match output.status.code() {
        Some(0) => Ok(None),
        // cmp counts from 1, and says it in words: the exact place is found by reading.
        Some(1) => compare_images(&a, &b),
        _ => anyhow::bail!("cmp: {}", String::from_utf8_lossy(&output.stderr).trim()),
    }
}

fn compare_images(a: &std::path::Path, b: &std::path::Path) -> Result<Option<u64>> {
    use std::os::unix::fs::FileExt;
    let open = |path: &std::path::Path| {
        std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let (left, right) = (open(a)?, open(b)?);
    let (mut one, mut two) = (vec![0_u8; 1 << 20], vec![0_u8; 1 << 20]);
    let mut offset = 0;
    while offset < COMPARED_BYTES {
        left.read_exact_at(&mut one, offset)?;
        right.read_exact_at(&mut two, offset)?;
        if let Some(at) = one.iter().zip(&two).position(|(x, y)| x != y) {
            return Ok(Some(offset + at as u64));
        }
        offset += one.len() as u64;
    }
    Ok(None)
}
