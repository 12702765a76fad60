//! What the recorder wrote, read back.

use std::path::Path;

/// One change of the recorded folder, or a note, in the order in which they took effect.
#[derive(Debug)]
pub enum Operation {
    /// A new file. Files are known by their inode, which may be used again after an unlink.
    Create {
        path: String,
        file: u64,
    },
    MakeDirectory {
        path: String,
        file: u64,
    },
    Write {
        file: u64,
        offset: u64,
        data: Vec<u8>,
    },
    /// A sync begins: what came before is durable once the sync of this number has ended.
    SyncBegin {
        file: u64,
        number: u64,
    },
    SyncEnd {
        file: u64,
        number: u64,
        succeeded: bool,
    },
    Rename {
        path: String,
        target: String,
    },
    /// A file or an empty folder.
    Unlink {
        path: String,
    },
    Truncate {
        file: u64,
        length: u64,
    },
    /// The file is at least so long.
    Allocate {
        file: u64,
        end: u64,
    },
    /// `sync_file_range`: promises nothing.
    SyncRange {
        file: u64,
    },
    Note(String),
}

impl Operation {
    pub fn note(&self) -> Option<&str> {
        match self {
            Operation::Note(line) => Some(line),
            _ => None,
        }
    }
}

const HEADER_BYTES: usize = 40;

/// Reads a trace. **Panics** with what is wrong with it: a trace that holds a call which the
/// recorder does not understand proves nothing.
pub fn read(trace: &Path) -> Vec<Operation> {
    let bytes = std::fs::read(trace).expect("the recorder has written a trace");
    let mut rest = &bytes[..];
    let mut operations = Vec::new();
    while !rest.is_empty() {
        operations.push(take(&mut rest));
    }
    operations
}

fn take(rest: &mut &[u8]) -> Operation {
    let mut cut = |length: usize| -> &[u8] {
        let (head, tail) = rest.split_at_checked(length).expect("the trace ends within a record");
        *rest = tail;
        head
    };
    let header = cut(HEADER_BYTES);
    let short = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
    let long = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("paths and notes are text");
    let (file, offset, length) = (long(16), long(24), long(32));
    // A folder may be named with a slash at the end.
    let path = text(cut(short(4) as usize)).trim_end_matches('/').to_string();
    let target = text(cut(short(8) as usize));
    let data = cut(short(12) as usize);
    // As in shim/recorder.c.
    match short(0) {
        1 => Operation::Create { path, file },
        2 => Operation::MakeDirectory { path, file },
        3 => Operation::Write { file, offset, data: data.to_vec() },
        4 => Operation::SyncBegin { file, number: offset },
        5 => Operation::SyncEnd { file, number: offset, succeeded: length == 1 },
        6 => Operation::Rename { path, target },
        7 => Operation::Unlink { path },
        8 => Operation::Truncate { file, length },
        9 => Operation::Allocate { file, end: offset + length },
        10 => Operation::SyncRange { file },
        11 => Operation::Note(text(data)),
        _ => panic!("a call that the recorder does not understand: {path} {target}"),
    }
}
