//! Errors on their way to `LibraftException.java`.

use libraft::Error;

use crate::flat::Writer;

pub fn write(writer: &mut Writer, error: &Error) {
    writer.int(error.code.number());
    writer.int(error.outcome as i32);
    writer.byte(u8::from(error.retriable()));
    writer.text(&error.message);
    let leader = error.leader.as_ref();
    writer.long(leader.map_or(0, |leader| leader.node_id));
    writer.text(leader.map_or("", |leader| &leader.address));
}

/// An error that may not be there.
pub fn write_optional(writer: &mut Writer, error: Option<&Error>) {
    writer.byte(u8::from(error.is_some()));
    if let Some(error) = error {
        write(writer, error);
    }
}
