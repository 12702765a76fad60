//! A process of its own for the tests of the log.
//!
//! `load <root> <notes> <segment bytes> <seed> <steps>`: works on the directory `root`, and writes
//! notes of what it does.
//!
//! `check`: for each line `<root> <notes> <count> <segment bytes> <segments> <seed>` on its input
//! holds `root` against the first so many notes, and prints `good <position> <snapshots>`,
//! `refused <code> <message>`, `lost <position>` or `wrong <what>`.
//!
//! `endure <root> <bytes> <samples>`: writes so many bytes through a log, and prints a line of
//! numbers after each part: the fields of `endurance::Sample`.

use std::collections::HashMap;
use std::fs::{self, File};
use std::panic::catch_unwind;
use std::path::Path;

use libraft_storage::checker::{self, Fault, Found};
use libraft_storage::endurance::{self, Sample};
use libraft_storage::history::Note;
use libraft_storage::load;
use libraft_storage::node::Settings;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["load", root, notes, segment_bytes, seed, steps] => {
            run_load(root, notes, [segment_bytes, seed, steps])
        }
        ["check"] => run_checks(),
        ["endure", root, bytes, samples] => run_endurance(root, [bytes, samples]),
        _ => Err(format!("{words:?} is not understood").into()),
    };
    if let Err(error) = result {
        eprintln!("failed: {error}");
        std::process::exit(1);
    }
}

fn run_load(root: &str, notes: &str, numbers: [&str; 3]) -> Result<()> {
    let [segment_bytes, seed, steps] = numbers.map(str::parse::<u64>);
    let settings = Settings { segment_bytes: segment_bytes?, segments_max: 3, seed: seed? };
    load::run(Path::new(root), Box::new(File::create(notes)?), settings, steps?)
}

fn run_endurance(root: &str, numbers: [&str; 2]) -> Result<()> {
    let [bytes, samples] = numbers.map(str::parse::<u64>);
    endurance::run(Path::new(root), bytes?, samples?, |sample| {
        let Sample { written_bytes, live_bytes, directory_bytes, .. } = sample;
        let Sample { journal_bytes, checkpoint_bytes, memory_bytes, open_ms, .. } = sample;
        let sizes = format!("{written_bytes} {live_bytes} {directory_bytes}");
        println!("{sizes} {journal_bytes} {checkpoint_bytes} {memory_bytes} {open_ms}");
    })
}

fn run_checks() -> Result<()> {
    // The library catches the panics of sled; what it says of them is in its errors.
    std::panic::set_hook(Box::new(|_| {}));
    let mut known = HashMap::new();
    for line in std::io::stdin().lines() {
        let line = line?;
        let answer = match run_check(&line, &mut known)? {
            Ok(Found { lsn, snapshots }) => format!("good {lsn} {snapshots}"),
            Err(Fault::Refused(error)) => format!("refused {:?} {}", error.code, error.message),
            Err(Fault::Lost { lsn }) => format!("lost {lsn}"),
            Err(Fault::Wrong(what)) => format!("wrong {what}"),
        };
        println!("{}", answer.replace('\n', " "));
    }
    Ok(())
}

fn run_check(
    line: &str,
    known: &mut HashMap<String, Vec<Note>>,
) -> Result<std::result::Result<Found, Fault>> {
    let words: Vec<&str> = line.split(' ').collect();
    let [root, file, count, segment_bytes, segments_max, seed] = words[..] else {
        return Err(format!("'{line}' is not understood").into());
    };
    if !known.contains_key(file) {
        let notes = fs::read_to_string(file)?;
        let notes = notes.lines().map(str::parse).collect::<std::result::Result<Vec<Note>, _>>()?;
        known.insert(file.to_string(), notes);
    }
    let notes = &known[file][..count.parse()?];
    let (segment_bytes, seed) = (segment_bytes.parse()?, seed.parse()?);
    let settings = Settings { segment_bytes, segments_max: segments_max.parse()?, seed };
    let checked = catch_unwind(|| checker::check(Path::new(root), notes, settings));
    Ok(checked.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or_default();
        Err(Fault::Wrong(format!("a panic: {text}")))
    }))
}
