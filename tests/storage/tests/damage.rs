//! Damage to every file of a directory, or its loss: all is there all the same, or an error says which file is
//! damaged and where.
//!
//! `LIBRAFT_DAMAGES=20000` says how many trials there are, `LIBRAFT_SEED=7` which.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use libraft_storage::crew::{Crew, Task, Verdict};
use libraft_storage::history::{appended, durable, Note};
use libraft_storage::image::{Image, Loss, Tree};
use libraft_storage::node::Settings;
use libraft_storage::recorder::Recorder;
use libraft_storage::recording::{self, Operation};
use libraft_storage::scratch::Scratch;
use libraft_tests::fresh_directory;
use libraft_tests::random::Random;

const TRIALS: u64 = 2000;
const STEPS: u64 = 900;
const LOADS: usize = 2;
const LOADS_MAX: usize = 8;
const SEGMENT_BYTES: u64 = 128 << 10;
const CLOSED: &str = "a closed directory";
const BUSY: &str = "the directory of a busy node";
const BLOCK_BYTES: u64 = 4096;

#[test]
fn whatever_is_damaged_all_is_there_or_an_error_names_the_file_and_the_place() {
    let directory = fresh_directory(env!("CARGO_TARGET_TMPDIR"), "damage");
    let setting = |name: &str, default: u64| -> u64 {
        std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
    };
    let (trials, seed) = (setting("LIBRAFT_DAMAGES", TRIALS), setting("LIBRAFT_SEED", 1));
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let recorder = Recorder::new(&directory);
    let scratch = Scratch::in_memory("damage", &directory);
    let mut crew = Crew::start(env!("CARGO_BIN_EXE_storage_node"), &scratch);
    // Not every load leaves files of all kinds.
    let loads = (0..LOADS_MAX).filter_map(|n| victims(&recorder, &directory, n, random.draw()));
    let victims: Vec<Victim> = loads.take(LOADS).flatten().collect();
    assert_eq!(victims.len(), 2 * LOADS, "no load left what could be damaged");
    for trial in 0..trials {
        let victim = &victims[(trial % victims.len() as u64) as usize];
        crew.give(victim.spoil(trial, &mut random));
    }
    let mut outcomes: BTreeMap<&str, Outcomes> = BTreeMap::new();
    let mut failures = Vec::new();
    for (task, verdict) in crew.finish() {
        let victim = &victims[task.number as usize % victims.len()];
        let (path, _) = task.context.split_once(": ").expect("a path stands first");
        let outcomes = outcomes.entry(kind_of(path)).or_default();
        if let Err(what) = outcomes.add(victim, path, &verdict) {
            let kept = directory.join(format!("failed-{}", failures.len()));
            if failures.len() < 10 {
                task.tree.write(&kept).expect("a state is kept");
            }
            failures.push(format!("{} of {}: {what}", task.context, victim.name));
        }
    }
    for (kind, outcomes) in &outcomes {
        println!("{kind:20} {outcomes}");
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    let count = |of: fn(&Outcomes) -> u64| outcomes.values().map(of).sum::<u64>();
    let (recovered, named) =
        (count(|outcomes| outcomes.recovered), count(|outcomes| outcomes.named));
    println!(
        "{recovered} recovered in full, {named} named, {} in the window of the last batch",
        count(|outcomes| outcomes.windows)
    );
    assert_eq!(outcomes.len(), KINDS.len(), "some kinds of files were not damaged");
    assert!(recovered > trials / 10 && named > trials / 10, "the damage does too little");
    let _ = std::fs::remove_dir_all(&directory);
}

/// A directory that was good.
struct Victim {
    name: &'static str,
    tree: Tree,
    files: BTreeMap<&'static str, Vec<String>>,
    notes: Vec<Note>,
    file: PathBuf,
}

/// Two states of one load: closed, and as a process leaves it that is killed while it is busy. None if there was no
/// moment with files of all kinds.
fn victims(recorder: &Recorder, directory: &Path, number: usize, seed: u64) -> Option<[Victim; 2]> {
    let path = |name: &str| directory.join(format!("{name}-{number}"));
    let (root, notes, trace) = (path("node"), path("sent"), path("trace"));
    std::fs::create_dir_all(&root).expect("a folder");
    let mut image = Image::of(&root).expect("an empty folder is read");
    let mut command = Command::new(env!("CARGO_BIN_EXE_storage_node"));
    command.arg("load").arg(&root).arg(&notes);
    command.args([SEGMENT_BYTES, seed, STEPS].map(|number| number.to_string()));
    recorder.record(&mut command, &root, &notes, &trace);
    let status = command.status().expect("the load starts");
    assert!(status.success(), "the load of seed {seed} failed: {status}");
    let operations = recording::read(&trace);
    let lines: Vec<&str> = operations.iter().filter_map(Operation::note).collect();
    let file = path("notes");
    std::fs::write(&file, lines.join("\n")).expect("the notes are written");
    let notes: Vec<Note> = lines.iter().map(|line| line.parse().expect("a note")).collect();
    let victim = |name, tree: Tree, count| {
        let (notes, file) = (notes[..count].to_vec(), file.clone());
        Victim { name, files: files_by_kind(&tree), tree, notes, file }
    };
    let closed = victim(CLOSED, Tree::read(&root).expect("it is read"), notes.len());
    // A moment at which all that was appended is durable, and nothing is sealed.
    let (mut busy, mut noted) = (None, 0);
    for operation in &operations {
        image.play(operation);
        noted += usize::from(operation.note().is_some());
        let is_durable = operation.note().is_some_and(|note| note.starts_with("durable"));
        let seen = &notes[..noted];
        if is_durable && durable(seen).last() == Some(&appended(seen)) {
            let tree = image.cut(Loss::Nothing, &mut Random::new(seed));
            if KINDS.iter().all(|(kind, _)| files_by_kind(&tree).contains_key(kind)) {
                busy = Some((tree, noted));
            }
        }
    }
    let (tree, count) = busy?;
    Some([closed, victim(BUSY, tree, count)])
}

/// The kinds of files that a directory has, and how many of a hundred trials damage one.
const KINDS: [(&str, u64); 11] = [
    ("segment", 33),
    ("sled db", 25),
    ("sled conf", 4),
    ("sled snap", 4),
    ("manifest", 8),
    ("stream", 8),
    ("identity", 6),
    ("log identity", 5),
    ("snapshot identity", 5),
    ("lock", 2),
    ("newest", 2),
];

fn kind_of(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or(path);
    match (path, name) {
        ("identity", _) => "identity",
        ("log/identity", _) => "log identity",
        ("snapshots/identity", _) => "snapshot identity",
        (_, "lock") => "lock",
        (_, "newest") => "newest",
        (_, "manifest") => "manifest",
        (_, "stream") => "stream",
        (_, "conf") => "sled conf",
        (_, "db") => "sled db",
        _ if name.starts_with("snap.") => "sled snap",
        _ if name.ends_with(".segment") => "segment",
        _ => "other",
    }
}

fn files_by_kind(tree: &Tree) -> BTreeMap<&'static str, Vec<String>> {
    let mut kinds: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for (path, content) in &tree.0 {
        if content.as_ref().is_some_and(|bytes| !bytes.is_empty()) {
            kinds.entry(kind_of(path)).or_default().push(path.clone());
        }
    }
    kinds
}

