//! A fixed set of worlds, those that once failed first. `make test-sim` runs them; see `docs/simulator.md`.

use std::process::Command;

use libraft_sim::observation::Violation;
use libraft_sim::runner::{once_failed, run_many};
use libraft_sim::{Counters, Report, Settings};

/// So many worlds take about five minutes on two cores.
const WORLDS: u64 = 4_000;
/// Worlds whose bytes are compared between two processes.
const COMPARED: u64 = 20;

/// What must have happened in the fixed set, and how often at least: about half of how often it did when this was written.
/// A simulator that idles, or that has lost a kind of trouble, is found here.
const MINIMUMS: &[(&str, u64)] = &[
    ("addresses set", 1_800),
    ("barriers", 2_000_000),
    ("batches", 74_000),
    ("calls", 1_100_000),
    ("closed in peace", 15_000),
    ("commits seen", 4_900_000),
    ("compactions", 150_000),
    ("damage refused", 330),
    ("disconnects", 1_300),
    ("elections won", 10_000),
    ("failing callbacks", 940),
    ("flipped bits", 770),
    ("full disks", 1_200),
    ("groups started", 42_000),
    ("groups stopped", 29_000),
    ("handshakes refused", 19_000),
    ("joint configurations", 19_000),
    ("jumps of clocks", 1_100),
    ("kills", 1_900),
    ("learners added", 310),
    ("learners promoted", 100),
    ("members removed", 300),
    ("messages", 10_000_000),
    ("messages duplicated", 69_000),
    ("messages lost", 78_000),
    ("messages reordered", 70_000),
    ("older images put back", 12),
    ("opened", 24_000),
    ("opened on a failing disk", 20),
    ("opened without space", 10),
    ("partitions", 1_300),
    ("pauses", 1_200),
    ("pending callbacks", 45_000),
    ("power cuts", 1_100),
    ("re-entrant calls", 15_000),
    ("reads", 230_000),
    ("skewed clocks", 1_300),
    ("slow callbacks", 4_700),
    ("slow disks", 1_300),
    ("slow links", 1_300),
    ("snapshot bytes sent", 32_000_000),
    ("snapshots installed", 4_100),
    ("snapshots on demand", 1_000),
    ("steps of replacements", 1_900),
    ("swaps applied", 830_000),
    ("sync errors ordered", 1_200),
    ("transfers", 1_200),
    ("truncated conflicts", 120),
    ("turns beside a barrier", 5_200),
    ("voters added", 300),
    ("voters demoted", 380),
    ("voters exchanged", 56),
    ("wiped", 1_200),
    ("write errors ordered", 1_300),
];

fn failure(report: &Report) -> String {
    let Violation { rule, what } = report.violation.clone().expect("it failed");
    format!("{rule}: {what}\n  {}", report.command())
}

fn assert_none_failed(failed: &[Report]) {
    let told: Vec<String> = failed.iter().map(failure).collect();
    assert!(told.is_empty(), "{} worlds broke a rule:\n{}", told.len(), told.join("\n"));
}

#[test]
fn worlds_that_once_failed_keep_all_rules() {
    let known: Vec<(Settings, &str)> = once_failed().collect();
    let sum = run_many(known.iter().map(|(settings, _)| settings.clone()), 20, |_, _| {});
    for report in &sum.failed {
        let is_it = |(settings, _): &&(Settings, &str)| settings.seed == report.settings.seed;
        let found = known.iter().find(is_it).map_or("", |(_, found)| found);
        println!("seed {} fails again; it once found: {found}", report.settings.seed);
    }
    assert_none_failed(&sum.failed);
}

#[test]
fn worlds_of_a_fixed_set_keep_all_rules_and_do_not_idle() {
    let sum = run_many((1..=WORLDS).map(Settings::new), 5, |_, _| {});
    println!("{} worlds of 10,000 steps\n{}", sum.worlds, sum.counters);
    assert_none_failed(&sum.failed);
    let lacks = |(what, least): &&(&str, u64)| sum.counters.get(what) < *least;
    let short: Vec<String> =
        MINIMUMS.iter().filter(lacks).map(|row| shortfall(row, &sum.counters)).collect();
    assert!(short.is_empty(), "too little happened:\n{}", short.join("\n"));
}

fn shortfall((what, least): &(&str, u64), counters: &Counters) -> String {
    format!("{:>10} of at least {least}  {what}", counters.get(what))
}

#[test]
fn a_seed_gives_the_same_bytes_in_two_processes() {
    let run = |seed: u64| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_libraft-sim"));
        let ended = command.args(["--seed", &seed.to_string(), "--quiet"]).output();
        let ended = ended.expect("the simulator runs");
        assert!(ended.status.success(), "seed {seed}: {}", String::from_utf8_lossy(&ended.stdout));
        String::from_utf8(ended.stdout).expect("it prints text")
    };
    let mut traces = Vec::new();
    for seed in 1..=COMPARED {
        let (one, other) = (run(seed), run(seed));
        assert_eq!(one, other, "seed {seed}");
        traces.push(one.lines().last().expect("it ends with the hash").to_string());
    }
    traces.sort();
    traces.dedup();
    assert_eq!(traces.len() as u64, COMPARED, "other seeds give other bytes");
}
