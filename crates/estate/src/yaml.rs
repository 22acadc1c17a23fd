//! YAML with places: a tree in which every node knows its line, and the check of such a tree
//! against a JSON Schema that names everything that does not fit, all at once.

pub(crate) mod shape;
pub(crate) mod tree;
