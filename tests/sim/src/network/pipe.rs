//! Connections that block: what a snapshot goes over.

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use libraft::stream::Stream;

use crate::event::{Event, Time, MS};
use crate::hub::{instant, Core, Life};
use crate::tasks::{self, Pause};

/// Bytes that fit into one direction.
const CAPACITY: usize = 64 << 10;

pub struct Pipe {
    /// The nodes at its ends.
    nodes: [usize; 2],
    /// What was sent to the end with this number.
    ways: [Way; 2],
    handles: [usize; 2],
    broken: bool,
    waiting: Vec<Pause>,
}

#[derive(Default)]
struct Way {
    arrived: VecDeque<u8>,
    on_the_way: usize,
    last_at: Time,
    /// Nothing is sent any more; the end is seen when all has arrived.
    ended: bool,
}

impl Core {
    pub fn add_pipe(&mut self, from: usize, to: usize) -> u64 {
        let pipe = Pipe {
            nodes: [from, to],
            ways: Default::default(),
            handles: [0, 0],
            broken: false,
            waiting: Vec::new(),
        };
        let number = self.net.next();
        self.net.pipes.insert(number, pipe);
        number
    }

    pub fn chunk_arrived(&mut self, pipe: u64, side: usize, bytes: &[u8]) {
        let Some(known) = self.net.pipes.get_mut(&pipe) else { return };
        known.ways[side].arrived.extend(bytes);
        known.ways[side].on_the_way -= bytes.len();
        self.wake_pipe(pipe);
    }

    pub fn cut_pipe(&mut self, pipe: u64) {
        if let Some(known) = self.net.pipes.get_mut(&pipe) {
            known.broken = true;
        }
        self.wake_pipe(pipe);
    }

    fn wake_pipe(&mut self, pipe: u64) {
        let Some(known) = self.net.pipes.get_mut(&pipe) else { return };
        for pause in std::mem::take(&mut known.waiting) {
            let delay = self.random.below(50);
            self.after(delay, pause.event());
        }
    }
}

/// One end of a pipe.
pub struct PipeEnd {
    life: Life,
    pipe: u64,
    side: usize,
}

impl PipeEnd {
    pub fn new(life: Life, pipe: u64, side: usize) -> PipeEnd {
        if let Some(known) = life.hub.core().net.pipes.get_mut(&pipe) {
            known.handles[side] += 1;
        }
        PipeEnd { life, pipe, side }
    }

    pub fn is_broken(&self) -> bool {
        self.life.is_over()
            || self.life.hub.core().net.pipes.get(&self.pipe).is_none_or(|pipe| pipe.broken)
    }

    /// Does something at this end until it can be done, or the time is over.
    fn wait_for<T>(
        &self,
        timeout: Duration,
        mut attempt: impl FnMut(&mut Core, &mut Pipe) -> Option<io::Result<T>>,
    ) -> io::Result<T> {
        let mut deadline = None;
        loop {
            if self.life.is_over() {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            let mut core = self.life.hub.core();
            let Some(mut pipe) = core.net.pipes.remove(&self.pipe) else {
                return Err(io::ErrorKind::ConnectionReset.into());
            };
            let done = attempt(&mut core, &mut pipe);
            let next = tasks::next_pause();
            pipe.waiting.extend(next.filter(|_| done.is_none()));
            core.net.pipes.insert(self.pipe, pipe);
            if let Some(done) = done {
                core.wake_pipe(self.pipe);
                return done;
            }
            let now = core.now;
            let until = *deadline
                .get_or_insert_with(|| now + core.nodes[self.life.node].in_world_time(timeout));
            let Some(next) = next.filter(|_| now < until) else {
                return Err(io::ErrorKind::TimedOut.into());
            };
            core.queue.push(until, next.event());
            drop(core);
            tasks::pause();
        }
    }
}

impl Stream for PipeEnd {
    fn prepare(&self) -> io::Result<()> {
        Ok(())
    }

    fn now(&self) -> Instant {
        let core = self.life.hub.core();
        instant(core.nodes[self.life.node].shows(core.now))
    }

    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize> {
        let side = self.side;
        self.wait_for(timeout, |_, pipe| {
            let way = &mut pipe.ways[side];
            if pipe.broken {
                return Some(Err(io::ErrorKind::ConnectionReset.into()));
            }
            if way.arrived.is_empty() {
                return (way.ended && way.on_the_way == 0).then_some(Ok(0));
            }
            let count = buffer.len().min(way.arrived.len());
            for (place, byte) in buffer.iter_mut().zip(way.arrived.drain(..count)) {
                *place = byte;
            }
            Some(Ok(count))
        })
    }

    fn write(&mut self, bytes: &[u8], timeout: Duration) -> io::Result<usize> {
        let (number, side) = (self.pipe, 1 - self.side);
        self.wait_for(timeout, |core, pipe| {
            if pipe.broken || pipe.handles[side] == 0 && pipe.ways[1 - side].ended {
                return Some(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let way = &mut pipe.ways[side];
            let room = CAPACITY.saturating_sub(way.arrived.len() + way.on_the_way);
            if room == 0 {
                return None;
            }
            let sent = &bytes[..bytes.len().min(room)];
            // Without a way through, nothing arrives until somebody cuts the pipe.
            let Some(delay) = core.way(pipe.nodes[1 - side], pipe.nodes[side], sent.len()) else {
                core.after(1000 * MS, Event::CutPipe { pipe: number });
                return None;
            };
            core.trace.bytes(sent);
            core.counters.add("snapshot bytes sent", sent.len() as u64);
            way.on_the_way += sent.len();
            way.last_at = way.last_at.max(core.now + delay);
            let at = way.last_at;
            core.queue.push(at, Event::Chunk { pipe: number, side, bytes: sent.to_vec() });
            Some(Ok(sent.len()))
        })
    }

    fn has_input(&self) -> bool {
        let core = self.life.hub.core();
        let Some(pipe) = core.net.pipes.get(&self.pipe) else { return true };
        let way = &pipe.ways[self.side];
        pipe.broken || !way.arrived.is_empty() || way.ended && way.on_the_way == 0
    }

    fn shut_down(&self, how: Shutdown) -> io::Result<()> {
        let mut core = self.life.hub.core();
        match core.net.pipes.get_mut(&self.pipe) {
            Some(pipe) if how == Shutdown::Write => pipe.ways[1 - self.side].ended = true,
            Some(pipe) => pipe.broken = true,
            None => return Err(io::ErrorKind::NotConnected.into()),
        }
        core.wake_pipe(self.pipe);
        Ok(())
    }

    fn try_clone(&self) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(PipeEnd::new(self.life.clone(), self.pipe, self.side)))
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        let mut core = self.life.hub.core();
        let Some(pipe) = core.net.pipes.get_mut(&self.pipe) else { return };
        pipe.handles[self.side] -= 1;
        if pipe.handles[self.side] > 0 {
            return;
        }
        pipe.ways[1 - self.side].ended = true;
        if pipe.handles == [0, 0] {
            core.net.pipes.remove(&self.pipe);
        } else {
            core.wake_pipe(self.pipe);
        }
    }
}
