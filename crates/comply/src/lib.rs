//! Controls as Rego policies over evidence and estate; gates computed from recorded inputs.
