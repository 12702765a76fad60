//! Many times what a log holds, written through it: what it takes on the disk, in memory and to
//! open stays the same.
//!
//! `LIBRAFT_ENDURANCE_MIB=51200` says how much is written. The picture of it is
//! `target/endurance.png`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use libraft_storage::endurance::{Sample, LIVE_BYTES};
use libraft_storage::plot::{self, Curve, Panel, BLUE, GREEN};
use libraft_tests::fresh_directory;
use libraft_tests::process::Process;

const WRITTEN_MIB: u64 = 2048;
const SAMPLES: u64 = 64;
const MIB: u64 = 1 << 20;
/// Buffers of the journal, sled's index and buffers (twice while a generation is made), and what a
/// move holds.
const MEMORY_BYTES_MAX: u64 = 640 * MIB;
/// Reads what lies in the journal and the checkpoint: no more than that takes a busy machine.
const OPEN_MS_MAX: u64 = 30_000;
const PATIENCE: Duration = Duration::from_secs(600);

#[test]
fn what_is_written_through_a_log_leaves_directory_memory_and_opening_as_they_were() {
    let directory = fresh_directory(env!("CARGO_TARGET_TMPDIR"), "endurance");
    let mib = std::env::var("LIBRAFT_ENDURANCE_MIB")
        .map_or(WRITTEN_MIB, |text| text.parse().expect("a number of MiB"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_storage_node"));
    command.arg("endure").arg(directory.join("node"));
    command.args([mib * MIB, SAMPLES].map(|number| number.to_string()));
    let mut process = Process::run(command);
    let mut samples = Vec::new();
    while let Some(line) = process.hear(PATIENCE) {
        samples.push(parse(&line));
    }
    assert_eq!(samples.len() as u64, SAMPLES, "the process ended too early");
    draw(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("../endurance.png"), &samples);
    for sample in &samples {
        check(sample);
    }
    let last = samples.last().expect("there are samples");
    println!("{} MiB written: {last:?}", last.written_bytes / MIB);
    // Otherwise it shows nothing.
    assert!(last.live_bytes >= LIVE_BYTES, "the log never held what it should");
    assert!(last.checkpoint_bytes > LIVE_BYTES / 4, "sled had nothing to do");
    assert!(samples.iter().any(|sample| sample.open_ms > 0), "it was never opened again");
    let _ = std::fs::remove_dir_all(&directory);
}

fn check(sample: &Sample) {
    let allowed = 4 * LIVE_BYTES + sample.journal_bytes;
    assert!(sample.directory_bytes <= allowed, "more than {allowed} bytes: {sample:?}");
    assert!(sample.memory_bytes <= MEMORY_BYTES_MAX, "too much memory: {sample:?}");
    assert!(sample.open_ms <= OPEN_MS_MAX, "opening takes too long: {sample:?}");
}

fn parse(line: &str) -> Sample {
    let numbers: Vec<u64> =
        line.split(' ').map(|word| word.parse().expect("numbers are reported")).collect();
    let [written_bytes, live_bytes, directory_bytes, journal_bytes, checkpoint_bytes, memory_bytes, open_ms] =
        numbers[..]
    else {
        panic!("a report of another form: {line}");
    };
    Sample {
        written_bytes,
        live_bytes,
        directory_bytes,
        journal_bytes,
        checkpoint_bytes,
        memory_bytes,
        open_ms,
    }
}

fn draw(path: &Path, samples: &[Sample]) {
    let curve = |name, color, of: fn(&Sample) -> u64| {
        let point = |sample: &Sample| {
            let written = sample.written_bytes as f64 / (1u64 << 30) as f64;
            (written, of(sample) as f64)
        };
        Curve { name, color, points: samples.iter().map(point).collect() }
    };
    let journal = samples.iter().map(|sample| sample.journal_bytes).min().unwrap_or(0);
    let panels = [
        Panel {
            title: "directory, MiB",
            bound: Some(((4 * LIVE_BYTES + journal) / MIB) as f64),
            curves: vec![
                curve("all of it", BLUE, |sample| sample.directory_bytes / MIB),
                curve("live entries", GREEN, |sample| sample.live_bytes / MIB),
            ],
        },
        Panel {
            title: "memory, MiB",
            bound: Some((MEMORY_BYTES_MAX / MIB) as f64),
            curves: vec![curve("resident", BLUE, |sample| sample.memory_bytes / MIB)],
        },
        Panel {
            title: "opening, ms",
            bound: None,
            curves: vec![curve("the last one", BLUE, |sample| sample.open_ms)],
        },
    ];
    plot::write(path, "GiB written", &panels).expect("the picture is written");
}
