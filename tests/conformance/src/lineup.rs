//! The drivers that take part: `drivers.toml`.

use std::path::Path;

use serde::Deserialize;

use crate::Outcome;

/// How one language's driver is started, and what that language cannot express.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Driver {
    pub name: String,
    /// Program and arguments, from the top of the repository; `{build}` is the folder of cargo's profile.
    pub command: Vec<String>,
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
pub fn read(path: &Path, build: &Path, only: &[String]) -> Outcome<Vec<Driver>> {
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
    for driver in &mut drivers {
        let words = driver.command.iter_mut().chain(driver.bench.iter_mut().flatten());
        for word in words {
            *word = word.replace("{build}", &build.to_string_lossy());
        }
    }
    Ok(drivers)
}
