//! `NativeGroup.java`.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use jni::objects::{JByteArray, JClass, JObject};
use jni::{Env, EnvUnowned};
use libraft::{BatchCompleter, Completer, Group, GroupStatus, Member, Result};

use crate::boundary::{self, answer, Trouble};
use crate::deliveries::Deliveries;
use crate::error;
use crate::events::Events;
use crate::flat::{Reader, Writer};
use crate::machine::JavaMachine;
use crate::node::JavaNode;
use crate::options;

pub struct JavaGroup {
    group: Group,
    deliveries: Arc<Deliveries>,
    /// Events that wait for the group's listeners.
    events_waiting: Arc<AtomicUsize>,
}

impl JavaGroup {
    /// Completes a call by a delivery.
    fn completer(&self, token: i32) -> Completer {
        let deliveries = self.deliveries.clone();
        Completer::quick(move |result| deliveries.complete(token, result))
    }
}

/// Answers with the pointer of the group, and how many calls of it may be pending.
#[no_mangle]
pub extern "system" fn Java_io_libraft_NativeNode_startGroup<'local>(
    env: EnvUnowned<'local>,
    _this: JObject<'local>,
    node: i64,
    options: JByteArray<'local>,
    bridge: JObject<'local>,
    kind: i32,
    quick: bool,
) -> JByteArray<'local> {
    answer(env, |env| {
        // First, so that the machine is destroyed whatever else fails.
        let machine = JavaMachine::new(env, &bridge, kind, quick)?;
        let options = boundary::read_array(env, &options)?;
        // SAFETY: the caller is the object that owns the pointer.
        let node: &JavaNode = unsafe { boundary::borrow(node) };
        let options = options::group(&mut Reader::new(&options))?;
        let pending_count_max = options.pending_count_max;
        let group = node.node.start_group(options, Box::new(machine))?;
        let deliveries = node.deliveries.clone();
        let events_waiting = Arc::default();
        let mut data = boundary::data();
        data.long(boundary::into_pointer(JavaGroup { group, deliveries, events_waiting }));
        data.long(pending_count_max);
        Ok(Some(data))
    })
}

/// Gives the group back, which runs on.
#[no_mangle]
pub extern "system" fn Java_io_libraft_NativeGroup_free<'local>(
    _env: EnvUnowned<'local>,
    _class: JClass<'local>,
    pointer: i64,
) {
    // SAFETY: called once, when the object that owned the pointer is gone.
    drop(unsafe { boundary::take_back::<JavaGroup>(pointer) });
}

/// Blocks until the group is ready.
#[no_mangle]
pub extern "system" fn Java_io_libraft_NativeGroup_waitReady<'local>(
    env: EnvUnowned<'local>,
    _this: JObject<'local>,
    pointer: i64,
    timeout_ms: i64,
) -> JByteArray<'local> {
    on_group(env, pointer, |_, java| {
        java.group.wait_ready(Duration::from_millis(timeout_ms as u64))?;
        Ok(None)
    })
}

#[no_mangle]
pub extern "system" fn Java_io_libraft_NativeGroup_waitReadyAsync<'local>(
    env: EnvUnowned<'local>,
    _this: JObject<'local>,
    pointer: i64,
    token: i32,
    timeout_ms: i64,
) -> JByteArray<'local> {
    on_group(env, pointer, |_, java| {
        let timeout = Duration::from_millis(timeout_ms as u64);
        java.group.wait_ready_async(timeout, java.completer(token))?;
        Ok(None)
    })
}

