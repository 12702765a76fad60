//! An item of the mailbox as JavaScript sees it: an object whose `kind` is one of these numbers
//! (`lib/native.ts`).

use libraft::logging::LogRecord;
use libraft::machine::Apply;
use libraft::{Completion, Error, Notice, Result as LibraftResult};
use napi::bindgen_prelude::{Object, ToNapiValue};
use napi::{Env, Result};

use crate::bridge::Shared;
use crate::columns::{array_buffer, filled, Row};
use crate::error::NativeError;
use crate::machine::HostId;
use crate::mailbox::{CallId, Item};
use crate::request::{Request, Waiting};
use crate::status::role_name;

const COMPLETED: u32 = 1;
const FAILED: u32 = 2;
const BATCH_COMPLETED: u32 = 3;
const OPENED: u32 = 4;
const DONE: u32 = 5;
const CHUNK: u32 = 6;
const OPEN: u32 = 10;
const APPLY: u32 = 11;
const SYNC: u32 = 12;
const PREPARE: u32 = 13;
const SAVE: u32 = 14;
const RESTORE: u32 = 15;
const SNAPSHOT_RELEASED: u32 = 20;
const MACHINE_DROPPED: u32 = 21;
const NOTICED: u32 = 22;
const LOGGED: u32 = 23;
const NOTICES_ENDED: u32 = 24;

pub fn deliver<'env>(env: &'env Env, shared: &Shared, item: Item) -> Result<Object<'env>> {
    match item {
        Item::Completed(completions) => completed(env, &completions),
        Item::Failed(call, error) => failed(env, call, error),
        Item::BatchCompleted(call, results) => batch_completed(env, call, &results),
        Item::Opened(call, node, number) => {
            let node = shared.nodes.native(node, number, &shared.mailbox);
            with(numbered(env, OPENED, "call", call)?, "node", node)
        }
        Item::Done(call) => numbered(env, DONE, "call", call),
        Item::Chunk(call, bytes) => {
            let data = filled(env, bytes.len(), |buffer| buffer.copy_from_slice(&bytes))?;
            with(numbered(env, CHUNK, "call", call)?, "data", data)
        }
        Item::Requested(host, request) => requested(env, shared, host, request),
        Item::SnapshotReleased(host, number) => {
            with(numbered(env, SNAPSHOT_RELEASED, "host", host)?, "prepared", number)
        }
        Item::MachineDropped(host) => numbered(env, MACHINE_DROPPED, "host", host),
        Item::Noticed(host, notice) => {
            with(numbered(env, NOTICED, "host", host)?, "event", event(env, notice)?)
        }
        Item::NoticesEnded(host, number) => {
            with(numbered(env, NOTICES_ENDED, "host", host)?, "listener", number)
        }
        Item::Logged(record) => logged(env, record),
    }
}

fn completed<'env>(env: &'env Env, completions: &[(CallId, Completion)]) -> Result<Object<'env>> {
    let rows = completions.iter().map(|(call, completion)| Row {
        index: completion.index,
        term: completion.term,
        call: *call,
        bytes: &completion.result,
    });
    with(numbered(env, COMPLETED, "count", rows.len() as u32)?, "data", array_buffer(env, rows)?)
}

fn failed(env: &Env, call: CallId, error: Error) -> Result<Object<'_>> {
    with(numbered(env, FAILED, "call", call)?, "error", NativeError::from(error))
}

/// The successful ones in columns, where a failed one is a row of zeros; the errors in an array
/// with their positions.
fn batch_completed<'env>(
    env: &'env Env,
    call: CallId,
    results: &[LibraftResult<Completion>],
) -> Result<Object<'env>> {
    let nothing = Row { index: 0, term: 0, call: 0, bytes: &[] };
    let rows = results.iter().map(|result| match result {
        Ok(done) => Row { index: done.index, term: done.term, call: 0, bytes: &done.result },
        Err(_) => Row { ..nothing },
    });
    let (count, data) = (rows.len() as u32, array_buffer(env, rows)?);
    let mut errors = Vec::new();
    for (position, result) in results.iter().enumerate() {
        if let Err(error) = result {
            let entry = numbered(env, FAILED, "position", position as u32)?;
            errors.push(with(entry, "error", NativeError::from(error.clone()))?);
        }
    }
    let object = with(numbered(env, BATCH_COMPLETED, "call", call)?, "count", count)?;
    with(with(object, "data", data)?, "errors", errors)
}

