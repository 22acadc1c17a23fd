//! What the business itself knows about its transfers, kept outside every volume: one line per
//! intent, acknowledgement, refusal and error. A transfer with an intent and nothing after it is
//! *in doubt*: COMMIT was sent and its outcome never learned.

use super::windows::{Window, now_us};
use anyhow::{Context as _, Result};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

/// Error lines kept; what comes after is counted by the last of them.
const ERRORS_MAX: usize = 10_000;

/// Errors that a tally quotes.
const ERROR_SAMPLES: usize = 3;

/// One transfer as the business asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Chosen by the business, unique over all runs on one volume.
    pub id: i64,
    /// Account debited or credited.
    pub account: i64,
    /// Teller (PostgreSQL) or counter-account (built-in ledger).
    pub counterpart: i64,
    /// Branch (PostgreSQL) or writer (built-in ledger).
    pub branch: i64,
    /// Amount, cents.
    pub amount: i64,
}

/// The business's own record, written line by line.
#[derive(Debug)]
pub struct TransferLog {
    file: File,
}

impl TransferLog {
    /// Where the log of a business directory is.
    pub fn path(dir: &Path) -> PathBuf {
        dir.join("transfers.log")
    }

    /// Opens the log in `dir` for appending.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn open(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let path = Self::path(dir);
        let file = OpenOptions::new().create(true).append(true).open(&path);
        Ok(Self {
            file: file.with_context(|| format!("cannot write {}", path.display()))?,
        })
    }

    /// About to send COMMIT.
    ///
    /// # Errors
    /// When the line cannot be written: then COMMIT must not be sent.
    pub fn intent(&self, transfer: &Transfer) -> Result<()> {
        let Transfer {
            id,
            account,
            counterpart,
            branch,
            amount,
        } = transfer;
        self.line(format_args!(
            "I {id} {account} {counterpart} {branch} {amount}"
        ))
    }

    /// COMMIT was acknowledged, `wait_us` after the transfer began.
    ///
    /// # Errors
    /// When the line cannot be written.
    pub fn acknowledged(&self, id: i64, wait_us: i64) -> Result<()> {
        self.line(format_args!("A {id} {} {wait_us}", now_us()))
    }

    /// The database said that it was not done.
    ///
    /// # Errors
    /// When the line cannot be written.
    pub fn refused(&self, id: i64) -> Result<()> {
        self.line(format_args!("R {id} {}", now_us()))
    }

    /// The business saw an error, in an attempt that took `wait_us`.
    ///
    /// # Errors
    /// When the line cannot be written.
    pub fn error(&self, wait_us: i64, text: &str) -> Result<()> {
        self.line(format_args!(
            "E {} {wait_us} {}",
            now_us(),
            text.replace('\n', " ")
        ))
    }

    fn line(&self, text: std::fmt::Arguments<'_>) -> Result<()> {
        let mut line = String::with_capacity(64);
        writeln!(line, "{text}")?;
        // One write per line with O_APPEND: several connections share the file, and a killed
        // driver loses nothing that it had written.
        Ok((&self.file).write_all(line.as_bytes())?)
    }
}

/// An acknowledged transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// What was asked.
    pub transfer: Transfer,
    /// When the business learned of it, µs.
    pub at_us: i64,
    /// How long it waited, µs.
    pub wait_us: i64,
}

/// An error that the business saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When it was seen, Unix µs.
    pub at_us: i64,
    /// How long the attempt took, µs.
    pub wait_us: i64,
    /// What was said.
    pub text: String,
}

/// The log, read.
#[derive(Clone, Debug, Default)]
pub struct Outcomes {
    /// By transfer id.
    pub acknowledged: BTreeMap<i64, Acknowledged>,
    /// By transfer id: outcome never learned.
    pub in_doubt: BTreeMap<i64, Transfer>,
    /// Errors in order.
    pub errors: Vec<Failure>,
    /// Transfers that the database refused.
    pub refused: u64,
}

