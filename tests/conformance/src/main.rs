//! The runner of the conformance suite. Run from the top of the repository:
//!
//!     conformance build         builds the drivers
//!     conformance scenarios     every scenario in every language [--scenario NAME ...] [--accept]
//!     conformance exit-matrix   [--case NAME ...] [--repetitions N] [--limit-seconds N]
//!     conformance demo          the demo, with the example of every language as one cluster
//!     conformance bench         languages against Rust [--seconds N]
//!
//! To all: [--profile dev] [--driver NAME ...] [--lineup tests/conformance/drivers.toml] [--jobs N]. `--accept` writes the
//! table that is committed anew.

mod bench;
mod exit_matrix;
mod expectation;
mod lineup;
mod play;
mod pool;
mod port;
mod process;
mod relay;
mod reopen;
mod scenario;
mod stage;
mod suite;
mod table;
mod tamper;
mod value;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bench::Bench;
use exit_matrix::ExitMatrix;
use suite::Suite;

pub type Outcome<T> = Result<T, Box<dyn Error>>;

const HOME: &str = "tests/conformance";

struct Options {
    profile: String,
    lineup: PathBuf,
    drivers: Vec<String>,
    scenarios: Vec<String>,
    cases: Vec<String>,
    jobs: usize,
    accept: bool,
    repetitions: usize,
    /// How long the end of a program may take.
    limit: Duration,
    /// How long each measurement takes.
    seconds: f64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.split_first() {
        Some((verb, rest)) => parse(rest).and_then(|options| match verb.as_str() {
            "build" => lineup::build(&drivers(&options)?, &options.profile).map(|()| true),
            "scenarios" => run_scenarios(&options),
            "exit-matrix" => run_exit_matrix(&options),
            "demo" => run_demo(&options),
            "bench" => run_bench(&options),
            _ => Err(format!("'{verb}' is not known").into()),
        }),
        None => Err("what is to be done?".into()),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("conformance: {error}");
            ExitCode::from(2)
        }
    }
}

fn parse(arguments: &[String]) -> Outcome<Options> {
    let mut options = Options {
        profile: "dev".to_string(),
        lineup: PathBuf::from(HOME).join("drivers.toml"),
        drivers: Vec::new(),
        scenarios: Vec::new(),
        cases: Vec::new(),
        jobs: 6,
        accept: false,
        repetitions: 1,
        limit: Duration::from_secs(5),
        seconds: 2.0,
    };
    let mut rest = arguments.iter();
    while let Some(name) = rest.next() {
        if name == "--accept" {
            options.accept = true;
            continue;
        }
        let value = rest.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--profile" => options.profile = value.clone(),
            "--lineup" => options.lineup = PathBuf::from(value),
            "--driver" => options.drivers.push(value.clone()),
            "--scenario" => options.scenarios.push(value.clone()),
            "--case" => options.cases.push(value.clone()),
            "--repetitions" => options.repetitions = value.parse()?,
            "--limit-seconds" => options.limit = Duration::from_secs(value.parse()?),
            "--seconds" => options.seconds = value.parse()?,
            "--jobs" => options.jobs = value.parse()?,
            _ => return Err(format!("{name} is not an option").into()),
        }
    }
    Ok(options)
}

fn drivers(options: &Options) -> Outcome<Vec<lineup::Driver>> {
    lineup::read(&options.lineup, &options.profile, &options.drivers)
}

/// Whether all went as committed.
fn run_scenarios(options: &Options) -> Outcome<bool> {
    let home = Path::new(HOME);
    let drivers = drivers(options)?;
    let scenarios = read_scenarios(&home.join("scenarios"), &options.scenarios)?;
    let folder = fresh_folder()?;
    let suite = Suite { scenarios, drivers, folder: folder.clone(), jobs: options.jobs };
    let report = suite.run();
    println!("\n{}", report.table.to_text());
    let path = home.join("table.txt");
    let whole = options.drivers.is_empty() && options.scenarios.is_empty();
    if options.accept {
        if !whole {
            return Err("only a whole run can be accepted".into());
        }
        std::fs::write(&path, report.table.to_text())?;
    }
    let differences = report.table.differences(&table::committed(&path)?, whole);
    for difference in &differences {
        println!("{difference}");
    }
    println!("{} passed, {} failed", report.passed, report.failed);
    let good = report.failed == 0 && differences.is_empty();
    if good {
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(good)
}

fn run_exit_matrix(options: &Options) -> Outcome<bool> {
    let home = Path::new(HOME);
    let folder = fresh_folder()?;
    let matrix = ExitMatrix {
        drivers: drivers(options)?,
        codes: table::committed(&home.join("exit-codes.txt"))?,
        only: options.cases.clone(),
        repetitions: options.repetitions,
        limit: options.limit,
        jobs: options.jobs,
        folder: folder.clone(),
    };
    let (passed, failed) = matrix.run();
    println!("{passed} passed, {failed} failed");
    if failed == 0 {
        std::fs::remove_dir_all(&folder)?;
    } else {
        println!("what was left behind is in {}", folder.display());
    }
    Ok(failed == 0)
}

/// Becomes the demo: so that it sees it when whoever started this is gone.
fn run_demo(options: &Options) -> Outcome<bool> {
    use std::os::unix::process::CommandExt;
    let demo = Path::new(&lineup::build_folder(&options.profile)).join("demo");
    let mut command = std::process::Command::new(demo);
    for example in drivers(options)?.into_iter().filter_map(|driver| driver.example) {
        command.args(["--kv", &example.join(" ")]);
    }
    Err(command.args(["--source", ".", "--work", "target/demo"]).exec().into())
}

fn run_bench(options: &Options) -> Outcome<bool> {
    let folder = fresh_folder()?;
    let bench =
        Bench { drivers: drivers(options)?, seconds: options.seconds, folder: folder.clone() };
    let measured = bench.run();
    std::fs::remove_dir_all(&folder)?;
    measured.map(|()| true)
}

/// A folder of this run's own.
fn fresh_folder() -> Outcome<PathBuf> {
    let folder = format!("target/conformance/run-{}", std::process::id());
    let folder = std::path::absolute(folder)?;
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn read_scenarios(folder: &Path, only: &[String]) -> Outcome<Vec<scenario::Scenario>> {
    let mut scenarios = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "scenario") {
            scenarios.push(scenario::read(&path)?);
        }
    }
    scenarios.sort_by(|one, other| one.name.cmp(&other.name));
    for name in only {
        if !scenarios.iter().any(|scenario| scenario.name == *name) {
            return Err(format!("there is no scenario '{name}'").into());
        }
    }
    scenarios.retain(|scenario| only.is_empty() || only.contains(&scenario.name));
    Ok(scenarios)
}
