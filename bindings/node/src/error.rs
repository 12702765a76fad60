//! An error as a plain object; `lib/error.ts` makes a `LibraftError` of it.

use libraft::{Code, Error, Outcome};
use napi_derive::napi;

use crate::status::NativeLeader;

#[napi(object, object_from_js = false)]
pub struct NativeError {
    /// As in `docs/api.toml`: `NOT_LEADER`.
    pub code: String,
    pub number: i32,
    /// Whether the call may yet take effect.
    pub unknown: bool,
    pub retriable: bool,
    pub message: String,
    pub leader: Option<NativeLeader>,
}

impl From<Error> for NativeError {
    fn from(error: Error) -> NativeError {
        NativeError {
            code: code_name(error.code),
            number: error.code.number(),
            unknown: error.outcome == Outcome::Unknown,
            retriable: error.retriable(),
            message: error.message,
            leader: error.leader.map(NativeLeader::from),
        }
    }
}

/// `NotLeader` as `NOT_LEADER`.
fn code_name(code: Code) -> String {
    let camel_case = format!("{code:?}");
    let mut name = String::new();
    for (position, letter) in camel_case.char_indices() {
        if letter.is_uppercase() && position > 0 {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}
