//! The stage: what the two sites are on this machine, and where everything stands. Saved as
//! `stage.json` in the demo's directory, so that operator commands run as processes of their own
//! find it.

use super::process::find_program;
use super::resources::Resources;
use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use yundu_estate::text::Text;

/// Size of the core ledger's volume, bytes (sparse).
pub const VOLUME_BYTES: u64 = 512 << 20;
/// The end of the volume that carries no file system: the stall probe's, bytes.
pub const PROBE_BYTES: u64 = 1 << 20;
/// Longest path of the demo's directory, bytes: a socket's path may have 107 in all.
const DIR_LENGTH_MAX: usize = 107 - "/site-a/core-ledger.img.yundu/control.sock".len();
/// Free space that the demo asks for, bytes: two images and their copies of what changes.
const ROOM_BYTES: u64 = 1_500_000_000;
/// Name of the volume and of its NBD export.
pub const VOLUME: &str = "core-ledger";
/// The address under which the business reaches the database; it moves from A to B.
pub const SERVICE_ADDRESS: &str = "10.77.0.10";
/// The business's own address.
pub const CLIENT_ADDRESS: &str = "10.77.0.100";

/// One of the two sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Site {
    /// Where the system runs today.
    A,
    /// Where it moves to.
    B,
}

impl Site {
    /// `a` or `b`.
    pub fn letter(self) -> &'static str {
        match self {
            Site::A => "a",
            Site::B => "b",
        }
    }

    /// The other one.
    pub fn other(self) -> Site {
        match self {
            Site::A => Site::B,
            Site::B => Site::A,
        }
    }

    /// Its address on the replication network, where sites are namespaces.
    pub fn replication_address(self) -> &'static str {
        match self {
            Site::A => "10.78.0.1",
            Site::B => "10.78.0.2",
        }
    }
}

impl std::str::FromStr for Site {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "a" | "A" => Ok(Site::A),
            "b" | "B" => Ok(Site::B),
            other => Err(format!("unknown site `{other}`: use a or b")),
        }
    }
}

/// What the sites are made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "kebab-case")]
pub enum Ground {
    /// Network namespaces, a real PostgreSQL on ext4.
    Namespaces {
        /// Folder of PostgreSQL's programs.
        postgres_bin: PathBuf,
    },
    /// Loopback with relays, the built-in ledger client.
    Plain {
        /// Why.
        reason: Text,
    },
}

/// TCP ports on loopback, used in plain mode (namespaces have their own port space).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// NBD at A.
    pub nbd_a: u16,
    /// NBD at B.
    pub nbd_b: u16,
    /// Where B receives.
    pub receive: u16,
    /// Where A dials: the relay in front of `receive`.
    pub link: u16,
    /// The service address: the relay in front of `nbd_a` or `nbd_b`.
    pub service: u16,
}

/// Everything about one run's set-up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Prefix of names on this machine, unique per run.
    pub id: String,
    /// The demo's directory, absolute.
    pub dir: PathBuf,
    /// This program.
    pub program: PathBuf,
    /// Namespaces or plain.
    pub ground: Ground,
    /// Ports.
    pub ports: Ports,
}

impl Stage {
    /// Decides what this machine allows and picks names and ports. Makes nothing yet.
    ///
    /// # Errors
    /// When no port is free or the own program cannot be found.
    pub fn plan(dir: &Path, plain: bool) -> Result<Self> {
        let ports = free_ports()?;
        let dir = dir
            .canonicalize()
            .with_context(|| format!("no directory {}", dir.display()))?;
        check_room(&dir)?;
        Ok(Self {
            id: format!("yd{}", std::process::id()),
            dir,
            program: std::env::current_exe().context("cannot find the own program")?,
            ground: if plain {
                Ground::Plain {
                    reason: Text::new("按要求（--plain）", "asked for (--plain)"),
                }
            } else {
                survey()
            },
            ports,
        })
    }

