//! Machines that keep their own state: where they go on after a restart, how their log is compacted, and how their state
//! reaches a peer.

mod support;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use libraft::{Change, Code, Group, GroupOptions, Node, Role};
use support::file_machine::{records, FileMachine, Seen};
use support::{
    change, eventually, group_options, keeping_nothing, members_of, node_options, propose,
    propose_many, read, reopen, status, take_snapshot, Behaviour, Folder, PATIENCE,
};

struct OnDisk {
    node: Node,
    group: Group,
    seen: Arc<Mutex<Seen>>,
    path: PathBuf,
}

impl OnDisk {
    fn start(folder: &Folder, node: Node, options: GroupOptions) -> OnDisk {
        let path = state_file(folder, node.status().unwrap().node_id);
        let (machine, seen) = FileMachine::open(&path);
        let group = node.start_group(options, machine).unwrap();
        OnDisk { node, group, seen, path }
    }

    fn reopen(folder: &Folder, node_id: u64) -> OnDisk {
        let node = Node::open(node_options(folder, node_id)).unwrap();
        OnDisk::start(folder, node, keeping_nothing(group_options(&[])))
    }

    fn ready(self) -> OnDisk {
        self.group.wait_ready(PATIENCE).unwrap();
        self
    }

    fn applied(&self) -> Vec<u64> {
        self.seen.lock().unwrap().applied.clone()
    }

    fn restores(&self) -> usize {
        self.seen.lock().unwrap().restores
    }

    fn texts(&self) -> Vec<String> {
        records(&self.path).into_iter().map(|(_, text)| text).collect()
    }
}

fn state_file(folder: &Folder, node_id: u64) -> PathBuf {
    folder.node(node_id).with_extension("state")
}

fn cluster(folder: &Folder, count: u64) -> Vec<OnDisk> {
    let nodes: Vec<Node> =
        (1..=count).map(|node_id| Node::open(node_options(folder, node_id)).unwrap()).collect();
    let options = keeping_nothing(group_options(&members_of(&nodes)));
    let members: Vec<OnDisk> =
        nodes.into_iter().map(|node| OnDisk::start(folder, node, options.clone())).collect();
    members.into_iter().map(OnDisk::ready).collect()
}

/// What a power cut leaves of a machine's file: what was synced.
fn lose_what_was_not_synced(member: &OnDisk) {
    let bytes = member.seen.lock().unwrap().synced_bytes;
    std::fs::OpenOptions::new().write(true).open(&member.path).unwrap().set_len(bytes).unwrap();
}

fn indexes_ascend(path: &Path) {
    let indexes: Vec<u64> = records(path).into_iter().map(|(index, _)| index).collect();
    assert!(indexes.windows(2).all(|pair| pair[0] < pair[1]), "{indexes:?}");
}

#[test]
fn a_machine_goes_on_at_its_own_index_and_nothing_is_applied_twice() {
    let folder = Folder::new();
    let member = cluster(&folder, 1).pop().unwrap();
    propose_many(&member.group, "entry", 10);
    let applied = status(&member.group).applied_index;
    member.node.close().unwrap();
    for round in 0..3 {
        let again = OnDisk::reopen(&folder, 1).ready();
        assert!(again.seen.lock().unwrap().opened_at >= applied + round);
        assert_eq!(again.applied(), [0; 0], "all of it was in the file");
        propose(&again.group, &format!("round {round}")).unwrap();
        assert_eq!(again.texts().len(), 11 + round as usize);
        indexes_ascend(&again.path);
        again.node.close().unwrap();
    }
}

#[test]
fn what_a_power_cut_took_from_the_machine_is_applied_again_from_the_log() {
    let folder = Folder::new();
    let member = cluster(&folder, 1).pop().unwrap();
    propose_many(&member.group, "synced", 5);
    // A snapshot of a machine on the disk is a sync of it and a few words; the log may forget what is behind it.
    let snapshot = take_snapshot(&member.group).unwrap();
    eventually("compaction", || (status(&member.group).first_index == snapshot + 1).then_some(()));
    propose_many(&member.group, "not synced", 5);
    let texts = member.texts();
    member.node.close().unwrap();
    lose_what_was_not_synced(&member);
    assert_eq!(records(&member.path).len(), 5);

    let again = OnDisk::reopen(&folder, 1).ready();
    assert_eq!(again.applied().len(), 5);
    assert_eq!(again.texts(), texts);
    assert_eq!((again.restores(), again.seen.lock().unwrap().streams), (0, 0));
}

