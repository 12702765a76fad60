//! Requests: what the library asks of a state machine, and how it is answered.

use std::ffi::{c_char, c_void};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use libraft::ids::{GroupId, Index};
use libraft::machine::{
    AppliedEntry, MachineError, MachineResult, Opened, PreparedSnapshot, Reply,
};
use libraft::{Code, Error, Result};

use crate::boundary::{self, Out};
use crate::callback::UserPointer;
use crate::error::{libraft_error, LIBRAFT_OK, LIBRAFT_PENDING};
use crate::handle::{self, Handle, Table, Tables};
use crate::machine::{Machine, Prepared};
use crate::results::{libraft_results, ResultsObject};
use crate::snapshot::{
    libraft_snapshot_reader, libraft_snapshot_writer, ReaderObject, WriterObject,
};

/// A request to a state machine, until it is answered.
pub struct libraft_request {
    _opaque: [u8; 0],
}

/// The state machine opens; see `open` of libraft_state_machine.
pub const LIBRAFT_REQUEST_OPEN: i32 = 1;
/// Entries are to be applied.
pub const LIBRAFT_REQUEST_APPLY: i32 = 2;
/// What was applied is to be made durable.
pub const LIBRAFT_REQUEST_SYNC: i32 = 3;
/// A snapshot is to be prepared.
pub const LIBRAFT_REQUEST_PREPARE_SNAPSHOT: i32 = 4;
/// The state, or a prepared snapshot of it, is to be written.
pub const LIBRAFT_REQUEST_SAVE_SNAPSHOT: i32 = 5;
/// The state is to be replaced by a snapshot.
pub const LIBRAFT_REQUEST_RESTORE_SNAPSHOT: i32 = 6;

/// A committed entry.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct libraft_entry {
    /// Its position in the group's log. Indexes ascend, with gaps where the library's own entries
    /// are.
    pub index: u64,
    /// The term in which it was proposed.
    pub term: u64,
    /// What was proposed. Borrowed until the request is answered.
    pub data: *const u8,
    /// The length of `data` in bytes.
    pub data_len: usize,
    /// Zero.
    pub reserved: [u64; 2],
}

/// A request, as it comes out of a queue: what a callback gets as arguments.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct libraft_request_info {
    /// The size of this struct in bytes, as the library knows it.
    pub size: usize,
    /// One of LIBRAFT_REQUEST_...
    pub kind: i32,
    /// Zero.
    pub reserved0: i32,
    /// The group whose state machine is asked.
    pub group_id: u64,
    /// The state machine's user_data.
    pub user_data: *mut c_void,
    /// What to answer with libraft_request_complete.
    pub request: *mut libraft_request,
    /// To apply: the entries; else NULL.
    pub entries: *const libraft_entry,
    /// How many.
    pub entries_count: usize,
    /// To apply: takes the results; else NULL.
    pub results: *mut libraft_results,
    /// To save: what the host prepared, or NULL for an in-memory machine.
    pub snapshot: *mut c_void,
    /// To save: where to; else NULL.
    pub writer: *mut libraft_snapshot_writer,
    /// To restore: from where; else NULL.
    pub reader: *mut libraft_snapshot_reader,
}

/// One request. The table of handles keeps it until it is answered.
pub struct RequestObject {
    machine: Arc<Machine>,
    entries: Vec<AppliedEntry>,
    entries_raw: Vec<libraft_entry>,
    blob: Bytes,
    results: Option<Arc<ResultsObject>>,
    info: OnceLock<libraft_request_info>,
    /// None once it is answered.
    answer: Mutex<Option<Answer>>,
}

// SAFETY: the raw pointers are handles, pointers of the host for the host, and pointers into
// `entries`, which are immutable and do not move.
unsafe impl Send for RequestObject {}
// SAFETY: as above; what changes is behind a lock.
unsafe impl Sync for RequestObject {}

struct Answer {
    reply: Ask,
    opened: Opened,
    prepared: Option<Prepared>,
    message: Option<String>,
}

/// What is asked, with the way back.
pub enum Ask {
    Open(Reply<Opened>),
    Apply(Vec<AppliedEntry>, Bytes, Reply<Vec<Bytes>>),
    Sync(Reply<()>),
    Prepare(Reply<Box<dyn PreparedSnapshot>>),
    Save(Arc<WriterObject>, Reply<()>),
    SavePrepared(UserPointer, Arc<WriterObject>, SyncSender<MachineResult<()>>),
    Restore(Arc<ReaderObject>, Reply<()>),
}

