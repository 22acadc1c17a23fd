//! The backends that the suite runs on: SQLite in a directory, and a throw-away PostgreSQL.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;
use yundu_store::Store;

/// A fresh database; it goes when this is dropped.
pub struct Database {
    pub name: &'static str,
    pub url: String,
    _directory: Option<TempDir>,
}

/// One fresh database per backend that this machine has.
pub async fn databases(label: &str) -> Vec<Database> {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("yundu.db").display());
    let mut all = vec![Database {
        name: "sqlite",
        url,
        _directory: Some(directory),
    }];
    match cluster() {
        Some(base) => {
            let name = format!("t_{label}_{}", std::process::id());
            let admin = sqlx::PgPool::connect(&base.url("postgres")).await.unwrap();
            let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
            sqlx::raw_sql(create).execute(&admin).await.unwrap();
            all.push(Database {
                name: "postgres",
                url: base.url(&name),
                _directory: None,
            });
        }
        None => println!(
            "skipped on PostgreSQL: set YUNDU_TEST_POSTGRES or install postgresql (initdb not found)"
        ),
    }
    all
}

pub async fn open(database: &Database) -> Store {
    Store::open(&database.url).await.unwrap()
}

struct Cluster {
    base: String,
    query: String,
}

impl Cluster {
    fn url(&self, database: &str) -> String {
        format!("{}/{database}{}", self.base, self.query)
    }
}

fn cluster() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    CLUSTER
        .get_or_init(|| match std::env::var("YUNDU_TEST_POSTGRES") {
            Ok(url) => Some(Cluster {
                base: url.trim_end_matches('/').to_owned(),
                query: String::new(),
            }),
            Err(_) => start(),
        })
        .as_ref()
}

/// Starts a cluster on a Unix socket, as user postgres when we are root. A watching shell stops
/// it and removes its files when this process has ended, however it ends.
fn start() -> Option<Cluster> {
    let bin = newest_bin()?;
    let root = is_root();
    let directory = tempfile::Builder::new()
        .prefix("yundu-pg-")
        .tempdir()
        .unwrap()
        .keep();
    if root {
        let owned = Command::new("chown")
            .arg("postgres")
            .arg(&directory)
            .status()
            .unwrap();
        if !owned.success() {
            return None;
        }
    }
    let data = directory.join("data");
    let run = |program: &str, arguments: &[&str]| {
        let path = bin.join(program);
        let mut command = if root {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid=postgres", "--regid=postgres", "--init-groups"])
                .arg(path);
            command
        } else {
            Command::new(path)
        };
        let output = command
            .args(arguments)
            .current_dir(&directory)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    let data_text = data.to_str().unwrap();
    let socket = directory.to_str().unwrap();
    run(
        "initdb",
        &[
            "-D",
            data_text,
            "-U",
            "yundu",
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
        ],
    );
    let options = format!("-c listen_addresses= -c unix_socket_directories={socket} -c fsync=off");
    let log = directory.join("log");
    run(
        "pg_ctl",
        &[
            "-D",
            data_text,
            "-w",
            "-l",
            log.to_str().unwrap(),
            "-o",
            &options,
            "start",
        ],
    );
    watch(&directory, &data);
    Some(Cluster {
        base: "postgres://yundu@localhost".to_owned(),
        query: format!("?host={}", socket.replace('/', "%2F")),
    })
}

#[expect(
    clippy::zombie_processes,
    reason = "it ends after this process, which it waits for"
)]
fn watch(directory: &Path, data: &Path) {
    let script = format!(
        "while kill -0 {ours} 2>/dev/null; do sleep 0.2; done; kill -QUIT $(head -1 {data}/postmaster.pid); sleep 0.5; rm -rf {directory}",
        ours = std::process::id(),
        data = data.display(),
        directory = directory.display()
    );
    Command::new("setsid")
        .args(["sh", "-c", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
}

fn newest_bin() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .filter_map(Result::ok)
        .map(|entry| entry.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    found.sort();
    found.pop()
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout.starts_with(b"0\n")
}