#[test]
fn snapshots_hold_no_state_and_let_the_log_be_compacted_by_themselves() {
    let folder = Folder::new();
    let node = Node::open(node_options(&folder, 1)).unwrap();
    let members = members_of(std::slice::from_ref(&node));
    let options = GroupOptions { snapshot_entries: 10, ..keeping_nothing(group_options(&members)) };
    let member = OnDisk::start(&folder, node, options).ready();
    propose_many(&member.group, &"x".repeat(10 << 10), 60);
    eventually("compaction", || (status(&member.group).first_index > 50).then_some(()));
    assert!(bytes_below(&folder.node(1).join("snapshots")) < 20 << 10);
    assert_eq!(member.seen.lock().unwrap().streams, 0);
    member.node.close().unwrap();
    let again = OnDisk::reopen(&folder, 1).ready();
    assert_eq!(again.texts().len(), 60);
    assert_eq!(again.applied(), [0; 0]);
}

fn bytes_below(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let bytes = |entry: std::fs::DirEntry| match entry.file_type().unwrap().is_dir() {
        true => bytes_below(&entry.path()),
        false => entry.metadata().unwrap().len(),
    };
    entries.map(bytes).sum()
}

#[test]
fn a_group_whose_last_entries_were_the_librarys_own_starts_again_when_they_are_compacted() {
    let folder = Folder::new();
    let member = cluster(&folder, 1).pop().unwrap();
    propose(&member.group, "the last one that the machine sees").unwrap();
    // A change of the membership is two entries that no machine is shown.
    let address = folder.address(1);
    change(&member.group, vec![Change::SetAddress { node_id: 1, address }]).unwrap();
    read(&member.group).unwrap();
    let snapshot = take_snapshot(&member.group).unwrap();
    eventually("compaction", || (status(&member.group).first_index == snapshot + 1).then_some(()));
    member.node.close().unwrap();
    for _ in 0..2 {
        let again = OnDisk::reopen(&folder, 1).ready();
        assert!(again.seen.lock().unwrap().opened_at < snapshot);
        assert!(status(&again.group).failure.is_none());
        assert_eq!(again.texts().len(), 1);
        again.node.close().unwrap();
    }
    // What was not applied since is in order, too.
    let last = OnDisk::reopen(&folder, 1).ready();
    propose(&last.group, "and another").unwrap();
    assert_eq!(last.texts().len(), 2);
}

#[test]
fn a_machine_in_memory_never_starts_from_a_snapshot_that_holds_no_state() {
    let folder = Folder::new();
    let member = cluster(&folder, 1).pop().unwrap();
    propose_many(&member.group, "on disk", 3);
    let snapshot = take_snapshot(&member.group).unwrap();
    eventually("compaction", || (status(&member.group).first_index == snapshot + 1).then_some(()));
    propose(&member.group, "behind it").unwrap();
    member.node.close().unwrap();
    let again = reopen(&folder, 1, keeping_nothing(group_options(&[])), Behaviour::default());
    let failure = eventually("the complaint", || status(&again.group).failure);
    assert_eq!(failure.code, Code::RestoreFailed);
    assert!(failure.message.contains("state ends before the log begins"), "{failure}");
    assert_eq!((again.probe.texts().len(), again.probe.restores()), (0, 0));
    again.node.close().unwrap();
    // As what it was it lacks nothing.
    let back = OnDisk::reopen(&folder, 1).ready();
    assert_eq!(back.texts().len(), 4);
}

