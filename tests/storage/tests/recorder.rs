//! The recorder misses nothing: what it writes down of a load is what strace sees.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use libraft_storage::recorder::Recorder;
use libraft_storage::recording::{self, Operation};
use libraft_tests::fresh_directory;

const STEPS: &str = "600";
const SEGMENT_BYTES: &str = "131072";
/// Everything that could change a file or a name. The recorder makes the calls by their numbers,
/// so that what strace sees are those that the program asked for.
const CALLS: &str = "write,pwrite64,writev,pwritev,pwritev2,sendfile,splice,copy_file_range,\
    io_uring_setup,fsync,fdatasync,sync_file_range,syncfs,sync,msync,rename,renameat,renameat2,\
    link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,mkdir,mkdirat,ftruncate,truncate,\
    fallocate,open,openat,openat2,creat,mmap";

type Counts = BTreeMap<String, usize>;

#[test]
fn the_recorder_sees_every_call_that_changes_something() {
    let directory = fresh_directory(env!("CARGO_TARGET_TMPDIR"), "recorder");
    let path = |name: &str| directory.join(name);
    let (root, notes, trace) = (path("node"), path("notes"), path("trace"));
    std::fs::create_dir(&root).expect("a folder");
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-s", "0", "-e", &format!("trace={CALLS}"), "-o"]);
    command.arg(path("strace")).arg("env");
    let recorder = Recorder::new(&directory);
    // strace itself must not be recorded: the program's environment is set by `env`.
    let mut recorded = Command::new("env");
    recorder.record(&mut recorded, &root, &notes, &trace);
    for (name, value) in recorded.get_envs() {
        let value = value.expect("a value").to_string_lossy();
        command.arg(format!("{}={value}", name.to_string_lossy()));
    }
    command.arg(env!("CARGO_BIN_EXE_storage_node")).arg("load").arg(&root).arg(&notes);
    command.args([SEGMENT_BYTES, "3", STEPS]);
    let status = command.status().expect("strace runs: `apt-get install strace`");
    assert!(status.success(), "the load failed: {status}");
    let seen = seen_by_strace(&path("strace"), &root);
    let kept = kept_by_recorder(&recording::read(&trace));
    println!("{kept:?}");
    assert_eq!(kept, seen, "left what the recorder kept, right what strace saw");
    assert!(kept["write"] > 100 && kept["sync"] > 100, "too little happened: {kept:?}");
    let _ = std::fs::remove_dir_all(&directory);
}

/// How many calls of each kind there were, how many bytes were written, and which files came to be.
/// strace cannot tell which of several opens created a file.
fn kept_by_recorder(operations: &[Operation]) -> Counts {
    let mut counts = Counts::new();
    let mut created = Counts::new();
    let mut count = |name: &str, by| *counts.entry(name.to_string()).or_default() += by;
    for operation in operations {
        match operation {
            Operation::Create { path, .. } => {
                created.insert(format!("created {path}"), 1);
            }
            Operation::MakeDirectory { .. } => count("mkdir", 1),
            Operation::Write { data, .. } => {
                count("write", 1);
                count("bytes", data.len());
            }
            Operation::SyncEnd { .. } => count("sync", 1),
            Operation::Rename { .. } => count("rename", 1),
            Operation::Unlink { .. } => count("unlink", 1),
            Operation::Truncate { .. } => count("truncate", 1),
            Operation::Allocate { .. } => count("allocate", 1),
            Operation::SyncRange { .. } => count("sync range", 1),
            Operation::SyncBegin { .. } | Operation::Note(_) => {}
        }
    }
    counts.append(&mut created);
    counts
}

fn seen_by_strace(trace: &Path, root: &Path) -> Counts {
    let text = std::fs::read_to_string(trace).expect("strace has written its trace");
    let root = root.display().to_string();
    let mut counts = Counts::new();
    let mut unfinished: BTreeMap<&str, &str> = BTreeMap::new();
    for line in text.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(start) = rest.strip_suffix("<unfinished ...>") {
            unfinished.insert(thread, start);
            continue;
        }
        let whole = match rest.strip_prefix("<... ").and_then(|end| end.split_once(" resumed>")) {
            Some((_, end)) => format!("{}{end}", unfinished.remove(thread).unwrap_or_default()),
            None => rest.to_string(),
        };
        count_call(&whole, &root, &mut counts);
    }
    counts
}

/// `name(arguments) = result`, if it succeeded and concerns what is below `root`.
fn count_call(call: &str, root: &str, counts: &mut Counts) {
    let Some((name, rest)) = call.split_once('(') else { return };
    let Some((arguments, result)) = rest.rsplit_once(" = ") else { return };
    let result = result.split(['<', ' ']).next().and_then(|word| word.parse::<i64>().ok());
    let Some(result) = result.filter(|result| *result >= 0) else { return };
    // With `-y` a descriptor is followed by its path; names are in quotes, or behind such a path.
    let concerns = arguments.contains(root) || call.contains(&format!("<{root}"));
    if !concerns {
        return;
    }
    let kind = match name {
        "open" | "openat" => {
            let path = call.rsplit_once('<').and_then(|(_, path)| path.split_once('>'));
            let below = path.and_then(|(path, _)| path.strip_prefix(root)?.strip_prefix('/'));
            if let Some(path) = below.filter(|_| arguments.contains("O_CREAT")) {
                counts.insert(format!("created {path}"), 1);
            }
            return;
        }
        "mmap" if !(arguments.contains("MAP_SHARED") && arguments.contains("PROT_WRITE")) => return,
        "write" | "pwrite64" | "pwritev" => {
            *counts.entry("bytes".to_string()).or_default() += result as usize;
            "write"
        }
        "fsync" | "fdatasync" => "sync",
        "sync_file_range" => "sync range",
        "unlink" | "unlinkat" | "rmdir" => "unlink",
        "ftruncate" => "truncate",
        "fallocate" => "allocate",
        other => other,
    };
    *counts.entry(kind.to_string()).or_default() += 1;
}