impl Ask {
    fn kind(&self) -> (i32, &'static str) {
        match self {
            Ask::Open(..) => (LIBRAFT_REQUEST_OPEN, "open"),
            Ask::Apply(..) => (LIBRAFT_REQUEST_APPLY, "apply"),
            Ask::Sync(..) => (LIBRAFT_REQUEST_SYNC, "sync"),
            Ask::Prepare(..) => (LIBRAFT_REQUEST_PREPARE_SNAPSHOT, "prepare_snapshot"),
            Ask::Save(..) | Ask::SavePrepared(..) => {
                (LIBRAFT_REQUEST_SAVE_SNAPSHOT, "save_snapshot")
            }
            Ask::Restore(..) => (LIBRAFT_REQUEST_RESTORE_SNAPSHOT, "restore_snapshot"),
        }
    }

    fn refuse(self, error: MachineError) {
        match self {
            Ask::Open(reply) => reply.send(Err(error)),
            Ask::Apply(_, _, reply) => reply.send(Err(error)),
            Ask::Prepare(reply) => reply.send(Err(error)),
            Ask::Sync(reply) | Ask::Save(_, reply) | Ask::Restore(_, reply) => {
                reply.send(Err(error));
            }
            // The receiver waits in `Prepared::save`; if it is gone, nobody asks any more.
            Ask::SavePrepared(_, _, reply) => drop(reply.send(Err(error))),
        }
    }
}

impl RequestObject {
    /// Registers a request with the handles that belong to it. None if there are too many handles;
    /// it is then answered.
    pub fn open(machine: Arc<Machine>, group_id: GroupId, mut ask: Ask) -> Option<Arc<Self>> {
        let mut info = blank_info(group_id, machine.user_data(), ask.kind().0);
        let (mut entries, mut blob) = (Vec::new(), Bytes::new());
        if let Ask::Apply(asked, asked_blob, _) = &mut ask {
            entries = std::mem::take(asked);
            blob = std::mem::take(asked_blob);
        }
        let results = (info.kind == LIBRAFT_REQUEST_APPLY)
            .then(|| Arc::new(ResultsObject::new(entries.len())));
        if let Err(error) = register_parts(&mut info, &ask, results.as_ref()) {
            revoke(&info);
            ask.refuse(MachineError::new(error.message));
            return None;
        }
        let request = Arc::new(RequestObject {
            machine,
            entries_raw: entries.iter().map(describe_entry).collect(),
            entries,
            blob,
            results,
            info: OnceLock::new(),
            answer: Mutex::new(Some(Answer {
                reply: ask,
                opened: Opened::default(),
                prepared: None,
                message: None,
            })),
        });
        match handle::insert::<libraft_request>(request.clone()) {
            Ok(handle) => info.request = handle,
            Err(error) => {
                revoke(&info);
                request.abandon(&error.message);
                return None;
            }
        }
        if !request.entries.is_empty() {
            info.entries = request.entries_raw.as_ptr();
            info.entries_count = request.entries_raw.len();
        }
        // Set once, here, before anybody else sees the request's handle.
        let _ = request.info.set(info);
        Some(request)
    }

    pub fn info(&self) -> *const libraft_request_info {
        self.info.get().map_or(std::ptr::null(), |info| &raw const *info)
    }

    /// Answers the request, unless it was answered already.
    pub fn complete(&self, code: i32) {
        let Some(mut answer) = self.end() else { return };
        if code == LIBRAFT_OK {
            self.succeed(answer);
        } else {
            let message = self.failure(&answer, code);
            answer.prepared = None;
            answer.reply.refuse(MachineError::new(message));
        }
    }

    /// Answers the request in the host's place.
    pub fn abandon(&self, why: &str) {
        if let Some(answer) = self.end() {
            answer.reply.refuse(MachineError::new(why));
        }
    }

    fn end(&self) -> Option<Answer> {
        let answer = self.lock().take()?;
        if let Some(info) = self.info.get() {
            // A handle that is gone already is one that the host completed.
            let _ = handle::take(info.request);
            revoke(info);
        }
        Some(answer)
    }

