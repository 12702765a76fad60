//! What the tests of whole processes share: members as processes, the check of what they hold, and
//! ways to look at a process from outside.

use std::path::{Path, PathBuf};

pub mod attacker;
pub mod c_program;
pub mod check;
pub mod cluster;
pub mod machine;
pub mod order;
pub mod process;
pub mod random;
pub mod tmpfs;
pub mod trace;
pub mod trouble;

/// An empty folder below `parent` for a test of this process.
pub fn fresh_directory(parent: &str, name: &str) -> PathBuf {
    let directory = Path::new(parent).join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).expect("the test's directory can be made");
    directory
}

/// A number from `/proc/<id>/status`: bytes in KiB, or a mask in hexadecimal.
pub fn process_status(id: u32, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{id}/status")).expect("the process runs");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let value = line.unwrap_or_else(|| panic!("/proc/{id}/status has no {name}")).trim();
    let number = match value.strip_suffix(" kB") {
        Some(kib) => kib.parse().ok(),
        None => u64::from_str_radix(value, 16).ok(),
    };
    number.unwrap_or_else(|| panic!("{name} in /proc/{id}/status is '{value}'"))
}

/// The Rust program of the README is compiled and run like any example.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
