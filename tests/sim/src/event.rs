//! What is going to happen in a world, in the order of its time.

use std::collections::BTreeMap;

use crate::network::Arrival;

/// Microseconds of the world's own time.
pub type Time = u64;

pub const MS: Time = 1_000;
pub const SECOND: Time = 1_000_000;

/// One opening of a node: numbers never used twice in a world. 0 is none.
pub type LifeId = u64;

/// Something that happens to one life of a node, or to the world.
pub enum Event {
    /// The event loop of a node makes a turn. Only the newest number counts.
    Turn { node: usize, life: LifeId, number: u64 },
    /// The barrier that runs on a node has ended.
    BarrierEnd { node: usize, life: LifeId },
    /// A thread of a node goes on: see [`crate::tasks`].
    Task { task: u64, wait: u64 },
    /// Something arrives at a node.
    Arrival { node: usize, life: LifeId, arrival: Arrival },
    /// Bytes arrive at the end of a pipe.
    Chunk { pipe: u64, side: usize, bytes: Vec<u8> },
    /// A pipe breaks, at both ends.
    CutPipe { pipe: u64 },
    /// A state machine or a completion does what it put off.
    Later { node: usize, life: LifeId, body: Box<dyn FnOnce() + Send> },
    /// A client makes its next call.
    Client { client: usize },
    /// The operator of a group looks what there is to do.
    Operator { group: usize },
    /// The next trouble begins.
    Trouble,
    /// A trouble that lasted for a while is over.
    Relief(Relief),
    /// A node that was down comes back.
    Open { node: usize },
    /// A group is to run on a node, from now on or again.
    StartGroup { node: usize, life: LifeId, group: usize },
    /// A node that is closing may have ended.
    MayEnd { node: usize, life: LifeId },
}

/// The end of a trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relief {
    Links,
    Disk {
        node: usize,
    },
    Clock {
        node: usize,
    },
    /// An older image of a directory was looked at for long enough.
    OldImage {
        node: usize,
    },
    /// A node that is out of service is ended.
    Kill {
        node: usize,
        life: LifeId,
    },
}

/// Events by time; those of the same moment in the order in which they were thought of.
#[derive(Default)]
pub struct Queue {
    events: BTreeMap<(Time, u64), Event>,
    next: u64,
}

impl Queue {
    pub fn push(&mut self, at: Time, event: Event) {
        self.events.insert((at, self.next), event);
        self.next += 1;
    }

    pub fn pop(&mut self) -> Option<(Time, Event)> {
        self.events.pop_first().map(|((at, _), event)| (at, event))
    }
}
