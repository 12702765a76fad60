//! Drivers that are not in use: starting a virtual machine for each scenario would take most of the time.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::lineup::Driver;
use crate::process::Process;
use crate::Outcome;

/// Of one thread: the processes die with it.
pub struct Pool {
    folder: PathBuf,
    idle: HashMap<String, Vec<Process>>,
}

/// Idle processes of one driver that are kept.
const IDLE_MAX: usize = 5;

static STARTED: AtomicU64 = AtomicU64::new(0);

impl Pool {
    /// What the drivers write to their standard error goes to files in `folder`.
    pub fn new(folder: PathBuf) -> Pool {
        Pool { folder, idle: HashMap::new() }
    }

    pub fn take(&mut self, driver: &Driver) -> Outcome<Process> {
        if let Some(process) = self.idle.get_mut(&driver.name).and_then(Vec::pop) {
            return Ok(process);
        }
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let errors = self.folder.join(format!("{}-{number}.stderr", driver.name));
        Process::start(driver, errors)
    }

    /// Ends the idle processes of other drivers, which would only take memory.
    pub fn keep_only(&mut self, drivers: &[Driver]) {
        self.idle.retain(|name, _| drivers.iter().any(|driver| driver.name == *name));
    }

    pub fn give_back(&mut self, process: Process) {
        let idle = self.idle.entry(process.driver.name.clone()).or_default();
        if idle.len() < IDLE_MAX {
            idle.push(process);
        }
    }
}
