//! A group. Every method with a `call` completes that call once, through the mailbox, also when it
//! fails at once.

use std::sync::Arc;
use std::time::Duration;

use libraft::{BatchCompleter, Change, Completer, Completion, Group, Notice, Result};
use napi::bindgen_prelude::{BigInt, Either};
use napi_derive::napi;

use crate::error::NativeError;
use crate::machine::HostId;
use crate::mailbox::{CallId, Item, Mailbox};
use crate::options::{id, invalid, NativeChange};
use crate::status::{NativeGroupStatus, NativeMember};

#[napi]
pub struct NativeGroup {
    group: Group,
    host: HostId,
    mailbox: Arc<Mailbox>,
}

#[napi]
impl NativeGroup {
    pub(crate) fn new(group: Group, host: HostId, mailbox: Arc<Mailbox>) -> NativeGroup {
        NativeGroup { group, host, mailbox }
    }

    #[napi(catch_unwind)]
    pub fn wait_ready(&self, call: u32, timeout_ms: f64) {
        let timeout = Duration::from_millis(timeout_ms as u64);
        self.start(call, |completer| self.group.wait_ready_async(timeout, completer));
    }

    /// Proposals that complete one by one: entry i lies between `offsets[i]` and `offsets[i + 1]`
    /// of `data`.
    #[napi(catch_unwind)]
    pub fn propose(&self, calls: &[u32], data: &[u8], offsets: &[u32]) {
        for (call, bounds) in calls.iter().zip(offsets.windows(2)) {
            let entry = data.get(bounds[0] as usize..bounds[1] as usize);
            self.start(*call, |completer| match entry {
                Some(entry) => self.group.propose(entry, completer),
                None => Err(invalid("the proposal lies outside of its buffer")),
            });
        }
    }

    /// Proposals that complete together.
    #[napi(catch_unwind)]
    pub fn propose_batch(&self, call: u32, data: &[u8], offsets: &[u32]) {
        let offsets: Vec<usize> = offsets.iter().map(|offset| *offset as usize).collect();
        let mailbox = self.mailbox.clone();
        let completer = BatchCompleter::quick(move |results| {
            mailbox.post(Item::BatchCompleted(call, results));
        });
        if let Err(error) = self.group.propose_batch(data, &offsets, completer) {
            self.mailbox.post(Item::Failed(call, error));
        }
    }

    #[napi(catch_unwind)]
    pub fn read_index(&self, call: u32) {
        self.start(call, |completer| self.group.read_index(completer));
    }

    #[napi(catch_unwind)]
    pub fn change_membership(&self, call: u32, changes: Vec<NativeChange>) {
        self.start(call, |completer| {
            let changes: Result<Vec<Change>> =
                changes.into_iter().map(NativeChange::into_change).collect();
            self.group.change_membership(changes?, completer)
        });
    }

    #[napi(catch_unwind)]
    pub fn transfer_leadership(&self, call: u32, to: BigInt) {
        self.start(call, |completer| self.group.transfer_leadership(id("to", &to)?, completer));
    }

    #[napi(catch_unwind)]
    pub fn take_snapshot(&self, call: u32) {
        self.start(call, |completer| self.group.take_snapshot(completer));
    }

    #[napi(catch_unwind)]
    pub fn status(&self) -> Either<NativeGroupStatus, NativeError> {
        match self.group.status() {
            Ok(status) => Either::A(status.into()),
            Err(error) => Either::B(error.into()),
        }
    }

    #[napi(catch_unwind)]
    pub fn members(&self) -> Either<Vec<NativeMember>, NativeError> {
        match self.group.members() {
            Ok(members) => Either::A(members.into_iter().map(NativeMember::from).collect()),
            Err(error) => Either::B(error.into()),
        }
    }

    /// Has notices delivered from now on, and `NoticesEnded` with this number after the last one;
    /// no more, if it is 0.
    #[napi(catch_unwind)]
    pub fn listen(&self, number: u32) -> Option<NativeError> {
        let listener: Option<Box<dyn FnMut(Notice) + Send>> = match number {
            0 => None,
            _ => {
                let ear = Ear { mailbox: self.mailbox.clone(), host: self.host, number };
                Some(Box::new(move |notice| ear.tell(notice)))
            }
        };
        self.group.set_listener(listener).err().map(NativeError::from)
    }

    #[napi(catch_unwind)]
    pub fn stop(&self, call: u32) {
        let mailbox = self.mailbox.clone();
        self.group.stop_async(Box::new(move |result| mailbox.finish(call, result)));
    }

    fn start(&self, call: CallId, start: impl FnOnce(Completer) -> Result<()>) {
        let mailbox = self.mailbox.clone();
        let completer = Completer::quick(move |result: Result<Completion>| {
            mailbox.complete(call, result);
        });
        if let Err(error) = start(completer) {
            self.mailbox.post(Item::Failed(call, error));
        }
    }
}

/// A listener of the core. Its drop is the end of the notices, which the drop of the machine is not:
/// another thread tells them.
struct Ear {
    mailbox: Arc<Mailbox>,
    host: HostId,
    number: u32,
}

impl Ear {
    fn tell(&self, notice: Notice) {
        self.mailbox.post(Item::Noticed(self.host, notice));
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.mailbox.post(Item::NoticesEnded(self.host, self.number));
    }
}
