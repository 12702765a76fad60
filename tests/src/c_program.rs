//! C programs, compiled against the library of the build that the test belongs to.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

/// The root of the checkout.
pub fn checkout() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests lie in the checkout").to_owned()
}

/// An empty folder for one test of one process.
pub fn empty_folder(parent: &str, name: &str) -> PathBuf {
    let folder = Path::new(parent).join(format!("{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// Compiles `source` to `program`, with all warnings as errors, and links libraft statically.
pub fn compile(source: &Path, program: &Path) {
    // The library is that of this build, whose folder lies above this program's.
    let test = env::current_exe().expect("this program");
    let build = test.parent().and_then(Path::parent).expect("the folder of the build");
    let profile = if build.ends_with("debug") { "dev" } else { "release" };
    run(Command::new(env!("CARGO"))
        .current_dir(checkout())
        .args(["build", "--locked", "--quiet", "--package", "libraft-ffi", "--profile", profile])
        .arg("--target-dir")
        .arg(build.parent().expect("the target folder")));
    run(Command::new(env::var_os("CC").unwrap_or("cc".into()))
        .args(["-std=c11", "-Wall", "-Wextra", "-pedantic", "-Werror"])
        .arg(format!("-I{}", checkout().join("include").display()))
        .arg(source)
        .arg("-o")
        .arg(program)
        .arg(build.join("libraft.a"))
        .args(["-pthread", "-ldl", "-lm"]));
}

/// Runs a program that must succeed.
pub fn run(command: &mut Command) -> Output {
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
