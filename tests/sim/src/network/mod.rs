//! The network of a world: links between nodes, connections over them, and what is on its way.
//!
//! A connection is dialed, introduces itself with the production code's handshake, and then carries frames one way, as
//! the real transport's do; or it becomes a pipe for a snapshot. What the weather does to frames (loss, duplication,
//! reordering) is more than a TCP connection would do: Raft must cope with all of it.

mod endpoint;
mod pipe;

use std::collections::{BTreeMap, VecDeque};

use libraft::replica::PeerMessage;
use libraft::wire::{frame, Frame, WireError};

pub use endpoint::Endpoint;
pub use pipe::{Pipe, PipeEnd};

use crate::event::{Event, LifeId, Time, MS, SECOND};
use crate::hub::Core;
use crate::tasks::Pause;

pub type ConnectionId = u64;

/// What arrives at a node's event loop.
#[derive(Debug)]
pub enum Arrival {
    Hello { connection: ConnectionId, bytes: Vec<u8> },
    Answer { connection: ConnectionId, bytes: Vec<u8> },
    Frame { connection: ConnectionId, bytes: Vec<u8> },
    Closed { connection: ConnectionId },
}

/// What the network does to what is on its way. 0 is never.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    pub lost_once_in: u64,
    pub doubled_once_in: u64,
    pub reordered_once_in: u64,
    /// The usual longest time on the way.
    pub delay_max: Time,
}

/// The way from one node to another.
#[derive(Clone, Copy, Debug, Default)]
pub struct Link {
    /// Nothing gets through.
    pub blocked: bool,
    /// What one byte more takes, in nanoseconds, and everything together.
    pub byte_ns: u64,
    pub delay: Time,
}

pub struct Connection {
    pub from: (usize, LifeId),
    pub to: (usize, LifeId),
    /// Made by a task, which waits for the answer; and what it carries then.
    pub pipe: Option<u64>,
    pub answer: Option<Vec<u8>>,
    pub waiting: Option<Pause>,
    /// When the last frame arrives.
    last_at: Time,
    /// Bytes on their way.
    pub in_flight: u64,
}

impl Connection {
    pub fn carries_messages(&self) -> bool {
        self.last_at > 0
    }
}

pub struct Net {
    pub weather: Weather,
    links: Vec<Vec<Link>>,
    pub arrived: Vec<VecDeque<Arrival>>,
    pub connections: BTreeMap<ConnectionId, Connection>,
    pub pipes: BTreeMap<u64, Pipe>,
    next: u64,
}

/// How many bytes may be on their way over a connection before its sender drops what comes.
pub const IN_FLIGHT_MAX: u64 = 1 << 20;
/// How long it takes until somebody notices that the other end is gone without a word.
const NOTICED_AFTER: Time = 2 * SECOND;

impl Net {
    pub fn new(nodes: usize) -> Net {
        Net {
            weather: Weather { delay_max: MS, ..Weather::default() },
            links: vec![vec![Link::default(); nodes]; nodes],
            arrived: (0..nodes).map(|_| VecDeque::new()).collect(),
            connections: BTreeMap::new(),
            pipes: BTreeMap::new(),
            next: 1,
        }
    }

    pub fn link(&mut self, from: usize, to: usize) -> &mut Link {
        &mut self.links[from][to]
    }

    pub fn heal(&mut self) {
        let links = self.links.iter_mut().flatten();
        links.for_each(|link| *link = Link::default());
    }

    fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// The address of a node, and whose address something is.
pub fn address(node: usize) -> String {
    format!("node{}:1", node + 1)
}

pub fn node_at(address: &str, nodes: usize) -> Option<usize> {
    (0..nodes).find(|node| address == self::address(*node))
}

impl Core {
    /// How long something of so many bytes takes from one node to another; `None` if it does not get through.
    pub fn way(&mut self, from: usize, to: usize, bytes: usize) -> Option<Time> {
        let link = *self.net.link(from, to);
        if link.blocked {
            return None;
        }
        let jitter = self.random.skewed(1, self.net.weather.delay_max.max(1));
        Some(20 + jitter + link.delay + link.byte_ns * bytes as u64 / 1000)
    }

    fn arrive(&mut self, at: (usize, LifeId), delay: Time, arrival: Arrival) {
        self.after(delay, Event::Arrival { node: at.0, life: at.1, arrival });
    }

    /// Dials an address and says hello. What becomes of it arrives later. `pipe`: for a task.
    fn connect(
        &mut self,
        from: (usize, LifeId),
        to: usize,
        hello: &[u8],
        pipe: Option<u64>,
    ) -> u64 {
        let connection = self.net.next();
        let to = (to, self.nodes[to].life);
        self.trace.bytes(hello);
        let made =
            Connection { from, to, pipe, answer: None, waiting: None, last_at: 0, in_flight: 0 };
        self.net.connections.insert(connection, made);
        match self.way(from.0, to.0, hello.len()) {
            // Nobody listens there, and the system says so.
            Some(delay) if to.1 == 0 => self.arrive(from, delay, Arrival::Closed { connection }),
            Some(delay) => {
                self.arrive(to, delay, Arrival::Hello { connection, bytes: hello.to_vec() })
            }
            None => self.arrive(from, NOTICED_AFTER, Arrival::Closed { connection }),
        }
        connection
    }

    /// The dialed end answers a hello.
    fn answer(&mut self, connection: ConnectionId, bytes: Vec<u8>) {
        self.trace.bytes(&bytes);
        let Some(known) = self.net.connections.get(&connection) else { return };
        let (from, to) = (known.from, known.to);
        match self.way(to.0, from.0, bytes.len()) {
            Some(delay) => self.arrive(from, delay, Arrival::Answer { connection, bytes }),
            None => self.close(connection, NOTICED_AFTER),
        }
    }

