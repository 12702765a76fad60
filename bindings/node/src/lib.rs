//! libraft for Node.js: the native half of the package.
//!
//! What a user sees is written in TypeScript (`lib/`); this is what it stands on. JavaScript only
//! ever runs on its own thread, and the library's threads never wait for it: what they have to say
//! goes into a [`mailbox`], which wakes the event loop once for many items. JavaScript takes the
//! items out one by one, and answers by calling methods here.
//!
//! | file | noun |
//! |---|---|
//! | `bridge.rs` | what one JavaScript environment (the main thread, or a worker) and the library share |
//! | `mailbox.rs`, `wake.rs` | the items that wait for JavaScript, and how its event loop is woken |
//! | `delivery.rs`, `columns.rs` | an item as JavaScript sees it |
//! | `machine.rs`, `request.rs`, `stream.rs` | a state machine in JavaScript, what it is asked, and its snapshots |
//! | `node.rs`, `group.rs`, `options.rs`, `status.rs`, `error.rs` | the library's nouns |

mod bridge;
mod columns;
mod delivery;
mod error;
mod group;
mod logger;
mod machine;
mod mailbox;
mod node;
mod options;
mod request;
mod status;
mod stream;
mod wake;

use napi_derive::napi;

/// The version of the library.
#[napi(catch_unwind)]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}
