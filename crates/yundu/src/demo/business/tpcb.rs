//! TPC-B-like transfers over PostgreSQL: one account, one teller and one branch get the same
//! amount, history gets a line. Each connection comes back by itself after an error.

use super::{CONNECTIONS, Desk, Dice, RATE};
use crate::demo::postgres::{BRANCHES, DATABASE};
use crate::demo::transfers::Transfer;
use anyhow::{Context as _, Result};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions, Connection, Executor};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The first connection may take its time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A later attempt is given up after this; the next follows after [`RETRY_PAUSE`]. Short, so that
/// the pause of a switch is the switch's and not the client's.
const RECONNECT_TIMEOUT: Duration = Duration::from_millis(120);
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// Runs until the stop file appears.
///
/// # Errors
/// When the record cannot be written.
pub fn run(desk: Desk, address: &str) -> Result<()> {
    let (host, port) = address
        .rsplit_once(':')
        .context("a service address is HOST:PORT")?;
    let options = PgConnectOptions::new_without_pgpass()
        .host(host)
        .port(port.parse()?)
        .username("postgres")
        .database(DATABASE)
        .application_name("harbour-bank")
        .ssl_mode(PgSslMode::Disable)
        .disable_statement_logging();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let desk = Arc::new(desk);
    runtime.block_on(async {
        let mut clerks = tokio::task::JoinSet::new();
        for seat in 0..CONNECTIONS {
            clerks.spawn(work(Arc::clone(&desk), options.clone(), seat as u64));
        }
        while let Some(ended) = clerks.join_next().await {
            ended??;
        }
        Ok(())
    })
}

/// How a transfer ended.
enum End {
    Committed,
    /// The database said no: it was not done.
    Refused(sqlx::Error),
    /// The connection broke before COMMIT was sent: it was not done.
    Broken(sqlx::Error),
    /// The connection broke after COMMIT was sent.
    InDoubt(sqlx::Error),
}

async fn work(desk: Arc<Desk>, options: PgConnectOptions, seat: u64) -> Result<()> {
    let mut dice = Dice::new(seat);
    let pace = Duration::from_secs(1) * u32::try_from(CONNECTIONS)? / RATE;
    let mut due = Instant::now();
    let mut patience = CONNECT_TIMEOUT;
    'connect: while !desk.is_stopped() {
        let begin = Instant::now();
        let connecting = PgConnection::connect_with(&options);
        let mut connection = match tokio::time::timeout(patience, connecting).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => {
                desk.log
                    .error(micros(begin), &format!("connect: {error}"))?;
                tokio::time::sleep(RETRY_PAUSE).await;
                continue;
            }
            Err(_) => {
                desk.log.error(micros(begin), "connect: no answer")?;
                continue;
            }
        };
        patience = RECONNECT_TIMEOUT;
        while !desk.is_stopped() {
            let now = Instant::now();
            if due > now {
                tokio::time::sleep(due - now).await;
            }
            // Missed beats are not caught up in a burst.
            due = due.max(Instant::now().checked_sub(pace).unwrap_or(due)) + pace;
            let transfer = Transfer {
                id: desk.next_id.fetch_add(1, Ordering::SeqCst),
                account: dice.roll(1, BRANCHES * 100_000),
                counterpart: dice.roll(1, BRANCHES * 10),
                branch: dice.roll(1, BRANCHES),
                amount: dice.roll(-500_000, 500_000),
            };
            let begin = Instant::now();
            match post(&desk, &mut connection, &transfer).await? {
                End::Committed => {
                    desk.log.acknowledged(transfer.id, micros(begin))?;
                }
                End::Refused(error) => {
                    desk.log.refused(transfer.id)?;
                    desk.log
                        .error(micros(begin), &format!("refused: {error}"))?;
                    continue 'connect;
                }
                End::Broken(error) => {
                    desk.log.error(micros(begin), &format!("broken: {error}"))?;
                    continue 'connect;
                }
                End::InDoubt(error) => {
                    desk.log
                        .error(micros(begin), &format!("in doubt: {error}"))?;
                    continue 'connect;
                }
            }
        }
        let _ = connection.close().await;
    }
    Ok(())
}

fn micros(since: Instant) -> i64 {
    i64::try_from(since.elapsed().as_micros()).unwrap_or(i64::MAX)
}

/// # Errors
/// When the record cannot be written.
async fn post(desk: &Desk, connection: &mut PgConnection, transfer: &Transfer) -> Result<End> {
    if let Err(error) = statements(connection, transfer).await {
        return Ok(End::Broken(error));
    }
    // The intent stands outside before COMMIT is sent: a driver killed in between leaves a
    // transfer in doubt, never an unknown one.
    desk.log.intent(transfer)?;
    Ok(match connection.execute("COMMIT").await {
        Ok(_) => End::Committed,
        // A server that is shutting down may break off after the commit stood: only a plain
        // refusal (class 23, 40: constraint, serialisation) says that nothing was done.
        Err(sqlx::Error::Database(e)) if is_refusal(e.code().as_deref()) => {
            End::Refused(sqlx::Error::Database(e))
        }
        Err(error) => End::InDoubt(error),
    })
}

fn is_refusal(code: Option<&str>) -> bool {
    code.is_some_and(|code| code.starts_with("23") || code.starts_with("40"))
}

async fn statements(connection: &mut PgConnection, transfer: &Transfer) -> Result<(), sqlx::Error> {
    connection.execute("BEGIN").await?;
    for (sql, id) in [
        (
            "UPDATE accounts SET balance = balance + $1 WHERE id = $2",
            transfer.account,
        ),
        (
            "UPDATE tellers SET balance = balance + $1 WHERE id = $2",
            transfer.counterpart,
        ),
        (
            "UPDATE branches SET balance = balance + $1 WHERE id = $2",
            transfer.branch,
        ),
    ] {
        sqlx::query(sql)
            .bind(transfer.amount)
            .bind(id)
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query(
        "INSERT INTO history (transfer_id, account_id, teller_id, branch_id, amount) \
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(transfer.id)
    .bind(transfer.account)
    .bind(transfer.counterpart)
    .bind(transfer.branch)
    .bind(transfer.amount)
    .execute(connection)
    .await?;
    Ok(())
}
