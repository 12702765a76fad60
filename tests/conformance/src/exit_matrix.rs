//! The exit matrix: however a program ends, it ends with the documented code and in time, and nothing that was
//! acknowledged is lost. See PROTOCOL.md for the cases, `exit-codes.txt` for the codes.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use libraft_conformance::words::unhex;

use crate::lineup::Driver;
use crate::process::{command, last_words};
use crate::reopen::reopen;
use crate::table::Table;
use crate::Outcome;

/// How long a case may take before what it is about.
const START_LIMIT: Duration = Duration::from_secs(120);
/// What a case that is to be killed acknowledges before.
const BEFORE_KILL: usize = 130;
/// The cell of a case that is ended by SIGKILL.
const KILLED: &str = "killed";

pub struct ExitMatrix {
    pub drivers: Vec<Driver>,
    /// The code of each case and language.
    pub codes: Table,
    /// Cases to run; all, if there are none.
    pub only: Vec<String>,
    pub repetitions: usize,
    /// From `ending` to the end.
    pub limit: Duration,
    pub jobs: usize,
    pub folder: PathBuf,
}

#[derive(Clone)]
struct Run {
    driver: Driver,
    case: String,
    code: String,
    repetition: usize,
}

/// What one run said before it ended.
#[derive(Default)]
struct Said {
    acknowledged: Vec<u64>,
    failed: Option<(String, String)>,
    closed: Option<String>,
    child: Option<String>,
}

