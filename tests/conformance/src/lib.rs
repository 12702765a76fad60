//! One suite that holds all languages of libraft together: what its runner and the Rust driver share. See PROTOCOL.md.

pub mod ledger;
pub mod words;
