//! Which snapshots there are and what may happen to them: the store's bookkeeping, without I/O.

use std::collections::btree_map::Entry;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::manifest::{Manifest, SnapshotKind};
use crate::error::{Code, Error, Result};
use crate::ids::{GroupId, Uuid};

/// The snapshots of all groups.
#[derive(Default)]
pub(super) struct Catalog {
    groups: BTreeMap<GroupId, BTreeMap<Uuid, Slot>>,
}

struct Slot {
    state: State,
    /// How many readers and writers need the files.
    pins: usize,
}

enum State {
    /// A writer is at work.
    Writing,
    /// Complete, but the log does not say that this replica's state was replaced by it: it came
    /// from a peer and is not installed yet, or never was. Nothing starts from it.
    Unconfirmed(Arc<Manifest>),
    /// Complete, and consistent with the log.
    Ready(Arc<Manifest>),
    /// On the disk, but unreadable.
    Damaged(Error),
    /// Not needed any more; deleted as soon as nothing pins it.
    Doomed,
    /// Being deleted.
    Deleting,
}

impl State {
    fn manifest(&self) -> Option<&Arc<Manifest>> {
        match self {
            State::Unconfirmed(manifest) | State::Ready(manifest) => Some(manifest),
            _ => None,
        }
    }
}

/// Orders the snapshots of a group by age. Of two at one index the one without a state wins: it is
/// made for an on-disk machine that has taken over the state of the other.
fn rank(manifest: &Manifest) -> (u64, bool) {
    (manifest.index, manifest.kind == SnapshotKind::MetadataOnly)
}

impl Catalog {
    /// A writer begins, and pins the files until it is done.
    pub(super) fn begin(&mut self, group_id: GroupId, snapshot: Uuid) -> Result<()> {
        match self.groups.entry(group_id).or_default().entry(snapshot) {
            Entry::Occupied(_) => Err(Error::rejected(
                Code::InvalidArgument,
                format!("snapshot {snapshot} of group {group_id} exists already"),
            )),
            Entry::Vacant(slot) => {
                slot.insert(Slot { state: State::Writing, pins: 1 });
                Ok(())
            }
        }
    }

    /// A snapshot is complete on the disk. False if it was removed in the meantime.
    pub(super) fn complete(&mut self, manifest: Arc<Manifest>, confirmed: bool) -> bool {
        let Some(slot) = self.slot(manifest.group_id, manifest.snapshot) else { return false };
        if !matches!(slot.state, State::Writing) {
            return false;
        }
        let (group_id, snapshot) = (manifest.group_id, manifest.snapshot);
        if confirmed {
            slot.state = State::Ready(manifest);
            self.supersede(group_id, snapshot);
        } else {
            slot.state = State::Unconfirmed(manifest);
        }
        true
    }

    /// Enters what was found on the disk at start.
    pub(super) fn found(
        &mut self,
        group_id: GroupId,
        snapshot: Uuid,
        found: Result<(Manifest, bool)>,
    ) {
        let state = match found {
            Ok((manifest, true)) => State::Ready(Arc::new(manifest)),
            Ok((manifest, false)) => State::Unconfirmed(Arc::new(manifest)),
            Err(error) => State::Damaged(error),
        };
        self.groups.entry(group_id).or_default().insert(snapshot, Slot { state, pins: 0 });
    }

    /// The log says, durably, that the replica's state is this snapshot.
    pub(super) fn confirm(&mut self, group_id: GroupId, snapshot: Uuid) {
        let Some(slot) = self.slot(group_id, snapshot) else { return };
        if let State::Unconfirmed(manifest) = &slot.state {
            slot.state = State::Ready(manifest.clone());
            self.supersede(group_id, snapshot);
        }
    }

    /// The newest snapshot that is consistent with the log. A damaged one might be newer, so it is
    /// an error until a new one takes its place.
    pub(super) fn newest(&self, group_id: GroupId) -> Result<Option<Arc<Manifest>>> {
        let mut newest: Option<&Arc<Manifest>> = None;
        for slot in self.groups.get(&group_id).into_iter().flat_map(BTreeMap::values) {
            match &slot.state {
                State::Damaged(error) => return Err(error.clone()),
                State::Ready(manifest)
                    if newest.is_none_or(|newest| rank(newest) < rank(manifest)) =>
                {
                    newest = Some(manifest);
                }
                _ => {}
            }
        }
        Ok(newest.cloned())
    }

