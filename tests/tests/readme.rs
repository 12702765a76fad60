//! The C program of the README is complete, short, and does what the README says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The README promises a program that can be taken in at a glance.
const PROGRAM_LINES_MAX: usize = 79;

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the checkout")
}

/// The text of the first fenced block with this language.
fn block(text: &str, language: &str) -> String {
    let start = text.find(&format!("```{language}\n")).expect("a block in this language");
    let body = &text[start..];
    let body = &body[body.find('\n').expect("a line") + 1..];
    body[..body.find("\n```").expect("the end of the block") + 1].to_owned()
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} ended with {}:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

#[test]
fn the_c_program_of_the_readme_compiles_runs_and_goes_on_where_it_stopped() {
    let checkout = checkout();
    let readme = fs::read_to_string(checkout.join("README.md")).expect("README.md");
    let source = block(&readme, "c");
    let lines = source.lines().count();
    assert!(lines <= PROGRAM_LINES_MAX, "the program has {lines} lines");

    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("readme-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("hello.c"), source).expect("hello.c");

    // The library of this build: it lies beside this program's folder.
    let program = std::env::current_exe().expect("this program");
    let build = program.parent().and_then(Path::parent).expect("the folder of the build");
    let profile = if build.ends_with("debug") { "dev" } else { "release" };
    run(Command::new(env!("CARGO"))
        .current_dir(&checkout)
        .args(["build", "--locked", "--quiet", "--package", "libraft-ffi", "--profile", profile])
        .arg("--target-dir")
        .arg(build.parent().expect("the target folder")));
    run(Command::new("cc")
        .current_dir(&folder)
        .args(["-std=c11", "-Wall", "-Wextra", "-pedantic", "-Werror", "hello.c", "-o", "hello"])
        .arg(format!("-I{}", checkout.join("include").display()))
        .arg(build.join("libraft.a"))
        .args(["-pthread", "-ldl", "-lm"]));

    // Every run adds one to what the data directory holds.
    for expected in ["the counter is 1", "the counter is 2"] {
        let output = run(Command::new("./hello").current_dir(&folder));
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected);
    }
    fs::remove_dir_all(&folder).expect("to clean up");
}
