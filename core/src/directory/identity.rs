//! Who a data directory belongs to: the file `identity`. See `docs/format.md`.

use std::path::Path;

use crate::disk::{Disk, OpenMode};
use crate::error::{Code, Error, Result};
use crate::ids::{NodeId, Uuid};

/// The version of the layout of a data directory that this library writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;
/// The longest name of a cluster, in bytes.
pub const CLUSTER_BYTES_MAX: usize = 128;

pub(super) const FILE: &str = "identity";
/// What a crash may leave of an identity that was being written.
pub(super) const NEW_FILE: &str = "identity.new";
const MAGIC: &[u8; 8] = b"raft-idn";
/// Magic, version, node id, boot counter, incarnation, length of the cluster's name.
const FIXED_BYTES: usize = 8 + 4 + 8 + 8 + 16 + 2;
const CRC_BYTES: usize = 4;
/// Leaves room for a newer version's fields, so that its file is recognised and not called damaged.
const FILE_BYTES_MAX: usize = 4096;

/// Who a data directory belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub cluster: String,
    pub node_id: NodeId,
    /// The life of this directory: a wiped node comes back with another one.
    pub incarnation: Uuid,
    /// How often the directory was opened, this time included; 0 while it is being made.
    pub boot_counter: u64,
    pub format_version: u32,
}

impl Identity {
    /// Reads the identity in a folder; `None` if there is none.
    pub(super) fn load(disk: &dyn Disk, folder: &Path) -> Result<Option<Identity>> {
        let path = &folder.join(FILE);
        let place = disk.display(path);
        let failed = |error| Error::from_io("read", &place, &error);
        if !disk.exists(path).map_err(failed)? {
            return Ok(None);
        }
        let file = disk.open(path, OpenMode::Read).map_err(failed)?;
        let mut bytes = vec![0; FILE_BYTES_MAX + 1];
        let mut length = 0;
        while length < bytes.len() {
            match file.read_at(&mut bytes[length..], length as u64).map_err(failed)? {
                0 => break,
                count => length += count,
            }
        }
        Identity::decode(&bytes[..length], &place).map(Some)
    }

    /// Writes the identity into a folder, replacing the old one atomically and durably.
    pub(super) fn store(&self, disk: &dyn Disk, folder: &Path) -> Result<()> {
        let new = folder.join(NEW_FILE);
        let place = disk.display(&new);
        let failed = |error| Error::from_io("write", &place, &error);
        if disk.exists(&new).map_err(failed)? {
            disk.delete(&new).map_err(failed)?;
        }
        let file = disk.open(&new, OpenMode::CreateNew).map_err(failed)?;
        file.write_at(&self.encode(), 0).map_err(failed)?;
        file.sync().map_err(failed)?;
        disk.rename(&new, &folder.join(FILE)).map_err(failed)?;
        disk.sync_dir(folder).map_err(failed)
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIXED_BYTES + self.cluster.len() + CRC_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.format_version.to_le_bytes());
        bytes.extend_from_slice(&self.node_id.to_le_bytes());
        bytes.extend_from_slice(&self.boot_counter.to_le_bytes());
        bytes.extend_from_slice(&self.incarnation.0);
        bytes.extend_from_slice(&(self.cluster.len() as u16).to_le_bytes());
        bytes.extend_from_slice(self.cluster.as_bytes());
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8], place: &str) -> Result<Identity> {
        let damaged = |offset: usize, what: &str| {
            Error::rejected(
                Code::Corrupted,
                format!(
                    "{place} is damaged at offset {offset}: {what}. Without its identity a node \
                     must not vote: wipe the directory and let the node join again, or restore \
                     the file from a backup"
                ),
            )
        };
        if bytes.len() < FIXED_BYTES + CRC_BYTES || bytes.len() > FILE_BYTES_MAX {
            return Err(damaged(bytes.len(), "it ends at the wrong place"));
        }
        if &bytes[..8] != MAGIC {
            return Err(damaged(0, "it does not begin as an identity does"));
        }
        // The checksum is the last four bytes in every version, so that a newer file is told from a
        // damaged one.
        let (body, crc) = bytes.split_at(bytes.len() - CRC_BYTES);
        if crc != crc32c::crc32c(body).to_le_bytes() {
            return Err(damaged(body.len(), "the checksum does not match"));
        }
        let format_version = u32::from_le_bytes(array(body, 8));
        if format_version > FORMAT_VERSION {
            return Err(Error::rejected(
                Code::NewerFormat,
                format!(
                    "{place} has format version {format_version}, and this libraft reads up to \
                     {FORMAT_VERSION}: use the newer libraft that wrote it"
                ),
            ));
        }
        let cluster_bytes = u16::from_le_bytes(array(body, FIXED_BYTES - 2)) as usize;
        if FIXED_BYTES + cluster_bytes != body.len() {
            return Err(damaged(FIXED_BYTES - 2, "the length of the cluster's name is wrong"));
        }
        let cluster = std::str::from_utf8(&body[FIXED_BYTES..])
            .map_err(|_| damaged(FIXED_BYTES, "the cluster's name is not UTF-8"))?;
        Ok(Identity {
            cluster: cluster.to_string(),
            node_id: u64::from_le_bytes(array(body, 12)),
            boot_counter: u64::from_le_bytes(array(body, 20)),
            incarnation: Uuid(array(body, 28)),
            format_version,
        })
    }
}

/// The `N` bytes at `offset`, which the caller has checked to be there.
fn array<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[offset..offset + N]);
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            cluster: "orders".to_string(),
            node_id: 7,
            incarnation: Uuid([9; 16]),
            boot_counter: 3,
            format_version: FORMAT_VERSION,
        }
    }

    #[test]
    fn an_identity_comes_back_as_it_was_written() {
        assert_eq!(Identity::decode(&identity().encode(), "identity").unwrap(), identity());
    }

    #[test]
    fn a_flipped_bit_anywhere_in_an_identity_is_found() {
        let bytes = identity().encode();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let error = Identity::decode(&damaged, "/data/identity").unwrap_err();
            assert_eq!(error.code, Code::Corrupted, "bit {bit}");
            assert!(error.message.contains("/data/identity is damaged at offset"), "{error}");
        }
    }

    #[test]
    fn a_cut_or_lengthened_identity_is_found() {
        let mut bytes = identity().encode();
        for length in 0..bytes.len() {
            assert_eq!(Identity::decode(&bytes[..length], "").unwrap_err().code, Code::Corrupted);
        }
        bytes.push(0);
        assert_eq!(Identity::decode(&bytes, "").unwrap_err().code, Code::Corrupted);
        bytes.resize(FILE_BYTES_MAX + 1, 0);
        assert_eq!(Identity::decode(&bytes, "").unwrap_err().code, Code::Corrupted);
    }

    #[test]
    fn an_identity_of_a_newer_format_is_recognised_whatever_it_holds() {
        let mut bytes = identity().encode();
        bytes[8] = FORMAT_VERSION as u8 + 1;
        bytes.truncate(bytes.len() - CRC_BYTES);
        bytes.extend_from_slice(b"fields of the future");
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        let error = Identity::decode(&bytes, "/data/identity").unwrap_err();
        assert_eq!(error.code, Code::NewerFormat);
        assert!(error.message.contains("format version 2"), "{error}");
    }
}
