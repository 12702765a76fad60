//! Keeps a number of proposals in flight at the leader, and measures each.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{mpsc, Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use libraft::{BatchCompleter, Completer, Group};

use super::histogram::Histogram;
use super::Outcome;

#[derive(Clone, Copy, PartialEq)]
pub enum Mode {
    /// Each proposal is made by the completion of an earlier one.
    Callback,
    /// Each is made by a thread that waits for the one before.
    Thread,
    /// As `Callback`, this many in one call.
    Batch(usize),
}

#[derive(Clone)]
pub struct Load {
    pub bytes: usize,
    pub in_flight: usize,
    pub mode: Mode,
    /// How long it is measured, once it is steady.
    pub seconds: f64,
}

/// A load that does not come to its end within this time more is an error.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Measured {
    pub proposals: u64,
    pub seconds: f64,
    pub p50_us: f64,
    pub p99_us: f64,
}

pub fn run(group: &Group, load: &Load) -> Outcome<Measured> {
    let run = Run::new(group.clone(), load);
    match load.mode {
        Mode::Thread => run.drive_by_thread()?,
        Mode::Callback | Mode::Batch(_) => run.drive_by_callbacks()?,
    }
    run.result()
}

struct Run {
    group: Group,
    payload: Vec<u8>,
    offsets: Vec<usize>,
    started: Instant,
    over: AtomicBool,
    /// Calls that were made and have not completed.
    open: AtomicUsize,
    state: Mutex<State>,
    idle: Condvar,
    load: Load,
}

struct State {
    window: Window,
    histogram: Histogram,
    failure: Option<String>,
}

impl Run {
    fn new(group: Group, load: &Load) -> Arc<Run> {
        let count = match load.mode {
            Mode::Batch(count) => count,
            _ => 1,
        };
        let state = State { window: Window::new(load), histogram: Histogram::new(), failure: None };
        Arc::new(Run {
            group,
            payload: vec![0x5a; load.bytes * count],
            offsets: (0..=count).map(|position| position * load.bytes).collect(),
            started: Instant::now(),
            over: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            state: Mutex::new(state),
            idle: Condvar::new(),
            load: load.clone(),
        })
    }

