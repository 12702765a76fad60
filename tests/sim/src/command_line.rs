//! The program `sim`.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;

use crate::observation::Violation;
use crate::report::Report;
use crate::runner::{minimise, once_failed, run_many, run_one, Sum};
use crate::settings::{Fault, Settings};

const USAGE: &str = "\
sim --seed N [--steps K] [--without KIND,KIND] [--quiet]            one world, with its transcript
sim --seeds A..B [--steps K] [--without KIND,KIND] [--failures N]   many worlds, on all cores
sim --long [--steps K]                                              worlds until stopped";
/// Of many worlds, so many are looked at more closely that failed.
const MINIMISED: usize = 3;

/// What the command line asks for.
struct Order {
    seeds: Range<u64>,
    steps: u64,
    without: BTreeSet<Fault>,
    one: bool,
    long: bool,
    quiet: bool,
    /// Many worlds end when so many have failed.
    failures_max: usize,
}

pub fn main(arguments: &[String]) -> ExitCode {
    let Some(order) = parse(arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match order.one {
        true => show_one(&order),
        false => show_many(&order),
    }
}

fn parse(arguments: &[String]) -> Option<Order> {
    let (seeds, without) = (0..0, BTreeSet::new());
    let (one, long, quiet) = (false, false, false);
    let mut order = Order { seeds, steps: 10_000, without, one, long, quiet, failures_max: 20 };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seed" => {
                let seed = arguments.next()?.parse().ok()?;
                (order.seeds, order.one) = (seed..seed + 1, true);
            }
            "--seeds" => {
                let (from, to) = arguments.next()?.split_once("..")?;
                order.seeds = from.parse().ok()?..to.parse().ok()?;
            }
            "--long" => (order.seeds, order.long) = (0..u64::MAX, true),
            "--steps" => order.steps = arguments.next()?.parse().ok()?,
            "--failures" => order.failures_max = arguments.next()?.parse().ok()?,
            "--without" => {
                let names = arguments.next()?.split(',').filter(|name| !name.is_empty());
                order.without = names.map(Fault::from_name).collect::<Option<_>>()?;
            }
            "--quiet" => order.quiet = true,
            _ => return None,
        }
    }
    (!order.seeds.is_empty()).then_some(order)
}

impl Order {
    fn settings(&self, seed: u64) -> Settings {
        let (steps, without) = (self.steps, self.without.clone());
        Settings { steps, without, ..Settings::new(seed) }
    }
}

fn exit_code(good: bool) -> ExitCode {
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn show_one(order: &Order) -> ExitCode {
    let mut settings = order.settings(order.seeds.start);
    settings.transcript = !order.quiet;
    let report = run_one(&settings);
    for line in &report.lines {
        println!("{line}");
    }
    print!("{}", report.counters);
    println!("{} steps, {} ms of the world's time", report.steps, report.world_ms);
    if let Some(Violation { rule, what }) = &report.violation {
        println!("BROKEN: {rule}: {what}");
        if !order.quiet {
            show_smaller(&report);
        }
    }
    println!("trace {}", report.trace_hash);
    exit_code(report.violation.is_none())
}

fn show_many(order: &Order) -> ExitCode {
    let begun = Instant::now();
    let known = once_failed().map(|(settings, _)| settings).filter(|_| order.long);
    let worlds = known.chain(order.seeds.clone().map(|seed| order.settings(seed)));
    let sum = run_many(worlds, order.failures_max, |sum, report| {
        tell(report);
        progress(sum, begun);
    });
    print!("{}", sum.counters);
    let (worlds, failed) = (sum.worlds, sum.failed.len());
    println!("{worlds} worlds in {:.1} s, {failed} failed", begun.elapsed().as_secs_f64());
    for report in sum.failed.iter().take(MINIMISED).filter(|_| !order.quiet) {
        show_smaller(report);
    }
    exit_code(sum.failed.is_empty())
}

/// Looks for a smaller world that breaks the same rule, and says how to see it.
fn show_smaller(report: &Report) {
    let smaller = Report { settings: minimise(report), ..report.clone() };
    let rule = report.violation.as_ref().map_or("", |violation| violation.rule);
    println!("smaller, for the rule {rule}: {}", smaller.command());
}

fn tell(report: &Report) {
    if let Some(Violation { rule, what }) = &report.violation {
        eprintln!("seed {} step {}: {rule}: {what}", report.settings.seed, report.steps);
    }
}

/// Shows who waits how far it is: a terminal often, in place; a file now and then, as a line.
fn progress(sum: &Sum, begun: Instant) {
    let mut errors = std::io::stderr().lock();
    let (every, end) = if errors.is_terminal() { (20, '\r') } else { (1_000, '\n') };
    if sum.worlds % every != 0 {
        return;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let (worlds, failed) = (sum.worlds, sum.failed.len());
    let rate = worlds as f64 / seconds.max(0.001);
    // A line that is lost does no harm.
    let _ = write!(errors, "{worlds} worlds, {rate:.1} a second, {failed} failed{end}");
    let _ = errors.flush();
}
