//! Waves that respect dependencies: non-core first, then a pilot of the core, then the core.
//!
//! Rules, in the order in which they bind:
//!
//! 1. An application moves in the same wave as what it needs, or later; within a wave, what is
//!    needed comes first. So a dependency is always reached at its final place, and each cut-over
//!    is followed by at most one change of address at its dependents.
//! 2. Applications that need each other in a circle move together, as one group.
//! 3. Non-core applications come first. One that needs the core, directly or through others,
//!    cannot: it waits for the core, and the placement says so.
//! 4. The pilot of the core is one group alone: the least critical core group whose needs are met.
//! 5. Within a stage the less critical move first, so that the practice is gained where an error
//!    costs least; equal scores in the order of identifiers.
//! 6. A wave holds at most `capacity` applications; a group larger than that has a wave of its own.
//!
//! Knows no estate, clock or database: plain data in, a plan with a digest out. The order of the
//! input does not matter.

mod group;
mod input;
mod place;
mod plan;

pub use input::{Candidate, Need, PlanError, PlanInput};
pub use place::waves;
pub use plan::{Placement, Plan, Stage, Wave};