    fn drive_by_callbacks(self: &Arc<Run>) -> Outcome<()> {
        let calls = match self.load.mode {
            Mode::Batch(count) => self.load.in_flight / count,
            _ => self.load.in_flight,
        };
        for _ in 0..calls {
            self.propose();
        }
        let mut state = self.lock();
        while self.open.load(Ordering::SeqCst) > 0 {
            let left = (state.window.end() + PATIENCE).saturating_sub(self.started.elapsed());
            if left.is_zero() {
                return Err("the proposals did not complete in time".into());
            }
            state = match self.idle.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        Ok(())
    }

    fn drive_by_thread(self: &Arc<Run>) -> Outcome<()> {
        while !self.over.load(Ordering::Relaxed) {
            let (sender, receiver) = mpsc::sync_channel(1);
            let begun = Instant::now();
            self.group.propose(
                &self.payload,
                Completer::quick(move |result| {
                    let _ = sender.try_send(result);
                }),
            )?;
            receiver.recv()??;
            self.record(begun, 1);
        }
        Ok(())
    }

    fn propose(self: &Arc<Run>) {
        self.open.fetch_add(1, Ordering::SeqCst);
        let begun = Instant::now();
        let run = self.clone();
        let accepted = match self.load.mode {
            Mode::Batch(count) => self.group.propose_batch(
                &self.payload,
                &self.offsets,
                BatchCompleter::quick(move |results| {
                    let failed = results.into_iter().find_map(Result::err);
                    run.completed(begun, count as u64, failed);
                }),
            ),
            _ => self.group.propose(
                &self.payload,
                Completer::quick(move |result| run.completed(begun, 1, result.err())),
            ),
        };
        if let Err(error) = accepted {
            self.completed(begun, 0, Some(error));
        }
    }

    fn completed(self: &Arc<Run>, begun: Instant, count: u64, failed: Option<libraft::Error>) {
        match failed {
            Some(error) => {
                self.over.store(true, Ordering::SeqCst);
                self.lock().failure.get_or_insert(error.to_string());
            }
            None => self.record(begun, count),
        }
        if !self.over.load(Ordering::Relaxed) {
            self.propose();
        }
        if self.open.fetch_sub(1, Ordering::SeqCst) == 1 {
            let _state = self.lock();
            self.idle.notify_all();
        }
    }

    fn record(&self, begun: Instant, count: u64) {
        let now = Instant::now();
        let mut state = self.lock();
        match state.window.place(now - self.started, count) {
            Place::Before => {}
            Place::Within => {
                let nanoseconds = (now - begun).as_nanos() as u64;
                for _ in 0..count {
                    state.histogram.record(nanoseconds);
                }
            }
            Place::Behind => self.over.store(true, Ordering::Relaxed),
        }
    }

    fn result(&self) -> Outcome<Measured> {
        let state = self.lock();
        if let Some(failure) = &state.failure {
            return Err(failure.clone().into());
        }
        Ok(Measured {
            proposals: state.histogram.total(),
            seconds: self.load.seconds,
            p50_us: state.histogram.quantile_us(0.5),
            p99_us: state.histogram.quantile_us(0.99),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// The time in which is measured: it begins when the load is steady.
///
/// The calls in flight are made all at once in the beginning, and that burst is not what is to be measured. So the window
/// begins when twice as many have completed, the second half of which were made by completions; and not before a quarter
/// of its length.
struct Window {
    earliest: Duration,
    length: Duration,
    /// Completions that are still to come before it begins.
    missing: u64,
    begin: Option<Duration>,
}

#[derive(Debug, PartialEq)]
enum Place {
    Before,
    Within,
    Behind,
}

impl Window {
    fn new(load: &Load) -> Window {
        let length = Duration::from_secs_f64(load.seconds);
        Window { earliest: length / 4, length, missing: 2 * load.in_flight as u64, begin: None }
    }

    /// When it ends; at the earliest, as long as it has not begun.
    fn end(&self) -> Duration {
        self.begin.unwrap_or(self.earliest) + self.length
    }

    /// Where the completion of `count` calls at this time is.
    fn place(&mut self, at: Duration, count: u64) -> Place {
        match self.begin {
            Some(begin) if at >= begin + self.length => Place::Behind,
            Some(_) => Place::Within,
            None => {
                self.missing = self.missing.saturating_sub(count);
                if self.missing == 0 && at >= self.earliest {
                    self.begin = Some(at);
                }
                Place::Before
            }
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mode::Callback => f.write_str("callback"),
            Mode::Thread => f.write_str("thread"),
            Mode::Batch(count) => write!(f, "batch-{count}"),
        }
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(name: &str) -> Result<Mode, String> {
        match name {
            "callback" => Ok(Mode::Callback),
            "thread" => Ok(Mode::Thread),
            _ => name
                .strip_prefix("batch-")
                .and_then(|count| count.parse().ok())
                .map(Mode::Batch)
                .ok_or_else(|| format!("{name} is not a way to propose")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_begins_when_all_that_was_made_at_once_has_been_followed_by_as_many() {
        let load = Load { bytes: 1, in_flight: 128, mode: Mode::Batch(64), seconds: 1.0 };
        let mut window = Window::new(&load);
        let ms = Duration::from_millis;
        for at in [500, 510, 900, 910] {
            assert_eq!(window.place(ms(at), 64), Place::Before);
        }
        assert_eq!(window.place(ms(911), 64), Place::Within);
        assert_eq!(window.end(), ms(1910));
        assert_eq!(window.place(ms(1909), 64), Place::Within);
        assert_eq!(window.place(ms(1910), 64), Place::Behind);
    }

    #[test]
    fn the_window_does_not_begin_before_a_quarter_of_its_length() {
        let load = Load { bytes: 1, in_flight: 1, mode: Mode::Callback, seconds: 1.0 };
        let mut window = Window::new(&load);
        let ms = Duration::from_millis;
        for at in 0..=250 {
            assert_eq!(window.place(ms(at), 1), Place::Before);
        }
        assert_eq!(window.place(ms(251), 1), Place::Within);
    }
}