thread_local! {
    /// Where payloads lie between Java's heap and the library.
    static PAYLOAD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A larger buffer is not kept for the next proposal of a thread.
const KEPT_BYTES: usize = 256 << 10;

/// Hands a part of an array to `body`.
fn with_payload<T>(
    env: &Env,
    array: &JByteArray,
    start: i32,
    length: i32,
    body: impl FnOnce(&[u8]) -> Result<T>,
) -> std::result::Result<T, Trouble> {
    PAYLOAD.with_borrow_mut(|payload| {
        payload.resize(length as usize, 0);
        boundary::read_region(env, array, start, payload)?;
        let result = body(payload);
        if payload.capacity() > KEPT_BYTES {
            *payload = Vec::new();
        }
        Ok(result?)
    })
}

#[no_mangle]
pub extern "system" fn Java_io_libraft_NativeGroup_propose<'local>(
    env: EnvUnowned<'local>,
    _this: JObject<'local>,
    pointer: i64,
    token: i32,
    array: JByteArray<'local>,
    start: i32,
    length: i32,
) -> JByteArray<'local> {
    on_group(env, pointer, |env, java| {
        with_payload(env, &array, start, length, |data| {
            java.group.propose(data, java.completer(token))
        })?;
        Ok(None)
    })
}

/// The array has the number of entries, the length of each, and then all of them.
#[no_mangle]
pub extern "system" fn Java_io_libraft_NativeGroup_proposeBatch<'local>(
    env: EnvUnowned<'local>,
    _this: JObject<'local>,
    pointer: i64,
    token: i32,
    array: JByteArray<'local>,
) -> JByteArray<'local> {
    on_group(env, pointer, |env, java| {
        let length = array.len(env)? as i32;
        with_payload(env, &array, 0, length, |flat| {
            let mut reader = Reader::new(flat);
            let count = reader.count()?;
            let mut offsets = Vec::with_capacity(count + 1);
            let mut end = 0;
            offsets.push(0);
            for _ in 0..count {
                end += reader.count()?;
                offsets.push(end);
            }
            let deliveries = java.deliveries.clone();
            let completer = BatchCompleter::quick(move |results| {
                deliveries.complete_batch(token, &results);
            });
            java.group.propose_batch(reader.rest(), &offsets, completer)
        })?;
        Ok(None)
    })
}

#[no_mangle]
pub extern "system" fn Java_io_libraft_NativeGroup_readIndex<'local>(
    env: EnvUnowned<'local>,
    _this: JObject<'local>,
    pointer: i64,
    token: i32,
) -> JByteArray<'local> {
    on_group(env, pointer, |_, java| {
        java.group.read_index(java.completer(token))?;
        Ok(None)
    })
}

#[no_mangle]
pub extern "system" fn Java_io_libraft_NativeGroup_changeMembership<'local>(
    env: EnvUnowned<'local>,
    _this: JObject<'local>,
    pointer: i64,
    token: i32,
    changes: JByteArray<'local>,
) -> JByteArray<'local> {
    on_group(env, pointer, |env, java| {
        let changes = boundary::read_array(env, &changes)?;
        let changes = options::changes(&mut Reader::new(&changes))?;
        java.group.change_membership(changes, java.completer(token))?;
        Ok(None)
    })
}

#[no_mangle]
pub extern "system" fn Java_io_libraft_NativeGroup_transferLeadership<'local>(
    env: EnvUnowned<'local>,
    _this: JObject<'local>,
    pointer: i64,
    token: i32,
    to: i64,
) -> JByteArray<'local> {
    on_group(env, pointer, |_, java| {
        java.group.transfer_leadership(to as u64, java.completer(token))?;
        Ok(None)
    })
}

#[no_mangle]
pub extern "system" fn Java_io_libraft_NativeGroup_takeSnapshot<'local>(
    env: EnvUnowned<'local>,
    _this: JObject<'local>,
    pointer: i64,
    token: i32,
) -> JByteArray<'local> {
    on_group(env, pointer, |_, java| {
        java.group.take_snapshot(java.completer(token))?;
        Ok(None)
    })
}

#[no_mangle]
pub extern "system" fn Java_io_libraft_NativeGroup_stop<'local>(
    env: EnvUnowned<'local>,
    _this: JObject<'local>,
    pointer: i64,
) -> JByteArray<'local> {
    on_group(env, pointer, |_, java| {
        java.group.stop()?;
        Ok(None)
    })
}

