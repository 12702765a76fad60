//! The tests of other packages, built with the deliberate bugs; and worlds, which are in this program.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use libraft::deliberate::Bug;

use super::table::{By, Row, Suite};

/// The first argument of this program, when it is to be the simulator.
pub const SIMULATE: &str = "simulate";

/// The programs that hold the tests.
pub struct Suites {
    programs: BTreeMap<Suite, PathBuf>,
}

/// A test that has run.
pub struct Run {
    pub has_failed: bool,
    pub output: String,
}

impl Run {
    pub fn has_reached(&self, bug: Bug) -> bool {
        self.output.contains(&format!("deliberate bug reached: {bug:?}"))
    }
}

impl Suites {
    /// Builds those that are wanted.
    pub fn build(rows: &[&Row]) -> Suites {
        let mut programs = BTreeMap::new();
        for by in rows.iter().flat_map(|row| row.by) {
            if let By::Test { suite, .. } = by {
                programs.entry(*suite).or_insert_with(|| build(*suite));
            }
        }
        Suites { programs }
    }

    /// Runs a test in a process of its own, with a bug or with none.
    pub fn run(&self, by: By, bug: Option<Bug>) -> Run {
        let (mut command, sign) = match by {
            By::Test { suite, module, name } => self.test(suite, module, name),
            By::Worlds { seeds } => worlds(seeds),
        };
        command.env_remove("LIBRAFT_DELIBERATE_BUG");
        if let Some(bug) = bug {
            command.env("LIBRAFT_DELIBERATE_BUG", format!("{bug:?}"));
        }
        let ended = command.output().expect("a test that was built can be run");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let output = text(&ended.stdout) + &text(&ended.stderr);
        // A name that no test has would pass.
        assert!(output.contains(sign), "{by} did not run:\n{output}");
        Run { has_failed: !ended.status.success(), output }
    }

    fn test(&self, suite: Suite, module: &str, name: &str) -> (Command, &'static str) {
        let test = if module.is_empty() { name.to_string() } else { format!("{module}::{name}") };
        let mut command = Command::new(&self.programs[&suite]);
        command.current_dir(suite.folder()).args(["--exact", &test, "--test-threads", "1"]);
        command.envs(suite.settings().iter().copied());
        (command, "running 1 test\n")
    }
}

/// This program, as the simulator. Ends with the first world that breaks a rule.
fn worlds(seeds: u64) -> (Command, &'static str) {
    let mut command = Command::new(std::env::current_exe().expect("a program knows where it is"));
    let seeds = format!("1..{}", seeds + 1);
    command.args([SIMULATE, "--seeds", &seeds, "--failures", "1", "--quiet"]);
    (command, " failed\n")
}

fn build(suite: Suite) -> PathBuf {
    let mut command = Command::new(env!("CARGO"));
    command.args(["test", "--locked", "--quiet", "--no-run", "--message-format", "json"]);
    command.args(["--features", "libraft/deliberate-bugs"]).args(suite.target());
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    let built = command.output().expect("cargo, which runs this test, can be run");
    let errors = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{suite:?} does not build:\n{errors}");
    let messages = String::from_utf8_lossy(&built.stdout);
    let name = format!("\"name\":\"{}\"", suite.name());
    let is_program = |line: &&str| line.contains("\"executable\":\"") && line.contains(&name);
    let message = messages.lines().find(is_program).expect("cargo says what it built");
    let (_, path) = message.split_once("\"executable\":\"").expect("it was looked for");
    PathBuf::from(path.split('"').next().expect("a path ends"))
}
