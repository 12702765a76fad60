//! Tests the tests: breaks each rule of `core/src/deliberate.rs`, one at a time and in processes of their own, and
//! wants to see it found out by what `table.rs` says, which passes when nothing is broken.
//!
//! `make test-deliberate-bugs BUGS="SkipTheSync ForgetTheVote"` tries some of them only.

mod suite;
mod table;

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

use libraft::deliberate::Bug;

use suite::{Suites, SIMULATE};
use table::{By, Row, TABLE};

/// As many bugs are tried at the same time.
const JOBS: usize = 2;

/// What came of one bug.
struct Outcome {
    was_reached: bool,
    /// Who found it out, and how; or what went wrong.
    verdict: Result<String, String>,
}

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == SIMULATE) {
        return libraft_sim::command_line::main(&arguments[1..]);
    }
    arguments.retain(|argument| !argument.starts_with('-'));
    let rows: Vec<&Row> = TABLE.iter().filter(|row| is_wanted(row.bug, &arguments)).collect();
    for bug in Bug::ALL {
        let rows = TABLE.iter().filter(|row| row.bug == *bug).count();
        assert_eq!(rows, 1, "{bug:?} is in the table once");
    }
    assert!(!rows.is_empty(), "there are no such bugs: {arguments:?}");
    let suites = Suites::build(&rows);
    let wrong = with_nothing_broken(&suites, &rows);
    let failures = wrong.len() + try_all(&suites, &rows);
    for what in wrong {
        println!("with nothing broken: {what}");
    }
    println!("{} deliberate bugs, {failures} failures", rows.len());
    if failures > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn is_wanted(bug: Bug, names: &[String]) -> bool {
    names.is_empty() || names.contains(&format!("{bug:?}"))
}

/// Runs everything that is to find a bug, once and without one. Returns what fails.
fn with_nothing_broken(suites: &Suites, rows: &[&Row]) -> Vec<String> {
    let mut tests: Vec<By> = rows.iter().flat_map(|row| row.by).copied().collect();
    tests.sort();
    tests.dedup();
    // The most worlds hold the fewer ones.
    let seeds = |by: &By| match by {
        By::Worlds { seeds } => Some(*seeds),
        By::Test { .. } => None,
    };
    let most = tests.iter().filter_map(seeds).max();
    tests.retain(|by| seeds(by).is_none() || seeds(by) == most);
    let outcomes = in_parallel(&tests, |by| suites.run(*by, None));
    let failed = tests.iter().zip(outcomes).filter(|(_, run)| run.has_failed);
    failed.map(|(by, run)| format!("{by} fails\n{}", run.output)).collect()
}

/// Tries the bugs, and prints the table of what came of them. Returns how many were not found out.
fn try_all(suites: &Suites, rows: &[&Row]) -> usize {
    println!("{:38} {:8} found out by", "bug", "reached");
    let trials = rows.iter().flat_map(|row| row.by.iter().map(|by| (row.bug, *by)));
    let trials: Vec<(Bug, By)> = trials.collect();
    let outcomes = in_parallel(&trials, |(bug, by)| {
        let outcome = try_one(suites, *bug, *by);
        let reached = if outcome.was_reached { "yes" } else { "NO" };
        let verdict = outcome.verdict.as_deref().unwrap_or_else(|missed| missed);
        println!("{:38} {reached:8} {verdict}", format!("{bug:?}"));
        outcome
    });
    outcomes.iter().filter(|outcome| !outcome.was_reached || outcome.verdict.is_err()).count()
}

fn try_one(suites: &Suites, bug: Bug, by: By) -> Outcome {
    let run = suites.run(by, Some(bug));
    let verdict = match run.has_failed {
        true => Ok(by.to_string()),
        false => Err(format!("NOT by {by}, which passes")),
    };
    Outcome { was_reached: run.has_reached(bug), verdict }
}

/// Does `work` for all items, on a few threads; the results are in the order of the items.
fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, R)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..JOBS {
            scope.spawn(|| loop {
                let position = next.fetch_add(1, Ordering::Relaxed);
                let Some(item) = items.get(position) else { return };
                let result = work(item);
                done.lock().expect("no thread panicked").push((position, result));
            });
        }
    });
    let mut done = done.into_inner().expect("no thread panicked");
    done.sort_by_key(|(position, _)| *position);
    done.into_iter().map(|(_, result)| result).collect()
}
