//! Runs worlds with all checks: one, or many on all cores.

use std::collections::BTreeSet;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::check::Checks;
use crate::counters::Counters;
use crate::observation::Violation;
use crate::report::Report;
use crate::settings::{Fault, Settings};

/// What came of many worlds.
#[derive(Default)]
pub struct Sum {
    pub worlds: u64,
    pub counters: Counters,
    /// Those that broke a rule, in the order in which they ended.
    pub failed: Vec<Report>,
}

/// Runs one world. A panic of the world itself breaks a rule as well.
pub fn run_one(settings: &Settings) -> Report {
    let result = catch_unwind(AssertUnwindSafe(|| crate::run(settings, &mut Checks::new())));
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
        let violation = Violation { rule: "panic", what: text.unwrap_or_default() };
        Report::of_panic(settings.clone(), violation)
    })
}

/// Runs worlds on all cores, until there are no more or `failures_max` have broken a rule. `seen` is told of each.
pub fn run_many(
    worlds: impl Iterator<Item = Settings> + Send,
    failures_max: usize,
    seen: impl Fn(&Sum, &Report) + Sync,
) -> Sum {
    let worlds = Mutex::new(worlds);
    let stop = AtomicBool::new(false);
    let sum = Mutex::new(Sum::default());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let Some(settings) = lock(&worlds).next() else { return };
                    let report = run_one(&settings);
                    let mut sum = lock(&sum);
                    sum.worlds += 1;
                    sum.counters.add_all(&report.counters);
                    seen(&sum, &report);
                    if report.violation.is_some() {
                        sum.failed.push(report);
                        stop.store(sum.failed.len() >= failures_max, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    sum.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Makes a failing world smaller, as long as it breaks the same rule: fewer kinds of trouble, fewer steps.
pub fn minimise(report: &Report) -> Settings {
    let Some(violation) = &report.violation else { return report.settings.clone() };
    let fails = |settings: &Settings| {
        let found = run_one(settings).violation;
        found.is_some_and(|found| found.rule == violation.rule)
    };
    let mut smallest = Settings { steps: report.steps.max(1), ..report.settings.clone() };
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
    smallest
}

/// The worlds that once broke a rule, from `tests/sim/once_failed.txt`: each with what it found.
pub fn once_failed() -> impl Iterator<Item = (Settings, &'static str)> {
    let lines = include_str!("../once_failed.txt").lines();
    let told = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    told.map(|line| {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (seed, steps, without, found) = (word(), word(), word(), word());
        let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("not a number: {line}"));
        let without: BTreeSet<Fault> = match without {
            "-" => BTreeSet::new(),
            names => names.split(',').map(|name| Fault::from_name(name).expect(line)).collect(),
        };
        (Settings { steps: number(steps), without, ..Settings::new(number(seed)) }, found)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worlds_that_once_failed_are_read_with_what_they_found() {
        assert!(once_failed().count() >= 10);
        assert!(once_failed().all(|(settings, found)| settings.steps > 0 && !found.is_empty()));
    }

    #[test]
    fn a_world_that_panics_is_one_that_broke_a_rule() {
        let worlds = (1..4).map(|seed| Settings { steps: 200, ..Settings::new(seed) });
        let sum = run_many(worlds, 1, |_, _| {});
        assert_eq!((sum.worlds, sum.failed.len()), (3, 0));
    }
}
