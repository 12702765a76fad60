//! State machines: a host's table of callbacks as the core's trait.

use std::ffi::c_void;
use std::io::{Read, Write};
use std::sync::{mpsc, Arc};

use libraft::ids::GroupId;
use libraft::machine::{
    Apply, MachineError, MachineKind, MachineResult, Opened, PreparedSnapshot, Reply,
};
use libraft::{Result, StateMachine};

use crate::boundary::{self, SizeFirst};
use crate::callback::{self, libraft_destroy_callback, OwnedUserData, UserPointer};
use crate::error::{libraft_error, LIBRAFT_PENDING};
use crate::handle;
use crate::queue::{libraft_queue, QueueObject};
use crate::request::{
    libraft_entry, libraft_request, libraft_request_info, Ask, RequestObject,
    LIBRAFT_REQUEST_APPLY, LIBRAFT_REQUEST_OPEN, LIBRAFT_REQUEST_PREPARE_SNAPSHOT,
    LIBRAFT_REQUEST_RESTORE_SNAPSHOT, LIBRAFT_REQUEST_SAVE_SNAPSHOT, LIBRAFT_REQUEST_SYNC,
};
use crate::results::libraft_results;
use crate::snapshot::{
    libraft_snapshot_reader, libraft_snapshot_writer, ReaderObject, WriterObject,
};

/// The state is in memory, and rebuilt from a snapshot and the log at every start. Saving excludes
/// applying.
pub const LIBRAFT_MACHINE_IN_MEMORY: i32 = 0;
/// As in memory, but a snapshot is prepared quickly and then saved while entries go on being
/// applied.
pub const LIBRAFT_MACHINE_CONCURRENT: i32 = 1;
/// The machine keeps its own state on disk, and says at `open` how far it had applied.
pub const LIBRAFT_MACHINE_ON_DISK: i32 = 2;

/// Opens the machine, before anything else. An on-disk machine answers with
/// libraft_request_set_opened.
pub type libraft_open_callback =
    Option<unsafe extern "C" fn(user_data: *mut c_void, request: *mut libraft_request) -> i32>;

/// Applies entries, in order, and sets a result for each with libraft_results_set.
pub type libraft_apply_callback = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        request: *mut libraft_request,
        entries: *const libraft_entry,
        entries_count: usize,
        results: *mut libraft_results,
    ) -> i32,
>;

/// Makes everything that was applied durable.
pub type libraft_sync_callback =
    Option<unsafe extern "C" fn(user_data: *mut c_void, request: *mut libraft_request) -> i32>;

/// Takes a view of the state that stays as it is, and hands it over with
/// libraft_request_set_snapshot. Must be quick: nothing is applied meanwhile.
pub type libraft_prepare_snapshot_callback =
    Option<unsafe extern "C" fn(user_data: *mut c_void, request: *mut libraft_request) -> i32>;

/// Writes the state, or the view `snapshot` that prepare_snapshot made (else NULL), with
/// libraft_snapshot_writer_write.
pub type libraft_save_snapshot_callback = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        request: *mut libraft_request,
        snapshot: *mut c_void,
        writer: *mut libraft_snapshot_writer,
    ) -> i32,
>;

/// Replaces the state by what libraft_snapshot_reader_read yields. After a crash it may be called
/// again with the same snapshot. An on-disk machine makes the new state durable before it answers:
/// the library deletes its copy then.
pub type libraft_restore_snapshot_callback = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        request: *mut libraft_request,
        reader: *mut libraft_snapshot_reader,
    ) -> i32,
>;

/// Frees a view that prepare_snapshot made. Called exactly once for each, whether it was saved or
/// not.
pub type libraft_release_snapshot_callback =
    Option<unsafe extern "C" fn(user_data: *mut c_void, snapshot: *mut c_void)>;

