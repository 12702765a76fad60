//! Durable by default, shown in order: three members run under strace, and the trace is read back.
//!
//! A write is durable once an `fdatasync` that began after it, on the same journal file, has
//! returned success. No acknowledgement may begin before that: neither "I have it", to the leader,
//! nor "done", to the client.

use std::collections::HashMap;
use std::path::PathBuf;

use libraft_tests::cluster::{Cluster, Settings};
use libraft_tests::trace::{Call, Moment};
use libraft_tests::{fresh_directory, order, trace};

const MEMBERS: usize = 3;
const ROUNDS: u64 = 60;
/// Proposals at each member in a round: fewer than there may be acknowledgements.
const PROPOSALS: u64 = 3;
const PADDING_BYTES: u64 = 6_000;

#[test]
fn nothing_is_acknowledged_to_a_peer_or_a_client_before_the_journal_is_synced() {
    let directory = fresh_directory(env!("CARGO_TARGET_TMPDIR"), "durability");
    let traces = traced_load(&directory);
    let calls: Vec<Vec<Call>> = traces.iter().map(|file| trace::read(file)).collect();
    let durable: Vec<HashMap<String, Moment>> =
        calls.iter().map(|calls| order::durable(calls)).collect();

    for calls in &calls {
        check_name_of_directory(calls, &directory);
    }
    let mut to_leaders = 0;
    let mut to_clients = 0;
    for member in 0..MEMBERS {
        to_leaders += check_append_acknowledgements(member, &calls[member], &durable[member]);
        to_clients += check_client_acknowledgements(member, &calls[member], &durable);
    }
    println!("{to_leaders} acknowledgements to leaders, {to_clients} to clients were in order");
    // A follower may answer several appends with one message, but not those of different rounds.
    assert!(to_leaders as u64 >= ROUNDS, "only {to_leaders} acknowledgements to leaders were seen");
    let proposals = ROUNDS * PROPOSALS * MEMBERS as u64;
    assert!(to_clients as u64 >= proposals / 2, "only {to_clients} of {proposals} were done");
    let in_pieces = calls.iter().flatten().filter(|call| call.name == "pwritev").count();
    assert!(in_pieces as u64 >= ROUNDS, "only {in_pieces} writes in pieces were seen");
    let _ = std::fs::remove_dir_all(&directory);
}

/// Runs load over members under strace until they have ended by themselves. Returns the files with
/// their traces.
fn traced_load(directory: &std::path::Path) -> Vec<PathBuf> {
    for member in 0..MEMBERS {
        let made = std::fs::create_dir(directory.join(format!("node-{}", member + 1)));
        made.expect("the member's directory can be made");
    }
    let traces: Vec<PathBuf> =
        (0..MEMBERS).map(|member| directory.join(format!("trace-{}", member + 1))).collect();
    let files = traces.clone();
    let launch =
        move |member: usize| trace::command(env!("CARGO_BIN_EXE_list_member"), &files[member]);
    // strace makes every call slow: a longer tick keeps elections out of the load.
    let settings = Settings { members: MEMBERS, tick_ms: 100, ..Settings::default() };
    let mut cluster = Cluster::launch(Box::new(launch), directory, settings);
    cluster.leader();
    for _ in 0..ROUNDS {
        for member in 0..MEMBERS {
            cluster.put(member, PROPOSALS - 1);
            // So long that it goes to the disk and to peers from where it lies.
            cluster.put_padded(member, 1, PADDING_BYTES);
        }
        cluster.settle();
    }
    cluster.check();
    cluster.finish();
    traces
}

/// The folder in which a member's directory lies is synced before anything in the journal: whoever made the directory
/// (here this test) may have left its name to the system.
fn check_name_of_directory(calls: &[Call], parent: &std::path::Path) {
    let parent = parent.to_str().expect("the path is UTF-8");
    let named = calls.iter().position(|call| call.name == "fsync" && call.target == parent);
    let written = calls.iter().position(|call| call.name == "fdatasync");
    let (Some(named), Some(written)) = (named, written) else {
        panic!("{parent} was not synced, or nothing in a journal: {named:?}, {written:?}");
    };
    assert!(named < written, "{parent} was synced after the journal");
}

/// Returns how many acknowledgements that covered something new were looked at.
fn check_append_acknowledgements(
    member: usize,
    calls: &[Call],
    durable: &HashMap<String, Moment>,
) -> usize {
    let mut looked_at = 0;
    for acknowledgement in order::append_acknowledgements(calls) {
        looked_at += usize::from(!acknowledgement.news.is_empty());
        for (index, text) in &acknowledgement.news {
            let durable = durable.get(text).map(|moment| moment.line);
            assert!(
                durable.is_some_and(|line| line < acknowledgement.began.line),
                "member {}: line {} of its trace acknowledges index {} to the leader, \
                 but entry {index} ('{text}') \
                 was durable only at line {durable:?}",
                member + 1,
                acknowledgement.began.line + 1,
                acknowledgement.index,
            );
        }
    }
    looked_at
}

/// What a client is told is durable here, as the member has applied it, and on a majority.
fn check_client_acknowledgements(
    member: usize,
    calls: &[Call],
    durable: &[HashMap<String, Moment>],
) -> usize {
    let acknowledgements = order::client_acknowledgements(calls);
    for acknowledgement in &acknowledgements {
        let (text, began) = (&acknowledgement.text, acknowledgement.began);
        let here = durable[member].get(text).map(|moment| moment.line);
        assert!(
            here.is_some_and(|line| line < began.line),
            "member {}: line {} of its trace says that '{text}' is done, but it was durable only \
             at line {here:?}",
            member + 1,
            began.line + 1,
        );
        let members = durable
            .iter()
            .filter_map(|durable| durable.get(text))
            .filter(|moment| moment.seconds <= began.seconds)
            .count();
        assert!(
            members > MEMBERS / 2,
            "member {} said at {} that '{text}' is done when it was durable on {members} members",
            member + 1,
            began.seconds,
        );
    }
    acknowledgements.len()
}
