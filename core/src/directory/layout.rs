//! The making and opening of a data directory, step by step, so that a crash after any step leaves
//! what opens again.

use std::io;
use std::path::Path;

use super::identity::{Identity, CLUSTER_BYTES_MAX, FORMAT_VERSION, NEW_FILE};
use crate::deliberate::{is_on, Bug};
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

/// Opens, or makes, the data directory at the root of `data` with the snapshot directory at the
/// root of `snapshots`. Both are locked already, and may be nested. Returns the identity with the
/// boot counter of this opening.
///
/// Nothing is written before it is known that both directories are this node's, or nobody's.
pub fn claim(data: &dyn Disk, snapshots: &dyn Disk, claim: &Claim<'_>) -> Result<Identity> {
    claim.check()?;
    let root = Path::new("");
    let parts = [
        Part { name: "log", disk: data, folder: Path::new("log") },
        Part { name: "snapshot", disk: snapshots, folder: root },
    ];
    let stored = Identity::load(data, root)?;
    match &stored {
        Some(identity) => claim.check_owns(identity, data)?,
        None => check_unclaimed(data, root, &["log", "snapshots", "tmp"])?,
    }
    let mut identity = stored.clone().unwrap_or_else(|| claim.new_identity());
    let mut unmarked = Vec::new();
    for part in &parts {
        if !part.is_marked(&identity, data)? {
            unmarked.push(part);
        }
    }

    create_folders(data)?;
    if stored.is_none() {
        identity.store(data, root)?;
    }
    for part in unmarked {
        identity.store(part.disk, part.folder)?;
    }
    if stored.is_none() || !is_on(Bug::KeepTheBootCounter) {
        identity.boot_counter += 1;
    }
    identity.store(data, root)?;
    Ok(identity)
}

/// A folder that may be on another disk than the data directory, and carries a copy of its identity.
struct Part<'a> {
    name: &'a str,
    disk: &'a dyn Disk,
    folder: &'a Path,
}

impl Part<'_> {
    /// Whether the folder carries the identity already. If it should and does not, or carries
    /// another one, it is the wrong folder.
    fn is_marked(&self, identity: &Identity, data: &dyn Disk) -> Result<bool> {
        match Identity::load(self.disk, self.folder)? {
            Some(owner) => self.check_owner(&owner, identity, data).map(|()| true),
            // The boot counter leaves 0 only when every part is marked.
            None if identity.boot_counter > 0 => Err(self.missing()),
            None => check_unclaimed(self.disk, self.folder, &[]).map(|()| false),
        }
    }

    fn check_owner(&self, owner: &Identity, identity: &Identity, data: &dyn Disk) -> Result<()> {
        let same = identity.cluster == owner.cluster
            && identity.node_id == owner.node_id
            && identity.incarnation == owner.incarnation;
        if same {
            return Ok(());
        }
        Err(Error::rejected(
            Code::WrongIdentity,
            format!(
                "the {} directory {} belongs to node {} of cluster '{}' (incarnation {}), and the \
                 data directory {} to node {} of cluster '{}' (incarnation {}): give each data \
                 directory its own; if the data directory was wiped on purpose, empty the {} \
                 directory too",
                self.name,
                self.disk.display(self.folder),
                owner.node_id,
                owner.cluster,
                owner.incarnation,
                data.display(Path::new("")),
                identity.node_id,
                identity.cluster,
                identity.incarnation,
                self.name
            ),
        ))
    }

    fn missing(&self) -> Error {
        Error::rejected(
            Code::WrongIdentity,
            format!(
                "the {} directory {} does not hold what this node wrote there: check that its disk \
                 is mounted; if the directory was changed, move its content along; if the content \
                 is lost, wipe the data directory and let the node join again, for it must not \
                 vote without its memory",
                self.name,
                self.disk.display(self.folder)
            ),
        )
    }
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
                "the data directory {} belongs to node {} of cluster '{}', and was opened as \
                 node {} of cluster '{}': open it as what it is, or choose another directory",
                data.display(Path::new("")),
                identity.node_id,
                identity.cluster,
                self.node_id,
                self.cluster
            ),
        ))
    }
}

/// Refuses a folder without an identity that holds more than an interrupted making leaves behind:
/// its `tmp` would be emptied, and a log that lost its identity would be taken for that of a new
/// node, which forgets its votes. Folders of a making are looked into when their turn comes.
fn check_unclaimed(disk: &dyn Disk, folder: &Path, made: &[&str]) -> Result<()> {
    let list = |path: &Path| match disk.list(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::from_io("list", disk.display(path), &error)),
        Ok(names) => Ok(names),
    };
    let mut foreign = None;
    for name in list(folder)? {
        if name == "tmp" && made.contains(&"tmp") {
            foreign = list(&folder.join(&name))?.first().map(|inner| format!("tmp/{inner}"));
        } else if !["lock", "lost+found", NEW_FILE].contains(&name.as_str())
            && !made.contains(&name.as_str())
            && !name.starts_with('.')
        {
            foreign = Some(name);
        }
        if foreign.is_some() {
            break;
        }
    }
    let Some(name) = foreign else { return Ok(()) };
    Err(Error::rejected(
        Code::InvalidArgument,
        format!(
            "{} has no identity but is not empty, it holds '{name}': choose an empty directory. If \
             this is the data of a node whose file 'identity' was lost, wipe it and let the node \
             join again",
            disk.display(folder)
        ),
    ))
}

/// Creates the folders of a data directory, durably, and empties `tmp`.
fn create_folders(data: &dyn Disk) -> Result<()> {
    let tmp = Path::new("tmp");
    if data.exists(tmp).map_err(|error| Error::from_io("read", data.display(tmp), &error))? {
        data.delete_dir(tmp).map_err(|error| Error::from_io("empty", data.display(tmp), &error))?;
    }
    for folder in [tmp, Path::new("log")] {
        data.create_dir(folder)
            .map_err(|error| Error::from_io("create", data.display(folder), &error))?;
    }
    let root = Path::new("");
    data.sync_dir(root).map_err(|error| Error::from_io("sync", data.display(root), &error))
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
