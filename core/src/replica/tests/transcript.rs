//! Plain-text scripts: commands, and below a line `----` every effect that they lead to.
//!
//! They are read as a description of the protocol, so they are kept short.
//! `REPLICA_TRANSCRIPTS=rewrite` writes what happens into the files; look at the difference before
//! it is committed.
//!
//! | command | does |
//! |---|---|
//! | `nodes <n>` | opens nodes 1 to n with each other as initial members |
//! | `formed <n>` | the same, and lets them form and elect node 1 in term 2, silently |
//! | `add <n>` | opens an empty node that waits to be added |
//! | `wipe <n>` | gives a node a new, empty data directory and opens it with the same initial members |
//! | `tick <n> [count]`, `sync <n>`, `work <n>`, `read <n>`, `transfer <n>` | time passes; the disk has synced; the machine does a piece of work; the disk has read; snapshots are transferred |
//! | `deliver <from> <to>`, `drop <from> <to>` | delivers, or loses, all that is under way between two nodes |
//! | `propose <n> <data>`, `read-index <n>`, `snapshot <n>`, `lead <n> <to>`, `change <n> <step>, ...` | calls; the steps are `learner`, `voter`, `promote`, `demote` and `remove` with a node |
//! | `crash <n>`, `restart <n>` | a power cut, and the start after it |
//! | `commit-lost <n>` | the commit index on a crashed node's disk is set back, as a power cut may |
//! | `status <n>` | prints the node's role, term and indexes |
//! | `outcome <call>` | prints what became of a call; calls are numbered from 1 |
//! | `settle` | everything under way happens, and three ticks pass |
//! | `quietly <command>` | the same without printing |

use std::fmt::Write as _;
use std::path::PathBuf;

use raft::eraftpb::{Entry, EntryType, Message};

use super::world::{options, World};
use crate::error::Result;
use crate::ids::{NodeId, Uuid};
use crate::log::Record;
use crate::replica::entry::ProposalId;
use crate::replica::{
    Completion, Effects, Envelope, Event, MachineWork, MemberChange, PeerMessage, ReplicaOptions,
};

/// Every effect of a node, a line each.
pub fn describe(node_id: NodeId, effects: &Effects<u64>, lines: &mut Vec<String>) {
    let mut line = |text: String| lines.push(format!("{node_id}: {text}"));
    for record in &effects.records {
        line(format!("record {}", record_text(record)));
    }
    if effects.number != 0 {
        let sync = if effects.must_sync { "to be synced" } else { "no hurry" };
        line(format!("records are number {}, {sync}", effects.number));
    }
    for (to, envelope) in &effects.messages {
        line(format!("to {to}: {}", message_text(envelope)));
    }
    for work in &effects.work {
        line(match work {
            MachineWork::Apply { entries } => {
                let entry = entries.iter().map(|e| format!("{} {}", e.index, text(&e.data)));
                format!("apply {}", entry.collect::<Vec<_>>().join(", "))
            }
            MachineWork::TakeSnapshot { index, term, .. } => {
                format!("take a snapshot at {index}/{term}")
            }
            MachineWork::Stream { send, index, term, .. } => {
                format!("stream {index}/{term} to node {}", send.peer.node_id)
            }
            MachineWork::Restore { index, term, .. } => format!("restore {index}/{term}"),
        });
    }
    for (low, high, _) in &effects.reads {
        line(format!("read [{low}, {high}) from the disk"));
    }
    for send in &effects.send_snapshots {
        line(format!("send a snapshot to node {}", send.peer.node_id));
    }
    for (call, outcome) in &effects.completions {
        line(outcome_text(*call, outcome));
    }
    for notice in &effects.notices {
        line(format!("notice {notice:?}"));
    }
}

fn outcome_text(call: u64, outcome: &Result<Completion>) -> String {
    match outcome {
        Ok(done) => format!("call {call} is done: index {} {}", done.index, text(&done.result)),
        Err(error) => format!("call {call} fails: {:?}, {:?}", error.code, error.outcome),
    }
}

fn text(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}

