//! How a replica starts: from what the log holds, or from nothing.
//!
//! raft-rs starts with `applied` equal to its commit index and the configuration folded up to
//! there. The state machine's own index is apart; the difference is read from the log and applied
//! by the replica itself.

use raft::eraftpb::{self, ConfState, EntryType};
use raft::{Config, RawNode};

use super::apply::ApplyQueue;
use super::conf_change::ConfChange;
use super::core::{Phase, Replica, ReplicaOptions};
use super::effect::MachineWork;
use super::entry_cache::EntryCache;
use super::forming;
use super::logging;
use super::membership::Membership;
use super::meta::Meta;
use super::removal::Removal;
use super::storage::ReplicaStorage;
use super::window;
use crate::deliberate::{is_on, Bug};
use crate::error::{Code, Error, Result};
use crate::ids::{Index, ADDRESS_BYTES_MAX, NUMBER_LIMIT};
use crate::log::{HardState, Record, RecoveredGroup};
use crate::machine::MachineKind;

/// A fresh group starts as if compacted here: a member that joins always begins with a snapshot.
pub const FORMATION_INDEX: Index = 1;
pub const FORMATION_TERM: u64 = 1;
const FIRST_RAFT_ID: u64 = 1;

/// Committed entries that raft-rs hands out at once, in bytes.
const COMMITTED_BYTES_MAX: u64 = 4 << 20;
/// Entries read at once while the configuration is looked for.
const FOLD_BYTES_MAX: u64 = 1 << 20;

pub fn check_options(options: &ReplicaOptions) -> Result<()> {
    let refuse = |message: &str| Err(Error::rejected(Code::InvalidArgument, message));
    if options.group_id == 0 || options.node_id == 0 || options.incarnation.is_nil() {
        return refuse("group id, node id and incarnation must not be 0");
    }
    let heartbeat = options.heartbeat_ticks;
    if heartbeat == 0 || options.election_ticks <= heartbeat || options.election_ticks > 1 << 20 {
        return refuse("election_ticks must be above heartbeat_ticks, which must be above 0");
    }
    if options.boot_counter >= NUMBER_LIMIT || options.proposal_bytes_max >= 1 << 30 {
        return refuse("boot_counter or proposal_bytes_max are out of range");
    }
    let mut nodes: Vec<u64> = options.initial_members.iter().map(|member| member.node_id).collect();
    nodes.sort_unstable();
    let conflict = |message: &str| Err(Error::rejected(Code::InitialMembersConflict, message));
    if nodes.windows(2).any(|pair| pair[0] == pair[1]) || nodes.first() == Some(&0) {
        return conflict("the initial members name a node twice, or node 0");
    }
    if !nodes.is_empty() && !nodes.contains(&options.node_id) {
        return conflict("the initial members do not name this node");
    }
    if nodes.len() > super::membership::MEMBERS_MAX {
        return conflict("there are too many initial members");
    }
    let mut addresses = options.initial_members.iter().map(|member| member.address.len());
    if addresses.any(|bytes| bytes == 0 || bytes > ADDRESS_BYTES_MAX) {
        return conflict("an initial member has no address, or too long a one");
    }
    Ok(())
}

/// Brings a replica to where its log ends.
pub fn recover<C>(
    replica: &mut Replica<C>,
    recovered: Option<&RecoveredGroup>,
    machine_applied: Index,
) -> Result<()> {
    let known = recovered.filter(|group| !group.meta.is_empty());
    let last_index = known.map_or(0, |group| group.last_index);
    if machine_applied > last_index {
        return Err(Error::rejected(
            Code::MachineAhead,
            format!(
                "the state machine has applied up to index {machine_applied} and the log of \
                 group {} ends at {last_index}: they do not belong together, or the log has \
                 lost entries; restore the node's data directory, or wipe both and add the \
                 node again",
                replica.options.group_id
            ),
        ));
    }
    let Some(group) = known else {
        forming::begin(replica);
        return Ok(());
    };
    replica.meta = Meta::from_bytes(&group.meta)?;
    if forming::may_begin_anew(replica) {
        forming::begin(replica);
        return Ok(());
    }
    check_identity(replica)?;
    // Formed, but the first record of the group itself was lost: nothing was ever voted for.
    let begun = group.compacted_index > 0 || !group.membership.is_empty();
    if replica.meta.formation.is_nil() || (!begun && !replica.meta.initial_nodes.is_empty()) {
        return forming::resume(replica);
    }
    resume(replica, group, machine_applied)
}

