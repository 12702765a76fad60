//! A node's data directory: whose it is, that nobody else has it open, and where the parts keep
//! their files.
//!
//! ```text
//! <directory>/           identity  lock  tmp/  log/  snapshots/
//! <directory>/log/       identity  ...
//! <snapshot directory>/  identity  lock  <group id>/...
//! ```
//!
//! The snapshot directory is `<directory>/snapshots` unless it was put on another disk. It has a lock
//! of its own, so that two nodes never share one. It and the log carry copies of the identity, so
//! that a disk which is not mounted, or a folder which was lost, is noticed: a node that starts with
//! an empty log has forgotten its votes.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::path::{Path, PathBuf};

use crate::disk::{sync_name, Disk, FileSystem};
use crate::error::{Code, Error, Result};
use crate::ids::{NodeId, Uuid};

mod identity;
mod layout;
mod lock;

pub use identity::{Identity, CLUSTER_BYTES_MAX, FORMAT_VERSION};
pub use layout::{claim, Claim};

use lock::DirectoryLock;

/// An open data directory. No other node, of this process or another, can open it until it is
/// released or dropped; the system releases it when the process dies, however it dies.
pub struct Directory {
    identity: Identity,
    path: PathBuf,
    snapshot_path: PathBuf,
    lock: DirectoryLock,
    snapshot_lock: DirectoryLock,
}

impl Directory {
    /// Opens the data directory at `path`, or makes one there if the folder is missing or empty.
    /// Everything that is made, and the incremented boot counter, is durable when this returns.
    ///
    /// `new_incarnation` becomes the incarnation of a directory that is made; an existing one keeps
    /// its own.
    ///
    /// **Errors**: `DirectoryInUse`; `WrongIdentity` if it belongs to another cluster or node, or
    /// the snapshot directory to another data directory; `InvalidArgument` for a folder that holds
    /// something else; `NewerFormat`; `Corrupted`; `PermissionDenied`; `NoSpace`; `Io`.
    pub fn open(
        path: &Path,
        snapshot_directory: Option<&Path>,
        cluster: &str,
        node_id: NodeId,
        new_incarnation: Uuid,
    ) -> Result<Directory> {
        let claim_by = Claim { cluster, node_id, new_incarnation };
        claim_by.check()?;
        let path = absolute(path)?;
        let data = open_folder(&path)?;
        let lock = DirectoryLock::acquire(&path)?;
        let snapshot_path = match snapshot_directory {
            Some(snapshot_directory) => absolute(snapshot_directory)?,
            None => path.join("snapshots"),
        };
        let snapshots = open_folder(&snapshot_path)?;
        check_apart(&path, &snapshot_path)?;
        let snapshot_lock = DirectoryLock::acquire(&snapshot_path)?;
        let identity = claim(&data, &snapshots, &claim_by)?;
        Ok(Directory { identity, path, snapshot_path, lock, snapshot_lock })
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Where the log keeps its files; exists.
    pub fn log_directory(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Where the snapshot store keeps its files; exists.
    pub fn snapshot_directory(&self) -> PathBuf {
        self.snapshot_path.clone()
    }

    /// For files that need not outlive the node being open; exists, and was emptied.
    pub fn temporary_directory(&self) -> PathBuf {
        self.path.join("tmp")
    }

    /// Lets others open the directory, as dropping does, but says when that failed. Call it when
    /// nothing writes below the directory any more.
    pub fn release(self) -> Result<()> {
        let Directory { lock, snapshot_lock, .. } = self;
        snapshot_lock.release()?;
        lock.release()
    }
}

/// The path made independent of the process's current directory, which the host may change.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| {
        Error::rejected(
            Code::InvalidArgument,
            format!("'{}' cannot be the path of a data directory: {error}", path.display()),
        )
    })
}

/// Refuses a snapshot directory among what the node writes and deletes in its data directory.
fn check_apart(path: &Path, snapshot_path: &Path) -> Result<()> {
    let real = |path: &Path| {
        path.canonicalize().map_err(|error| Error::from_io("find", path.display(), &error))
    };
    let (outer, inner) = (real(path)?, real(snapshot_path)?);
    if !inner.starts_with(&outer) || inner == outer.join("snapshots") {
        return Ok(());
    }
    Err(Error::rejected(
        Code::InvalidArgument,
        format!(
            "the snapshot directory {} lies in the data directory {}, among files that the node \
             writes and deletes: leave it out to have the folder 'snapshots' there, or choose one \
             elsewhere",
            snapshot_path.display(),
            path.display()
        ),
    ))
}

/// The disk at a folder, which is created, durably, if it is missing.
fn open_folder(path: &Path) -> Result<FileSystem> {
    let disk = FileSystem::new(path.to_path_buf());
    match disk.create_dir(Path::new("")) {
        Ok(()) => {}
        Err(error) => return Err(Error::from_io("create", path.display(), &error)),
    }
    if !path.join(identity::FILE).exists() {
        // It may become a data directory now, whoever made it.
        sync_name(path)
            .map_err(|error| Error::from_io("sync the name of", path.display(), &error))?;
    }
    Ok(disk)
}

#[cfg(test)]
mod tests;