fn record_text(record: &Record) -> String {
    match record {
        Record::Entries(entries) => format!("entries {}", entries_text(entries)),
        Record::HardState(state) => {
            format!("hard state: term {}, vote {}, commit {}", state.term, state.vote, state.commit)
        }
        Record::Membership { index, .. } => format!("membership at {index}"),
        Record::Meta(_) => "meta".to_string(),
        Record::Compact { index, term } => format!("compact {index}/{term}"),
        Record::Reset { index, term, hard_state: state, .. } => format!(
            "reset {index}/{term}, hard state: term {}, vote {}, commit {}",
            state.term, state.vote, state.commit
        ),
        Record::Restored { .. } => "restored".to_string(),
    }
}

fn entries_text(entries: &[Entry]) -> String {
    let entry = |entry: &Entry| {
        let what = match (entry.entry_type, ProposalId::read(&entry.data)) {
            (EntryType::EntryNormal, Some((_, at))) => text(&entry.data[at..]),
            (EntryType::EntryNormal, None) => "empty".to_string(),
            _ => "configuration".to_string(),
        };
        format!("{}/{} {what}", entry.index, entry.term)
    };
    entries.iter().map(entry).collect::<Vec<_>>().join(", ")
}

fn message_text(envelope: &Envelope) -> String {
    match &envelope.body {
        PeerMessage::Raft(message) => raft_text(message),
        PeerMessage::Propose { term, proposals } => {
            format!("Propose {} in term {term}", proposals.len())
        }
        PeerMessage::ProposeRefused { sequences, code, .. } => {
            format!("ProposeRefused {sequences:?} {code:?}")
        }
        PeerMessage::Read { sequence, .. } => format!("Read {sequence}"),
        PeerMessage::ReadIndex { sequence, index, .. } => {
            format!("ReadIndex {sequence} is {index}")
        }
        PeerMessage::ReadRefused { sequence, code, .. } => {
            format!("ReadRefused {sequence} {code:?}")
        }
        PeerMessage::Formation { stored, answer_wanted, .. } => {
            let ids: Vec<u64> = stored.iter().map(|(raft_id, _)| *raft_id).collect();
            let wanted = if *answer_wanted { ", and you?" } else { "" };
            format!("Formation: stored {ids:?}{wanted}")
        }
        PeerMessage::Refused { code, message } => format!("Refused {code:?}: {message}"),
    }
}

fn raft_text(message: &Message) -> String {
    let mut line = format!("{:?} term {}", message.get_msg_type(), message.term);
    let mut add = |name: &str, value: u64| {
        if value != 0 {
            write!(line, " {name} {value}").expect("a string takes what is written");
        }
    };
    add("at", message.index);
    add("log-term", message.log_term);
    add("commit", message.commit);
    if message.reject {
        line += &format!(" reject, hint {}", message.reject_hint);
    }
    if !message.entries.is_empty() {
        line += &format!(" [{}]", entries_text(&message.entries));
    }
    line
}

