//! Identities, roles, keys and approvals: maker never checker, each decision signed by its person.
//!
//! A [`Person`] has roles and a public key; the private [`PersonKey`] stays with the person. An
//! [`Approval`] binds a decision to the exact digest of what was decided on, and its signature
//! covers every other field. [`check`] says whether a decision counts. Everything here is a pure
//! function of its arguments except reading and writing key files; rows are kept by the store.

mod approval;
mod check;
mod key;
mod person;

pub use approval::{Approval, Decision};
pub use check::{Refusal, check, verify_signature};
pub use key::{KeyError, PersonKey, PublicKey};
pub use person::{Person, PersonError, Role};
