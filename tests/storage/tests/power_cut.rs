//! Power cuts at thousands of moments of a load on the real file system.
//!
//! `LIBRAFT_POWER_CUTS=50000` says how many states are looked at, `LIBRAFT_SEED=7` which.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use libraft::log::Record;
use libraft_storage::crew::{Crew, Task, Verdict};
use libraft_storage::history::{durable, Note, What};
use libraft_storage::image::{Image, Loss, Tree};
use libraft_storage::node::Settings;
use libraft_storage::recorder::Recorder;
use libraft_storage::recording::{self, Operation};
use libraft_storage::scratch::Scratch;
use libraft_tests::fresh_directory;
use libraft_tests::random::Random;

const STATES: usize = 2100;
const STEPS: u64 = 1500;
/// Each recording goes on from a state that a power cut left in the one before.
const SEGMENT_BYTES: [u64; 4] = [64 << 10, 128 << 10, 256 << 10, 1 << 20];

/// The states of more failures are not kept.
const FAILURES_KEPT: usize = 10;

#[test]
fn after_a_power_cut_at_any_moment_all_that_was_acknowledged_is_there_and_the_log_goes_on() {
    let directory = fresh_directory(env!("CARGO_TARGET_TMPDIR"), "power-cut");
    let states = setting("LIBRAFT_POWER_CUTS", STATES as u64) as usize;
    let seed = setting("LIBRAFT_SEED", 1);
    println!("seed {seed}");
    let (recorder, mut random) = (Recorder::new(&directory), Random::new(seed));
    let scratch = Scratch::in_memory("power-cut", &directory);
    let mut crew = Crew::start(env!("CARGO_BIN_EXE_storage_node"), &scratch);
    let mut counts = Counts::default();
    let mut start = Tree::default();
    for (number, segment_bytes) in SEGMENT_BYTES.into_iter().enumerate() {
        let seed = random.draw();
        let recording = Recording::make(&recorder, &directory, number, &start, segment_bytes, seed);
        counts.look_at(&recording);
        let share = states.div_ceil(SEGMENT_BYTES.len());
        start = recording.cut(share, &mut random, &mut crew);
    }
    let verdicts = crew.finish();
    let snapshots = verdicts.iter().map(|(_, verdict)| match verdict {
        Verdict::Good { snapshots, .. } => *snapshots,
        _ => 0,
    });
    println!(
        "{} states, {} snapshots in them; {counts:?}",
        verdicts.len(),
        snapshots.sum::<usize>()
    );
    let failures = keep_failures(&directory, &verdicts);
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    assert!(verdicts.len() >= states, "only {} states were different", verdicts.len());
    counts.check();
    let _ = std::fs::remove_dir_all(&directory);
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// A load and what it did to the disk.
struct Recording {
    number: usize,
    segment_bytes: u64,
    /// The disk before it.
    image: Image,
    operations: Vec<Operation>,
    notes: Vec<Note>,
    /// The notes, for others.
    file: PathBuf,
}

impl Recording {
    fn make(
        recorder: &Recorder,
        directory: &Path,
        number: usize,
        start: &Tree,
        segment_bytes: u64,
        seed: u64,
    ) -> Recording {
        let path = |name: &str| directory.join(format!("{name}-{number}"));
        let (root, notes, trace) = (path("node"), path("sent"), path("trace"));
        start.write(&root).expect("the state to start from is written");
        let image = Image::of(&root).expect("the state to start from is read");
        let mut command = Command::new(env!("CARGO_BIN_EXE_storage_node"));
        command.arg("load").arg(&root).arg(&notes);
        command.args([segment_bytes, seed, STEPS].map(|number| number.to_string()));
        recorder.record(&mut command, &root, &notes, &trace);
        let status = command.status().expect("the load starts");
        assert!(status.success(), "the load of seed {seed} failed: {status}");
        let operations = recording::read(&trace);
        let lines: Vec<&str> = operations.iter().filter_map(Operation::note).collect();
        let file = path("notes");
        std::fs::write(&file, lines.join("\n")).expect("the notes are written");
        let notes = lines.iter().map(|line| line.parse().expect("a note")).collect();
        Recording { number, segment_bytes, image, operations, notes, file }
    }

    /// Has `share` different states checked; returns one to go on from.
    fn cut(mut self, share: usize, random: &mut Random, crew: &mut Crew) -> Tree {
        let count = self.operations.len();
        // Some states turn out to be the same.
        let wanted = share + share / 3;
        let mut moments: Vec<usize> =
            (0..wanted).map(|_| random.below(count as u64 + 1) as usize).collect();
        moments.sort_unstable();
        let mut moments = moments.into_iter().peekable();
        // What was recovered is noted first, and was durable before.
        let is_durable = |note: &Note| matches!(note, Note::Durable { .. });
        let base = self.notes.iter().position(is_durable).map_or(0, |position| position + 1);
        let (mut noted, mut next_start) = (0, Tree::default());
        let mut known = HashSet::new();
        for moment in 0..=count {
            while moments.next_if_eq(&moment).is_some() {
                let loss = Loss::ALL[random.below(Loss::ALL.len() as u64) as usize];
                let tree = self.image.cut(loss, random);
                let seen = base.max(noted);
                let acknowledged = durable(&self.notes[..seen]).last().copied();
                if known.insert((tree.checksum(), acknowledged)) {
                    crew.give(self.task(tree, seen, moment, loss, random.draw()));
                }
            }
            if moment == count * 3 / 4 {
                next_start = self.image.cut(Loss::Sectors, random);
            }
            let Some(operation) = self.operations.get(moment) else { break };
            noted += usize::from(operation.note().is_some());
            self.image.play(operation);
        }
        next_start
    }

    fn task(&self, tree: Tree, seen: usize, moment: usize, loss: Loss, seed: u64) -> Task {
        let (number, count) = (self.number, self.operations.len());
        Task {
            number: moment as u64,
            tree,
            notes: self.file.clone(),
            seen,
            settings: Settings { segment_bytes: self.segment_bytes, segments_max: 3, seed },
            context: format!("recording {number}, call {moment} of {count}, lost: {loss:?}"),
        }
    }
}

/// Writes the states that failed to where they can be looked at.
fn keep_failures(directory: &Path, verdicts: &[(Task, Verdict)]) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for (task, verdict) in verdicts {
        if matches!(verdict, Verdict::Good { .. }) {
            continue;
        }
        let kept = directory.join(format!("failed-{}", texts.len()));
        if texts.len() < FAILURES_KEPT {
            task.tree.write(&kept).expect("a state is kept");
        }
        let (context, seen) = (&task.context, task.seen);
        texts.push(format!("{context}, {seen} notes: {verdict:?}\n    in {}", kept.display()));
    }
    texts
}

