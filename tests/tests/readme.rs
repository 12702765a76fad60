//! The C program of the README is complete, short, and does what the README says.

use std::fs;
use std::process::Command;

use libraft_tests::c_program::{checkout, compile, empty_folder, run};

/// The README promises a program that can be taken in at a glance.
const PROGRAM_LINES_MAX: usize = 79;

/// The first fenced block of this language.
fn block<'a>(text: &'a str, language: &str) -> &'a str {
    let fence = format!("```{language}\n");
    let (_, behind) = text.split_once(&fence).expect("a block of this language");
    let (body, _) = behind.split_once("```").expect("the end of the block");
    body
}

#[test]
fn the_c_program_of_the_readme_compiles_runs_and_goes_on_where_it_stopped() {
    let readme = fs::read_to_string(checkout().join("README.md")).expect("README.md");
    let program = block(&readme, "c");
    let lines = program.lines().count();
    assert!(lines <= PROGRAM_LINES_MAX, "the program has {lines} lines");

    let folder = empty_folder(env!("CARGO_TARGET_TMPDIR"), "readme");
    fs::write(folder.join("hello.c"), program).expect("hello.c");
    compile(&folder.join("hello.c"), &folder.join("hello"));

    // Every run adds one to what the data directory holds.
    for expected in ["the counter is 1", "the counter is 2"] {
        let output = run(Command::new("./hello").current_dir(&folder));
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected);
    }
    fs::remove_dir_all(&folder).expect("to clean up");
}