fn requested<'env>(
    env: &'env Env,
    shared: &Shared,
    host: HostId,
    request: Request,
) -> Result<Object<'env>> {
    let ask = |number: u32, waiting: Waiting| {
        let id = shared.requests().insert(waiting);
        with(numbered(env, number, "host", host)?, "request", id)
    };
    match request {
        Request::Open(reply) => ask(OPEN, Waiting::Open(reply)),
        Request::Apply(Apply { entries, blob, reply }) => {
            let rows = entries.iter().map(|entry| Row {
                index: entry.index,
                term: entry.term,
                call: 0,
                bytes: &entry.data,
            });
            let (count, data) = (rows.len() as u32, array_buffer(env, rows)?);
            let object = ask(APPLY, Waiting::Apply { reply, count: entries.len() })?;
            let blob = filled(env, blob.len(), |buffer| buffer.copy_from_slice(&blob))?;
            with(with(with(object, "count", count)?, "data", data)?, "blob", blob)
        }
        Request::Sync(reply) => ask(SYNC, Waiting::Sync(reply)),
        Request::Prepare(reply) => ask(PREPARE, Waiting::Prepare(reply)),
        Request::Save { prepared, commands } => {
            with(ask(SAVE, Waiting::Stream(commands))?, "prepared", prepared)
        }
        Request::Restore(commands) => ask(RESTORE, Waiting::Stream(commands)),
    }
}

/// An event as the user of JavaScript sees it.
fn event(env: &Env, notice: Notice) -> Result<Object<'_>> {
    let object = Object::new(env)?;
    match notice {
        Notice::Role { role, term } => {
            with(with(with(object, "kind", "role")?, "role", role_name(role))?, "term", term)
        }
        Notice::Leader { leader, term } => {
            let object = with(with(object, "kind", "leader")?, "term", term)?;
            leader.map_or(Ok(object), |node_id| with(object, "nodeId", node_id))
        }
        Notice::Membership { index } => with(with(object, "kind", "membership")?, "index", index),
        Notice::SnapshotTaken { index, bytes } => {
            let object = with(with(object, "kind", "snapshot-taken")?, "index", index)?;
            with(object, "bytes", bytes as f64)
        }
        Notice::SnapshotInstalled { index } => {
            with(with(object, "kind", "snapshot-installed")?, "index", index)
        }
        Notice::SnapshotSending { to, index, bytes } => {
            let object = with(with(object, "kind", "snapshot-sending")?, "nodeId", to)?;
            with(with(object, "index", index)?, "bytes", bytes as f64)
        }
        Notice::SnapshotReceiving { from, index, bytes } => {
            let object = with(with(object, "kind", "snapshot-receiving")?, "nodeId", from)?;
            with(with(object, "index", index)?, "bytes", bytes as f64)
        }
        Notice::Failed => with(object, "kind", "failed"),
    }
}

fn logged(env: &Env, record: LogRecord) -> Result<Object<'_>> {
    let object = numbered(env, LOGGED, "level", record.level as u32)?;
    let object = with(with(object, "target", record.target)?, "line", record.line)?;
    with(object, "message", record.message)
}

fn kind(env: &Env, number: u32) -> Result<Object<'_>> {
    with(Object::new(env)?, "kind", number)
}

fn numbered<'env>(env: &'env Env, number: u32, name: &str, id: u32) -> Result<Object<'env>> {
    with(kind(env, number)?, name, id)
}

fn with<'env>(
    mut object: Object<'env>,
    name: &str,
    value: impl ToNapiValue,
) -> Result<Object<'env>> {
    object.set(name, value)?;
    Ok(object)
}
