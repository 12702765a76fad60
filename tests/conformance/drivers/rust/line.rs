//! Requests as they come in, and answers as they go out.

use std::io::Write;
use std::sync::Mutex;

use libraft::{Error, Outcome};
use libraft_conformance::words::{hex, unhex, Words};

/// What a command returns: the named values of its answer, or why it failed.
pub type Answer = Result<Words, Failure>;

pub enum Failure {
    /// The library's error.
    Library(Error),
    /// The request makes no sense.
    Driver(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Library(error)
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Failure {
        Failure::Driver(message)
    }
}

/// One line of input.
pub struct Request {
    pub id: String,
    pub command: String,
    words: Words,
}

impl Request {
    pub fn parse(line: &str) -> Result<Request, String> {
        let mut words = line.split(' ');
        let id = words.next().unwrap_or_default().to_string();
        let command = words.next().unwrap_or_default().to_string();
        Ok(Request { id, command, words: Words::parse(words)? })
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.words.get(name)
    }

    pub fn text(&self, name: &str) -> Result<&str, String> {
        self.get(name).ok_or_else(|| format!("{} needs {name}=", self.command))
    }

    pub fn number(&self, name: &str) -> Result<u64, String> {
        number(self.text(name)?)
    }

    pub fn bytes(&self, name: &str) -> Result<Vec<u8>, String> {
        unhex(self.text(name)?)
    }

    /// A text that is written as hexadecimal, if it is there.
    pub fn hex_text(&self, name: &str) -> Result<Option<String>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let text = String::from_utf8(unhex(value)?);
        text.map(Some).map_err(|_| format!("{name} is not UTF-8"))
    }

    /// Puts the number where it belongs, if it is there.
    pub fn set<T: TryFrom<u64>>(&self, name: &str, place: &mut T) -> Result<(), String> {
        if let Some(value) = self.get(name) {
            *place = T::try_from(number(value)?).map_err(|_| format!("{name} is too large"))?;
        }
        Ok(())
    }

    /// The parts of a list; none of `-`.
    pub fn list(&self, name: &str) -> Result<Vec<&str>, String> {
        let list = self.text(name)?;
        Ok(if list == "-" { Vec::new() } else { list.split(',').collect() })
    }
}

pub fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("'{text}' is no number"))
}

/// `ID@ADDRESS`.
pub fn node_at(text: &str) -> Result<(u64, String), String> {
    let (node_id, address) =
        text.split_once('@').ok_or_else(|| format!("'{text}' is not ID@HOST:PORT"))?;
    Ok((number(node_id)?, address.to_string()))
}

/// Lines are whole, whichever threads print them.
static OUTPUT: Mutex<()> = Mutex::new(());

pub fn say(line: &str) {
    let _whole = OUTPUT.lock();
    let mut output = std::io::stdout().lock();
    // The suite that would read it is gone, and this process with it.
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}

pub fn answer(id: &str, answer: Answer) {
    match answer {
        Ok(words) => say(&format!("{id} ok{}", words.to_line())),
        Err(Failure::Library(error)) => {
            let mut words = Words::default();
            words.push("code", error.code);
            words.push("number", error.code.number());
            words.push("outcome", outcome_name(error.outcome));
            words.push("retriable", u8::from(error.retriable()));
            let leader = error.leader.as_ref();
            words.push("leader", leader.map_or(0, |leader| leader.node_id));
            let address = leader.map_or(&b""[..], |leader| leader.address.as_bytes());
            words.push("leader_address", hex(address));
            words.push("message", hex(error.message.as_bytes()));
            say(&format!("{id} error{}", words.to_line()));
        }
        Err(Failure::Driver(message)) => say(&format!(
            "{id} error code=DRIVER number=0 outcome=0 retriable=0 leader=0 leader_address=- message={}",
            hex(message.as_bytes())
        )),
    }
}

pub fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Applied => "applied",
        Outcome::Rejected => "rejected",
        Outcome::Unknown => "unknown",
    }
}
