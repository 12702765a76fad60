//! What a process asked of the system, in order: the trace of `strace`, read back.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

/// The calls that carry data out of a process or to a disk.
const CALLS: &str = "pwrite64,pwritev,write,writev,sendto,sendmsg,recvfrom,fdatasync,fsync";

/// A moment in a trace. Lines tell the order within one process exactly, seconds the order between
/// processes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    pub line: usize,
    pub seconds: f64,
}

/// A call that has returned. It took effect after `began` and before `ended`.
#[derive(Clone, Debug)]
pub struct Call {
    pub name: String,
    pub descriptor: u32,
    /// What the descriptor is: a path, or the ends of a connection.
    pub target: String,
    /// The bytes given or received, no more than were taken.
    pub data: Vec<u8>,
    pub returned: i64,
    pub began: Moment,
    pub ended: Moment,
}

/// The command that runs `program` and writes its trace to `file`. Panics with what to do if there
/// is no strace.
pub fn command(program: &str, file: &Path) -> Command {
    let found = Command::new("strace").arg("--version").output();
    assert!(
        found.is_ok_and(|output| output.status.success()),
        "this test reads the order of system calls with strace, which is not installed here: \
         run `apt-get install strace`"
    );
    let mut command = Command::new("strace");
    // -xx: all strings in hexadecimal; -T: how long each call took; -s: strings are not cut.
    command.args(["-f", "--seccomp-bpf", "-ttt", "-T", "-yy", "-xx", "-s", "100000000", "-e"]);
    command.arg(format!("trace={CALLS}")).arg("-o").arg(file).arg(program);
    command
}

/// The calls of a trace, in the order in which they ended. Calls that never returned are left out:
/// nothing is known of what they did.
pub fn read(file: &Path) -> Vec<Call> {
    let text = std::fs::read_to_string(file).expect("strace has written its trace");
    let mut unfinished: HashMap<&str, (Moment, &str)> = HashMap::new();
    let mut calls = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Some((seconds, rest)) = rest.trim_start().split_once(' ') else { continue };
        let now = Moment { line: number, seconds: seconds.parse().expect("a time") };
        if let Some(start) = rest.strip_suffix(" <unfinished ...>") {
            unfinished.insert(thread, (now, start));
        } else if let Some(end) = rest.strip_prefix("<... ") {
            let (_, end) = end.split_once(" resumed>").expect("a call that goes on");
            let (began, start) = unfinished.remove(thread).expect("a call that goes on began");
            calls.extend(parse(&format!("{start}{end}"), began, now));
        } else if !rest.starts_with("+++") && !rest.starts_with("---") {
            calls.extend(parse(rest, now, Moment { seconds: now.seconds + took(rest), ..now }));
        }
    }
    calls
}

/// The seconds at the end of a line: `<0.000123>`.
fn took(line: &str) -> f64 {
    let seconds = line.rsplit_once('<').and_then(|(_, end)| end.strip_suffix('>'));
    seconds.and_then(|seconds| seconds.parse().ok()).unwrap_or(0.0)
}

/// `name(3<target>, "\x..", ...) = 7 <0.000123>`
fn parse(text: &str, began: Moment, ended: Moment) -> Option<Call> {
    let (name, rest) = text.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    // `?` stands for the result of a call that the process did not live to see.
    let returned: i64 = result.split(' ').next()?.parse().ok()?;
    let digits = arguments.find(|character: char| !character.is_ascii_digit())?;
    let descriptor = arguments[..digits].parse().ok()?;
    let (target, arguments) = target(&arguments[digits..]);
    let mut data = strings(arguments);
    data.truncate(returned.max(0) as usize);
    let name = name.to_string();
    Some(Call { name, descriptor, target, data, returned, began, ended })
}

/// What stands in `<...>` at the beginning, and the rest. The name of a connection has `->` in it.
fn target(text: &str) -> (String, &str) {
    let Some(inner) = text.strip_prefix('<') else { return (String::new(), text) };
    let mut depth = 1;
    let mut before = ' ';
    for (position, character) in inner.char_indices() {
        match character {
            '<' => depth += 1,
            '>' if before != '-' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            let target = unescape(&inner[..position]);
            return (String::from_utf8_lossy(&target).into_owned(), &inner[position + 1..]);
        }
        before = character;
    }
    (String::new(), text)
}

/// All that is in quotes, one behind the other.
fn strings(arguments: &str) -> Vec<u8> {
    let mut data = Vec::new();
    for (number, part) in arguments.split('"').enumerate() {
        if number % 2 == 1 {
            data.extend(unescape(part));
        } else {
            assert!(!part.starts_with("..."), "strace has cut a string: {arguments:.80}");
        }
    }
    data
}

fn unescape(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut data = Vec::with_capacity(bytes.len() / 4);
    let mut position = 0;
    while position < bytes.len() {
        let digits = bytes[position..].strip_prefix(b"\\x").and_then(|digits| digits.get(..2));
        let byte = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match byte.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                data.push(byte);
                position += 4;
            }
            None => {
                data.push(bytes[position]);
                position += 1;
            }
        }
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_others_interrupt_in_the_trace_began_at_its_first_line_and_ended_at_its_second() {
        let file = std::env::temp_dir().join(format!("libraft-trace-{}", std::process::id()));
        let lines = [
            r#"7 10.5 fdatasync(3<\x2f\x61> <unfinished ...>"#,
            r#"8 10.6 sendto(5<TCP:[1.1.1.1:1->2.2.2.2:2]>, "\x68\x69", 2, MSG_NOSIGNAL, NULL, 0) = 1 <0.25>"#,
            r#"7 11.0 <... fdatasync resumed>) = 0 <0.5>"#,
            r#"8 11.5 recvfrom(5<TCP:[1.1.1.1:1->2.2.2.2:2]>, 0x7f, 9, 0, NULL, NULL) = -1 EAGAIN (Resource) <0.1>"#,
            r#"8 12.0 write(1<\x2f\x61> <unfinished ...>"#,
            r#"8 12.5 +++ killed by SIGKILL +++"#,
        ];
        std::fs::write(&file, lines.join("\n")).expect("a file is written");
        let calls = read(&file);
        std::fs::remove_file(&file).expect("a file is deleted");
        let names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
        assert_eq!(names, ["sendto", "fdatasync", "recvfrom"]);
        assert_eq!(calls[0].target, "TCP:[1.1.1.1:1->2.2.2.2:2]");
        assert_eq!((calls[0].descriptor, &calls[0].data[..], calls[0].returned), (5, &b"h"[..], 1));
        assert_eq!(calls[0].ended, Moment { line: 1, seconds: 10.85 });
        assert_eq!((calls[1].target.as_str(), calls[1].returned), ("/a", 0));
        assert_eq!(calls[1].began, Moment { line: 0, seconds: 10.5 });
        assert_eq!(calls[1].ended, Moment { line: 2, seconds: 11.0 });
        assert_eq!((calls[2].returned, calls[2].data.len()), (-1, 0));
    }
}
