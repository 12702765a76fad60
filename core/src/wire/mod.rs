//! The bytes between nodes: frames, handshake, messages. See `docs/format.md`, section *Wire*.
//!
//! Everything here is a function from bytes to values and back: no socket, no thread, no clock.
//! What arrives is hostile until it was checked: every length and count is compared with a cap
//! before anything is allocated for it, and whatever is not understood is a [`WireError`], after
//! which the connection is of no more use.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::borrow::Cow;
use std::fmt;

pub mod frame;
pub mod handshake;
pub mod message;

mod bytes;

pub use frame::{Frame, FrameKind, FrameReader};
pub use handshake::{Hello, Intent, Introduction, Refuse, Welcome};

/// The oldest and the newest protocol version this build speaks. Two nodes use the newest that both
/// do.
pub const PROTOCOL_MIN: u32 = 1;
pub const PROTOCOL_MAX: u32 = 1;

/// Why bytes from the network were refused. For logs; never parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireError(pub Cow<'static, str>);

impl WireError {
    pub(crate) const fn new(message: &'static str) -> WireError {
        WireError(Cow::Borrowed(message))
    }
}

impl From<String> for WireError {
    fn from(message: String) -> WireError {
        WireError(Cow::Owned(message))
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WireError {}

/// A sentence for people as it goes over the wire: printable, and at most `bytes_max` long.
fn sentence(text: &str, bytes_max: usize) -> String {
    let mut sentence = String::with_capacity(text.len().min(bytes_max));
    for character in text.chars() {
        if sentence.len() + character.len_utf8() > bytes_max {
            break;
        }
        sentence.push(if character.is_control() { ' ' } else { character });
    }
    sentence
}
