//! Figures: gathered, compared, printed, kept.

use anyhow::{Context as _, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// What a ratio must be.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// At most so many thousandths of the peer.
    AtMost(u64),
    /// At least so many thousandths of the peer.
    AtLeast(u64),
}

/// Samples of one figure: ours, and those of each peer.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Samples(BTreeMap<String, Vec<u64>>);

impl Samples {
    /// Adds what `candidate` reached in one turn.
    pub fn add(&mut self, candidate: &str, value: u64) {
        self.0.entry(candidate.to_owned()).or_default().push(value);
    }

    fn medians(&self) -> BTreeMap<&str, u64> {
        self.0
            .iter()
            .map(|(name, values)| (name.as_str(), median(values)))
            .collect()
    }
}

/// Name under which our own samples stand.
pub const OURS: &str = "yundu";

/// One figure of ours beside the best of the peers'.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// What was measured.
    figure: String,
    /// Unit of the figures.
    unit: &'static str,
    /// Median of ours.
    ours: u64,
    /// Median of the best peer.
    peer: u64,
    /// Which peer was best.
    peer_name: String,
    /// `ours / peer`, thousandths.
    ratio_milli: u64,
    /// `ours / peer`.
    ratio: f64,
    /// What the ratio should be.
    goal: String,
    /// Whether it is.
    met: bool,
    /// Everything measured, in order.
    samples: Samples,
}

impl Comparison {
    /// Compares medians. The best peer is the smallest where less is better, else the largest.
    pub fn new(figure: &str, unit: &'static str, goal: Goal, samples: Samples) -> Result<Self> {
        let medians = samples.medians();
        let ours = *medians.get(OURS).context("nothing of ours was measured")?;
        let peers = medians.iter().filter(|(name, _)| **name != OURS);
        let best = match goal {
            Goal::AtMost(_) => peers.min_by_key(|(_, value)| **value),
            Goal::AtLeast(_) => peers.max_by_key(|(_, value)| **value),
        };
        let (peer_name, peer) = best.context("no peer was measured")?;
        let (peer_name, peer) = ((*peer_name).to_owned(), *peer);
        let ratio_milli = ours.saturating_mul(1000) / peer.max(1);
        let (goal, met) = match goal {
            Goal::AtMost(limit) => (format!("≤ {}", decimal(limit)), ratio_milli <= limit),
            Goal::AtLeast(limit) => (format!("≥ {}", decimal(limit)), ratio_milli >= limit),
        };
        let ratio = ratio_milli as f64 / 1000.0;
        let figure = figure.to_owned();
        Ok(Self {
            figure,
            unit,
            ours,
            peer,
            peer_name,
            ratio_milli,
            ratio,
            goal,
            met,
            samples,
        })
    }
}

/// The outcome of one bench.
#[derive(Debug, Serialize)]
pub struct Report {
    name: &'static str,
    at_us: u64,
    machine: BTreeMap<&'static str, String>,
    /// Fields of the first comparison, which is the headline.
    ours: u64,
    peer: u64,
    ratio: f64,
    unit: &'static str,
    goal: String,
    met: bool,
    comparisons: Vec<Comparison>,
    /// Figures without a peer.
    measured: BTreeMap<String, Vec<u64>>,
}

impl Report {
    /// A report; the first comparison is its headline.
    pub fn new(
        name: &'static str,
        filesystem: &str,
        comparisons: Vec<Comparison>,
        measured: BTreeMap<String, Vec<u64>>,
    ) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let first = comparisons.first().context("nothing was compared")?;
        let processors = std::thread::available_parallelism()?.get().to_string();
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let machine = BTreeMap::from([
            ("architecture", std::env::consts::ARCH.to_owned()),
            ("filesystem", filesystem.to_owned()),
            ("kernel", kernel.trim().to_owned()),
            (
                "load_average_after",
                load.split(' ').take(3).collect::<Vec<_>>().join(" "),
            ),
            ("processors", processors),
        ]);
        Ok(Self {
            name,
            at_us: u64::try_from(now.as_micros())?,
            machine,
            ours: first.ours,
            peer: first.peer,
            ratio: first.ratio,
            unit: first.unit,
            goal: first.goal.clone(),
            met: first.met,
            comparisons,
            measured,
        })
    }

    /// Prints the figures and keeps them as `FOLDER/NAME.json`.
    pub fn publish(&self, folder: &Path) -> Result<()> {
        println!(
            "{} ({})",
            self.name,
            self.machine.get("filesystem").map_or("", String::as_str)
        );
        println!(
            "  {:<38} {:>12} {:>12}  {:<20} {:>7}  {:<7}",
            "figure", "yundu", "peer", "", "ratio", "goal"
        );
        for line in &self.comparisons {
            let verdict = if line.met { "met" } else { "MISSED" };
            println!(
                "  {:<38} {:>12} {:>12}  {:<20} {:>7}  {:<7} {verdict}",
                format!("{} [{}]", line.figure, line.unit),
                line.ours,
                line.peer,
                line.peer_name,
                decimal(line.ratio_milli),
                line.goal,
            );
        }
        for (name, values) in &self.measured {
            println!("  {name:<38} {:>12}", median(values));
        }
        std::fs::create_dir_all(folder)?;
        let path = folder.join(format!("{}.json", self.name));
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("  kept as {}", path.display());
        Ok(())
    }
}

/// The middle of the values; zero of none.
pub fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let upper = sorted.get(sorted.len() / 2).copied().unwrap_or(0);
    let lower = sorted
        .get(sorted.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(0);
    lower.midpoint(upper)
}

fn decimal(milli: u64) -> String {
    format!("{}.{:03}", milli / 1000, milli % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(ours: &[u64], one: &[u64], other: &[u64]) -> Samples {
        let mut samples = Samples::default();
        ours.iter().for_each(|value| samples.add(OURS, *value));
        one.iter().for_each(|value| samples.add("one", *value));
        other.iter().for_each(|value| samples.add("other", *value));
        samples
    }

    #[test]
    fn median_is_the_middle() {
        assert_eq!(median(&[]), 0);
        assert_eq!(median(&[9, 1, 5]), 5);
        assert_eq!(median(&[4, 1, 9, 6]), 5);
    }

    #[test]
    fn the_best_peer_is_the_one_to_beat() {
        let time = samples(&[50, 60, 1000], &[120, 130, 100], &[100, 100, 100]);
        let compared = Comparison::new("time", "µs", Goal::AtMost(600), time).unwrap();
        assert_eq!(
            (compared.ours, compared.peer, compared.met),
            (60, 100, true)
        );
        assert_eq!(compared.peer_name, "other");
        let rate = samples(&[94], &[100], &[10]);
        let compared = Comparison::new("rate", "1/s", Goal::AtLeast(950), rate).unwrap();
        assert_eq!((compared.ratio_milli, compared.met), (940, false));
        assert_eq!(
            (compared.peer_name.as_str(), compared.goal.as_str()),
            ("one", "≥ 0.950")
        );
    }
}