impl Outcomes {
    /// Reads the log in `dir`; empty when there is none yet.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn load(dir: &Path) -> Result<Self> {
        let mut outcomes = Self::default();
        let path = TransferLog::path(dir);
        let Ok(file) = File::open(&path) else {
            return Ok(outcomes);
        };
        for line in BufReader::new(file).lines() {
            let line = line.with_context(|| format!("cannot read {}", path.display()))?;
            // A last line torn by a kill says nothing: its transfer stays in doubt.
            let _ = outcomes.take(&line);
        }
        Ok(outcomes)
    }

    fn take(&mut self, line: &str) -> Option<()> {
        let (kind, rest) = line.split_once(' ')?;
        if kind == "E" {
            let mut fields = rest.splitn(3, ' ');
            let at_us = fields.next()?.parse().ok()?;
            let wait_us = fields.next()?.parse().ok()?;
            let text = fields.next()?.to_owned();
            if self.errors.len() < ERRORS_MAX {
                self.errors.push(Failure {
                    at_us,
                    wait_us,
                    text,
                });
            }
            return Some(());
        }
        let mut numbers = rest.split(' ').map(str::parse::<i64>);
        let mut next = || numbers.next()?.ok();
        let id = next()?;
        match kind {
            "I" => {
                let (account, counterpart, branch, amount) = (next()?, next()?, next()?, next()?);
                let transfer = Transfer {
                    id,
                    account,
                    counterpart,
                    branch,
                    amount,
                };
                self.in_doubt.insert(id, transfer);
            }
            "A" => {
                let (at_us, wait_us) = (next()?, next()?);
                let transfer = self.in_doubt.remove(&id)?;
                self.acknowledged.insert(
                    id,
                    Acknowledged {
                        transfer,
                        at_us,
                        wait_us,
                    },
                );
            }
            "R" => {
                self.in_doubt.remove(&id);
                self.refused += 1;
            }
            _ => return None,
        }
        Some(())
    }

    /// The highest id used so far.
    pub fn id_max(&self) -> i64 {
        let last = |key: Option<&i64>| key.copied().unwrap_or(0);
        last(self.acknowledged.keys().next_back()).max(last(self.in_doubt.keys().next_back()))
    }

    /// Counts what the business felt. `switches` are the announced switches of the application:
    /// what fails in them is an interruption, everything else is an error.
    pub fn tally(&self, switches: &[Window], faults: &[Window]) -> Tally {
        let mut times: Vec<i64> = self.acknowledged.values().map(|a| a.at_us).collect();
        times.sort_unstable();
        let interruptions: Vec<Interruption> = switches
            .iter()
            .map(|window| {
                let after = times.partition_point(|&at| at < window.end_us);
                let resumed_us = times.get(after).copied();
                // The last acknowledgement of the old site may come after the announcement.
                let gap = longest_gap(&times, window.begin_us, resumed_us.unwrap_or(i64::MAX));
                Interruption {
                    name: window.name.clone(),
                    interruption_us: gap,
                    resumed_us,
                }
            })
            .collect();
        // An attempt that began in a switch belongs to it, also when it fails a little later.
        let announced = |failure: &&Failure| {
            let begin_us = failure.at_us - failure.wait_us;
            switches
                .iter()
                .zip(&interruptions)
                .any(|(window, interruption)| {
                    let resumed_us = interruption.resumed_us.unwrap_or(window.end_us);
                    let end_us = resumed_us.max(window.end_us);
                    Window {
                        end_us,
                        ..window.clone()
                    }
                    .touches(begin_us, failure.at_us)
                })
        };
        let in_switches = self.errors.iter().filter(announced).count();
        let is_quiet = |a: &&Acknowledged| {
            let begin = a.at_us - a.wait_us;
            !switches
                .iter()
                .chain(faults)
                .any(|window| window.touches(begin, a.at_us))
        };
        Tally {
            acknowledged_writes: self.acknowledged.len() as u64,
            in_doubt_writes: self.in_doubt.len() as u64,
            client_errors: (self.errors.len() - in_switches) as u64,
            error_samples: self
                .errors
                .iter()
                .filter(|failure| !announced(failure))
                .take(ERROR_SAMPLES)
                .map(|failure| failure.text.clone())
                .collect(),
            errors_in_switches: in_switches as u64,
            commit_wait_us_max: self
                .acknowledged
                .values()
                .map(|a| a.wait_us)
                .max()
                .unwrap_or(0),
            quiet_commit_wait_us_max: self
                .acknowledged
                .values()
                .filter(is_quiet)
                .map(|a| a.wait_us)
                .max()
                .unwrap_or(0),
            interruptions,
        }
    }
}

