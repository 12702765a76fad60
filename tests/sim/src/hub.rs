//! What all parts of a world share: its time, its queue of events, its random numbers, and what is told to its judge.
//!
//! A world runs in one thread. The mutex is there because the traits of the core ask for it, and is never waited for:
//! nobody holds it while the code of the core or a judge runs.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use crate::counters::Counters;
use crate::event::{Event, LifeId, Queue, Time};
use crate::network::Net;
use crate::observation::{Judge, Observation, Place, Violation};
use crate::random::Random;
use crate::trace::Trace;

/// An observation that waits for the judge: called with somebody who wants to see it.
pub type Told = Box<dyn FnOnce(&mut dyn FnMut(&Observation<'_>)) + Send>;

#[derive(Clone)]
pub struct Hub {
    core: Arc<Mutex<Core>>,
}

pub struct Core {
    pub now: Time,
    pub random: Random,
    pub queue: Queue,
    pub counters: Counters,
    pub trace: Trace,
    pub net: Net,
    pub nodes: Vec<NodeClock>,
    told: Vec<(Time, Told)>,
    /// The lines of the transcript, if there is to be one.
    lines: Option<Vec<String>>,
    pub violation: Option<Violation>,
}

/// A node as the rest of the world knows it.
pub struct NodeClock {
    /// The life that runs now, or 0.
    pub life: LifeId,
    /// When the next turn of its loop is due, and its number.
    turn_at: Time,
    turn_number: u64,
    /// Its clock: what it showed at a moment of the world's time, and how fast it goes (in millionths).
    shown: Time,
    shown_at: Time,
    rate: u64,
}

const EVEN_RATE: u64 = 1_000_000;

impl Hub {
    pub fn new(random: Random, nodes: usize, transcript: bool) -> Hub {
        let clock = |_| NodeClock {
            life: 0,
            turn_at: Time::MAX,
            turn_number: 0,
            shown: 0,
            shown_at: 0,
            rate: EVEN_RATE,
        };
        let core = Core {
            now: 0,
            random,
            queue: Queue::default(),
            counters: Counters::default(),
            trace: Trace::new(),
            net: Net::new(nodes),
            nodes: (0..nodes).map(clock).collect(),
            told: Vec::new(),
            lines: transcript.then(Vec::new),
            violation: None,
        };
        Hub { core: Arc::new(Mutex::new(core)) }
    }

    pub fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn count(&self, what: &'static str) {
        self.core().counters.count(what);
    }

    /// Tells the judge, before the next event of the world.
    pub fn tell(&self, told: impl FnOnce(&mut dyn FnMut(&Observation<'_>)) + Send + 'static) {
        let mut core = self.core();
        let now = core.now;
        core.told.push((now, Box::new(told)));
    }

    /// Writes a line of the transcript, if there is one.
    pub fn note(&self, line: impl FnOnce() -> String) {
        self.core().note(line);
    }

    /// Shows the judge what was told, and forgets it. The first broken rule is kept.
    pub fn show(&self, judge: &mut dyn Judge) {
        loop {
            let told = std::mem::take(&mut self.core().told);
            if told.is_empty() {
                return;
            }
            for (at, told) in told {
                told(&mut |observation| self.show_one(judge, at, observation));
            }
        }
    }

    fn show_one(&self, judge: &mut dyn Judge, at: Time, observation: &Observation<'_>) {
        let mut core = self.core();
        core.trace.number(at);
        core.trace.debug(observation);
        core.note_observation(observation);
        if core.violation.is_some() {
            return;
        }
        drop(core);
        if let Err(violation) = judge.observe(at / 1000, observation) {
            self.break_rule(violation);
        }
    }

    /// The world ends: a rule is broken.
    pub fn break_rule(&self, violation: Violation) {
        let mut core = self.core();
        core.note(|| format!("BROKEN {}: {}", violation.rule, violation.what));
        core.violation.get_or_insert(violation);
    }
}

impl Core {
    pub fn after(&mut self, delay: Time, event: Event) {
        self.queue.push(self.now + delay, event);
    }

    pub fn note(&mut self, line: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>5}.{:06} {}", now / 1_000_000, now % 1_000_000, line()));
        }
    }

    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }

    fn note_observation(&mut self, observation: &Observation<'_>) {
        // Bounds are only of interest when they are broken.
        if !matches!(observation, Observation::Bound { .. }) {
            self.note(|| observation.to_string());
        }
    }

    /// Has a node's loop turn at a moment, if it would not turn sooner.
    pub fn turn_at(&mut self, node: usize, at: Time) {
        let at = at.max(self.now);
        let clock = &mut self.nodes[node];
        if clock.life == 0 || clock.turn_at <= at {
            return;
        }
        clock.turn_at = at;
        clock.turn_number += 1;
        let (life, number) = (clock.life, clock.turn_number);
        self.queue.push(at, Event::Turn { node, life, number });
    }

    /// Whether this is the turn that is due; then none is any more.
    pub fn take_turn(&mut self, node: usize, life: LifeId, number: u64) -> bool {
        let clock = &mut self.nodes[node];
        let due = clock.life == life && clock.turn_number == number;
        if due {
            clock.turn_at = Time::MAX;
        }
        due
    }

    /// A node's life begins, with no turn due; 0 ends one.
    pub fn set_life(&mut self, node: usize, life: LifeId) {
        let clock = &mut self.nodes[node];
        clock.life = life;
        clock.turn_at = Time::MAX;
        clock.turn_number += 1;
    }
}

impl NodeClock {
    pub fn shows(&self, now: Time) -> Time {
        self.shown + ((now - self.shown_at) as u128 * self.rate as u128 / EVEN_RATE as u128) as Time
    }

    /// How long a length of this clock is in the world's time.
    pub fn in_world_time(&self, length: Duration) -> Time {
        let length = length.as_micros().min(1 << 40);
        (length * EVEN_RATE as u128).div_ceil(self.rate as u128) as Time
    }

    pub fn jump(&mut self, now: Time, by: Time) {
        self.shown = self.shows(now) + by;
        self.shown_at = now;
    }

    /// From now on the clock goes at `rate` millionths of the right speed.
    pub fn set_rate(&mut self, now: Time, rate: u64) {
        self.jump(now, 0);
        self.rate = rate;
    }
}

/// When all clocks showed 0. Only differences between instants mean anything, so that of the process will do.
#[allow(clippy::disallowed_methods)] // There is no other way to make an instant.
pub fn instant(shown: Time) -> Instant {
    static BASE: OnceLock<Instant> = OnceLock::new();
    *BASE.get_or_init(Instant::now) + Duration::from_micros(shown)
}

/// One life of a node, as its parts know it: what they say after its end is heard by nobody.
#[derive(Clone)]
pub struct Life {
    pub hub: Hub,
    pub node: usize,
    pub id: LifeId,
    pub place: Place,
}

impl Life {
    pub fn is_over(&self) -> bool {
        self.hub.core().nodes[self.node].life != self.id
    }

    /// Tells the judge something of this life.
    pub fn tell(&self, told: impl FnOnce(&mut dyn FnMut(&Observation<'_>)) + Send + 'static) {
        if !self.is_over() {
            self.hub.tell(told);
        }
    }

    /// Has something done later, in this life or never.
    pub fn later(&self, delay: Time, body: impl FnOnce() + Send + 'static) {
        let (node, life) = (self.node, self.id);
        self.hub.core().after(delay, Event::Later { node, life, body: Box::new(body) });
    }
}
