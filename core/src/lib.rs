//! libraft: a program becomes a member of a Raft cluster.
//!
//! Open a [`Node`], start a [`Group`] on it with a [`StateMachine`], propose. See `docs/architecture.md` for the picture.

pub mod chain;
#[cfg(feature = "deliberate-bugs")]
pub mod deliberate;
#[cfg(not(feature = "deliberate-bugs"))]
mod deliberate;
pub mod directory;
pub mod disk;
pub mod error;
pub mod group;
pub mod ids;
pub mod log;
pub mod logging;
pub mod machine;
pub mod node;
pub mod options;
mod planted;
pub mod replica;
pub mod runtime;
pub mod snapshot;
pub mod stream;
pub mod transport;
pub mod wire;

pub use error::{Code, Error, Leader, Outcome, Result};
pub use group::{
    BatchCompleter, Change, Completer, Completion, Group, GroupStatus, Member, MemberRole, Notice,
    Role,
};
pub use machine::StateMachine;
pub use node::{Node, NodeStatus};
pub use options::{GroupOptions, InitialMember, NodeOptions};
