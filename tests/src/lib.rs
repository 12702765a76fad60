//! What the tests of whole processes share: members as processes, and the check of what they hold.

pub mod check;
pub mod cluster;
pub mod machine;
pub mod process;
pub mod random;
