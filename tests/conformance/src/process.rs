//! A driver as a process: requests go in, answers and events come out. It dies with the thread that started it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use libraft_conformance::words::{unhex, Words};

use crate::lineup::Driver;
use crate::Outcome;

/// How long a driver may take to start, on a machine that has much else to do.
const START_LIMIT: Duration = Duration::from_secs(60);
/// The last lines of its standard error that are shown when something went wrong.
const LAST_WORDS: usize = 12;

pub struct Process {
    pub driver: Driver,
    /// Groups that were started and those that were asked for: at the end, as many machines are destroyed.
    pub started: u64,
    pub attempted: u64,
    child: Child,
    input: ChildStdin,
    heard: Arc<Heard>,
    errors: PathBuf,
    requests: u64,
}

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub ok: bool,
    pub words: Words,
}

#[derive(Default)]
struct Heard {
    lines: Mutex<Lines>,
    more: Condvar,
}

#[derive(Default)]
struct Lines {
    answers: HashMap<u64, String>,
    /// What nobody asked for, in order.
    events: Vec<String>,
    ended: bool,
}

impl Process {
    /// Starts a driver below the current folder, with its standard error in `errors`, and checks
    /// that it is what it says it is.
    pub fn start(driver: &Driver, errors: PathBuf) -> Outcome<Process> {
        let mut command = command(&driver.command)?;
        let log = std::fs::File::create(&errors)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", driver.command.join(" ")))?;
        let input = child.stdin.take().ok_or("the driver has no input")?;
        let output = child.stdout.take().ok_or("the driver has no output")?;
        let heard = Arc::<Heard>::default();
        let hearing = heard.clone();
        std::thread::spawn(move || hearing.read(output));
        let driver = driver.clone();
        let mut process =
            Process { driver, started: 0, attempted: 0, child, input, heard, errors, requests: 0 };
        process.check_identity().map_err(|error| process.explain(&error.to_string()))?;
        Ok(process)
    }

    /// Sends a request; its answer is to be waited for by the number that this returns.
    pub fn ask(&mut self, request: &str) -> Outcome<u64> {
        self.requests += 1;
        writeln!(self.input, "{} {request}", self.requests)
            .and_then(|()| self.input.flush())
            .map_err(|_| self.explain("the driver has ended"))?;
        Ok(self.requests)
    }

    pub fn wait(&mut self, request: u64, limit: Duration) -> Outcome<Answer> {
        let found = self.heard.wait(limit, |lines| lines.answers.remove(&request));
        let line = found.map_err(|why| self.explain(why))?;
        Ok(parse_answer(&line).map_err(|error| self.explain(&error))?)
    }

    pub fn call(&mut self, request: &str, limit: Duration) -> Outcome<Answer> {
        let number = self.ask(request)?;
        self.wait(number, limit)
    }

    /// Whether the answer is there.
    pub fn is_answered(&self, request: u64) -> bool {
        self.heard.lock().answers.contains_key(&request)
    }

    /// The first event for which `wanted` returns something.
    pub fn wait_event<T>(
        &self,
        limit: Duration,
        wanted: impl Fn(&Words) -> Option<T>,
    ) -> Outcome<T> {
        let found = self.heard.wait(limit, |lines| {
            let words = lines.events.iter().filter_map(|line| event_words(line));
            words.into_iter().find_map(|words| wanted(&words))
        });
        Ok(found.map_err(|why| self.explain(&format!("no such event: {why}")))?)
    }

    /// Forgets the events so far: the next user of this process asks for its own.
    pub fn forget_events(&self) {
        self.heard.lock().events.clear();
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: no pointers; the child has not been waited for, so the id is still its own.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }

    /// What went wrong, with the driver's last words.
    pub fn explain(&self, what: &str) -> String {
        format!("{what} (driver {}){}", self.driver.name, last_words(&self.errors))
    }

    fn check_identity(&mut self) -> Outcome<()> {
        let greeting = self.heard.wait(START_LIMIT, |lines| {
            let first = lines.events.first().cloned();
            lines.events.clear();
            first
        });
        let greeting = greeting.map_err(|why| format!("no greeting: {why}"))?;
        let words = greeting.strip_prefix("! driver ").unwrap_or_default();
        let words = Words::parse(words.split(' ').filter(|word| !word.is_empty()))?;
        let expected = self.driver.language.as_ref().unwrap_or(&self.driver.name);
        if words.get("protocol") != Some("1") || words.get("language") != Some(expected) {
            return Err(format!("its first line is '{greeting}'").into());
        }
        let said = unhex(words.get("runtime").unwrap_or_default())?;
        let said = std::fs::canonicalize(String::from_utf8_lossy(&said).as_ref())?;
        let runs = std::fs::canonicalize(format!("/proc/{}/exe", self.child.id()))?;
        let name = runs.file_name().unwrap_or_default().to_string_lossy();
        if runs != said || !name.starts_with(&self.driver.runtime) {
            return Err(format!(
                "it says that {} runs, and {} does; it should be {}",
                said.display(),
                runs.display(),
                self.driver.runtime
            )
            .into());
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Heard {
    fn read(&self, output: ChildStdout) {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let mut lines = self.lock();
            match line.split_once(' ').map(|(id, _)| id.parse()) {
                Some(Ok(id)) => drop(lines.answers.insert(id, line)),
                _ => lines.events.push(line),
            }
            self.more.notify_all();
        }
        self.lock().ended = true;
        self.more.notify_all();
    }

    fn wait<T>(
        &self,
        limit: Duration,
        mut found: impl FnMut(&mut Lines) -> Option<T>,
    ) -> Result<T, &'static str> {
        let deadline = Instant::now() + limit;
        let mut lines = self.lock();
        loop {
            if let Some(found) = found(&mut lines) {
                return Ok(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if lines.ended {
                return Err("the driver has ended");
            }
            if left.is_zero() {
                return Err("nothing came in time");
            }
            lines = match self.more.wait_timeout(lines, left) {
                Ok((lines, _)) => lines,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A command that dies with the thread that starts it.
pub fn command(words: &[String]) -> Outcome<Command> {
    let (program, arguments) = words.split_first().ok_or("a driver's command is empty")?;
    let mut command = Command::new(program);
    command.args(arguments);
    // SAFETY: only an async-signal-safe call is made between fork and exec.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    Ok(command)
}

/// The end of what a driver wrote to its standard error, or nothing.
pub fn last_words(errors: &Path) -> String {
    let text = std::fs::read(errors).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    if lines.is_empty() {
        return String::new();
    }
    let last = &lines[lines.len().saturating_sub(LAST_WORDS)..];
    format!("; its last words:\n      {}", last.join("\n      "))
}

fn event_words(line: &str) -> Option<Words> {
    Words::parse(line.strip_prefix("! event ")?.split(' ')).ok()
}

fn parse_answer(line: &str) -> Result<Answer, String> {
    let mut words = line.split(' ');
    let kind = words.nth(1).unwrap_or_default();
    let ok = match kind {
        "ok" => true,
        "error" => false,
        _ => return Err(format!("'{line}' is no answer")),
    };
    let words = Words::parse(words).map_err(|error| format!("'{line}' is no answer: {error}"))?;
    Ok(Answer { ok, words })
}