fn run(world: &mut World, command: &str) {
    let mut words = command.split_whitespace();
    let verb = words.next().expect("a command has a word");
    let rest: Vec<&str> = words.collect();
    let number = |at: usize| -> u64 {
        let word = rest.get(at).unwrap_or_else(|| panic!("`{command}` lacks a number"));
        word.parse().unwrap_or_else(|_| panic!("`{command}` has {word} for a number"))
    };
    match verb {
        "nodes" => *world = World::of_traced(number(0)),
        "formed" => {
            *world = World::formed(number(0));
            world.trace.clear();
        }
        "add" => world.add(options(number(0), &[])).expect("the options are right"),
        "wipe" => {
            let node_id = number(0);
            let incarnation = Uuid([100 + node_id as u8; 16]);
            let options = ReplicaOptions { incarnation, ..world.node(node_id).options.clone() };
            world.add(options).expect("the options are right");
        }
        "tick" => {
            for _ in 0..rest.get(1).map_or(1, |_| number(1)) {
                world.tick(number(0));
            }
        }
        "sync" => {
            world.sync(number(0));
        }
        "work" => {
            world.work(number(0));
        }
        "read" => {
            world.read(number(0));
        }
        "transfer" => {
            world.transfer(number(0));
        }
        "deliver" | "drop" => {
            let (from, to) = (number(0), number(1));
            let moving = |packet: &super::world::Packet| packet.from == from && packet.to == to;
            let packets: Vec<_> = world.network.iter().filter(|p| moving(p)).cloned().collect();
            world.network.retain(|packet| !moving(packet));
            if verb == "deliver" {
                packets.into_iter().for_each(|packet| world.deliver(packet));
            }
        }
        "propose" => {
            world.propose(number(0), &rest[1..].join(" "));
        }
        "read-index" => {
            world.read_index(number(0));
        }
        "snapshot" => {
            let completion = world.call(number(0));
            world.step(number(0), Event::TakeSnapshot { completion });
        }
        "lead" => {
            let completion = world.call(number(0));
            let (to, timeout_ticks) = (number(1), 50);
            world.step(number(0), Event::TransferLeadership { to, completion, timeout_ticks });
        }
        "change" => {
            let steps = rest[1..].join(" ");
            world.change(number(0), steps.split(", ").map(member_change).collect());
        }
        "crash" => world.crash(number(0)),
        "restart" => {
            if let Err(error) = world.restart(number(0)) {
                world.trace.push(format!("{}: does not open: {:?}", number(0), error.code));
            }
        }
        "commit-lost" => world.node_mut(number(0)).durable.hard_state.commit = 1,
        "status" => {
            let status = world.status(number(0));
            world.trace.push(format!(
                "{}: {:?} in term {}, log [{}, {}], committed {}, applied {}",
                number(0),
                status.role,
                status.term,
                status.first_index,
                status.last_index,
                status.commit_index,
                status.applied_index
            ));
        }
        "outcome" => {
            let line = match world.is_done(number(0)) {
                true => outcome_text(number(0), world.outcome(number(0))),
                false => format!("call {} is not done", number(0)),
            };
            world.trace.push(line);
        }
        "settle" => world.settle(),
        "quietly" => {
            let before = world.trace.len();
            run(world, &rest.join(" "));
            world.trace.truncate(before);
        }
        _ => panic!("`{command}` is not a command"),
    }
}

fn member_change(step: &str) -> MemberChange {
    let (verb, node) = step.split_once(' ').expect("a step is a word and a node");
    let node_id: NodeId = node.parse().expect("a node is a number");
    let incarnation = options(node_id, &[]).incarnation;
    let address = format!("host{node_id}:1");
    match verb {
        "learner" => MemberChange::AddLearner { node_id, incarnation, address },
        "voter" => MemberChange::AddVoter { node_id, incarnation, address },
        "promote" => MemberChange::Promote { node_id },
        "demote" => MemberChange::Demote { node_id },
        "remove" => MemberChange::Remove { node_id },
        _ => panic!("`{verb}` is not a step"),
    }
}

/// Runs a script and returns it with what happened in the place of what was expected.
fn replay(script: &str) -> String {
    let mut world = World::default();
    let mut output = String::new();
    for block in script.split("\n\n").map(str::trim).filter(|block| !block.is_empty()) {
        let commands = block.split("----").next().unwrap_or_default();
        world.trace.clear();
        for command in commands.lines().filter(|line| !line.starts_with('#')) {
            run(&mut world, command);
        }
        output += commands.trim_end();
        if commands.lines().any(|line| !line.starts_with('#')) {
            output += "\n----\n";
            output += &world.trace.join("\n");
        }
        output = output.trim_end().to_string() + "\n\n";
    }
    output.trim_end().to_string() + "\n"
}

#[test]
fn the_transcripts_tell_what_happens() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/replica/tests/transcripts");
    let rewrite = std::env::var("REPLICA_TRANSCRIPTS").is_ok_and(|value| value == "rewrite");
    let mut scripts = 0;
    for file in std::fs::read_dir(&folder).expect("the transcripts are there") {
        let path = file.expect("the folder can be read").path();
        let script = std::fs::read_to_string(&path).expect("a transcript is text");
        let happened = replay(&script);
        if rewrite {
            std::fs::write(&path, &happened).expect("a transcript can be written");
        }
        let script = if rewrite { happened.clone() } else { script };
        for (number, (left, right)) in script.lines().zip(happened.lines()).enumerate() {
            assert_eq!(left, right, "{}:{} (left: the file)", path.display(), number + 1);
        }
        assert_eq!(script.lines().count(), happened.lines().count(), "{}", path.display());
        scripts += 1;
    }
    assert!(scripts >= 10, "transcripts are missing");
}