    fn succeed(&self, answer: Answer) {
        match answer.reply {
            Ask::Open(reply) => reply.send(Ok(answer.opened)),
            Ask::Apply(_, _, reply) => {
                let results = self.results.as_ref().map(|results| results.finish());
                reply.send(Ok(results.unwrap_or_default()));
            }
            Ask::Prepare(reply) => {
                let nothing = || Prepared::new(self.machine.clone(), None);
                reply.send(Ok(Box::new(answer.prepared.unwrap_or_else(nothing))));
            }
            Ask::Save(writer, reply) => {
                writer.revoke();
                reply.send(Ok(()));
            }
            Ask::Restore(reader, reply) => {
                reader.revoke();
                reply.send(Ok(()));
            }
            Ask::Sync(reply) => reply.send(Ok(())),
            Ask::SavePrepared(_, _, reply) => drop(reply.send(Ok(()))),
        }
    }

    fn failure(&self, answer: &Answer, code: i32) -> String {
        let (_, callback) = answer.reply.kind();
        let detail = answer.message.as_ref().map_or(String::new(), |text| format!(": {text}"));
        format!("{callback} of the state machine answered {code}{detail}")
    }

    /// Lets the host say more about a request that is not answered yet.
    fn amend<T>(&self, change: impl FnOnce(&mut Answer) -> Result<T>) -> Result<T> {
        match self.lock().as_mut() {
            Some(answer) => change(answer),
            None => Err(Error::rejected(Code::InvalidHandle, "the request was answered before")),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Answer>> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn blank_info(group_id: GroupId, user_data: UserPointer, kind: i32) -> libraft_request_info {
    libraft_request_info {
        size: size_of::<libraft_request_info>(),
        kind,
        reserved0: 0,
        group_id,
        user_data: user_data.get(),
        request: std::ptr::null_mut(),
        entries: std::ptr::null(),
        entries_count: 0,
        results: std::ptr::null_mut(),
        snapshot: std::ptr::null_mut(),
        writer: std::ptr::null_mut(),
        reader: std::ptr::null_mut(),
    }
}

fn describe_entry(entry: &AppliedEntry) -> libraft_entry {
    libraft_entry {
        index: entry.index,
        term: entry.term,
        data: entry.data.as_ptr(),
        data_len: entry.data.len(),
        reserved: [0; 2],
    }
}

/// Gives handles to the things that the request lends to the host.
fn register_parts(
    info: &mut libraft_request_info,
    ask: &Ask,
    results: Option<&Arc<ResultsObject>>,
) -> Result<()> {
    if let Some(results) = results {
        info.results = handle::insert(results.clone())?;
    }
    match ask {
        Ask::Save(writer, _) => info.writer = handle::insert(writer.clone())?,
        Ask::SavePrepared(snapshot, writer, _) => {
            info.snapshot = snapshot.get();
            info.writer = handle::insert(writer.clone())?;
        }
        Ask::Restore(reader, _) => info.reader = handle::insert(reader.clone())?,
        _ => {}
    }
    Ok(())
}

/// Ends the handles that the request lent.
fn revoke(info: &libraft_request_info) {
    if !info.results.is_null() {
        drop(handle::take(info.results));
    }
    if !info.writer.is_null() {
        drop(handle::take(info.writer).map(|writer| writer.revoke()));
    }
    if !info.reader.is_null() {
        drop(handle::take(info.reader).map(|reader| reader.revoke()));
    }
}

impl Handle for libraft_request {
    type Object = RequestObject;
    const NOUN: &'static str = "request";
    const KIND: u8 = 7;

    fn table(tables: &Tables) -> &Table<RequestObject> {
        &tables.requests
    }
}

/// Answers a request for which a callback returned LIBRAFT_PENDING, or which came out of a queue.
/// `code` is LIBRAFT_OK, or any other number for a failure, which stops the group on this node (a
/// failed save only fails the snapshot).
///
/// **Threads**: any, once; never blocks.
/// **Ownership**: takes the handle; all that the request lent (entries, results, writer, reader)
/// ends.
/// **Errors**: LIBRAFT_ERR_INVALID_ARGUMENT for NULL and for LIBRAFT_PENDING as the code,
/// LIBRAFT_ERR_INVALID_HANDLE if the request was answered before, LIBRAFT_ERR_FORKED.
#[no_mangle]
pub unsafe extern "C" fn libraft_request_complete(
    request: *mut libraft_request,
    code: i32,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: `error` is as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            if code == LIBRAFT_PENDING {
                return Err(boundary::invalid("a request cannot be completed as pending"));
            }
            handle::take(request)?.complete(code);
            Ok(())
        })
    }
}