    /// Reads the stage of the demo in `dir`.
    ///
    /// # Errors
    /// When there is none.
    pub fn load(dir: &Path) -> Result<Self> {
        let path = dir.join("stage.json");
        let bytes = std::fs::read(&path)
            .with_context(|| format!("no demo runs in {} (no stage.json)", dir.display()))?;
        serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))
    }

    /// Writes `stage.json`.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn save(&self) -> Result<()> {
        let path = self.dir.join("stage.json");
        std::fs::write(&path, serde_json::to_vec_pretty(self)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Its journal of things to remove.
    pub fn resources(&self) -> Resources {
        Resources::of(&self.dir)
    }

    /// Whether sites are namespaces.
    pub fn has_namespaces(&self) -> bool {
        matches!(self.ground, Ground::Namespaces { .. })
    }

    /// Name of a namespace: `a`, `b`, `c` (client) or `k` (the network's core).
    pub fn namespace(&self, part: &str) -> String {
        format!("{}{part}", self.id)
    }

    /// `argv` as it must be run to be inside a namespace; unchanged in plain mode.
    pub fn inside<S: AsRef<str>>(&self, part: &str, argv: &[S]) -> Vec<String> {
        let mut line = Vec::new();
        if self.has_namespaces() {
            // Not `ip netns exec`: that gives the program a mount namespace of its own, and what
            // it mounts would be seen by nobody else.
            line.push("nsenter".to_owned());
            line.push(format!("--net=/run/netns/{}", self.namespace(part)));
        }
        line.extend(argv.iter().map(|word| word.as_ref().to_owned()));
        line
    }

    /// Where a site keeps its image and logs.
    pub fn site_dir(&self, site: Site) -> PathBuf {
        self.dir.join(format!("site-{}", site.letter()))
    }

    /// A site's image of the volume.
    pub fn image(&self, site: Site) -> PathBuf {
        self.site_dir(site).join(format!("{VOLUME}.img"))
    }

    /// Where the business's driver keeps its records, outside every volume.
    pub fn driver_dir(&self) -> PathBuf {
        self.dir.join("business")
    }

    /// Folder for mount points and sockets: short, and reachable by the user `postgres` even
    /// when the demo's directory is not.
    pub fn run_dir(&self) -> PathBuf {
        Path::new("/run").join(format!("yundu-{}", self.id))
    }

    /// Where volume processes note their names, so that `yundu volume` finds them by name.
    pub fn names_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// ADDR:PORT of the NBD server at a site, as seen from inside that site.
    pub fn nbd_address(&self, site: Site) -> String {
        match (self.has_namespaces(), site) {
            (true, _) => "127.0.0.1:10809".to_owned(),
            (false, Site::A) => format!("127.0.0.1:{}", self.ports.nbd_a),
            (false, Site::B) => format!("127.0.0.1:{}", self.ports.nbd_b),
        }
    }

    /// ADDR:PORT at which B receives.
    pub fn receive_address(&self) -> String {
        if self.has_namespaces() {
            format!("{}:10900", Site::B.replication_address())
        } else {
            format!("127.0.0.1:{}", self.ports.receive)
        }
    }

    /// ADDR:PORT that A dials to reach B.
    pub fn link_address(&self) -> String {
        if self.has_namespaces() {
            self.receive_address()
        } else {
            format!("127.0.0.1:{}", self.ports.link)
        }
    }

    /// ADDR:PORT under which the business reaches its system.
    pub fn service_address(&self) -> String {
        if self.has_namespaces() {
            format!("{SERVICE_ADDRESS}:5432")
        } else {
            format!("127.0.0.1:{}", self.ports.service)
        }
    }

    /// Control file of a relay (plain mode): `link` or `service`.
    pub fn relay_control(&self, name: &str) -> PathBuf {
        self.dir.join(format!("relay-{name}.json"))
    }
}