    /// Sends a frame over a connection, whatever becomes of it. `false`: too much is on its way already.
    fn send(&mut self, connection: ConnectionId, bytes: Vec<u8>, body: &PeerMessage) -> bool {
        self.trace.bytes(&bytes);
        let Some(known) = self.net.connections.get_mut(&connection) else { return false };
        if known.in_flight + bytes.len() as u64 > IN_FLIGHT_MAX {
            return false;
        }
        let (from, to, last_at) = (known.from, known.to, known.last_at);
        self.counters.count("messages");
        let weather = self.net.weather.clone();
        let way = self.way(from.0, to.0, bytes.len());
        let (Some(delay), false) = (way, self.random.once_in(weather.lost_once_in)) else {
            self.counters.count("messages lost");
            return true;
        };
        let (mut at, mut copies) = (self.now + delay, 1);
        if self.random.once_in(weather.reordered_once_in) {
            self.counters.count("messages reordered");
            at += self.random.below(200 * MS);
        } else {
            at = at.max(last_at);
            self.connection(connection).last_at = at;
        }
        // A proposal that is handed on is no message of Raft: it relies on a connection not to say anything twice.
        let may_double = !matches!(body, PeerMessage::Propose { .. });
        if self.random.once_in(weather.doubled_once_in) && may_double {
            self.counters.count("messages duplicated");
            copies = 2;
        }
        for copy in 0..copies {
            let (node, life) = to;
            self.connection(connection).in_flight += bytes.len() as u64;
            let arrival = Arrival::Frame { connection, bytes: bytes.clone() };
            self.queue.push(at, Event::Arrival { node, life, arrival });
            at += copy + self.random.below(300 * MS);
        }
        true
    }

    fn connection(&mut self, connection: ConnectionId) -> &mut Connection {
        self.net.connections.get_mut(&connection).expect("who sends has a connection")
    }

    /// Ends a connection: both ends hear of it, at most `within` later.
    pub fn close(&mut self, connection: ConnectionId, within: Time) {
        let Some(known) = self.net.connections.get(&connection) else { return };
        let (ends, pipe) = ([known.from, known.to], known.pipe);
        for end in ends {
            let delay = self.random.below(within.max(1) + 1);
            self.arrive(end, delay, Arrival::Closed { connection });
        }
        if let Some(pipe) = pipe {
            self.after(within, Event::CutPipe { pipe });
        }
    }

    /// Something arrives at a node, or at a task of it.
    pub fn arrived(&mut self, node: usize, life: LifeId, arrival: Arrival) {
        let (Arrival::Hello { connection, .. }
        | Arrival::Answer { connection, .. }
        | Arrival::Frame { connection, .. }
        | Arrival::Closed { connection }) = &arrival;
        let Some(known) = self.net.connections.get_mut(connection) else { return };
        if let Arrival::Frame { bytes, .. } = &arrival {
            known.in_flight = known.in_flight.saturating_sub(bytes.len() as u64);
        }
        if known.pipe.is_some() && known.from == (node, life) {
            let closed = matches!(arrival, Arrival::Closed { .. });
            if let Arrival::Answer { bytes, .. } = arrival {
                known.answer = Some(bytes);
            }
            let (pipe, waiting) = (known.pipe.take_if(|_| closed), known.waiting.take());
            if let Some(pipe) = pipe {
                self.cut_pipe(pipe);
            }
            if let Some(pause) = waiting {
                self.after(0, pause.event());
            }
            return;
        }
        if self.nodes[node].life != life {
            if !matches!(arrival, Arrival::Closed { .. }) {
                self.close(*connection, MS);
            }
            return;
        }
        self.net.arrived[node].push_back(arrival);
        let delay = self.random.below(50);
        self.turn_at(node, self.now + delay);
    }

    /// The connections that cross a link, either way.
    pub fn connections_between(&self, one: usize, other: usize) -> Vec<ConnectionId> {
        let crosses = |connection: &Connection| {
            let ends = (connection.from.0, connection.to.0);
            ends == (one, other) || ends == (other, one)
        };
        let all = self.net.connections.iter();
        all.filter(|(_, known)| crosses(known)).map(|(number, _)| *number).collect()
    }

    /// A life has ended: its connections end, and what is left of ended ones is forgotten.
    pub fn close_all_of(&mut self, node: usize, life: LifeId) {
        let of = |connection: &Connection| [connection.from, connection.to].contains(&(node, life));
        let all = self.net.connections.iter();
        let closed: Vec<u64> =
            all.filter(|(_, known)| of(known)).map(|(number, _)| *number).collect();
        for connection in closed {
            self.close(connection, NOTICED_AFTER);
        }
        self.net.arrived[node].clear();
        let lives: Vec<LifeId> = self.nodes.iter().map(|clock| clock.life).collect();
        let lives_on = |end: (usize, LifeId)| lives[end.0] == end.1;
        self.net.connections.retain(|_, known| lives_on(known.from) || lives_on(known.to));
    }
}

/// The one frame that these bytes are.
pub fn parse(bytes: &[u8]) -> Result<Frame, WireError> {
    let header = bytes.first_chunk().ok_or_else(|| WireError("a short frame".into()))?;
    let (kind, length) = frame::read_header(header)?;
    let body = &bytes[header.len()..];
    if body.len() != length {
        return Err(WireError("a frame of another length".into()));
    }
    frame::check_body(header, body)?;
    Ok(Frame { kind, body: bytes::Bytes::copy_from_slice(body), held_bytes: length })
}
