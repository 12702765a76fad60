//! `raftctl bench`: three replicas on one machine, beside the machine's own floor.

use std::error::Error;
use std::path::{Path, PathBuf};

pub mod checksum;
pub mod child;
pub mod cluster;
pub mod driver;
pub mod floor;
pub mod folder;
pub mod histogram;
pub mod member;
pub mod turns;

use cluster::{Cluster, Row};
use driver::{Load, Mode};
use folder::Folder;

pub type Outcome<T> = Result<T, Box<dyn Error>>;

struct Options {
    directory: PathBuf,
    /// How long each turn of a row is measured.
    seconds: f64,
    sizes: Vec<usize>,
    in_flight: Vec<usize>,
}

/// How many proposals a batch holds in the batched runs.
const BATCH: usize = 64;
/// What can be asked for: a proposal has at most 8 MiB, and a group lets a million calls be pending.
const PROPOSAL_BYTES_MAX: usize = 8 << 20;
const IN_FLIGHT_MAX: usize = 1 << 20;
const SECONDS_MAX: f64 = 3600.0;

pub fn run(arguments: &[String]) -> Outcome<()> {
    let options = parse(arguments)?;
    let folder = Folder::create(&options.directory)
        .map_err(|error| format!("no folder in {}: {error}", options.directory.display()))?;
    let directory = folder.path();
    refuse_memory(directory)?;
    println!("directory {}", directory.display());

    println!(
        "floor: a bare replicator with one write of so many bytes in flight, in whole blocks of 4 KiB,"
    );
    println!("in turn with the rows with one in flight, and their p50 as a multiple of it");
    println!("Each row is the median of {} turns; a size takes about a minute.", turns::ROUNDS);
    println!();
    println!(
        "{:>7} {:>9} {:>9} {:>12} {:>10} {:>10} {:>13} {:>9} {:>7}",
        "bytes",
        "in flight",
        "mode",
        "proposals/s",
        "p50 us",
        "p99 us",
        "CPU s/million",
        "floor us",
        "floor x"
    );
    let mut cluster = Cluster::start(directory)?;
    // Not printed: a fresh journal is still being written in advance, and caches are cold.
    let warm_up =
        Load { bytes: 16, in_flight: 1024, mode: Mode::Callback, seconds: options.seconds };
    cluster.measure(&warm_up)?;
    for &bytes in &options.sizes {
        let loads = options.in_flight.iter().flat_map(|&in_flight| {
            let load = move |&mode| Load { bytes, in_flight, mode, seconds: options.seconds };
            modes(in_flight).iter().map(load)
        });
        let (one, more): (Vec<Load>, Vec<Load>) = loads.partition(|load| load.in_flight == 1);
        if !one.is_empty() {
            beside_floor(directory, &mut cluster, bytes, &one)?;
        }
        let rows = turns::measure(&mut cluster, &more, || Ok(()))?;
        for (load, row) in more.iter().zip(&rows) {
            print_row(load, row, None);
        }
    }
    cluster.stop()
}

fn modes(in_flight: usize) -> &'static [Mode] {
    match in_flight {
        1 => &[Mode::Callback, Mode::Thread],
        n if n >= BATCH => &[Mode::Callback, Mode::Batch(BATCH)],
        _ => &[Mode::Callback],
    }
}

/// Measures rows with one in flight in turn with the floor.
fn beside_floor(
    directory: &Path,
    cluster: &mut Cluster,
    bytes: usize,
    loads: &[Load],
) -> Outcome<()> {
    let mut floors_us = Vec::new();
    let rows = turns::measure(cluster, loads, || {
        floors_us.push(floor::measure_p50_us(directory, bytes, loads[0].seconds)?);
        Ok(())
    })?;
    let floor_us = turns::median(floors_us);
    for (load, row) in loads.iter().zip(&rows) {
        print_row(load, row, Some(floor_us));
    }
    Ok(())
}

fn print_row(load: &Load, row: &Row, floor_us: Option<f64>) {
    let (floor, multiple) = match floor_us {
        Some(floor) => (format!("{floor:.0}"), format!("{:.2}", row.p50_us / floor)),
        None => (String::from("-"), String::from("-")),
    };
    println!(
        "{:>7} {:>9} {:>9} {:>12.0} {:>10.0} {:>10.0} {:>13.2} {:>9} {:>7}",
        load.bytes,
        load.in_flight,
        load.mode.to_string(),
        row.per_second,
        row.p50_us,
        row.p99_us,
        row.cpu_seconds_per_million,
        floor,
        multiple
    );
}

fn parse(arguments: &[String]) -> Outcome<Options> {
    let mut options = Options {
        directory: PathBuf::from("target/bench"),
        seconds: 1.0,
        sizes: vec![16, 128, 1024, 16384],
        in_flight: vec![1, 64, 1024, 8192],
    };
    let mut rest = arguments.iter();
    while let Some(name) = rest.next() {
        let value = rest.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--directory" => options.directory = PathBuf::from(value),
            "--seconds" => options.seconds = seconds(value)?,
            "--sizes" => options.sizes = numbers(name, value, PROPOSAL_BYTES_MAX)?,
            "--in-flight" => options.in_flight = numbers(name, value, IN_FLIGHT_MAX)?,
            _ => return Err(format!("{name} is not an option of bench").into()),
        }
    }
    Ok(options)
}

fn seconds(value: &str) -> Outcome<f64> {
    let seconds: Option<f64> = value.parse().ok();
    match seconds.filter(|seconds| (0.01..=SECONDS_MAX).contains(seconds)) {
        Some(seconds) => Ok(seconds),
        None => {
            Err(format!("--seconds is '{value}', but must be from 0.01 to {SECONDS_MAX}").into())
        }
    }
}

fn numbers(name: &str, list: &str, max: usize) -> Outcome<Vec<usize>> {
    let number = |text: &str| text.parse().ok().filter(|number| (1..=max).contains(number));
    let numbers: Option<Vec<usize>> = list.split(',').map(number).collect();
    numbers.ok_or_else(|| {
        format!("{name} is '{list}', but must be numbers from 1 to {max}, with commas between them")
            .into()
    })
}

/// A file system in memory has no disk to be measured.
fn refuse_memory(directory: &Path) -> Outcome<()> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(directory.as_os_str().as_bytes())?;
    let mut found = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the path ends with a zero byte and `found` is valid for writing.
    if unsafe { libc::statfs(path.as_ptr(), found.as_mut_ptr()) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    // SAFETY: `statfs` succeeded and filled it in.
    let found = unsafe { found.assume_init() };
    if found.f_type == libc::TMPFS_MAGIC {
        return Err(format!(
            "{} lies in memory (tmpfs): name a folder on a disk with --directory",
            directory.display()
        )
        .into());
    }
    Ok(())
}
