//! The system that a node of a world runs on: its clock, its threads, and connections that block.

use std::time::{Duration, Instant};

use libraft::error::{Code, Error, Result};
use libraft::replica::PeerIdentity;
use libraft::runtime::{Dial, System, Wake};
use libraft::stream::Stream;
use libraft::wire::{handshake, Hello, Introduction};

use crate::event::Time;
use crate::hub::{instant, Life};
use crate::network::{node_at, parse, PipeEnd};
use crate::tasks;

type Body = Box<dyn FnOnce() + Send>;

/// See the module.
pub struct Machinery {
    pub life: Life,
    /// Bodies that wait for the world to make tasks of them.
    pub spawned: std::sync::Arc<std::sync::Mutex<Vec<Body>>>,
}

impl System for Machinery {
    fn now(&self) -> Instant {
        let core = self.life.hub.core();
        instant(core.nodes[self.life.node].shows(core.now))
    }

    fn spawn(&self, _name: &'static str, body: Body) -> Result<()> {
        let mut spawned = self.spawned.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        spawned.push(body);
        Ok(())
    }

    /// Nobody else does anything meanwhile.
    fn look_out(&self, _most: Duration, came: &dyn Fn() -> bool) -> bool {
        came()
    }

    fn dial(
        &self,
        own: &Introduction,
        dial: &Dial<'_>,
        connected: &mut dyn FnMut(&dyn Stream) -> Result<()>,
    ) -> Result<(Box<dyn Stream>, PeerIdentity)> {
        let expected = PeerIdentity { node_id: dial.node_id, incarnation: Default::default() };
        let hello = Hello::new(own.clone(), dial.intent, expected).encode();
        let (life, hub) = (&self.life, &self.life.hub);
        let mut core = hub.core();
        let nodes = core.nodes.len();
        let to = node_at(dial.address, nodes).ok_or_else(|| unreachable(dial, "no such node"))?;
        let pipe = core.add_pipe(life.node, to);
        let connection = core.dial(life, to, &hello, pipe);
        let deadline = core.now + core.nodes[life.node].in_world_time(dial.timeout);
        drop(core);
        let stream = PipeEnd::new(life.clone(), pipe, 0);
        connected(&stream)?;
        let answer = self.wait_for_answer(connection, &stream, deadline, dial)?;
        let refused = |error| Error::rejected(Code::HandshakeRefused, format!("{error}"));
        let answer = parse(&answer).and_then(|frame| handshake::decode_answer(&frame));
        let welcome = answer.map_err(refused)?.map_err(Error::from)?;
        welcome.check(own, expected).map_err(Error::from)?;
        Ok((Box::new(stream), welcome.introduction.identity))
    }
}

impl Machinery {
    fn wait_for_answer(
        &self,
        connection: u64,
        stream: &PipeEnd,
        deadline: Time,
        dial: &Dial<'_>,
    ) -> Result<Vec<u8>> {
        loop {
            let mut core = self.life.hub.core();
            let now = core.now;
            let known = core.net.connections.get_mut(&connection);
            let known = known.ok_or_else(|| unreachable(dial, "the connection was lost"))?;
            if let Some(answer) = known.answer.take() {
                return Ok(answer);
            }
            known.waiting = tasks::next_pause();
            let (closed, next) = (known.pipe.is_none(), known.waiting);
            drop(core);
            let Some(next) = next.filter(|_| !closed && !stream.is_broken() && now < deadline)
            else {
                return Err(unreachable(dial, "nobody answered"));
            };
            self.life.hub.core().queue.push(deadline, next.event());
            tasks::pause();
        }
    }
}

fn unreachable(dial: &Dial<'_>, why: &str) -> Error {
    Error::rejected(
        Code::Unreachable,
        format!("no node could be reached at {}: {why}", dial.address),
    )
}

/// Has a node's loop turn soon.
pub struct Alarm(pub Life);

impl Wake for Alarm {
    fn wake(&self) {
        let mut core = self.0.hub.core();
        if core.nodes[self.0.node].life == self.0.id {
            let delay = core.random.skewed(1, 128);
            let at = core.now + delay;
            core.turn_at(self.0.node, at);
        }
    }
}

/// Has the running task sleep, unless its life is over.
pub fn sleep(life: &Life, length: Duration) {
    if !life.is_over() {
        tasks::sleep(&life.hub, length.as_micros() as Time);
    }
}
