//! Ranking of applications by transaction frequency and data sensitivity, with the reasons shown.
//!
//! The score is a whole number of milli-points from 0 to 1000. Each criterion gives a raw value
//! from 0 to 1000, of which its weight takes a share; the shares add up to the score exactly:
//!
//! | criterion | weight | raw value |
//! |---|---|---|
//! | transaction frequency | 400 | `log2_milli(1 + peak per second) / 14`, so that each doubling counts the same; 1000 from 16,383 per second |
//! | data sensitivity | 400 | `(grade - 1) * 250`, grade 1 to 5 of JR/T 0197-2020 |
//! | tier | 100 | office 0, general 333, important 667, core 1000 |
//! | recovery targets | 50 | `1000 - log2_milli(1 + the stricter of RTO and RPO in seconds) / 17`, 0 from 36 hours |
//! | dependents | 50 | 100 for each application that needs it, directly or through others, up to 1000 |
//!
//! `log2_milli(x)` is the binary logarithm in thousandths, linear between powers of two: integers
//! only, so that the same estate gives the same ranking on every machine.
//!
//! What is missing is shown as missing and counts as the most critical value: an unknown system is
//! treated as a sensitive one until somebody says otherwise. Where sources differ, the most
//! critical statement counts.

mod criterion;
mod logarithm;
mod rank;

pub use criterion::{Criterion, CriterionName};
pub use logarithm::log2_milli;
pub use rank::{Ranked, rank};
