//! PostgreSQL on the volume: made once at A, started at whichever site holds the volume.

use super::disk::{mount_point, recorded};
use super::process::{run, run_for, spawn, wait_until};
use super::resources::Resource;
use super::stage::{Ground, Site, Stage};
use anyhow::{Context as _, Result, bail};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection, Executor};
use std::path::PathBuf;
use std::time::Duration;

/// Name of the database and of the user the business connects as.
pub const DATABASE: &str = "bank";
/// Branches; each has 10 tellers and 100,000 accounts, as in TPC-B.
pub const BRANCHES: i64 = 5;

/// The bank's tables.
const SCHEMA: &str = include_str!("../../../../examples/harbour-bank/scripts/schema.sql");

/// Safe by default, small, and with checkpoints spread out.
const SETTINGS: &str = "
listen_addresses = '*'
max_connections = 24
shared_buffers = 64MB
fsync = on
full_page_writes = on
synchronous_commit = on
checkpoint_timeout = 60s
checkpoint_completion_target = 0.9
max_wal_size = 128MB
min_wal_size = 64MB
unix_socket_permissions = 0700
log_checkpoints = on
lc_messages = 'C'
";

fn program(stage: &Stage, name: &str) -> Result<String> {
    match &stage.ground {
        Ground::Namespaces { postgres_bin } => {
            Ok(postgres_bin.join(name).to_string_lossy().into_owned())
        }
        Ground::Plain { .. } => bail!("there is no PostgreSQL in plain mode"),
    }
}

/// PostgreSQL refuses to run as root.
fn as_postgres(argv: &[&str]) -> Vec<String> {
    let mut line: Vec<String> = [
        "setpriv",
        "--reuid",
        "postgres",
        "--regid",
        "postgres",
        "--clear-groups",
        "--",
    ]
    .map(str::to_owned)
    .to_vec();
    line.extend(argv.iter().map(|word| (*word).to_owned()));
    line
}

fn data_dir(stage: &Stage, site: Site) -> PathBuf {
    mount_point(stage, site).join("pgdata")
}

fn socket_dir(stage: &Stage, site: Site) -> PathBuf {
    stage.run_dir().join(format!("sql-{}", site.letter()))
}

/// Whether PostgreSQL was started at a site and not stopped since.
pub fn is_running(stage: &Stage, site: Site) -> bool {
    recorded(stage, &process_name(site)).is_some_and(|process| process.is_alive())
}

/// Name under which the server process of a site is recorded.
fn process_name(site: Site) -> String {
    format!("postgres-{}", site.letter())
}

/// Makes the cluster, with data checksums, on the mounted volume.
///
/// # Errors
/// When `initdb` fails.
pub fn create_cluster(stage: &Stage, site: Site) -> Result<()> {
    let data = data_dir(stage, site);
    std::fs::create_dir_all(&data)?;
    let path = data.to_string_lossy().into_owned();
    run(&["chown", "postgres:postgres", &path])?;
    run(&["chmod", "700", &path])?;
    let initdb = program(stage, "initdb")?;
    // --no-sync: the checkpoint at the first shutdown writes everything anyway, and a demo that
    // is killed before then starts again from nothing.
    let argv = [
        &initdb,
        "--pgdata",
        &path,
        "--data-checksums",
        "--auth",
        "trust",
        "--username",
        "postgres",
        "--no-sync",
        "--encoding",
        "UTF8",
        "--locale",
        "C",
    ];
    run_for(
        &as_postgres(&argv.map(|word| word as &str)),
        Duration::from_secs(120),
    )?;
    append(&data.join("postgresql.conf"), SETTINGS)?;
    append(
        &data.join("pg_hba.conf"),
        &format!("host {DATABASE} postgres 10.77.0.0/24 trust\n"),
    )
}