#[test]
fn a_joiner_is_streamed_the_state_of_now_and_starts_from_it_the_next_time() {
    let folder = Folder::new();
    let members = cluster(&folder, 1);
    propose_many(&members[0].group, "before the snapshot", 10);
    take_snapshot(&members[0].group).unwrap();
    propose_many(&members[0].group, "after the snapshot", 10);
    let joiner = OnDisk::reopen(&folder, 2);
    let address = folder.address(2);
    change(&members[0].group, vec![Change::AddVoter { node_id: 2, address }]).unwrap();
    let joiner = joiner.ready();
    assert_eq!(joiner.texts(), members[0].texts());
    assert_eq!(joiner.restores(), 1);
    assert!(members[0].seen.lock().unwrap().streams >= 1);
    joiner.node.close().unwrap();
    // The last entries before its state were those that made it a member, which no machine is shown.
    let joiner = OnDisk::reopen(&folder, 2).ready();
    assert_eq!((joiner.restores(), joiner.applied()), (0, vec![]));
    assert_eq!(joiner.texts(), members[0].texts());
    propose(&joiner.group, "from the joiner").unwrap();
    read(&members[0].group).unwrap();
    assert_eq!(joiner.texts(), members[0].texts());
    indexes_ascend(&joiner.path);
}

#[test]
fn a_follower_that_was_away_is_streamed_the_state_of_the_leader() {
    let folder = Folder::new();
    let mut members = cluster(&folder, 3);
    propose(&members[0].group, "seen by all").unwrap();
    members.pop().unwrap().node.close().unwrap();
    eventually("a leader of two", || propose(&members[0].group, "missed").ok());
    propose_many(&members[1].group, "missed too", 10);
    for member in &members {
        read(&member.group).unwrap();
        take_snapshot(&member.group).unwrap();
    }
    let back = OnDisk::reopen(&folder, 3).ready();
    assert_eq!(back.texts(), members[0].texts());
    assert_eq!(back.restores(), 1);
    back.node.close().unwrap();
    let again = OnDisk::reopen(&folder, 3).ready();
    assert_eq!(again.restores(), 0);
    assert_eq!(again.texts(), members[0].texts());
}

#[test]
fn a_machine_beyond_the_log_is_refused() {
    let folder = Folder::new();
    let member = cluster(&folder, 1).pop().unwrap();
    propose(&member.group, "entry").unwrap();
    member.node.close().unwrap();
    // The data directory is lost, the machine's file is not.
    std::fs::remove_dir_all(folder.node(1)).unwrap();
    let node = Node::open(node_options(&folder, 1)).unwrap();
    let options = group_options(&members_of(std::slice::from_ref(&node)));
    let again = OnDisk::start(&folder, node, options);
    let error = again.group.wait_ready(PATIENCE).unwrap_err();
    assert_eq!(error.code, Code::MachineAhead);
    assert_eq!(status(&again.group).failure.map(|error| error.code), Some(Code::MachineAhead));
    assert_eq!(propose(&again.group, "refused").unwrap_err().code, Code::MachineAhead);
}

#[test]
fn a_machine_whose_file_is_gone_fetches_the_state_and_does_not_campaign_before() {
    let folder = Folder::new();
    let mut members = cluster(&folder, 3);
    propose_many(&members[0].group, "entry", 10);
    for member in &members {
        read(&member.group).unwrap();
        take_snapshot(&member.group).unwrap();
    }
    let lost = members.pop().unwrap();
    lost.node.close().unwrap();
    std::fs::remove_file(&lost.path).unwrap();
    // Alone it says what is missing, and waits.
    members.iter().for_each(|member| member.node.close().unwrap());
    let lost = OnDisk::reopen(&folder, 3);
    let failure = eventually("the complaint", || status(&lost.group).failure);
    assert_eq!(failure.code, Code::RestoreFailed);
    assert_eq!(status(&lost.group).role, Role::Follower);
    let members = [1, 2].map(|node_id| OnDisk::reopen(&folder, node_id));
    let lost = lost.ready();
    assert!(status(&lost.group).failure.is_none(), "the complaint is over");
    assert_eq!(lost.texts(), members[0].texts());
    assert_eq!(lost.restores(), 1);
    propose(&lost.group, "back").unwrap();
    lost.node.close().unwrap();
    let again = OnDisk::reopen(&folder, 3).ready();
    assert_eq!((again.restores(), again.texts().len()), (0, 11));
}
