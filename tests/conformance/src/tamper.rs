//! What befalls files of a data directory.

use std::path::Path;

use crate::Outcome;

/// Flips a bit in the middle of a file.
pub fn damage(path: &Path) -> Outcome<()> {
    let mut bytes = std::fs::read(path)?;
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).ok_or("the file is empty")? ^= 0x20;
    Ok(std::fs::write(path, bytes)?)
}

/// Gives an identity file the format version of a libraft to come. See docs/format.md: the version is at offset 8, and
/// the last four bytes are a CRC-32C of the others.
pub fn renew(path: &Path) -> Outcome<()> {
    let mut bytes = std::fs::read(path)?;
    let length = bytes.len();
    if length < 16 {
        return Err(format!("{} is too short for an identity", path.display()).into());
    }
    bytes[8] = 200;
    let checksum = crc32c::crc32c(&bytes[..length - 4]);
    bytes[length - 4..].copy_from_slice(&checksum.to_le_bytes());
    Ok(std::fs::write(path, bytes)?)
}
