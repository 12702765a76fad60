//! A scenario: what is done, and what every language must answer, as a text that can be read.
//!
//! The first lines, each with `#`, say what it shows. Settings (`nodes: 3`) follow, then steps; see
//! `scenarios/README.md`.

use std::path::Path;

use crate::expectation::Expectation;
use crate::Outcome;

#[derive(Clone, Debug, Default)]
pub struct Scenario {
    pub name: String,
    pub settings: Settings,
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub struct Settings {
    /// The nodes that form the groups, 1 to this.
    pub nodes: u64,
    /// All nodes in one process.
    pub together: bool,
    /// Every node in another language.
    pub mixed: bool,
    /// In a mixed one, the languages in the opposite order.
    pub backwards: bool,
    /// Mistakes that the language must be able to express; see `impossible` in drivers.toml.
    pub needs: Vec<String>,
    /// Nodes reach each other through relays that can be cut.
    pub relays: bool,
    /// Arguments of every `open` and `start_group` that does not say otherwise.
    pub open: Vec<(String, String)>,
    pub group: Vec<(String, String)>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            nodes: 1,
            together: false,
            mixed: false,
            backwards: false,
            needs: Vec::new(),
            relays: false,
            open: Vec::new(),
            group: Vec::new(),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Step {
    pub line: usize,
    pub text: String,
    pub repeat: u64,
    pub action: Action,
}

#[derive(Clone, Debug)]
pub enum Action {
    /// A request to drivers.
    Call(Call),
    /// Something that the suite does itself: a verb and its words.
    Stage(Vec<String>),
    /// The answer of an earlier call.
    Await { label: String, expectation: Expectation },
}

#[derive(Clone, Debug)]
pub struct Call {
    pub persistence: Persistence,
    /// The call goes on while the scenario does; its answer is awaited by this label.
    pub label: Option<String>,
    /// Numbers or variables.
    pub nodes: String,
    pub command: String,
    pub arguments: Vec<(String, String)>,
    pub expectation: Expectation,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Persistence {
    Once,
    /// Until the answer is as expected.
    Until,
    /// While the answer is an error that says that it is retriable.
    Retry,
}

/// What the suite does itself.
const STAGE_VERBS: &[&str] = &[
    "form", "kill", "freeze", "thaw", "wipe", "damage", "renew", "lead", "leader", "agree",
    "event", "pending", "cut", "mend", "occupy",
];

/// Reads a scenario's file.
pub fn read(path: &Path) -> Outcome<Scenario> {
    let text = std::fs::read_to_string(path)?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    parse(&name, &text)
        .map_err(|(line, error)| format!("{}:{line}: {error}", path.display()).into())
}

fn parse(name: &str, text: &str) -> Result<Scenario, (usize, String)> {
    let mut scenario = Scenario { name: name.to_string(), ..Scenario::default() };
    for (number, line) in (1..).zip(text.lines()) {
        let at = |error| (number, error);
        let words = split(line).map_err(at)?;
        let Some(first) = words.first() else { continue };
        if is_setting(first) {
            setting(&mut scenario.settings, &words).map_err(at)?;
            continue;
        }
        let mut step = step(words).map_err(at)?;
        step.line = number;
        step.text = line.trim().to_string();
        scenario.steps.push(step);
    }
    if !text.starts_with("# ") {
        return Err((1, "the first line says what the scenario shows, behind '# '".to_string()));
    }
    Ok(scenario)
}

/// The words of a line: spaces part them, but not within single quotes, which are taken away; `#` at the
/// begin of a word ends the line.
fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for letter in line.chars().chain([' ']) {
        match letter {
            '\'' => quoted = !quoted,
            ' ' if !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            '#' if !quoted && word.is_empty() => return Ok(words),
            _ => word.push(letter),
        }
    }
    if quoted {
        return Err("a quote is not closed".to_string());
    }
    Ok(words)
}

fn is_setting(word: &str) -> bool {
    const SETTINGS: &[&str] =
        &["nodes:", "together:", "mixed:", "backwards:", "needs:", "relays:", "open:", "group:"];
    SETTINGS.contains(&word)
}

fn setting(settings: &mut Settings, words: &[String]) -> Result<(), String> {
    let value = words.get(1).ok_or("a setting needs a value")?;
    let flag = || match value.as_str() {
        "yes" => Ok(true),
        _ => Err(format!("'{value}' is not yes")),
    };
    match words[0].as_str() {
        "nodes:" => settings.nodes = value.parse().map_err(|_| "nodes: needs a number")?,
        "together:" => settings.together = flag()?,
        "mixed:" => settings.mixed = flag()?,
        "backwards:" => settings.backwards = flag()?,
        "needs:" => settings.needs = words[1..].to_vec(),
        "relays:" => settings.relays = flag()?,
        "open:" => settings.open = named(&words[1..])?,
        _ => settings.group = named(&words[1..])?,
    }
    Ok(())
}

fn step(mut words: Vec<String>) -> Result<Step, String> {
    let mut repeat = 1;
    if words[0] == "repeat" {
        repeat =
            words.get(1).and_then(|count| count.parse().ok()).ok_or("repeat what how often?")?;
        words.drain(..2);
    }
    let first = words.first().ok_or("repeat needs a step")?;
    let action = if STAGE_VERBS.contains(&first.as_str()) {
        Action::Stage(words)
    } else if first == "await" {
        let label = words.get(1).ok_or("await what?")?.clone();
        Action::Await { label, expectation: expectation(&words[2..])? }
    } else {
        Action::Call(call(words)?)
    };
    Ok(Step { line: 0, text: String::new(), repeat, action })
}

fn call(mut words: Vec<String>) -> Result<Call, String> {
    let mut persistence = Persistence::Once;
    let mut label = None;
    match words[0].as_str() {
        "until" => persistence = Persistence::Until,
        "retry" => persistence = Persistence::Retry,
        first => label = first.strip_suffix(':').map(str::to_string),
    }
    if persistence != Persistence::Once || label.is_some() {
        words.remove(0);
    }
    let arrow = words.iter().position(|word| word == "=>").unwrap_or(words.len());
    let [nodes, command, arguments @ ..] = &words[..arrow] else {
        return Err("a call needs a node and a command".to_string());
    };
    if label.is_some() && arrow < words.len() {
        return Err("a call with a label is awaited later, and its answer expected there".into());
    }
    Ok(Call {
        persistence,
        label,
        nodes: nodes.clone(),
        command: command.clone(),
        arguments: named(arguments)?,
        expectation: expectation(&words[arrow..])?,
    })
}

/// What stands behind `=>`; without it, that the call succeeds.
fn expectation(words: &[String]) -> Result<Expectation, String> {
    match words.split_first() {
        None => Expectation::parse(&["ok".to_string()]),
        Some((arrow, expected)) if arrow == "=>" => Expectation::parse(expected),
        Some((word, _)) => Err(format!("'{word}' is not expected here")),
    }
}

pub fn named(words: &[String]) -> Result<Vec<(String, String)>, String> {
    let pair = |word: &String| {
        let (name, value) =
            word.split_once('=').ok_or_else(|| format!("'{word}' is not name=value"))?;
        Ok((name.to_string(), value.to_string()))
    };
    words.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_read_with_all_that_it_may_have() {
        let text =
            "# Shows it.\nnodes: 3\nretry 1 propose data='set(a b,c)' => ok index=$i # why\n";
        let scenario = parse("it", text).expect("it is a scenario");
        assert_eq!(scenario.settings.nodes, 3);
        let Action::Call(call) = &scenario.steps[0].action else { panic!("it is a call") };
        assert_eq!(call.persistence, Persistence::Retry);
        assert_eq!(call.arguments, [("data".to_string(), "set(a b,c)".to_string())]);
        assert_eq!(scenario.steps[0].line, 3);
    }

    #[test]
    fn what_is_no_step_is_refused_with_its_line() {
        for text in ["# It.\n1\n", "# It.\n1 close how\n", "# It.\n1 close => maybe\n", "1 close"] {
            assert!(parse("it", text).is_err(), "{text}");
        }
        assert_eq!(parse("it", "# It.\n\nrepeat x y").map_err(|(line, _)| line).err(), Some(3));
    }
}