fn check_identity<C>(replica: &Replica<C>) -> Result<()> {
    let options = &replica.options;
    if replica.meta.incarnation != options.incarnation {
        return Err(Error::rejected(
            Code::WrongIdentity,
            format!("the log of group {} belongs to another data directory", options.group_id),
        ));
    }
    let mut nodes: Vec<u64> = options.initial_members.iter().map(|member| member.node_id).collect();
    nodes.sort_unstable();
    let formed_with = &replica.meta.initial_nodes;
    if !nodes.is_empty() && !formed_with.is_empty() && nodes != *formed_with {
        return Err(Error::rejected(
            Code::InitialMembersConflict,
            format!(
                "group {} was begun with the nodes {formed_with:?}, not {nodes:?}; start it with \
                 them or with none, and change members with change_membership",
                options.group_id
            ),
        ));
    }
    Ok(())
}

fn resume<C>(
    replica: &mut Replica<C>,
    group: &RecoveredGroup,
    machine_applied: Index,
) -> Result<()> {
    let mut storage = new_storage(replica);
    storage.recover(group);
    let hard_state = remembered(group);
    let commit = hard_state.commit.max(machine_applied).max(group.compacted_index);
    if commit > group.last_index {
        return Err(Error::rejected(
            Code::Corrupted,
            format!(
                "the log of group {} ends at index {} and says that {commit} is committed",
                replica.options.group_id, group.last_index
            ),
        ));
    }
    if !group.membership.is_empty() {
        replica.membership = Membership::from_bytes(&group.membership)?;
        replica.membership.shown_index = None;
        let index = group.membership_index;
        replica.history.push_back((index, group.membership.clone()));
    }
    fold(replica, &storage, group.membership_index.max(group.compacted_index), commit)?;
    if replica.membership.is_joint() && is_on(Bug::ForgetTheOldHalf) {
        replica.membership = replica.membership.after_joint();
    }
    let unrestored = group.unrestored.filter(|(snapshot, _)| !snapshot.is_nil());
    let applied = match unrestored {
        Some((_, index)) => index,
        None if lacks_nothing(replica, machine_applied) => {
            machine_applied.max(group.compacted_index)
        }
        None => machine_applied.max(FORMATION_INDEX.min(commit)),
    };
    let given = match applied < commit {
        true if is_on(Bug::SkipAnEntryAfterARestart) => applied + 1,
        _ if applied > group.compacted_index && is_on(Bug::ApplyTwiceAfterARestart) => applied - 1,
        _ => applied,
    };
    replica.apply = ApplyQueue::new(given, commit);
    replica.apply.set_shown(machine_applied);
    replica.snapshots.start(group.compacted_index, machine_applied);
    replica.snapshots.needs_state = unrestored.is_none() && applied < group.compacted_index;
    replica.phase = Phase::Active;
    make_raft(replica, storage, HardState { commit, ..hard_state }, commit)?;
    replica.out.peers = Some(replica.peers());
    if let Some((snapshot, index)) = unrestored {
        let term = group.compacted_term;
        replica.apply.must_restore();
        replica.snapshots.restoring(snapshot, index, term);
        replica.out.work.push(MachineWork::Restore { snapshot, index, term });
    } else if replica.snapshots.needs_state {
        replica.apply.waits_for_restore = true;
        replica.complain(Error::rejected(
            Code::RestoreFailed,
            "the state machine's state ends before the log begins; \
             the replica waits for a snapshot of a leader",
        ));
    }
    if replica.membership.is_dead(replica.meta.raft_id) {
        replica.removed(Removal::Unconfirmed);
    }
    Ok(())
}

fn remembered(group: &RecoveredGroup) -> HardState {
    let mut hard_state = group.hard_state;
    if hard_state.vote != 0 && is_on(Bug::ForgetTheVote) {
        hard_state.vote = 0;
    }
    let log_term = group.terms.last().map_or(group.compacted_term, |(term, _)| *term);
    if hard_state.term > log_term && is_on(Bug::ForgetTheTerm) {
        hard_state = HardState { term: log_term, vote: 0, ..hard_state };
    }
    hard_state
}

/// Whether an on-disk machine has everything that was compacted. Its own index may be before that of the last entry which
/// was: it is not shown entries of the library's own.
fn lacks_nothing<C>(replica: &Replica<C>, machine_applied: Index) -> bool {
    replica.options.machine_kind == MachineKind::OnDisk
        && replica.meta.shown_index.is_some_and(|shown| machine_applied >= shown)
}

