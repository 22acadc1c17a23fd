//! Opening the database, and transactions.

use crate::StoreError;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous};
use sqlx::{Postgres, Sqlite};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

/// Connections that one process holds at most.
const CONNECTIONS_MAX: u32 = 4;

/// How long a writer waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);

/// Key of the advisory lock that makes writers on PostgreSQL take turns, so that the order of the
/// outbox is the order of commits, as it is on SQLite.
const WRITER_LOCK: i64 = 0x79_75_6e_64_75;

/// Everything mutable.
#[derive(Clone, Debug)]
pub struct Store {
    backend: Backend,
}

#[derive(Clone, Debug)]
enum Backend {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// Changes that are kept all together or not at all; dropped without [`Transaction::commit`],
/// nothing is kept.
#[derive(Debug)]
pub struct Transaction {
    pub(crate) connection: Connection,
}

#[derive(Debug)]
pub(crate) enum Connection {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

// === impl Store ===

impl Store {
    /// Opens `sqlite:PATH` or `postgres://…`, and brings its tables to this version.
    ///
    /// # Errors
    /// [`StoreError::Url`], [`StoreError::Open`], [`StoreError::Migrate`].
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            return Self::open_postgres(url).await;
        }
        match url.strip_prefix("sqlite:") {
            Some(_) => {
                let options =
                    SqliteConnectOptions::from_str(url).map_err(|source| StoreError::Open {
                        url: url.to_owned(),
                        source,
                    })?;
                Self::open_sqlite(options, url).await
            }
            None => Err(StoreError::Url {
                url: without_password(url),
            }),
        }
    }

    /// Opens (or makes) the embedded database in a file.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_file(path: &Path) -> Result<Self, StoreError> {
        let shown = path.display().to_string();
        Self::open_sqlite(SqliteConnectOptions::new().filename(path), &shown).await
    }

    async fn open_sqlite(options: SqliteConnectOptions, shown: &str) -> Result<Self, StoreError> {
        let options = options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // NORMAL may lose the last commits at a power loss; a commit here was acknowledged.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = sqlx::sqlite::SqlitePoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .connect_with(options)
            .await
            .map_err(|source| StoreError::Open {
                url: shown.to_owned(),
                source,
            })?;
        migrator()
            .run(&pool)
            .await
            .map_err(|source| StoreError::Migrate {
                url: shown.to_owned(),
                source,
            })?;
        Ok(Self {
            backend: Backend::Sqlite(pool),
        })
    }

    async fn open_postgres(url: &str) -> Result<Self, StoreError> {
        let shown = without_password(url);
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .connect(url)
            .await
            .map_err(|source| StoreError::Open {
                url: shown.clone(),
                source,
            })?;
        migrator()
            .run(&pool)
            .await
            .map_err(|source| StoreError::Migrate { url: shown, source })?;
        Ok(Self {
            backend: Backend::Postgres(pool),
        })
    }

    /// Begins a change. Writers take turns: the next one waits until this one ends.
    ///
    /// # Errors
    /// [`StoreError::Query`] when another writer holds the database for too long.
    pub async fn begin(&self) -> Result<Transaction, StoreError> {
        let failed = |source| StoreError::Query {
            what: "begin a change",
            source,
        };
        match &self.backend {
            Backend::Sqlite(pool) => {
                let transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
                Ok(Transaction {
                    connection: Connection::Sqlite(transaction),
                })
            }
            Backend::Postgres(pool) => {
                let mut transaction = pool.begin().await.map_err(failed)?;
                sqlx::query("SELECT pg_advisory_xact_lock($1)")
                    .bind(WRITER_LOCK)
                    .execute(&mut *transaction)
                    .await
                    .map_err(failed)?;
                Ok(Transaction {
                    connection: Connection::Postgres(transaction),
                })
            }
        }
    }

    /// Begins reading: one consistent view, no waiting for writers. Changes made in it are
    /// not meant to be committed.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub async fn read(&self) -> Result<Transaction, StoreError> {
        let failed = |source| StoreError::Query {
            what: "begin reading",
            source,
        };
        Ok(Transaction {
            connection: match &self.backend {
                Backend::Sqlite(pool) => Connection::Sqlite(pool.begin().await.map_err(failed)?),
                Backend::Postgres(pool) => Connection::Postgres(
                    pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                        .await
                        .map_err(failed)?,
                ),
            },
        })
    }

    /// Closes all connections.
    pub async fn close(&self) {
        match &self.backend {
            Backend::Sqlite(pool) => pool.close().await,
            Backend::Postgres(pool) => pool.close().await,
        }
    }
}

// === impl Transaction ===

impl Transaction {
    /// Keeps the changes; durable when this returns.
    ///
    /// # Errors
    /// [`StoreError::Query`]; then nothing was kept.
    pub async fn commit(self) -> Result<(), StoreError> {
        match self.connection {
            Connection::Sqlite(transaction) => transaction.commit().await,
            Connection::Postgres(transaction) => transaction.commit().await,
        }
        .map_err(|source| StoreError::Query {
            what: "commit",
            source,
        })
    }
}

fn migrator() -> Migrator {
    let tables = Migration::new(
        1,
        "tables".into(),
        MigrationType::Simple,
        sqlx::SqlStr::from_static(include_str!("../migrations/0001_tables.sql")),
        false,
    );
    Migrator::with_migrations(vec![tables])
}

/// `scheme://user:secret@host/db` becomes `scheme://user@host/db`.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let Some((login, place)) = rest.rsplit_once('@') else {
        return url.to_owned();
    };
    let user = login.split(':').next().unwrap_or_default();
    format!("{scheme}://{user}@{place}")
}

#[cfg(test)]
mod tests {
    use super::without_password;

    #[test]
    fn a_password_is_never_shown() {
        assert_eq!(
            without_password("postgres://u:p@ss@h/d"),
            "postgres://u@h/d"
        );
        assert_eq!(without_password("postgres://h/d"), "postgres://h/d");
    }
}