/// Refuses a directory in which the demo could not end well.
fn check_room(dir: &Path) -> Result<()> {
    let length = dir.as_os_str().len();
    if length > DIR_LENGTH_MAX {
        bail!(
            "{} is {length} bytes long: the paths of control sockets below it would be too long \
             for the system, at most {DIR_LENGTH_MAX} are possible; use --dir",
            dir.display()
        );
    }
    let free = rustix::fs::statvfs(dir).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    match free {
        Ok(bytes) if bytes < ROOM_BYTES => bail!(
            "only {} MB are free at {}, the demo needs {} MB; use --dir",
            bytes / 1_000_000,
            dir.display(),
            ROOM_BYTES / 1_000_000
        ),
        _ => Ok(()),
    }
}

fn free_ports() -> Result<Ports> {
    // All are held at once, so that the same port is not given out twice.
    let mut held = Vec::new();
    let mut pick = || -> Result<u16> {
        let listener = TcpListener::bind("127.0.0.1:0").context("no free port on loopback")?;
        let port = listener.local_addr()?.port();
        held.push(listener);
        Ok(port)
    };
    Ok(Ports {
        nbd_a: pick()?,
        nbd_b: pick()?,
        receive: pick()?,
        link: pick()?,
        service: pick()?,
    })
}

/// What this machine allows.
fn survey() -> Ground {
    match survey_namespaces() {
        Ok(postgres_bin) => Ground::Namespaces { postgres_bin },
        Err(reason) => Ground::Plain { reason },
    }
}

fn survey_namespaces() -> Result<PathBuf, Text> {
    if !rustix::process::geteuid().is_root() {
        return Err(Text::new("不是 root 用户", "not running as root"));
    }
    for device in ["/dev/fuse", "/dev/loop-control"] {
        if !Path::new(device).exists() {
            return Err(Text::new(
                format!("本机没有 {device}"),
                format!("no {device} here"),
            ));
        }
    }
    let needed = [
        "ip",
        "bridge",
        "nsenter",
        "setpriv",
        "losetup",
        "mkfs.ext4",
        "mount",
        "umount",
        "qemu-storage-daemon",
    ];
    if let Some(missing) = needed
        .into_iter()
        .find(|program| find_program(program).is_none())
    {
        return Err(Text::new(
            format!("找不到程序 {missing}"),
            format!("no program {missing}"),
        ));
    }
    let fuse = super::process::run(&["qemu-storage-daemon", "--help"]);
    if !fuse.is_ok_and(|help| help.contains("type=]fuse")) {
        return Err(Text::new(
            "qemu-storage-daemon 不带 FUSE 导出",
            "this qemu-storage-daemon has no FUSE export",
        ));
    }
    if super::process::run(&["losetup", "--find"]).is_err() {
        return Err(Text::new("没有可用的环回设备", "no loop device can be had"));
    }
    let Some(postgres_bin) = find_postgres() else {
        return Err(Text::new(
            "找不到 PostgreSQL 15 或更新版本（/usr/lib/postgresql）",
            "no PostgreSQL 15 or newer under /usr/lib/postgresql",
        ));
    };
    try_namespace().map_err(|error| {
        Text::new(
            format!("不能建立网络命名空间：{error:#}"),
            format!("cannot make a network namespace: {error:#}"),
        )
    })?;
    Ok(postgres_bin)
}

/// The newest PostgreSQL that has what the demo needs.
fn find_postgres() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    versions
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            let bin = entry.path().join("bin");
            let complete = ["postgres", "initdb", "pg_amcheck"]
                .iter()
                .all(|p| bin.join(p).is_file());
            (version >= 15 && complete).then_some((version, bin))
        })
        .max()
        .map(|(_, bin)| bin)
}

/// Being root is not enough: a container may forbid namespaces, veth pairs or bridges.
fn try_namespace() -> Result<()> {
    let name = format!("ydtry{}", std::process::id());
    super::process::run(&["ip", "netns", "add", &name])?;
    let tried = super::process::run(&["ip", "-n", &name, "link", "add", "br0", "type", "bridge"])
        .and_then(|_| {
            super::process::run(&[
                "ip", "-n", &name, "link", "add", "va", "type", "veth", "peer", "name", "vb",
            ])
        });
    super::process::run(&["ip", "netns", "del", &name])?;
    if let Err(error) = tried {
        bail!("{error:#}");
    }
    Ok(())
}
