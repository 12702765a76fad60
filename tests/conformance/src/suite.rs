//! Runs every scenario with every driver, and the mixed ones with all of them, a few at a time.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::lineup::Driver;
use crate::play::play;
use crate::pool::Pool;
use crate::scenario::Scenario;
use crate::stage::Stage;
use crate::table::{Table, OK};
use crate::Outcome;

/// The column of clusters whose nodes are of different languages.
const MIXED: &str = "mixed";

pub struct Suite {
    pub scenarios: Vec<Scenario>,
    pub drivers: Vec<Driver>,
    pub folder: PathBuf,
    pub jobs: usize,
}

pub struct Report {
    pub table: Table,
    pub passed: usize,
    pub failed: usize,
}

/// One scenario, with certain languages.
#[derive(Clone)]
struct Run {
    number: usize,
    scenario: Scenario,
    column: String,
    drivers: Vec<Driver>,
}

impl Suite {
    pub fn run(&self) -> Report {
        let runs = self.runs();
        let count = runs.len();
        let queue = Mutex::new(runs.iter().cloned().collect::<VecDeque<Run>>());
        let failures = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..self.jobs {
                scope.spawn(|| self.work(&queue, &failures));
            }
        });
        let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut table = Table::default();
        for scenario in &self.scenarios {
            for run in runs.iter().filter(|run| run.scenario.name == scenario.name) {
                let cell = if failures.contains(&run.number) { "FAILED" } else { OK };
                table.set(&scenario.name, &run.column, cell);
            }
        }
        Report { table, passed: count - failures.len(), failed: failures.len() }
    }

    /// By language, so that processes are used again.
    fn runs(&self) -> Vec<Run> {
        let mut runs = Vec::new();
        let mut add = |scenario: &Scenario, column: &str, drivers: Vec<Driver>| {
            let (scenario, column) = (scenario.clone(), column.to_string());
            runs.push(Run { number: runs.len(), scenario, column, drivers });
        };
        for driver in &self.drivers {
            for scenario in self.scenarios.iter().filter(|scenario| !scenario.settings.mixed) {
                if !scenario.settings.needs.iter().any(|what| driver.impossible.contains(what)) {
                    add(scenario, &driver.name, vec![driver.clone()]);
                }
            }
        }
        let count = self.drivers.len();
        for scenario in self.scenarios.iter().filter(|scenario| scenario.settings.mixed) {
            // Every language has its turn as every node. The second time around the other way, so that
            // whoever follows in one run precedes in another.
            for first in 0..if count > 1 { count } else { 0 } {
                let mut drivers = self.drivers.clone();
                if scenario.settings.backwards {
                    drivers.reverse();
                }
                drivers.rotate_left(first);
                add(scenario, MIXED, drivers);
            }
        }
        runs
    }

    fn work(&self, queue: &Mutex<VecDeque<Run>>, failures: &Mutex<Vec<usize>>) {
        let mut pool = Pool::new(self.folder.clone());
        loop {
            let Some(run) = lock(queue).pop_front() else { return };
            pool.keep_only(&run.drivers);
            let begun = Instant::now();
            let result = self.play(&run, &mut pool);
            let seconds = begun.elapsed().as_secs_f64();
            let who = match run.column.as_str() {
                MIXED => run.drivers.iter().map(|d| d.name.as_str()).collect::<Vec<_>>().join(" "),
                column => column.to_string(),
            };
            match result {
                Ok(()) => println!("ok      {:30} {seconds:6.2} s  {who}", run.scenario.name),
                Err(error) => {
                    lock(failures).push(run.number);
                    println!("FAILED  {:30} {seconds:6.2} s  {who}", run.scenario.name);
                    println!("    {error}\n    its files are in {}", self.place(&run).display());
                }
            }
        }
    }

    fn play(&self, run: &Run, pool: &mut Pool) -> Outcome<()> {
        let settings = run.scenario.settings.clone();
        let mut stage = Stage::new(settings, run.drivers.clone(), self.place(run), pool)?;
        play(&run.scenario, &mut stage)?;
        stage.clear()
    }

    fn place(&self, run: &Run) -> PathBuf {
        self.folder.join(format!("{}-{}-{}", run.number, run.scenario.name, run.column))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
