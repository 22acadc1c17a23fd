//! The list of problems, with its bound.

use super::problem::Problem;

/// Most problems that a report lists; the rest is counted.
pub const PROBLEMS_MAX: usize = 1000;

#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) problems: Vec<Problem>,
    pub(super) omitted: u64,
}

// === impl Findings ===

impl Findings {
    pub(super) fn add(&mut self, problem: Problem) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        } else {
            self.omitted += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }
}