/// The application's state machine. Begin with libraft_state_machine_init.
///
/// A callback returns LIBRAFT_OK; or LIBRAFT_PENDING, and whatever it was given lives until
/// libraft_request_complete; or any other number for a failure, which stops the group on this node
/// (a failed save only fails the snapshot). It may block for as long as it likes, unless the
/// machine is quick. Callbacks of one machine never overlap, but for save_snapshot of a prepared
/// snapshot, which runs beside the others.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct libraft_state_machine {
    /// The size of this struct in bytes; set by libraft_state_machine_init.
    pub size: usize,
    /// Handed to every callback.
    pub user_data: *mut c_void,
    /// Called exactly once, when the library will never use user_data again; also if
    /// libraft_group_start fails, before it returns. (Not if the struct itself is NULL or of an
    /// impossible size: then nothing in it is looked at.) May be NULL.
    pub destroy: libraft_destroy_callback,
    /// One of LIBRAFT_MACHINE_...
    pub kind: i32,
    /// 1 if apply takes microseconds and never blocks: it is then called on the event loop, which
    /// saves two wake-ups.
    pub quick: i32,
    /// If set, requests are delivered through this queue, and the callbacks but destroy and
    /// release_snapshot are NULL. The queue must not be freed before the group is stopped.
    pub queue: *mut libraft_queue,
    /// On-disk machines need it; NULL for others is allowed.
    pub open: libraft_open_callback,
    /// Every machine needs it.
    pub apply: libraft_apply_callback,
    /// On-disk machines need it.
    pub sync: libraft_sync_callback,
    /// Concurrent and on-disk machines need it.
    pub prepare_snapshot: libraft_prepare_snapshot_callback,
    /// Every machine needs it.
    pub save_snapshot: libraft_save_snapshot_callback,
    /// Every machine needs it.
    pub restore_snapshot: libraft_restore_snapshot_callback,
    /// May be NULL.
    pub release_snapshot: libraft_release_snapshot_callback,
}

// SAFETY: pointers and integers, for which zero is a value; the size first.
unsafe impl SizeFirst for libraft_state_machine {
    const NAME: &'static str = "libraft_state_machine";
    const FIRST_SIZE: usize = 96;
}

/// Fills a table of callbacks with NULL. Programs call libraft_state_machine_init, which passes the
/// size.
///
/// **Threads**: any; never blocks.
/// **Ownership**: the struct stays the caller's.
/// **Errors**: LIBRAFT_ERR_INVALID_ARGUMENT for NULL, LIBRAFT_ERR_INVALID_SIZE.
#[no_mangle]
pub unsafe extern "C" fn libraft_state_machine_init_sized(
    machine: *mut libraft_state_machine,
    size: usize,
) -> i32 {
    let default = libraft_state_machine {
        size: 0,
        user_data: std::ptr::null_mut(),
        destroy: None,
        kind: LIBRAFT_MACHINE_IN_MEMORY,
        quick: 0,
        queue: std::ptr::null_mut(),
        open: None,
        apply: None,
        sync: None,
        prepare_snapshot: None,
        save_snapshot: None,
        restore_snapshot: None,
        release_snapshot: None,
    };
    // SAFETY: the struct is as the crate's contract says.
    unsafe {
        boundary::call(std::ptr::null_mut::<*mut libraft_error>(), || {
            boundary::init_sized(machine, size, &default)
        })
    }
}

/// A host's state machine. Requests and prepared snapshots keep it alive: `destroy` comes after the
/// last of them.
pub struct Machine {
    table: libraft_state_machine,
    group_id: GroupId,
    kind: MachineKind,
    queue: Option<Arc<QueueObject>>,
    /// Dropped with the machine, which calls `destroy`.
    user_data: OwnedUserData,
}

// SAFETY: the header tells hosts that callbacks come from any thread; the table is only read.
unsafe impl Send for Machine {}
// SAFETY: as above.
unsafe impl Sync for Machine {}

