//! A member whose state is the list of everything it applied. Told by lines on its input what to
//! do:
//!
//! `put <text> <n>`: proposes the text, a space and n bytes more; prints `done <text> <index>`,
//! `rejected <text> <code>` or `unknown <text> <code>`.
//! `dump`: after a linearizable read prints `entry <text>` for all, then `end <count>`; or `failed
//! <why>`.
//! `status`: prints `status <role> <term> <leader> <first index> <last index> <applied index>
//! <formation>`; the leader is 0 if it is unknown.
//! `node`: prints `node <connected peers> <refused frames> <refused connections> <full> <failure>`;
//! the failure is `-` or a code.
//!
//! With `LIST_MEMBER_SIGPIPE=default` in its environment SIGPIPE kills it, as it does a C program.

use std::io::BufRead;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use libraft::{Completer, Error, Group, GroupOptions, InitialMember, Node, NodeOptions, Outcome};
use libraft_tests::machine::{Applied, List};

fn main() {
    if std::env::var_os("LIST_MEMBER_SIGPIPE").is_some_and(|action| action == "default") {
        // SAFETY: no handler is installed, and no other thread runs yet.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Err(error) = run(&arguments) {
        println!("failed {error}");
        std::process::exit(1);
    }
}

/// Arguments: node id, directory, snapshot entries, quick (0 or 1), tick in milliseconds, then
/// `<id>=<address>` of all initial members.
fn run(arguments: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let [node_id, directory, snapshot_entries, quick, tick_ms, members @ ..] = arguments else {
        return Err("arguments are missing".into());
    };
    let node_id: u64 = node_id.parse()?;
    let mut initial_members = Vec::new();
    for member in members {
        let (id, address) = member.split_once('=').ok_or("a member is <id>=<address>")?;
        initial_members.push(InitialMember { node_id: id.parse()?, address: address.to_string() });
    }
    let own = initial_members.iter().find(|member| member.node_id == node_id);
    let listen_address = own.ok_or("this node is no initial member")?.address.clone();
    let node = Node::open(NodeOptions {
        cluster: "tests".to_string(),
        node_id,
        directory: PathBuf::from(directory),
        listen_address,
        tick_ms: tick_ms.parse()?,
        segment_bytes: 2 << 20,
        ..NodeOptions::default()
    })?;
    let (list, applied) = List::new(quick == "1");
    let group = node.start_group(
        GroupOptions {
            group_id: 7,
            initial_members,
            snapshot_entries: snapshot_entries.parse()?,
            retained_entries: 100,
            proposal_timeout_ms: 5_000,
            ..GroupOptions::default()
        },
        Box::new(list),
    )?;
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.split_once(' ') {
            Some(("put", what)) => {
                let (text, bytes) = what.split_once(' ').ok_or("a put is <text> <n>")?;
                put(&group, text, bytes.parse()?);
            }
            _ if line == "dump" => dump(&group, &applied),
            _ if line == "status" => status(&group),
            _ if line == "node" => node_status(&node),
            _ => return Err(format!("'{line}' is not understood").into()),
        }
    }
    node.close()?;
    Ok(())
}

fn put(group: &Group, text: &str, padding_bytes: usize) {
    let name = text.to_string();
    let accepted = group.propose(
        format!("{text} {}", " ".repeat(padding_bytes)).as_bytes(),
        Completer::new(move |result| match result {
            Ok(completion) => println!("done {name} {}", completion.index),
            Err(error) => tell_failure(&name, &error),
        }),
    );
    if let Err(error) = accepted {
        tell_failure(text, &error);
    }
}

fn tell_failure(name: &str, error: &Error) {
    let word = if error.outcome == Outcome::Rejected { "rejected" } else { "unknown" };
    println!("{word} {name} {:?}", error.code);
}

fn dump(group: &Group, applied: &Applied) {
    let (sender, receiver) = mpsc::channel();
    let asked = group.read_index(Completer::new(move |result| {
        let _ = sender.send(result);
    }));
    let answer = asked.and_then(|()| {
        receiver.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| {
            Err(Error::rejected(libraft::Code::Timeout, "the read did not complete"))
        })
    });
    if let Err(error) = answer {
        println!("failed {error}");
        return;
    }
    let entries = applied.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
    let mut text = String::new();
    for entry in &entries {
        let entry = String::from_utf8_lossy(entry);
        text.push_str(&format!("entry {}\n", entry.split(' ').next().unwrap_or_default()));
    }
    print!("{text}");
    println!("end {}", entries.len());
}

fn status(group: &Group) {
    match group.status() {
        Ok(status) => println!(
            "status {:?} {} {} {} {} {} {}",
            status.role,
            status.term,
            status.leader.map_or(0, |leader| leader.node_id),
            status.first_index,
            status.last_index,
            status.applied_index,
            status.formation
        ),
        Err(error) => println!("failed {error}"),
    }
}

fn node_status(node: &Node) {
    match node.status() {
        Ok(status) => println!(
            "node {} {} {} {} {}",
            status.connected_peers,
            status.refused_frames,
            status.refused_connections,
            status.log.full,
            status.failure.map_or("-".to_string(), |error| format!("{:?}", error.code))
        ),
        Err(error) => println!("failed {error}"),
    }
}
