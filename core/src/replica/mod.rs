//! A group's copy on one node, without I/O: `step(event) -> effects` around `raft::RawNode`.
//!
//! There is no thread, clock, socket, file or randomness in here. The same events always lead to the same effects.

pub mod effect;
pub mod event;
pub mod message;

pub use effect::{AppliedEntry, Completion, Effects, MachineWork, Notice, Role, SendSnapshot};
pub use event::{Event, MemberChange, ReceivedSnapshot, SnapshotTaken};
pub use message::{Envelope, PeerIdentity, PeerMessage};