/// Takes over a host's `user_data`: from here on `destroy` runs when the result is dropped.
///
/// # Safety
/// `machine` is NULL or valid for reads of as many bytes as its first field says.
pub unsafe fn adopt(machine: *const libraft_state_machine) -> Result<AdoptedTable> {
    // The first fields are read even if a later version's fields are refused, for `destroy` must
    // run then, too. SAFETY: as the caller's.
    let (table, refused) = unsafe { boundary::read_sized_leniently(machine) }?;
    let user_data = OwnedUserData::new(table.user_data, table.destroy);
    Ok(AdoptedTable { table, refused, user_data })
}

pub struct AdoptedTable {
    table: libraft_state_machine,
    refused: Option<libraft::Error>,
    user_data: OwnedUserData,
}

impl AdoptedTable {
    /// Checks that the table is whole.
    pub fn into_machine(self, group_id: GroupId) -> Result<ForeignMachine> {
        if let Some(refused) = self.refused {
            return Err(refused);
        }
        let table = self.table;
        let kind = match table.kind {
            LIBRAFT_MACHINE_IN_MEMORY => MachineKind::InMemory,
            LIBRAFT_MACHINE_CONCURRENT => MachineKind::Concurrent,
            LIBRAFT_MACHINE_ON_DISK => MachineKind::OnDisk,
            other => return Err(boundary::invalid(format!("there is no kind of machine {other}"))),
        };
        if !(0..=1).contains(&table.quick) {
            return Err(boundary::invalid("a state machine's quick must be 0 or 1"));
        }
        let queue = if table.queue.is_null() {
            check_callbacks(&table, kind)?;
            None
        } else {
            check_no_callbacks(&table)?;
            Some(handle::get(table.queue)?)
        };
        let user_data = self.user_data;
        Ok(ForeignMachine(Arc::new(Machine { table, group_id, kind, queue, user_data })))
    }
}

fn check_callbacks(table: &libraft_state_machine, kind: MachineKind) -> Result<()> {
    let prepares = kind != MachineKind::InMemory;
    let on_disk = kind == MachineKind::OnDisk;
    for (needed, present, name) in [
        (true, table.apply.is_some(), "apply"),
        (true, table.save_snapshot.is_some(), "save_snapshot"),
        (true, table.restore_snapshot.is_some(), "restore_snapshot"),
        (prepares, table.prepare_snapshot.is_some(), "prepare_snapshot"),
        (on_disk, table.open.is_some(), "open"),
        (on_disk, table.sync.is_some(), "sync"),
    ] {
        if needed && !present {
            return Err(boundary::invalid(format!("a machine of kind {kind:?} needs {name}")));
        }
    }
    Ok(())
}

fn check_no_callbacks(table: &libraft_state_machine) -> Result<()> {
    let any = table.open.is_some()
        || table.apply.is_some()
        || table.sync.is_some()
        || table.prepare_snapshot.is_some()
        || table.save_snapshot.is_some()
        || table.restore_snapshot.is_some();
    if any || table.quick != 0 {
        return Err(boundary::invalid(
            "a state machine with a queue must not have callbacks for requests, nor be quick",
        ));
    }
    Ok(())
}

/// What the core holds.
pub struct ForeignMachine(Arc<Machine>);

impl Machine {
    pub fn user_data(&self) -> UserPointer {
        self.user_data.pointer()
    }

    /// Asks the host, through its queue or by calling it.
    fn ask(self: &Arc<Self>, ask: Ask) {
        let Some(request) = RequestObject::open(self.clone(), self.group_id, ask) else { return };
        if let Some(queue) = &self.queue {
            return queue.push_request(request);
        }
        let info = request.info();
        // SAFETY: `info` points into `request`, which lives here until the end.
        let code = callback::run(|| unsafe { self.call(&*info) });
        if code != LIBRAFT_PENDING {
            request.complete(code);
        }
    }