/// Says in words why the request is about to fail; the group's error will carry it. A
/// NUL-terminated text in UTF-8.
///
/// **Threads**: any; never blocks.
/// **Ownership**: the text is copied.
/// **Errors**: LIBRAFT_ERR_INVALID_ARGUMENT, LIBRAFT_ERR_INVALID_UTF8, LIBRAFT_ERR_INVALID_HANDLE,
/// LIBRAFT_ERR_FORKED.
#[no_mangle]
pub unsafe extern "C" fn libraft_request_set_message(
    request: *mut libraft_request,
    message: *const c_char,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: the pointers are as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let message = boundary::text(message, "message")?;
            handle::get(request)?.amend(|answer| {
                answer.message = Some(message);
                Ok(())
            })
        })
    }
}

/// Of an open request: the index of the last entry whose effect is in the machine's durable state
/// (0 for a fresh one), and the blob that was stored with it (see libraft_request_blob; NULL and 0
/// for none).
///
/// **Threads**: any; never blocks.
/// **Ownership**: the blob is copied.
/// **Errors**: LIBRAFT_ERR_UNSUPPORTED if this is another request, LIBRAFT_ERR_INVALID_ARGUMENT,
/// LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED.
#[no_mangle]
pub unsafe extern "C" fn libraft_request_set_opened(
    request: *mut libraft_request,
    applied_index: u64,
    blob: *const c_void,
    blob_len: usize,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: the pointers are as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let blob = Bytes::copy_from_slice(boundary::bytes(blob, blob_len, "blob")?);
            handle::get(request)?.set_opened(applied_index, blob)
        })
    }
}

impl RequestObject {
    fn set_opened(&self, applied_index: Index, blob: Bytes) -> Result<()> {
        self.amend(|answer| match answer.reply {
            Ask::Open(_) => {
                answer.opened = Opened { applied_index, blob };
                Ok(())
            }
            _ => Err(Error::rejected(Code::Unsupported, "this is not a request to open")),
        })
    }

    fn set_snapshot(&self, snapshot: *mut c_void) -> Result<()> {
        self.amend(|answer| match answer.reply {
            Ask::Prepare(_) => {
                answer.prepared = Some(Prepared::new(self.machine.clone(), Some(snapshot)));
                Ok(())
            }
            _ => Err(Error::rejected(Code::Unsupported, "this is not a request to prepare")),
        })
    }
}

/// Of a request to prepare a snapshot: the host's view of its state, which save_snapshot will get,
/// and in the end release_snapshot.
///
/// **Threads**: any; never blocks.
/// **Ownership**: `snapshot` stays the host's; the library hands it back to release_snapshot
/// exactly once.
/// **Errors**: LIBRAFT_ERR_UNSUPPORTED if this is another request, LIBRAFT_ERR_INVALID_ARGUMENT,
/// LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED. Then the library does not know `snapshot`.
#[no_mangle]
pub unsafe extern "C" fn libraft_request_set_snapshot(
    request: *mut libraft_request,
    snapshot: *mut c_void,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: `error` is as the crate's contract says; `snapshot` is never looked at.
    unsafe { boundary::call(error, || handle::get(request)?.set_snapshot(snapshot)) }
}

/// Of an apply request to an on-disk machine: a few opaque bytes of the library's, to be stored
/// together with the entries, and returned by the next `open`.
///
/// **Threads**: any; never blocks.
/// **Ownership**: `*data` is borrowed until the request is answered.
/// **Errors**: LIBRAFT_ERR_INVALID_ARGUMENT, LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED.
#[no_mangle]
pub unsafe extern "C" fn libraft_request_blob(
    request: *const libraft_request,
    data: *mut *const u8,
    data_len: *mut usize,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: the pointers are as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let data = Out::required(data, "data")?;
            let data_len = Out::required(data_len, "data_len")?;
            let request = handle::get(request)?;
            data.set(request.blob.as_ptr());
            data_len.set(request.blob.len());
            Ok(())
        })
    }
}
