//! The C ABI of libraft: what `include/libraft.h` is generated from.
//!
//! One file per noun of the header; the mechanics they share stand apart: [`boundary`] (every
//! export goes through it), [`handle`] (handles are looked up, never dereferenced), [`fork`] (a
//! forked child gets an error), [`callback`] (calls into foreign code). The types carry their C
//! names, and the comments are written for the reader of the header.
//!
//! **Safety** of every export: pointers are NULL or valid for the size that the header states, for
//! as long as it states, and aligned; callbacks have the declared type, do not unwind, and may be
//! called from any thread. Nothing else is trusted.

#![allow(non_camel_case_types)]
#![allow(clippy::missing_safety_doc)] // The header states it once, for all functions.

// The mechanics.
pub mod boundary;
pub mod callback;
pub mod fork;
pub mod handle;
mod wait;

// The nouns, in the order of the header.
pub mod version;

pub mod error;

pub mod bytes;

pub mod done;

pub mod node;

pub mod group;

pub mod completion;

pub mod proposal;

pub mod read;

pub mod membership;

pub mod machine;

pub mod request;

pub mod results;

pub mod snapshot;

pub mod queue;

pub mod event;

pub mod log_hook;
