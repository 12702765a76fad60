//! The making and opening of a data directory, step by step, so that a crash after any step leaves what opens again.

use std::path::Path;

use super::identity::{Identity, CLUSTER_BYTES_MAX, FORMAT_VERSION};
use crate::disk::Disk;
use crate::error::{Code, Error, Result};
use crate::ids::{NodeId, Uuid};

/// Who wants to open a data directory.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    pub cluster: &'a str,
    pub node_id: NodeId,
    /// The incarnation of a directory that has to be made.
    pub new_incarnation: Uuid,
}

/// Opens, or makes, the data directory at the root of `data` with the snapshot directory at the root of `snapshots`.
/// Both are locked already, and may be nested. Returns the identity with the boot counter of this opening.
///
/// Nothing is written before it is known that both directories are this node's, or nobody's.
pub fn claim(data: &dyn Disk, snapshots: &dyn Disk, claim: &Claim<'_>) -> Result<Identity> {
    claim.check()?;
    let stored = Identity::load(data)?;
    let snapshots_stored = Identity::load(snapshots)?;
    match &stored {
        Some(identity) => claim.check_owns(identity, data)?,
        None => check_unclaimed(data, &["log", "snapshots"])?,
    }
    let mut identity = stored.clone().unwrap_or_else(|| claim.new_identity());
    match &snapshots_stored {
        Some(owner) => check_belong_together(&identity, owner, data, snapshots)?,
        // The counter leaves 0 only after the snapshot directory has its identity.
        None if identity.boot_counter > 0 => return Err(snapshots_missing(snapshots)),
        None => check_unclaimed(snapshots, &[])?,
    }

    create_folders(data, &["tmp", "log"])?;
    create_folders(snapshots, &["tmp"])?;
    if stored.is_none() {
        identity.store(data)?;
    }
    if snapshots_stored.is_none() {
        identity.store(snapshots)?;
    }
    identity.boot_counter += 1;
    identity.store(data)?;
    Ok(identity)
}

impl Claim<'_> {
    pub(super) fn check(&self) -> Result<()> {
        let wrong = |what| Err(Error::rejected(Code::InvalidArgument, what));
        if self.cluster.is_empty() || self.cluster.len() > CLUSTER_BYTES_MAX {
            return wrong(format!(
                "the name of a cluster has 1 to {CLUSTER_BYTES_MAX} bytes, and this one {}",
                self.cluster.len()
            ));
        }
        if self.node_id == 0 {
            return wrong("the node id is 0: choose a number from 1 on, and keep it".to_string());
        }
        if self.new_incarnation.is_nil() {
            return wrong("the new incarnation is all zeroes: pass a random one".to_string());
        }
        Ok(())
    }

    fn new_identity(&self) -> Identity {
        Identity {
            cluster: self.cluster.to_string(),
            node_id: self.node_id,
            incarnation: self.new_incarnation,
            boot_counter: 0,
            format_version: FORMAT_VERSION,
        }
    }

    fn check_owns(&self, identity: &Identity, data: &dyn Disk) -> Result<()> {
        if identity.cluster == self.cluster && identity.node_id == self.node_id {
            return Ok(());
        }
        Err(Error::rejected(
            Code::WrongIdentity,
            format!(
                "the data directory {} belongs to node {} of cluster '{}', and was opened as node {} of cluster '{}': \
                 open it as what it is, or choose another directory",
                data.display(Path::new("")),
                identity.node_id,
                identity.cluster,
                self.node_id,
                self.cluster
            ),
        ))
    }
}

fn check_belong_together(
    identity: &Identity,
    owner: &Identity,
    data: &dyn Disk,
    snapshots: &dyn Disk,
) -> Result<()> {
    let same = identity.cluster == owner.cluster
        && identity.node_id == owner.node_id
        && identity.incarnation == owner.incarnation;
    if same {
        return Ok(());
    }
    Err(Error::rejected(
        Code::WrongIdentity,
        format!(
            "the snapshot directory {} belongs to node {} of cluster '{}' (incarnation {}), and the data directory {} \
             to node {} of cluster '{}' (incarnation {}): give each data directory a snapshot directory of its own; \
             if the data directory was wiped on purpose, empty the snapshot directory too",
            snapshots.display(Path::new("")),
            owner.node_id,
            owner.cluster,
            owner.incarnation,
            data.display(Path::new("")),
            identity.node_id,
            identity.cluster,
            identity.incarnation
        ),
    ))
}

fn snapshots_missing(snapshots: &dyn Disk) -> Error {
    Error::rejected(
        Code::WrongIdentity,
        format!(
            "the snapshot directory {} does not hold the snapshots of this node: check that its disk is mounted; if \
             the snapshot directory was changed, move what it held along",
            snapshots.display(Path::new(""))
        ),
    )
}

