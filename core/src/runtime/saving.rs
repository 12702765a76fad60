//! Saving a machine's state as a snapshot, and restoring it from one.
//!
//! What excludes `apply` happens in the machine's seat; what may take long beside it, on a courier thread. The seat is
//! free for the next work as soon as the program has answered.

use std::io::{self, Write};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard};

use super::errands::Errands;
use super::inbox::MachineAnswer;
use super::seat::{describe, Seat};
use super::transfer::Shipment;
use crate::error::{Code, Error, Result};
use crate::ids::{Index, Uuid};
use crate::machine::{MachineError, MachineKind, MachineResult, PreparedSnapshot, Reply};
use crate::replica::SnapshotTaken;
use crate::snapshot::{Manifest, SnapshotPoint, SnapshotStore, SnapshotWriter, Source};

pub(crate) struct Saving {
    pub(super) snapshots: Arc<SnapshotStore>,
    pub(super) couriers: Arc<Errands>,
}

impl Saving {
    /// Saves the machine's state, which is as of `point`. The seat is busy until the program has answered.
    pub(super) fn take(&self, seat: &Arc<Seat>, point: SnapshotPoint) {
        match seat.kind {
            MachineKind::InMemory => self.take_exclusively(seat, point),
            MachineKind::Concurrent => self.take_beside_apply(seat, point),
            MachineKind::OnDisk => self.take_metadata(seat, point),
        }
    }

    fn take_exclusively(&self, seat: &Arc<Seat>, point: SnapshotPoint) {
        let writer = match self.snapshots.begin(point) {
            Ok(writer) => LentWriter(Arc::new(Mutex::new(Some(writer)))),
            Err(error) => {
                return seat.answered(Some(MachineAnswer::SnapshotTaken(Err(error))));
            }
        };
        let (lent, couriers, seat_of_reply) =
            (LentWriter(writer.0.clone()), self.couriers.clone(), seat.clone());
        let reply = Reply::new(move |saved: MachineResult<()>| {
            let seat = seat_of_reply;
            seat.answered(None);
            couriers.run(move || {
                let result = saved
                    .map_err(|error| save_failed("save_snapshot", &seat, &error))
                    .and_then(|()| writer.take_back())
                    .and_then(SnapshotWriter::finish);
                seat.tell_loop(taken(result));
            });
        });
        seat.with_machine(|machine| machine.save_snapshot(Box::new(lent), reply));
    }

    fn take_beside_apply(&self, seat: &Arc<Seat>, point: SnapshotPoint) {
        let (snapshots, couriers, seat_of_reply) =
            (self.snapshots.clone(), self.couriers.clone(), seat.clone());
        let reply = Reply::new(move |prepared: MachineResult<Box<dyn PreparedSnapshot>>| {
            let seat = seat_of_reply;
            seat.answered(None);
            couriers.run(move || {
                let result = prepared
                    .map_err(|error| save_failed("prepare_snapshot", &seat, &error))
                    .and_then(|prepared| save(&snapshots, &seat, point, prepared));
                seat.tell_loop(taken(result));
            });
        });
        seat.with_machine(|machine| machine.prepare_snapshot(reply));
    }

    fn take_metadata(&self, seat: &Arc<Seat>, point: SnapshotPoint) {
        let (snapshots, couriers, seat_of_reply) =
            (self.snapshots.clone(), self.couriers.clone(), seat.clone());
        let reply = Reply::new(move |synced: MachineResult<()>| {
            let seat = seat_of_reply;
            if let Err(error) = synced {
                let message = describe("sync", seat.group_id, &error);
                let error = Error::unknown(Code::SyncFailed, message);
                return seat.answered(Some(MachineAnswer::SyncFailed(error)));
            }
            seat.answered(None);
            couriers.run(move || {
                seat.tell_loop(MachineAnswer::Synced(point.index));
                seat.tell_loop(taken(snapshots.put_metadata(point)));
            });
        });
        seat.with_machine(|machine| machine.sync(reply));
    }

    /// Sends the machine's state, which is as of `point`, to a peer without a local copy.
    pub(super) fn stream(&self, seat: &Arc<Seat>, shipment: Shipment, point: SnapshotPoint) {
        let (couriers, seat_of_reply) = (self.couriers.clone(), seat.clone());
        let reply = Reply::new(move |prepared: MachineResult<Box<dyn PreparedSnapshot>>| {
            let seat = seat_of_reply;
            seat.answered(None);
            couriers.run(move || {
                let source = prepared
                    .map(Source::Live)
                    .map_err(|error| save_failed("prepare_snapshot", &seat, &error));
                shipment.send_live(point, source);
            });
        });
        seat.with_machine(|machine| machine.prepare_snapshot(reply));
    }

    /// Replaces the machine's state by a snapshot of the store, in the seat.
    pub(super) fn restore(&self, seat: &Arc<Seat>, snapshot: Uuid, index: Index) {
        // The log's record that names it is durable, or the replica would not ask.
        self.snapshots.installed(seat.group_id, snapshot);
        let reader = match self.snapshots.open_reader(seat.group_id, snapshot) {
            Ok(reader) => reader,
            Err(error) => {
                let result = Err(error);
                return seat.answered(Some(MachineAnswer::Restored { snapshot, index, result }));
            }
        };
        let seat_of_reply = seat.clone();
        let reply = Reply::new(move |restored: MachineResult<()>| {
            let seat = seat_of_reply;
            let result = restored.map_err(|error| {
                let message = describe("restore_snapshot", seat.group_id, &error);
                Error::unknown(Code::RestoreFailed, message)
            });
            seat.answered(Some(MachineAnswer::Restored { snapshot, index, result }));
        });
        seat.with_machine(|machine| machine.restore_snapshot(Box::new(reader), reply));
    }
}

fn save(
    snapshots: &SnapshotStore,
    seat: &Seat,
    point: SnapshotPoint,
    prepared: Box<dyn PreparedSnapshot>,
) -> Result<Arc<Manifest>> {
    let mut writer = snapshots.begin(point)?;
    let saved = catch_unwind(AssertUnwindSafe(|| prepared.save(&mut writer)));
    let saved = saved.unwrap_or_else(|_| Err(MachineError::new("the callback panicked")));
    saved.map_err(|error| save_failed("save_snapshot", seat, &error))?;
    writer.finish()
}

fn taken(result: Result<Arc<Manifest>>) -> MachineAnswer {
    MachineAnswer::SnapshotTaken(result.map(|manifest| SnapshotTaken {
        snapshot: manifest.snapshot,
        index: manifest.index,
        bytes: manifest.total_bytes,
    }))
}

fn save_failed(what: &str, seat: &Seat, error: &MachineError) -> Error {
    Error::rejected(Code::SaveFailed, describe(what, seat.group_id, error))
}

/// A writer that the program uses until it has answered; afterwards the library takes it back to finish it.
struct LentWriter(Arc<Mutex<Option<SnapshotWriter>>>);

impl LentWriter {
    fn lock(&self) -> MutexGuard<'_, Option<SnapshotWriter>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn take_back(&self) -> Result<SnapshotWriter> {
        self.lock().take().ok_or_else(|| {
            Error::rejected(Code::Internal, "the snapshot's writer was taken back before")
        })
    }
}

impl Write for LentWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.lock().as_mut() {
            Some(writer) => writer.write(bytes),
            None => Err(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "save_snapshot was answered already: write everything before answering",
            )),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
