//! What the tests of whole processes share: members as processes, the check of what they hold, and ways to look at a
//! process from outside.

use std::path::{Path, PathBuf};

pub mod c_program;
pub mod check;
pub mod cluster;
pub mod machine;
pub mod order;
pub mod process;
pub mod random;
pub mod trace;
pub mod trouble;

/// An empty folder below `parent` for a test of this process.
pub fn fresh_directory(parent: &str, name: &str) -> PathBuf {
    let directory = Path::new(parent).join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).expect("the test's directory can be made");
    directory
}

/// The Rust program of the README is compiled and run like any example.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