/// Refuses a directory without an identity that holds more than an interrupted making of one leaves behind: its `tmp`
/// would be emptied, and a log that lost its identity would be taken for that of a new node, which forgets its votes.
fn check_unclaimed(disk: &dyn Disk, folders: &[&str]) -> Result<()> {
    let root = Path::new("");
    let list = |path: &Path| match disk.list(path) {
        Err(error) => Err(Error::from_io("list", disk.display(path), &error)),
        Ok(names) => Ok(names),
    };
    let refused = |name: &str| {
        Error::rejected(
            Code::InvalidArgument,
            format!(
                "{} has no identity but is not empty, it holds '{name}': choose an empty directory. If this is the \
                 data of a node whose file 'identity' was lost, wipe it and let the node join again",
                disk.display(root)
            ),
        )
    };
    for name in list(root)? {
        match name.as_str() {
            "tmp" => {
                if let Some(inner) = list(Path::new("tmp"))?.iter().find(|name| *name != "identity")
                {
                    return Err(refused(&format!("tmp/{inner}")));
                }
            }
            "log" if folders.contains(&"log") => {
                if let Some(inner) = list(Path::new("log"))?.first() {
                    return Err(refused(&format!("log/{inner}")));
                }
            }
            "lock" | "lost+found" => {}
            other if folders.contains(&other) || other.starts_with('.') => {}
            other => return Err(refused(other)),
        }
    }
    Ok(())
}

/// Creates folders at the root, durably, and empties `tmp`.
fn create_folders(disk: &dyn Disk, folders: &[&str]) -> Result<()> {
    let tmp = Path::new("tmp");
    if disk.exists(tmp).map_err(|error| Error::from_io("read", disk.display(tmp), &error))? {
        disk.delete_dir(tmp).map_err(|error| Error::from_io("empty", disk.display(tmp), &error))?;
    }
    for folder in folders {
        let folder = Path::new(folder);
        disk.create_dir(folder)
            .map_err(|error| Error::from_io("create", disk.display(folder), &error))?;
    }
    let root = Path::new("");
    disk.sync_dir(root).map_err(|error| Error::from_io("sync", disk.display(root), &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::memory::MemoryDisk;

    fn claim_as(data: &MemoryDisk, snapshots: &MemoryDisk, incarnation: u8) -> Result<Identity> {
        let new_incarnation = Uuid([incarnation; 16]);
        claim(data, snapshots, &Claim { cluster: "orders", node_id: 7, new_incarnation })
    }

    #[test]
    fn a_power_cut_at_any_step_of_the_making_leaves_a_directory_that_opens() {
        for seed in 0..16 {
            for step in 0.. {
                let (data, snapshots) = (MemoryDisk::new(), MemoryDisk::new());
                // The steps of both disks are gone through, one disk after the other.
                let disk = if step % 2 == 0 { &data } else { &snapshots };
                disk.stop_after(step / 2);
                let made = claim_as(&data, &snapshots, 1);
                let (data, snapshots) = (data.crash(seed), snapshots.crash(seed + 1));
                let opened = claim_as(&data, &snapshots, 2)
                    .unwrap_or_else(|error| panic!("seed {seed}, step {step}: {error}"));
                if let Ok(made) = &made {
                    assert_eq!(opened.incarnation, made.incarnation, "seed {seed}, step {step}");
                    assert_eq!(opened.boot_counter, 2, "seed {seed}, step {step}");
                    if step > 40 {
                        break;
                    }
                }
            }
        }
    }

    #[test]
    fn a_boot_counter_is_never_given_out_twice_whenever_the_power_is_cut() {
        for seed in 0..16 {
            for step in 0.. {
                let (data, snapshots) = (MemoryDisk::new(), MemoryDisk::new());
                claim_as(&data, &snapshots, 1).unwrap();
                data.stop_after(step);
                let second = claim_as(&data, &snapshots, 2);
                let third = claim_as(&data.crash(seed), &snapshots.crash(seed), 3).unwrap();
                assert_eq!(third.incarnation, Uuid([1; 16]));
                match second {
                    Ok(second) => {
                        assert_eq!((second.boot_counter, third.boot_counter), (2, 3));
                        break;
                    }
                    Err(_) => assert!((2..=3).contains(&third.boot_counter)),
                }
            }
        }
    }

    #[test]
    fn a_full_disk_says_so_and_the_directory_opens_when_there_is_space() {
        let (data, snapshots) = (MemoryDisk::new(), MemoryDisk::new());
        data.set_capacity(Some(10));
        assert_eq!(claim_as(&data, &snapshots, 1).unwrap_err().code, Code::NoSpace);
        data.set_capacity(None);
        assert_eq!(claim_as(&data, &snapshots, 2).unwrap().boot_counter, 1);
    }
}
