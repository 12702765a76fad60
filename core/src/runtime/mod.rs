//! The threads that carry events to replicas and effects to the world.
//!
//! | thread | how many | what it does |
//! |---|---|---|
//! | `libraft-worker` | 1 | turns the event loop, writes and syncs the log, runs quick machines and completions |
//! | `libraft-standby` | 1 | turns the event loop while the worker waits for a slow disk |
//! | `libraft-apply` | `apply_threads` | calls state machines |
//! | `libraft-completion` | 1 | calls completions and listeners |
//! | `libraft-reader` | 0 to 1 | reads the log for those who lag |
//! | `libraft-keeper` | 0 to 1 | prepares and recycles journal segments, moves entries into sled |
//! | `libraft-courier` | 0 to 4 | saves and sends snapshots |
//! | `libraft-greeter` | 0 to 2 | asks nodes that are to be added who they are |
//! | `libraft-receiver` | 0 to 4 | receives snapshots |

mod apply;
mod baton;
mod call;
mod closing;
mod deliver;
mod errands;
mod event_loop;
mod expectation;
mod group_handle;
mod hosted;
mod housekeeping;
mod inbox;
mod introduction;
mod lines;
mod lingering;
mod node_handle;
mod opening;
mod parked;
mod random;
mod saving;
mod seat;
mod settle;
mod sockets;
mod stepped;
mod system;
mod thread;
mod tidings;
mod transfer;

pub(crate) use call::{Batch, Call};
#[doc(hidden)]
pub use event_loop::{Observer, Turn};
pub(crate) use group_handle::{ticks, GroupHandle};
pub(crate) use inbox::Command;
pub(crate) use node_handle::NodeHandle;
pub(crate) use opening::{open, start_group};
#[doc(hidden)]
pub use stepped::{SteppedNode, Surroundings};
#[doc(hidden)]
pub use system::{Dial, Network, System, Wake};
pub(crate) use thread::refuse_on_library_thread;
pub use thread::{is_library_thread, with_signals_blocked};
