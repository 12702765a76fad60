//! A group's copy on one node, without I/O: `step(event)`, `drain(effects)` around `raft::RawNode`.
//!
//! There is no thread, clock, socket, file or randomness in here. The same events always lead to
//! the same effects.
//!
//! Whoever runs a [`Replica`] has these duties. First, append the records of the effects to the
//! log, in order, and once all of them are durable report their number by [`Event::Persisted`].
//! Second, send the messages: what must wait for the disk is held back already. Third, have the
//! state machine do the work, in order, and report each piece. Fourth, deliver the completions:
//! each is there exactly once. And tick.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod effect;
pub mod event;
pub mod message;

mod apply;
mod change;
mod conf_change;
mod core;
mod entry;
mod entry_cache;
mod forming;
mod forward;
mod install;
mod logging;
mod membership;
mod meta;
mod observe;
mod payload;
mod pending;
mod persist;
mod reads;
mod ready;
mod receive;
mod removal;
mod snapshots;
mod start;
mod storage;
#[cfg(test)]
mod tests;
mod validate;
mod window;

pub use self::core::{Replica, ReplicaOptions, ReplicaStatus};
pub use conf_change::ConfChange;
pub use effect::{AppliedEntry, Completion, Effects, MachineWork, Notice, Role, SendSnapshot};
pub use entry::ProposalId;
pub use event::{Event, MemberChange, ReceivedSnapshot, SnapshotTaken};
pub use membership::{Member, Membership, Seat};
pub use message::{Envelope, PeerIdentity, PeerMessage};
pub use payload::Payload;