#[derive(Clone, Copy, Debug)]
enum Damage {
    Flip { offset: u64, bit: u32 },
    Zero { offset: u64, bytes: u64 },
    Cut { length: u64 },
    Delete,
}

impl Damage {
    fn draw(length: u64, random: &mut Random) -> Damage {
        let offset = random.below(length);
        match random.below(12) {
            0..=5 => Damage::Flip { offset, bit: random.below(8) as u32 },
            6..=7 => {
                let bytes = [512, BLOCK_BYTES][random.below(2) as usize];
                Damage::Zero { offset: offset / bytes * bytes, bytes }
            }
            8..=9 => Damage::Cut { length: offset },
            _ => Damage::Delete,
        }
    }

    fn apply(self, tree: &mut Tree, path: &str) {
        let content = tree.0.get_mut(path).and_then(Option::as_mut).expect("it is a file");
        let bytes = Arc::make_mut(content);
        match self {
            Damage::Delete => {
                tree.0.remove(path);
            }
            Damage::Flip { offset, bit } => bytes[offset as usize] ^= 1 << bit,
            Damage::Cut { length } => bytes.truncate(length as usize),
            Damage::Zero { offset, bytes: count } => {
                let end = bytes.len().min((offset + count) as usize);
                bytes[offset as usize..end].fill(0);
            }
        }
    }
}

