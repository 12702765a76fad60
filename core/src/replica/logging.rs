//! What raft-rs logs through `slog` goes to `tracing`, with the group's and the replica's id.

use std::fmt;

use slog::{Drain, Key, Level, Logger, OwnedKVList, Record, Serializer, KV};
use tracing::{debug, enabled, error, info, trace, warn};

use crate::ids::{GroupId, RaftId};

pub fn logger(group_id: GroupId, raft_id: RaftId) -> Logger {
    Logger::root(ToTracing { group_id, raft_id }, slog::o!())
}

struct ToTracing {
    group_id: GroupId,
    raft_id: RaftId,
}

macro_rules! pass_on {
    ($self:ident, $record:ident, $level:ident, $emit:ident) => {
        // Asked first, since building the text costs far more than the question.
        if enabled!(target: "libraft::raft", tracing::Level::$level) {
            let (group, replica) = ($self.group_id, $self.raft_id);
            let text = text($record);
            $emit!(target: "libraft::raft", group, replica, "{text}");
        }
    };
}

impl Drain for ToTracing {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &Record<'_>, _values: &OwnedKVList) -> Result<(), slog::Never> {
        match record.level() {
            Level::Critical | Level::Error => pass_on!(self, record, ERROR, error),
            Level::Warning => pass_on!(self, record, WARN, warn),
            Level::Info => pass_on!(self, record, INFO, info),
            Level::Debug => pass_on!(self, record, DEBUG, debug),
            Level::Trace => pass_on!(self, record, TRACE, trace),
        }
        Ok(())
    }
}

fn text(record: &Record<'_>) -> String {
    let mut pairs = Pairs(record.msg().to_string());
    // Writing to a string does not fail; a value that cannot be written is missing from the line.
    let _ = record.kv().serialize(record, &mut pairs);
    pairs.0
}

struct Pairs(String);

impl Serializer for Pairs {
    fn emit_arguments(&mut self, key: Key, value: &fmt::Arguments<'_>) -> slog::Result {
        fmt::Write::write_fmt(&mut self.0, format_args!(", {key}: {value}"))?;
        Ok(())
    }
}