/// Begins to stop the group. A delivery with `token` says when it is stopped; with data in the
/// answer there is none, for its node is closed already.
#[no_mangle]
pub extern "system" fn Java_io_libraft_NativeGroup_stopAsync<'local>(
    env: EnvUnowned<'local>,
    _this: JObject<'local>,
    pointer: i64,
    token: i32,
) -> JByteArray<'local> {
    on_group(env, pointer, |_, java| {
        let deliveries = java.deliveries.clone();
        if !deliveries.expect_done() {
            return Ok(Some(boundary::data()));
        }
        java.group.stop_async(Box::new(move |result| deliveries.done(token, result)));
        Ok(None)
    })
}

/// Begins or ends to deliver the group's events.
#[no_mangle]
pub extern "system" fn Java_io_libraft_NativeGroup_listen<'local>(
    env: EnvUnowned<'local>,
    _this: JObject<'local>,
    pointer: i64,
    on: bool,
) -> JByteArray<'local> {
    on_group(env, pointer, |_, java| {
        let events = Events {
            group_id: java.group.group_id(),
            deliveries: java.deliveries.clone(),
            waiting: java.events_waiting.clone(),
        };
        let listener = move |notice| events.tell(&notice);
        java.group.set_listener(if on { Some(Box::new(listener)) } else { None })?;
        Ok(None)
    })
}

/// Says that an event no longer waits.
#[no_mangle]
pub extern "system" fn Java_io_libraft_NativeGroup_eventTold<'local>(
    _env: EnvUnowned<'local>,
    _this: JObject<'local>,
    pointer: i64,
) {
    // SAFETY: the caller is the object that owns the pointer.
    let java: &JavaGroup = unsafe { boundary::borrow(pointer) };
    java.events_waiting.fetch_sub(1, Ordering::Relaxed);
}

#[no_mangle]
pub extern "system" fn Java_io_libraft_NativeGroup_status<'local>(
    env: EnvUnowned<'local>,
    _this: JObject<'local>,
    pointer: i64,
) -> JByteArray<'local> {
    on_group(env, pointer, |_, java| {
        let mut data = boundary::data();
        write_status(&mut data, &java.group.status()?);
        Ok(Some(data))
    })
}

#[no_mangle]
pub extern "system" fn Java_io_libraft_NativeGroup_members<'local>(
    env: EnvUnowned<'local>,
    _this: JObject<'local>,
    pointer: i64,
) -> JByteArray<'local> {
    on_group(env, pointer, |_, java| {
        let members = java.group.members()?;
        let mut data = boundary::data();
        data.int(members.len() as i32);
        for member in &members {
            write_member(&mut data, member);
        }
        Ok(Some(data))
    })
}

fn on_group<'local>(
    env: EnvUnowned<'local>,
    pointer: i64,
    body: impl FnOnce(&mut Env<'local>, &JavaGroup) -> std::result::Result<Option<Writer>, Trouble>,
) -> JByteArray<'local> {
    // SAFETY: the callers are methods of the object that owns the pointer.
    answer(env, |env| body(env, unsafe { boundary::borrow(pointer) }))
}

/// The order is that of `GroupStatus.java`.
fn write_status(writer: &mut Writer, status: &GroupStatus) {
    writer.long(status.group_id);
    writer.long(status.raft_id);
    writer.text(&status.formation.to_string());
    writer.int(status.role as i32);
    writer.long(status.term);
    let leader = status.leader.as_ref();
    writer.long(leader.map_or(0, |leader| leader.node_id));
    writer.text(leader.map_or("", |leader| &leader.address));
    writer.long(status.first_index);
    writer.long(status.last_index);
    writer.long(status.commit_index);
    writer.long(status.applied_index);
    writer.long(status.snapshot_index);
    writer.long(status.pending_proposals);
    writer.long(status.pending_bytes);
    error::write_optional(writer, status.failure.as_ref());
}

/// The order is that of `Member.java`.
fn write_member(writer: &mut Writer, member: &Member) {
    writer.long(member.raft_id);
    writer.long(member.node_id);
    writer.text(&member.incarnation.to_string());
    writer.text(&member.address);
    writer.int(member.role as i32);
}