impl Victim {
    fn spoil(&self, number: u64, random: &mut Random) -> Task {
        let path = self.choose(random);
        let mut tree = self.tree.clone();
        let length = tree.0[path].as_ref().expect("it is a file").len() as u64;
        // The log opens without a snapshot. That one is missing is for a replica to see, and none runs here.
        let may_delete = kind_of(path) != "manifest";
        let damage = loop {
            match Damage::draw(length, random) {
                Damage::Delete if !may_delete => {}
                damage => break damage,
            }
        };
        damage.apply(&mut tree, path);
        Task {
            number,
            tree,
            notes: self.file.clone(),
            seen: self.notes.len(),
            settings: Settings {
                segment_bytes: SEGMENT_BYTES,
                segments_max: 3,
                seed: random.draw(),
            },
            context: format!("{path}: {damage:?}"),
        }
    }

    fn choose(&self, random: &mut Random) -> &str {
        loop {
            let mut drawn = random.below(KINDS.iter().map(|(_, weight)| weight).sum());
            for (kind, weight) in KINDS {
                if drawn < weight {
                    let Some(paths) = self.files.get(kind) else { break };
                    return &paths[random.below(paths.len() as u64) as usize];
                }
                drawn -= weight;
            }
        }
    }

    /// The position that was durable before the last barrier, which may have been several batches.
    fn before_last_barrier(&self) -> Option<u64> {
        let durable = durable(&self.notes);
        let last = durable.last()?;
        durable.iter().rev().find(|lsn| *lsn < last).copied()
    }
}

/// What came of the damage to files of one kind.
#[derive(Clone, Copy, Default)]
struct Outcomes {
    recovered: u64,
    named: u64,
    /// The very last batch of a busy node passed for a torn write.
    windows: u64,
}

impl Outcomes {
    fn add(&mut self, victim: &Victim, path: &str, verdict: &Verdict) -> Result<(), String> {
        match verdict {
            Verdict::Good { .. } => self.recovered += 1,
            Verdict::Refused { code, message } => {
                let names_file = message.contains(path);
                // Of an identity that is missing its folder is told: it may be that of a disk that is not mounted.
                let is_foreign = code == "WrongIdentity" && kind_of(path).ends_with("identity");
                let folders = [" log directory ", " snapshot directory "];
                if is_foreign && folders.iter().any(|folder| message.contains(folder)) {
                    self.named += 1;
                    return Ok(());
                }
                // In sled a place is a position in the log, or an entry.
                let places = ["offset", " bytes", "position", "entry", "row", "missing"];
                let names_place = places.iter().any(|place| message.contains(place));
                if code != "Corrupted" || !names_file || !names_place {
                    return Err(format!("{code}: {message}"));
                }
                self.named += 1;
            }
            Verdict::Lost { lsn } => {
                let is_window = victim.before_last_barrier().is_some_and(|before| *lsn >= before);
                if kind_of(path) != "segment" || victim.name != BUSY || !is_window {
                    return Err(format!("everything behind {lsn} is lost"));
                }
                self.windows += 1;
            }
            Verdict::Wrong(what) => return Err(what.clone()),
        }
        Ok(())
    }
}

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcomes { recovered, named, windows } = self;
        write!(f, "{recovered:5} recovered in full, {named:5} named, {windows:3} in the window")
    }
}
