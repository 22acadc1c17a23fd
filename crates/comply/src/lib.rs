//! Controls as Rego policies over evidence and estate; gates computed from recorded inputs.
//!
//! A [`Gate`] names a set of [`Control`]s; each control is judged by one policy, which sees
//! nothing but the recorded input and the control's own parameters: no clock, network, file or
//! chance. What a policy does not answer in the one expected shape counts as
//! [`Status::Unknown`], and unknown is never open. A gate with no controls is closed.
//!
//! [`Bundle`] is everything a verdict depends on beside the input: the gate, its controls and
//! the policies' texts. [`Bundle::evaluate`] is a pure function; with the two artefacts that a
//! verdict names by digest, [`recompute`] says a year later whether the verdict follows from
//! them.

mod bundle;
mod catalog;
mod control;
mod embedded;
mod gate;
mod input;
mod policy;
mod verdict;

pub use bundle::{Bundle, BundleError, Recomputation, recompute};
pub use catalog::{Catalog, CatalogError, CatalogFault};
pub use control::{Control, Dimension, Phase, Reference};
pub use embedded::EMBEDDED;
pub use gate::Gate;
pub use input::{InputError, canonical_input};
pub use policy::{POLICY_BYTES_MAX, POLICY_TIME_MAX, PolicyFault};
pub use verdict::{ControlVerdict, GateVerdict, Status};
