//! What the tests of whole processes share: members as processes, and the check of what they hold.

pub mod c_program;
pub mod check;
pub mod cluster;
pub mod machine;
pub mod process;
pub mod random;

/// The Rust program of the README is compiled and run like any example.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
