//! The drivers that take part: `drivers.toml`.

use std::path::Path;
use std::process::Stdio;

use serde::Deserialize;

use crate::process::command;
use crate::Outcome;

/// How one language's driver is started, and what that language cannot express.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Driver {
    pub name: String,
    /// Program and arguments. In all commands `{build}` is the folder of what cargo built, and `{root}` the top of
    /// the repository, where they are run.
    pub command: Vec<String>,
    /// The key-value program in this language, if the driver stands for it.
    pub example: Option<Vec<String>>,
    /// What the name of the executable that runs begins with: the state is to live in the language.
    pub runtime: String,
    /// What the driver says its language is, if it is not its name: two drivers may be of one language.
    pub language: Option<String>,
    /// The member of the benchmark, if it is another program.
    pub bench: Option<Vec<String>>,
    /// Mistakes that the language's compiler refuses.
    #[serde(default)]
    pub impossible: Vec<String>,
    /// What an exception's stack trace has in it, where the language has one.
    #[serde(default)]
    pub trace: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lineup {
    driver: Vec<Driver>,
}

/// Reads the list; `only` leaves out all others, if it names any.
pub fn read(path: &Path, profile: &str, only: &[String]) -> Outcome<Vec<Driver>> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let lineup: Lineup =
        toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut drivers = lineup.driver;
    for name in only {
        if !drivers.iter().any(|driver| driver.name == *name) {
            return Err(format!("{} has no driver '{name}'", path.display()).into());
        }
    }
    drivers.retain(|driver| only.is_empty() || only.contains(&driver.name));
    let root = std::env::current_dir()?.to_string_lossy().into_owned();
    let build = build_folder(profile);
    for driver in &mut drivers {
        let others = [&mut driver.bench, &mut driver.example].into_iter().flatten();
        for word in others.chain([&mut driver.command]).flatten() {
            *word = word.replace("{build}", &build).replace("{root}", &root);
        }
    }
    Ok(drivers)
}

/// Where cargo puts what it builds with a profile, from the top of the repository.
pub fn build_folder(profile: &str) -> String {
    format!("target/{}", if profile == "dev" { "debug" } else { profile })
}

/// Builds the drivers one after the other.
pub fn build(drivers: &[Driver], profile: &str) -> Outcome<()> {
    for driver in drivers {
        println!("building the driver {}", driver.name);
        let words = ["tests/conformance/build", &driver.name, profile].map(str::to_string);
        let status = command(&words)?.stdout(Stdio::null()).status()?;
        if !status.success() {
            return Err(format!("'{}' ended with {status}", words.join(" ")).into());
        }
    }
    Ok(())
}
