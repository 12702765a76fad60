//! libraft for Java: the native half of `bindings/java`.
//!
//! The boundary is kept small. A native method takes numbers and one `byte[]`, and returns one (see
//! [`boundary`] and [`flat`]). The library calls Java in one place only, the state machine's bridge
//! ([`machine`]); everything else that it has to tell (completions, events, the log) waits in
//! queues ([`deliveries`], [`log`]) that threads of Java's own empty, many at once. So no thread of
//! the library ever runs a program's continuation, listener or log handler.

mod attach;
mod boundary;
mod deliveries;
mod error;
mod events;
mod flat;
mod group;
mod log;
mod machine;
mod node;
mod options;
mod request;
mod snapshot;