    /// Calls the callback that a request is for. One that is not there, because its kind of machine
    /// does not need it, has nothing to say.
    ///
    /// # Safety
    /// What `info` lends lives until the request is answered.
    unsafe fn call(&self, info: &libraft_request_info) -> i32 {
        let (user_data, request) = (info.user_data, info.request);
        let table = &self.table;
        // SAFETY: the host declared the functions for this, and the caller vouches for the
        // arguments.
        let code = unsafe {
            match info.kind {
                LIBRAFT_REQUEST_OPEN => table.open.map(|open| open(user_data, request)),
                LIBRAFT_REQUEST_APPLY => table.apply.map(|apply| {
                    apply(user_data, request, info.entries, info.entries_count, info.results)
                }),
                LIBRAFT_REQUEST_SYNC => table.sync.map(|sync| sync(user_data, request)),
                LIBRAFT_REQUEST_PREPARE_SNAPSHOT => {
                    table.prepare_snapshot.map(|prepare| prepare(user_data, request))
                }
                LIBRAFT_REQUEST_SAVE_SNAPSHOT => table
                    .save_snapshot
                    .map(|save| save(user_data, request, info.snapshot, info.writer)),
                LIBRAFT_REQUEST_RESTORE_SNAPSHOT => {
                    table.restore_snapshot.map(|restore| restore(user_data, request, info.reader))
                }
                _ => None,
            }
        };
        code.unwrap_or(crate::error::LIBRAFT_OK)
    }
}

impl StateMachine for ForeignMachine {
    fn kind(&self) -> MachineKind {
        self.0.kind
    }

    fn quick(&self) -> bool {
        self.0.table.quick == 1
    }

    fn open(&mut self, reply: Reply<Opened>) {
        self.0.ask(Ask::Open(reply));
    }

    fn apply(&mut self, request: Apply) {
        self.0.ask(Ask::Apply(request.entries, request.blob, request.reply));
    }

    fn sync(&mut self, reply: Reply<()>) {
        self.0.ask(Ask::Sync(reply));
    }

    fn prepare_snapshot(&mut self, reply: Reply<Box<dyn PreparedSnapshot>>) {
        self.0.ask(Ask::Prepare(reply));
    }

    fn save_snapshot(&mut self, writer: Box<dyn Write + Send>, reply: Reply<()>) {
        self.0.ask(Ask::Save(Arc::new(WriterObject::owned(writer)), reply));
    }

    fn restore_snapshot(&mut self, reader: Box<dyn Read + Send>, reply: Reply<()>) {
        self.0.ask(Ask::Restore(Arc::new(ReaderObject::new(reader)), reply));
    }
}

/// A view of the state that a host prepared. Dropping it releases it.
pub struct Prepared {
    machine: Arc<Machine>,
    /// None if the host prepared nothing.
    snapshot: Option<UserPointer>,
}

impl Prepared {
    pub fn new(machine: Arc<Machine>, snapshot: Option<*mut c_void>) -> Prepared {
        Prepared { machine, snapshot: snapshot.map(UserPointer) }
    }
}

impl PreparedSnapshot for Prepared {
    fn save(self: Box<Self>, writer: &mut (dyn Write + Send)) -> MachineResult<()> {
        let snapshot = self.snapshot.unwrap_or(UserPointer(std::ptr::null_mut()));
        let (answer, answered) = mpsc::sync_channel(1);
        WriterObject::lend(writer, |writer| {
            self.machine.ask(Ask::SavePrepared(snapshot, writer, answer));
            answered.recv().unwrap_or_else(|_| {
                Err(MachineError::new("the request was dropped without an answer"))
            })
        })
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        let Some(snapshot) = self.snapshot else { return };
        if let Some(release) = self.machine.table.release_snapshot {
            let user_data = self.machine.user_data();
            // SAFETY: the host declared the function for this; it is called once for each view.
            callback::run(|| unsafe { release(user_data.get(), snapshot.get()) });
        }
    }
}
