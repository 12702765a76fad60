//! `NativeNode.java`.

use std::sync::Arc;

use jni::objects::{JByteArray, JClass, JObject};
use jni::EnvUnowned;
use libraft::{Node, NodeStatus};

use crate::boundary::{self, answer};
use crate::deliveries::Deliveries;
use crate::error;
use crate::flat::{Reader, Writer};
use crate::options;

pub struct JavaNode {
    pub node: Node,
    pub deliveries: Arc<Deliveries>,
}

/// Answers with the pointers of the node and of its deliveries.
#[no_mangle]
pub extern "system" fn Java_io_libraft_NativeNode_open<'local>(
    env: EnvUnowned<'local>,
    _class: JClass<'local>,
    options: JByteArray<'local>,
) -> JByteArray<'local> {
    answer(env, |env| {
        let options = boundary::read_array(env, &options)?;
        let node = Node::open(options::node(&mut Reader::new(&options))?)?;
        let deliveries = Arc::new(Deliveries::default());
        let mut data = boundary::data();
        data.long(boundary::into_pointer(JavaNode { node, deliveries: deliveries.clone() }));
        data.long(boundary::into_pointer(deliveries));
        Ok(Some(data))
    })
}

/// Closes the node and waits for it. The deliveries end then.
#[no_mangle]
pub extern "system" fn Java_io_libraft_NativeNode_close<'local>(
    env: EnvUnowned<'local>,
    _this: JObject<'local>,
    pointer: i64,
) -> JByteArray<'local> {
    answer(env, |_| {
        // SAFETY: the caller is the object that owns the pointer.
        let java: &JavaNode = unsafe { boundary::borrow(pointer) };
        let closed = java.node.close();
        // On a thread of the library the close has only begun.
        end_deliveries_when_closed(java);
        closed?;
        Ok(None)
    })
}

/// Begins to close the node. A delivery with `token` says when it is closed; with data in the
/// answer there is none, for it is closed already.
#[no_mangle]
pub extern "system" fn Java_io_libraft_NativeNode_closeAsync<'local>(
    env: EnvUnowned<'local>,
    _this: JObject<'local>,
    pointer: i64,
    token: i32,
) -> JByteArray<'local> {
    answer(env, |_| {
        // SAFETY: the caller is the object that owns the pointer.
        let java: &JavaNode = unsafe { boundary::borrow(pointer) };
        let deliveries = java.deliveries.clone();
        if !deliveries.expect_done() {
            return Ok(Some(boundary::data()));
        }
        java.node.close_async(Box::new(move |result| deliveries.done(token, result)));
        end_deliveries_when_closed(java);
        Ok(None)
    })
}

/// Gives the node back, and begins to close it if it is not closed. Never blocks.
#[no_mangle]
pub extern "system" fn Java_io_libraft_NativeNode_free<'local>(
    _env: EnvUnowned<'local>,
    _class: JClass<'local>,
    pointer: i64,
) {
    // SAFETY: called once, when the object that owned the pointer is gone.
    let java = unsafe { boundary::take_back::<JavaNode>(pointer) };
    java.node.close_async(Box::new(|_| ()));
    end_deliveries_when_closed(&java);
}

fn end_deliveries_when_closed(java: &JavaNode) {
    let deliveries = java.deliveries.clone();
    java.node.close_async(Box::new(move |_| deliveries.end()));
}

#[no_mangle]
pub extern "system" fn Java_io_libraft_NativeNode_status<'local>(
    env: EnvUnowned<'local>,
    _this: JObject<'local>,
    pointer: i64,
) -> JByteArray<'local> {
    answer(env, |_| {
        // SAFETY: the caller is the object that owns the pointer.
        let java: &JavaNode = unsafe { boundary::borrow(pointer) };
        let mut data = boundary::data();
        write_status(&mut data, &java.node.status()?);
        Ok(Some(data))
    })
}

/// The order is that of `NodeStatus.java`.
fn write_status(writer: &mut Writer, status: &NodeStatus) {
    writer.text(&status.cluster);
    writer.long(status.node_id);
    writer.text(&status.incarnation.to_string());
    writer.long(status.boot_counter);
    writer.text(&status.address);
    writer.long(status.groups);
    writer.long(status.connected_peers);
    writer.long(status.refused_frames);
    writer.long(status.refused_connections);
    writer.long(status.log.journal_bytes);
    writer.long(status.log.checkpoint_bytes);
    writer.long(status.log.segments as u64);
    writer.byte(u8::from(status.log.full));
    error::write_optional(writer, status.failure.as_ref());
}

/// The version of the library.
#[no_mangle]
pub extern "system" fn Java_io_libraft_NativeNode_version<'local>(
    env: EnvUnowned<'local>,
    _class: JClass<'local>,
) -> JByteArray<'local> {
    answer(env, |_| {
        let mut data = boundary::data();
        data.text(env!("CARGO_PKG_VERSION"));
        Ok(Some(data))
    })
}
