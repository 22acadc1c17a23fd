//! The estate: everything an institution runs, each fact with its provenance, and the importers
//! that read it.

pub mod text;