    /// Every complete snapshot of a group, oldest first.
    pub(super) fn list(&self, group_id: GroupId) -> Vec<Arc<Manifest>> {
        let slots = self.groups.get(&group_id).into_iter().flat_map(BTreeMap::values);
        let mut manifests: Vec<_> =
            slots.filter_map(|slot| slot.state.manifest().cloned()).collect();
        manifests.sort_by_key(|manifest| (rank(manifest), manifest.snapshot));
        manifests
    }

    pub(super) fn pin(&mut self, group_id: GroupId, snapshot: Uuid) -> Option<Arc<Manifest>> {
        let slot = self.slot(group_id, snapshot)?;
        let manifest = slot.state.manifest()?.clone();
        slot.pins += 1;
        Some(manifest)
    }

    pub(super) fn unpin(&mut self, group_id: GroupId, snapshot: Uuid) {
        if let Some(slot) = self.slot(group_id, snapshot) {
            slot.pins = slot.pins.saturating_sub(1);
        }
    }

    pub(super) fn doom(&mut self, group_id: GroupId, snapshot: Uuid) {
        if let Some(slot) = self.slot(group_id, snapshot) {
            slot.state = State::Doomed;
        }
    }

    pub(super) fn doom_unconfirmed(&mut self, group_id: GroupId, snapshot: Uuid) {
        if let Some(slot) = self.slot(group_id, snapshot) {
            if matches!(slot.state, State::Unconfirmed(_)) {
                slot.state = State::Doomed;
            }
        }
    }

    pub(super) fn doom_group(&mut self, group_id: GroupId) {
        for slot in self.groups.get_mut(&group_id).into_iter().flat_map(BTreeMap::values_mut) {
            slot.state = State::Doomed;
        }
    }

    /// A snapshot became ready: it takes the place of the older ones, and of damaged ones.
    fn supersede(&mut self, group_id: GroupId, snapshot: Uuid) {
        for slot in self.groups.get_mut(&group_id).into_iter().flat_map(BTreeMap::values_mut) {
            if matches!(slot.state, State::Damaged(_)) {
                slot.state = State::Doomed;
            }
        }
        self.doom_older(group_id, Some(snapshot));
    }

    /// Dooms what the newest ready snapshot makes superfluous. Without one, nothing is. Of several at one index
    /// `latest`, which became ready just now, is the newest: the replica goes on with that one.
    pub(super) fn doom_older(&mut self, group_id: GroupId, latest: Option<Uuid>) {
        let Some(slots) = self.groups.get_mut(&group_id) else { return };
        let ready = slots.values().filter_map(|slot| match &slot.state {
            State::Ready(manifest) => {
                let is_latest = Some(manifest.snapshot) == latest;
                Some((rank(manifest), is_latest, manifest.snapshot))
            }
            _ => None,
        });
        let Some((newest, _, newest_id)) = ready.max() else { return };
        for (snapshot, slot) in slots {
            let superfluous = match &slot.state {
                State::Ready(_) => *snapshot != newest_id,
                State::Unconfirmed(manifest) => rank(manifest) <= newest,
                _ => false,
            };
            if superfluous {
                slot.state = State::Doomed;
            }
        }
    }

    /// Takes what is to be deleted now; each is given back to `deleted`.
    pub(super) fn take_doomed(&mut self) -> Vec<(GroupId, Uuid)> {
        let mut doomed = Vec::new();
        for (group_id, slots) in &mut self.groups {
            for (snapshot, slot) in slots {
                if matches!(slot.state, State::Doomed) && slot.pins == 0 {
                    slot.state = State::Deleting;
                    doomed.push((*group_id, *snapshot));
                }
            }
        }
        doomed.sort();
        doomed
    }

    /// What was taken is gone from the disk, or could not be deleted and is tried again with the
    /// next.
    pub(super) fn deleted(&mut self, group_id: GroupId, snapshot: Uuid, succeeded: bool) {
        if !succeeded {
            return self.doom(group_id, snapshot);
        }
        if let Some(slots) = self.groups.get_mut(&group_id) {
            slots.remove(&snapshot);
            if slots.is_empty() {
                self.groups.remove(&group_id);
            }
        }
    }

    fn slot(&mut self, group_id: GroupId, snapshot: Uuid) -> Option<&mut Slot> {
        self.groups.get_mut(&group_id)?.get_mut(&snapshot)
    }
}
