//! The estate: everything an institution runs, each fact with its provenance, and the importers
//! that read it.
//!
//! An importer turns the bytes of one file into a [`document::SourceDocument`]: a list of
//! statements, each with its line. What is kept is the list of documents. The [`estate::Estate`]
//! is built from all of them together, every time: so importing a document twice changes nothing,
//! importing a changed one replaces what it said before, and where two sources differ both
//! statements stay and the difference is shown.
//!
//! Nothing here knows a network, a clock or a database; `at_us` comes from the caller.

pub mod canonical;
pub mod document;
pub mod engine;
pub mod error;
pub mod estate;
pub mod fact;
pub mod files;
pub mod graph;
pub mod import;
pub mod model;
mod names;
pub mod platform;
mod resolve;
pub mod table;
pub mod text;
mod yaml;

pub use document::{Assertion, Change, Format, Kind, Note, SourceDocument, merge};
pub use error::{ImportError, ImportErrors};
pub use estate::{ApplicationDependency, Contradiction, Estate, Problem};
pub use fact::{Attribute, Fact, FactSet, Facts, Provenance};
pub use names::identifier;
pub use platform::{Known, Platform, PlatformDifference};
pub use resolve::counts;