fn append(path: &std::path::Path, text: &str) -> Result<()> {
    use std::io::Write;
    std::fs::OpenOptions::new()
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Starts PostgreSQL at a site and waits until it takes connections.
///
/// # Errors
/// When it does not come up within 60 s; its log is named.
pub fn start(stage: &Stage, site: Site) -> Result<()> {
    let sockets = socket_dir(stage, site);
    std::fs::create_dir_all(&sockets)?;
    let socket_path = sockets.to_string_lossy().into_owned();
    run(&["chown", "postgres:postgres", &socket_path])?;
    let postgres = program(stage, "postgres")?;
    let data = data_dir(stage, site);
    let argv = [
        &postgres as &str,
        "-D",
        &data.to_string_lossy(),
        "-c",
        &format!("unix_socket_directories={socket_path}"),
    ]
    .map(str::to_owned);
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    let log = stage.site_dir(site).join("postgres.log");
    let line = stage.inside(site.letter(), &as_postgres(&words));
    let process = spawn(&stage.resources(), &process_name(site), &line, &log)?;
    let is_ready = program(stage, "pg_isready")?;
    wait_until(
        &format!(
            "PostgreSQL takes connections at site {}; see {}",
            site.letter(),
            log.display()
        ),
        Duration::from_secs(60),
        || !process.is_alive() || run(&[&is_ready, "--quiet", "--host", &socket_path]).is_ok(),
    )?;
    if process.is_alive() {
        Ok(())
    } else {
        bail!(
            "PostgreSQL ended at once at site {}; see {}",
            site.letter(),
            log.display()
        )
    }
}

/// Stops PostgreSQL at a site (fast shutdown: sessions end, a checkpoint is written). Doing it
/// twice is harmless.
///
/// # Errors
/// When it is still there after two minutes; it is not killed then, because it may be writing.
pub fn stop(stage: &Stage, site: Site) -> Result<()> {
    let Some(process) = recorded(stage, &process_name(site)) else {
        return Ok(());
    };
    process.signal(rustix::process::Signal::INT);
    if !process.wait_gone(Duration::from_secs(120)) {
        bail!(
            "PostgreSQL at site {} does not stop; see its log",
            site.letter()
        );
    }
    stage.resources().release(&Resource::Process {
        name: process_name(site),
        process,
    })
}

/// Connects through the Unix socket of a site, as an administrator on that host would.
///
/// # Errors
/// When PostgreSQL does not run there.
pub async fn connect(stage: &Stage, site: Site, database: &str) -> Result<PgConnection> {
    let options = PgConnectOptions::new()
        .socket(socket_dir(stage, site))
        .username("postgres")
        .database(database)
        .disable_statement_logging();
    PgConnection::connect_with(&options)
        .await
        .with_context(|| format!("cannot connect to PostgreSQL at site {}", site.letter()))
}

/// A runtime for one short conversation with a database.
///
/// # Errors
/// When the machine has no threads or descriptors left.
pub fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

/// Creates the bank's tables and fills them.
///
/// # Errors
/// When a statement fails.
pub fn load(stage: &Stage, site: Site) -> Result<()> {
    block_on(async {
        let mut admin = connect(stage, site, "postgres").await?;
        admin.execute("CREATE DATABASE bank").await?;
        admin.close().await?;
        let mut bank = connect(stage, site, DATABASE).await?;
        bank.execute(SCHEMA).await?;
        for (sql, count) in [
            (
                "INSERT INTO branches SELECT n, 0 FROM generate_series(1, $1) n",
                BRANCHES,
            ),
            (
                "INSERT INTO tellers SELECT n, (n - 1) / 10 + 1, 0 FROM generate_series(1, $1) n",
                BRANCHES * 10,
            ),
            (
                "INSERT INTO accounts SELECT n, (n - 1) / 100000 + 1, 0, repeat('~', 60) \
                 FROM generate_series(1, $1) n",
                BRANCHES * 100_000,
            ),
        ] {
            sqlx::query(sql).bind(count).execute(&mut bank).await?;
        }
        bank.execute("VACUUM ANALYZE").await?;
        bank.close().await?;
        Ok(())
    })
}

/// Writes everything to the volume now, so that the shutdown that follows is short.
///
/// # Errors
/// When PostgreSQL does not run at the site.
pub fn checkpoint(stage: &Stage, site: Site) -> Result<()> {
    block_on(async {
        let mut admin = connect(stage, site, DATABASE).await?;
        admin.execute("CHECKPOINT").await?;
        Ok(admin.close().await?)
    })
}

/// Checks every table and index of the bank with `pg_amcheck`.
///
/// # Errors
/// With its findings, when it finds damage.
pub fn check(stage: &Stage, site: Site) -> Result<()> {
    let sockets = socket_dir(stage, site).to_string_lossy().into_owned();
    let amcheck = program(stage, "pg_amcheck")?;
    run_for(
        &[
            &amcheck as &str,
            "--host",
            &sockets,
            "--username",
            "postgres",
            "--install-missing",
            "--heapallindexed",
            "--database",
            DATABASE,
        ],
        Duration::from_secs(300),
    )
    .map(drop)
}

/// Where on the volume (byte offset) a page of the catalog `pg_rewrite` lies, which holds the
/// definitions of views: in use, and never written by the business. Found through the file
/// system's own map, so that damage done there is damage to real data.
///
/// # Errors
/// When the database or the file system does not tell.
pub fn cold_page_offset(stage: &Stage, site: Site) -> Result<u64> {
    let path = block_on(async {
        let mut admin = connect(stage, site, DATABASE).await?;
        let row: (String,) = sqlx::query_as("SELECT pg_relation_filepath('pg_catalog.pg_rewrite')")
            .fetch_one(&mut admin)
            .await?;
        Ok(row.0)
    })?;
    let file = data_dir(stage, site).join(path);
    first_extent(&file)
}

/// Byte offset of a file's first extent on its device, from `filefrag`.
fn first_extent(file: &std::path::Path) -> Result<u64> {
    let listing = run(&["filefrag", "-b4096", "-v", "-s", &file.to_string_lossy()])?;
    for line in listing.lines() {
        // "   0:        0..      11:      34816..     34827:     12: ..."
        let mut fields = line.split(':');
        if fields
            .next()
            .is_some_and(|ordinal| ordinal.trim().parse::<u32>().is_ok())
            && let Some(block) = fields.nth(1).and_then(|range| range.split("..").next())
            && let Ok(block) = block.trim().parse::<u64>()
        {
            return Ok(block * 4096);
        }
    }
    bail!(
        "filefrag does not tell where {} lies: {listing}",
        file.display()
    )
}