/// Takes the configuration entries in `(from, to]` into the membership, each exactly once.
fn fold<C>(
    replica: &mut Replica<C>,
    storage: &ReplicaStorage,
    from: Index,
    to: Index,
) -> Result<()> {
    let mut next = from + 1;
    while next <= to {
        let entries = storage.read_now(next, to + 1, FOLD_BYTES_MAX)?;
        for entry in &entries {
            let is_configuration = entry.entry_type != EntryType::EntryNormal;
            if is_configuration && !is_on(Bug::ForgetTheConfigurationAtRestart) {
                let (change, membership) = ConfChange::from_bytes(&entry.data)?;
                replica.membership = membership;
                replica.history.push_back((entry.index, change.membership().clone()));
            }
        }
        next += entries.len() as u64;
    }
    Ok(())
}

pub fn new_storage<C>(replica: &Replica<C>) -> ReplicaStorage {
    let options = &replica.options;
    let cache = EntryCache::new(options.entry_cache_bytes, window::message_bytes_max(options));
    ReplicaStorage::new(replica.reader.clone(), cache)
}

/// Makes the raft-rs node. Everything up to `applied` counts as applied for it.
pub fn make_raft<C>(
    replica: &mut Replica<C>,
    mut storage: ReplicaStorage,
    hard_state: HardState,
    applied: Index,
) -> Result<()> {
    let options = &replica.options;
    let raft_hard_state = eraftpb::HardState {
        term: hard_state.term,
        vote: hard_state.vote,
        commit: hard_state.commit,
        ..eraftpb::HardState::default()
    };
    storage.set_initial(raft_hard_state, configuration(replica));
    replica.window = window::messages_max(options, 0);
    let config = Config {
        id: replica.meta.raft_id,
        election_tick: options.election_ticks as usize,
        heartbeat_tick: options.heartbeat_ticks as usize,
        applied,
        max_size_per_msg: window::message_bytes_max(options),
        max_inflight_msgs: replica.window,
        check_quorum: true,
        pre_vote: true,
        priority: options.priority,
        // The replica keeps to the limit itself; raft-rs refuses one below the size of a message.
        max_uncommitted_size: options.pending_bytes_max.max(window::message_bytes_max(options)),
        max_committed_size_per_ready: COMMITTED_BYTES_MAX,
        ..Config::default()
    };
    let logger = logging::logger(options.group_id, replica.meta.raft_id);
    let raft = RawNode::new(&config, storage, &logger).map_err(|error| {
        Error::rejected(Code::Corrupted, format!("raft cannot start from this log: {error}"))
    })?;
    replica.raft = Some(raft);
    replica.campaign_if_alone();
    Ok(())
}

/// Who votes, as raft-rs is told at its start.
fn configuration<C>(replica: &Replica<C>) -> ConfState {
    let mut configuration = replica.membership.conf_state();
    if !configuration.learners.is_empty() && is_on(Bug::CountTheVotesOfLearners) {
        let learners = configuration.take_learners();
        configuration.mut_voters().extend(learners);
    }
    configuration
}

/// Begins the log of a group that was just formed, on each of its initial members alike.
pub fn begin_group<C>(replica: &mut Replica<C>, membership: Membership) -> Result<()> {
    let bytes = membership.to_bytes();
    let hard_state = HardState { term: FORMATION_TERM, vote: 0, commit: FORMATION_INDEX };
    let snapshot = crate::ids::Uuid::NIL;
    replica.out.records.push(Record::Reset {
        index: FORMATION_INDEX,
        term: FORMATION_TERM,
        membership: bytes.clone(),
        snapshot,
        hard_state,
    });
    // There is nothing to restore at the beginning.
    replica.out.records.push(Record::Restored { snapshot });
    replica.out.records.push(Record::Meta(replica.meta.to_bytes()));
    replica.out.must_sync = true;
    replica.persist.requires_sync();
    let mut storage = new_storage(replica);
    storage.reset(FORMATION_INDEX, FORMATION_TERM);
    replica.membership = membership;
    replica.history.push_back((FORMATION_INDEX, bytes));
    replica.apply = ApplyQueue::new(FORMATION_INDEX, FORMATION_INDEX);
    replica.snapshots.start(FORMATION_INDEX, FORMATION_INDEX);
    replica.phase = Phase::Active;
    make_raft(replica, storage, hard_state, FORMATION_INDEX)?;
    replica.out.peers = Some(replica.peers());
    if replica.meta.raft_id == FIRST_RAFT_ID {
        // Somebody has to be the first, and nobody needs to wait for that.
        replica.campaign();
    }
    Ok(())
}

/// Makes this replica, which waited to be added, the member that a leader takes it for.
pub fn adopt<C>(replica: &mut Replica<C>) -> Result<()> {
    replica.out.records.push(Record::Meta(replica.meta.to_bytes()));
    replica.out.must_sync = true;
    replica.persist.requires_sync();
    let storage = new_storage(replica);
    replica.phase = Phase::Active;
    make_raft(replica, storage, HardState::default(), 0)
}
