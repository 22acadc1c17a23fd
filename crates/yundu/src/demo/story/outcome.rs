//! What the story measured, as `yundu demo --json FILE` writes it.

use anyhow::{Result, bail};
use serde::Serialize;
use std::collections::BTreeMap;

/// Goal for the longest stall of a storage request, µs: a rehearsal above it does not count. A
/// busy machine can miss it without anything being lost, so missing it is told, and fails nothing.
pub(super) const STALL_US_LIMIT: i64 = 100_000;

/// The outcome. Times in µs, sizes in bytes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    /// `namespaces` or `plain`.
    pub mode: String,
    /// Transfers that the business saw acknowledged.
    pub acknowledged_writes: u64,
    /// … of which the books at B lack this many.
    pub lost_writes: i64,
    /// Errors that the business saw outside announced switches.
    pub client_errors: u64,
    /// Transfers whose outcome the business never learned.
    pub in_doubt_writes: u64,
    /// Longest wait of one storage request outside the two link faults, measured by the client.
    pub stall_us_max: i64,
    /// The goal for it was met.
    pub stall_goal_met: bool,
    /// 99.9 % of the storage requests waited no longer.
    pub wait_us_p999: i64,
    /// Longest wait of a storage request that touched a link fault.
    pub fault_wait_us_max: i64,
    /// Longest transfer outside switches and link faults.
    pub commit_wait_us_max: i64,
    /// What the business felt of the switch of the application.
    pub interruption_us: i64,
    /// What it felt of the comparison with the database stopped, in the rehearsal.
    pub rehearsal_interruption_us: i64,
    /// Sent by the full copy.
    pub copy_bytes: u64,
    /// Sent again after the link faults.
    pub resync_bytes: u64,
    /// Written while the link was lost, and so had to be sent again.
    pub dirtied_bytes: u64,
    /// Digest of the source as of the cut.
    pub source_digest: String,
    /// Digest of the target as of the cut.
    pub target_digest: String,
    /// Verdicts that kept a gate closed.
    pub gates_refused: u64,
    /// Verdicts that opened one.
    pub gates_opened: u64,
    /// The way back, as rehearsed.
    pub rollback_us: i64,
    /// Records in the ledger.
    pub ledger_entries: u64,
    /// Both verifiers found nothing altered.
    pub ledger_verified: bool,
    /// The rewritten and newly signed ledger was caught against the kept checkpoint.
    pub forgery_caught: bool,
    /// Time of each chapter.
    pub chapters_us: BTreeMap<String, i64>,
    /// Path of the report.
    pub report: String,
    /// Path of the ledger.
    pub ledger: String,
    /// How an outsider verifies it.
    pub verify_command: String,
}

impl Outcome {
    /// Whether everything came out as promised.
    ///
    /// # Errors
    /// Names every promise that was not kept.
    pub fn judge(&self) -> Result<()> {
        let resync_limit = self.dirtied_bytes.saturating_mul(12) / 10;
        let promises = [
            (
                self.acknowledged_writes > 0,
                "no transfer was acknowledged".to_owned(),
            ),
            (
                self.lost_writes == 0,
                format!("{} acknowledged transfers are lost", self.lost_writes),
            ),
            (
                self.client_errors == 0,
                format!("the business saw {} errors", self.client_errors),
            ),
            (
                self.resync_bytes <= resync_limit,
                format!(
                    "{} bytes were sent again for {}",
                    self.resync_bytes, self.dirtied_bytes
                ),
            ),
            (
                !self.source_digest.is_empty() && self.source_digest == self.target_digest,
                "source and target differ as of the cut".to_owned(),
            ),
            (
                self.ledger_verified,
                "the ledger does not verify".to_owned(),
            ),
            (
                self.forgery_caught,
                "the forged ledger was not caught".to_owned(),
            ),
        ];
        let broken: Vec<String> = promises
            .into_iter()
            .filter(|(kept, _)| !kept)
            .map(|(_, text)| text)
            .collect();
        if broken.is_empty() {
            Ok(())
        } else {
            bail!("{}", broken.join("; "))
        }
    }
}