/// What happened in the recordings: without it the test would mean nothing.
#[derive(Debug, Default)]
struct Counts {
    records: usize,
    truncations: usize,
    compactions: usize,
    resets: usize,
    groups_removed: usize,
    openings: usize,
    snapshots: usize,
    segments_reused: usize,
    writes_to_sled: usize,
    renewals: usize,
    syncs: usize,
}

impl Counts {
    fn look_at(&mut self, recording: &Recording) {
        let mut last = HashMap::new();
        for note in &recording.notes {
            match note {
                Note::Boot { .. } => self.openings += 1,
                Note::Durable { .. } | Note::Removing { .. } => {}
                Note::Snapshot(_) => self.snapshots += 1,
                Note::Appended { log_id, what, .. } => {
                    self.records += 1;
                    self.look_at_record(what, last.entry(*log_id).or_insert(0));
                }
            }
        }
        let mut paths = HashMap::new();
        for operation in &recording.operations {
            match operation {
                Operation::Create { path, file } => {
                    paths.insert(*file, path.clone());
                }
                Operation::MakeDirectory { path, .. } if path.starts_with("log/sled/") => {
                    self.renewals +=
                        usize::from(!path.ends_with("blobs") && !path.ends_with("/00000001"));
                }
                Operation::Write { file, offset, data } => {
                    let path = paths.get(file).map_or("", String::as_str);
                    self.writes_to_sled += usize::from(path.ends_with("/db"));
                    let is_use = *offset == 0 && data.starts_with(b"LRJOURNL");
                    self.segments_reused += usize::from(is_use);
                }
                Operation::SyncEnd { .. } => self.syncs += 1,
                _ => {}
            }
        }
    }

    fn look_at_record(&mut self, what: &What, last: &mut u64) {
        match what {
            What::Removed => self.groups_removed += 1,
            What::Entries { first, lengths, .. } => {
                self.truncations += usize::from(*first <= *last);
                *last = first + lengths.len() as u64 - 1;
            }
            What::Record(Record::Compact { .. }) => self.compactions += 1,
            What::Record(Record::Reset { .. }) => self.resets += 1,
            _ => {}
        }
    }

    fn check(&self) {
        let enough = self.records > 2000
            && self.truncations > 50
            && self.compactions > 40
            && self.resets > 10
            && self.groups_removed > 1
            && self.openings > 8
            && self.snapshots > 50
            && self.segments_reused > 60
            && self.writes_to_sled > 150
            && self.renewals > 2
            && self.syncs > 1000;
        assert!(enough, "too little happened: {self:?}");
    }
}