impl ExitMatrix {
    /// Runs all; returns how many went as documented, and how many did not.
    pub fn run(&self) -> (usize, usize) {
        let runs = self.runs();
        let queue = Mutex::new(runs.iter().cloned().collect::<VecDeque<Run>>());
        let results = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..self.jobs {
                scope.spawn(|| loop {
                    let Some(run) = lock(&queue).pop_front() else { return };
                    let result = self.run_once(&run).map_err(|error| error.to_string());
                    lock(&results).push((run, result));
                });
            }
        });
        let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.print(&results)
    }

    fn runs(&self) -> Vec<Run> {
        let mut runs = Vec::new();
        for driver in &self.drivers {
            for case in self.codes.rows() {
                let code = self.codes.get(case, &driver.name);
                if code == "-" || !self.only.is_empty() && !self.only.contains(case) {
                    continue;
                }
                for repetition in 1..=self.repetitions {
                    let (driver, case, code) = (driver.clone(), case.clone(), code.to_string());
                    runs.push(Run { driver, case, code, repetition });
                }
            }
        }
        runs
    }

    fn print(&self, results: &[(Run, Result<Duration, String>)]) -> (usize, usize) {
        let mut table = Table::default();
        let mut slowest = (Duration::ZERO, String::new());
        for driver in &self.drivers {
            for case in self.codes.rows() {
                let of_case = results
                    .iter()
                    .filter(|(run, _)| run.driver.name == driver.name && run.case == *case);
                let of_case: Vec<_> = of_case.collect();
                let good = of_case.iter().filter(|(_, result)| result.is_ok()).count();
                if !of_case.is_empty() {
                    table.set(case, &driver.name, &format!("{good}/{}", of_case.len()));
                }
            }
        }
        for (run, result) in results {
            match result {
                Ok(took) if *took > slowest.0 => {
                    slowest = (*took, format!("{}, {}", run.driver.name, run.case));
                }
                Ok(_) => {}
                Err(error) => println!(
                    "FAILED  {} {} (repetition {}): {error}",
                    run.driver.name, run.case, run.repetition
                ),
            }
        }
        println!("\n{}", table.to_text());
        println!("the slowest end took {:.2} s ({})", slowest.0.as_secs_f64(), slowest.1);
        let passed = results.iter().filter(|(_, result)| result.is_ok()).count();
        (passed, results.len() - passed)
    }

    /// Runs one case; returns how long it took to end.
    fn run_once(&self, run: &Run) -> Outcome<Duration> {
        let name = format!("{}-{}-{}", run.driver.name, run.case, run.repetition);
        let directory = self.folder.join(&name);
        let errors = self.folder.join(format!("{name}.stderr"));
        std::fs::create_dir_all(&directory)?;
        let mut words = run.driver.command.clone();
        words.extend(["exit".to_string(), run.case.clone(), directory.display().to_string()]);
        let mut command = command(&words)?;
        let log = std::fs::File::create(&errors)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = Ended(command.spawn()?);
        let lines = lines_of(&mut child.0)?;
        let explain = |what: String| format!("{what}{}", last_words(&errors));
        let (said, took, status) =
            self.watch(run, &mut child, &lines).map_err(|error| explain(error.to_string()))?;
        check_status(run, status).map_err(&explain)?;
        check_words(run, &said).map_err(&explain)?;
        check_directory(&directory, &said.acknowledged)
            .map_err(|error| explain(error.to_string()))?;
        std::fs::remove_dir_all(&directory)?;
        std::fs::remove_file(&errors)?;
        Ok(took)
    }

    /// Listens until the process is gone.
    fn watch(
        &self,
        run: &Run,
        child: &mut Ended,
        lines: &Receiver<String>,
    ) -> Outcome<(Said, Duration, ExitStatus)> {
        let mut said = Said::default();
        let mut ending = None;
        let begun = Instant::now();
        loop {
            let deadline =
                ending.map_or(begun + START_LIMIT, |ending: Instant| ending + self.limit);
            let line = lines.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            match line.as_deref() {
                Ok("ending") => ending = Some(Instant::now()),
                Ok(line) => said.take(line)?,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    return Err(match ending {
                        Some(_) => format!("it did not end within {:?}", self.limit).into(),
                        None => "it did not come to its end".into(),
                    })
                }
            }
            if run.code == KILLED && said.acknowledged.len() == BEFORE_KILL {
                ending = Some(Instant::now());
                child.0.kill()?;
            }
        }
        let Some(ending) = ending else {
            return Err(format!("it ended before its time: {}", child.0.wait()?).into());
        };
        // Its output is closed; the process itself may take a little longer.
        loop {
            if let Some(status) = child.0.try_wait()? {
                return Ok((said, ending.elapsed(), status));
            }
            if ending.elapsed() > self.limit {
                return Err(format!("it did not end within {:?}", self.limit).into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Said {
    fn take(&mut self, line: &str) -> Result<(), String> {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["acknowledged", count] => {
                self.acknowledged.push(count.parse().map_err(|_| format!("it said '{line}'"))?);
            }
            ["failed", code, message] => {
                let message = unhex(message)?;
                let message = String::from_utf8_lossy(&message).into_owned();
                self.failed = Some((code.to_string(), message));
            }
            ["closed", code] => self.closed = Some(code.to_string()),
            ["child", ..] => self.child = Some(line.to_string()),
            _ => return Err(format!("it said '{line}'")),
        }
        Ok(())
    }
}

fn check_status(run: &Run, status: ExitStatus) -> Result<(), String> {
    let ended = match (status.code(), status.signal()) {
        (_, Some(libc::SIGKILL)) => KILLED.to_string(),
        (_, Some(signal)) => format!("signal {signal}"),
        (Some(code), None) => code.to_string(),
        _ => status.to_string(),
    };
    if ended != run.code {
        return Err(format!("it ended with {ended}, and {} is documented", run.code));
    }
    Ok(())
}

/// What the cases of failures must have said.
fn check_words(run: &Run, said: &Said) -> Result<(), String> {
    let failed = match run.case.as_str() {
        "apply_error" => Some(("APPLY_FAILED", "planned failure of apply")),
        "save_error" => Some(("SAVE_FAILED", "planned failure of save")),
        "restore_error" => Some(("RESTORE_FAILED", "planned failure of restore")),
        _ => None,
    };
    if let Some((code, message)) = failed {
        let (found, text) = said.failed.as_ref().ok_or("it said nothing of a failure")?;
        if found != code || !text.contains(message) || !text.contains(&run.driver.trace) {
            return Err(format!("the failure was {found}: {text}"));
        }
        // A failed save stops nothing; the others may be told once more.
        let closed = said.closed.as_deref().unwrap_or("nothing");
        if closed != "OK" && (closed != code || run.case == "save_error") {
            return Err(format!("close said {closed}"));
        }
    }
    if run.case == "close_in_callback" {
        let code = said.failed.as_ref().map(|(code, _)| code.as_str());
        if !matches!(code, Some("WOULD_DEADLOCK" | "OK")) {
            return Err(format!("close inside of apply said {code:?}"));
        }
    }
    if run.case == "fork" && said.child.as_deref() != Some("child FORKED FORKED FORKED") {
        return Err(format!("the child said {:?}", said.child));
    }
    Ok(())
}

/// Whether all that was acknowledged, which must be each number once, is in the directory.
fn check_directory(directory: &Path, acknowledged: &[u64]) -> Outcome<()> {
    let mut numbers = acknowledged.to_vec();
    numbers.sort_unstable();
    if numbers.len() < 100 || numbers.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(format!("acknowledged were {numbers:?}").into());
    }
    let ledger = reopen(directory)?;
    let last = numbers.last().copied().unwrap_or_default();
    let value = ledger.items.get(&b"k"[..]).map(|value| String::from_utf8_lossy(value));
    let value: u64 = value.and_then(|value| value.parse().ok()).ok_or("the last value is lost")?;
    // The values count from 1 on: so the last one says that none is missing, and none was applied twice. The one
    // proposal that a case is about may be of another kind.
    if value < last || !(value..=value + 1).contains(&ledger.count) {
        return Err(format!(
            "{last} were acknowledged, and the directory holds {} with the last one {value}",
            ledger.count
        )
        .into());
    }
    Ok(())
}

/// A child that is not left behind.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn lines_of(child: &mut Child) -> Outcome<Receiver<String>> {
    let output = child.stdout.take().ok_or("the driver has no output")?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