/// The longest time between two acknowledgements, one of which lies at or after `from_us` and
/// none after `to_us`.
fn longest_gap(times: &[i64], from_us: i64, to_us: i64) -> i64 {
    let start = times.partition_point(|&at| at < from_us).saturating_sub(1);
    let end = times.partition_point(|&at| at <= to_us);
    let span = times.get(start..end).unwrap_or_default();
    span.windows(2)
        .filter_map(|w| Some(w.get(1)? - w.first()?))
        .max()
        .unwrap_or(0)
}

/// One announced switch as the business felt it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Interruption {
    /// Name of the switch.
    pub name: String,
    /// Last acknowledgement before to first after, µs.
    pub interruption_us: i64,
    /// First acknowledgement after, Unix µs.
    pub resumed_us: Option<i64>,
}

/// What the business felt over the whole run.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Tally {
    /// Transfers acknowledged.
    pub acknowledged_writes: u64,
    /// Transfers whose outcome was never learned.
    pub in_doubt_writes: u64,
    /// Errors outside announced switches.
    pub client_errors: u64,
    /// The first of them, in words.
    pub error_samples: Vec<String>,
    /// Errors inside announced switches: the interruption, as single attempts felt it.
    pub errors_in_switches: u64,
    /// Longest transfer, µs.
    pub commit_wait_us_max: i64,
    /// Longest transfer that touched neither a switch nor a link fault, µs.
    pub quiet_commit_wait_us_max: i64,
    /// The switches.
    pub interruptions: Vec<Interruption>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(begin_us: i64, end_us: i64) -> Window {
        Window {
            name: "switch".into(),
            begin_us,
            end_us,
        }
    }

    fn outcomes(lines: &str) -> Outcomes {
        let mut outcomes = Outcomes::default();
        for line in lines.lines() {
            outcomes.take(line);
        }
        outcomes
    }

    #[test]
    fn commit_without_an_answer_is_in_doubt_and_not_acknowledged() {
        let outcomes = outcomes("I 1 2 3 4 5\nI 2 2 3 4 5\nA 1 100 10\nI 3 1 1 1 1\nR 3 120\nA 2");
        assert_eq!(
            outcomes.acknowledged.keys().copied().collect::<Vec<_>>(),
            [1]
        );
        assert_eq!(outcomes.in_doubt.keys().copied().collect::<Vec<_>>(), [2]);
        assert_eq!(outcomes.refused, 1);
    }

    #[test]
    fn error_in_an_announced_switch_is_an_interruption_and_any_other_is_an_error() {
        let log = "I 1 1 1 1 1\nA 1 100 1\nE 50 5 early\nE 150 5 refused\nE 210 5 still\nI 2 1 1 1 1\nA 2 250 1\nE 260 40 begun in it\nE 300 5 late";
        let tally = outcomes(log).tally(&[window(120, 200)], &[]);
        assert_eq!((tally.client_errors, tally.errors_in_switches), (2, 3));
        assert_eq!(tally.interruptions[0].interruption_us, 150);
    }

    #[test]
    fn acknowledgement_just_after_the_announcement_shortens_the_interruption() {
        let log = "I 1 1 1 1 1\nA 1 100 1\nI 2 1 1 1 1\nA 2 130 1\nI 3 1 1 1 1\nA 3 250 1";
        let tally = outcomes(log).tally(&[window(120, 200)], &[]);
        assert_eq!(tally.interruptions[0].interruption_us, 120);
    }

    #[test]
    fn wait_in_a_link_fault_does_not_count_as_quiet() {
        let log = "I 1 1 1 1 1\nA 1 100 30\nI 2 1 1 1 1\nA 2 900 500";
        let tally = outcomes(log).tally(&[], &[window(500, 700)]);
        assert_eq!(
            (tally.commit_wait_us_max, tally.quiet_commit_wait_us_max),
            (500, 30)
        );
    }
}
