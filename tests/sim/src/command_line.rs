//! The program `sim`.

use std::collections::BTreeSet;
use std::io::Write;
use std::ops::Range;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Mutex;
use std::time::Instant;

use crate::check::Checks;
use crate::counters::Counters;
use crate::observation::Violation;
use crate::report::Report;
use crate::settings::{Fault, Settings};

const USAGE: &str = "\
sim --seed N [--steps K] [--without KIND,KIND] [--quiet]   one world, with its transcript
sim --seeds A..B [--steps K] [--without KIND,KIND]         many worlds, on all cores
sim --long [--steps K]                                     worlds until stopped";

/// What the command line asks for.
struct Order {
    seeds: Range<u64>,
    steps: u64,
    without: BTreeSet<Fault>,
    one: bool,
    quiet: bool,
}

pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(order) = parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if !order.one {
        return run_many(&order);
    }
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
    }
    println!("trace {}", report.trace_hash);
    exit_code(report.violation.is_none())
}

fn parse(arguments: &[String]) -> Option<Order> {
    let mut order =
        Order { seeds: 0..0, steps: 10_000, without: BTreeSet::new(), one: false, quiet: false };
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
            "--long" => order.seeds = 0..u64::MAX,
            "--steps" => order.steps = arguments.next()?.parse().ok()?,
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

/// Runs one world with all checks. A panic of the world itself breaks a rule as well.
fn run_one(settings: &Settings) -> Report {
    let result = catch_unwind(AssertUnwindSafe(|| crate::run(settings, &mut Checks::new())));
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
        let violation = Violation { rule: "panic", what: text.unwrap_or_default() };
        Report::of_panic(settings.clone(), violation)
    })
}

/// The number of threads that run worlds.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn run_many(order: &Order) -> ExitCode {
    let next = AtomicU64::new(order.seeds.start);
    let done = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let sum = Mutex::new((Counters::default(), Vec::<Report>::new()));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= order.seeds.end {
                        return;
                    }
                    let report = run_one(&order.settings(seed));
                    let mut sum = sum.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    sum.0.add_all(&report.counters);
                    if report.violation.is_some() {
                        tell(&report);
                        sum.1.push(report);
                        stop.store(sum.1.len() >= 20, Ordering::Relaxed);
                    }
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    progress(done, sum.1.len(), begun);
                }
            });
        }
    });
    eprintln!();
    let (counters, failed) = sum.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    print!("{counters}");
    let done = done.load(Ordering::Relaxed);
    println!("{done} worlds in {:.1} s, {} failed", begun.elapsed().as_secs_f64(), failed.len());
    for report in failed.iter().take(3) {
        minimise(report);
    }
    exit_code(failed.is_empty())
}

fn tell(report: &Report) {
    if let Some(Violation { rule, what }) = &report.violation {
        eprintln!("\nseed {} step {}: {rule}: {what}", report.settings.seed, report.steps);
    }
}

fn progress(done: u64, failed: usize, begun: Instant) {
    let seconds = begun.elapsed().as_secs_f64();
    let rate = done as f64 / seconds.max(0.001);
    // A line that is lost does no harm.
    let mut errors = std::io::stderr().lock();
    let _ = write!(errors, "\r{done} worlds, {rate:.2} a second, {failed} failed");
    let _ = errors.flush();
}

/// Makes a failing world smaller: fewer kinds of trouble, fewer steps. Prints the command that shows what is left.
fn minimise(report: &Report) {
    let Some(violation) = &report.violation else { return };
    let mut smallest = Settings { steps: report.steps.max(1), ..report.settings.clone() };
    let fails = |settings: &Settings| {
        let found = run_one(settings).violation;
        found.is_some_and(|found| found.rule == violation.rule)
    };
    if !fails(&smallest) {
        smallest = report.settings.clone();
    }
    for fault in Fault::ALL {
        let mut smaller = smallest.clone();
        if smaller.without.insert(fault) && fails(&smaller) {
            smallest = smaller;
        }
    }
    let mut least = 0;
    while least + smallest.steps / 50 + 1 < smallest.steps {
        let steps = (least + smallest.steps) / 2;
        let smaller = Settings { steps, ..smallest.clone() };
        match fails(&smaller) {
            true => smallest = smaller,
            false => least = steps,
        }
    }
    let shown = Report { settings: smallest, ..report.clone() };
    println!("{}: {}", violation.rule, shown.command());
}
