//! The evidence ledger: an append-only Merkle log in the C2SP tlog-tiles format.
