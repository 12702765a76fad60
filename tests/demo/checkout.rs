//! The real input of the demo: every file of a checkout, and what each must look like when it comes
//! back.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::client::Dump;
use crate::Failure;

/// Not part of a checkout: what git keeps for itself, what tools leave behind.
const SKIPPED: &[&str] = &[".git", "target", "node_modules", "__pycache__", ".venv"];
/// The default cap of a proposal is 8 MiB; this leaves room for the key.
const FILE_BYTES_MAX: u64 = (8 << 20) - 4096;

pub type Hash = [u8; 32];

pub struct SourceFile {
    /// Relative to the checkout.
    pub path: String,
    pub content: Vec<u8>,
}

/// Reads all files below `root`, in the order of their paths.
pub fn read(root: &Path) -> Result<Vec<SourceFile>, Failure> {
    let mut files = Vec::new();
    collect(root, "", &mut files).map_err(|error| {
        Failure(format!("cannot read the checkout {}: {error}", root.display()))
    })?;
    if files.is_empty() {
        return Err(Failure(format!("there are no files in {}", root.display())));
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<SourceFile>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        // A name that is not UTF-8, or has a line break, cannot be a key of the line protocol.
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        if SKIPPED.contains(&name.as_str()) || name.contains('\n') {
            continue;
        }
        let path = format!("{prefix}{name}");
        if kind.is_dir() {
            collect(&entry.path(), &format!("{path}/"), files)?;
        } else if kind.is_file() && entry.metadata()?.len() > FILE_BYTES_MAX {
            println!("{path} is left out: it is larger than a proposal may be");
        } else if kind.is_file() {
            files.push(SourceFile { path, content: fs::read(entry.path())? });
        }
    }
    Ok(())
}

pub fn hash(content: &[u8]) -> Hash {
    Sha256::digest(content).into()
}

pub fn hashes(files: &[SourceFile]) -> BTreeMap<String, Hash> {
    files.iter().map(|file| (file.path.clone(), hash(&file.content))).collect()
}

/// Compares what a node holds with what was put, file by file.
pub fn compare(node: u64, expected: &BTreeMap<String, Hash>, dump: &Dump) -> Result<(), Failure> {
    let mut differences = Vec::new();
    for (path, hash) in expected {
        match dump.hashes.get(path) {
            None => differences.push(format!("{path} is missing")),
            Some(found) if found != hash => differences.push(format!("{path} has another content")),
            Some(_) => {}
        }
    }
    for path in dump.hashes.keys().filter(|path| !expected.contains_key(*path)) {
        differences.push(format!("{path} was never put"));
    }
    if differences.is_empty() {
        return Ok(());
    }
    let count = differences.len();
    differences.truncate(5);
    Err(Failure(format!(
        "node {node} at index {} differs from the checkout in {count} files: {}",
        dump.applied_index,
        differences.join("; ")
    )))
}
