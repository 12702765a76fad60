//! Deliberate bugs, to test the tests: each breaks one rule, and some test must see it.
//!
//! They exist with the cargo feature `deliberate-bugs` alone, which only the tests of the tests have. Without it
//! [`is_on`] is a constant `false`, and the compiler removes what it guards. With it, one bug of a process can be on:
//! the one that the environment names when it is first asked for, or that [`switch_on`] names.
//!
//! (`planted` is the other kind of defect: one that a host asks for, to see how it is told of a defect.)

macro_rules! bugs {
    ($($(#[$doc:meta])* $bug:ident,)+) => {
        /// What can be broken. `docs/testing.md` says which test sees it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug {
            $($(#[$doc])* $bug,)+
        }

        #[cfg(feature = "deliberate-bugs")]
        impl Bug {
            pub const ALL: &[Bug] = &[$(Bug::$bug,)+];
        }
    };
}

bugs! {
    // The journal and its checkpoint.
    /// A barrier ends without a sync: a power cut loses what was acknowledged.
    SkipTheSync,
    /// A sync that failed counts as done, as it does for who tries again: the system calls the second one a success.
    PassOverAFailedSync,
    /// A segment that is used again keeps the salt that it had: what an earlier use left behind looks valid.
    SameSaltAfterRecycling,
    /// A segment is used again although what was moved from it is not synced in the checkpoint.
    ReleaseBeforeTheCheckpointIsSynced,
    /// Entries are moved before the records are durable that make the left-out ones superfluous.
    MoveBeforeTheRestIsDurable,
    /// Entries that were overwritten stay in the checkpoint.
    KeepTruncatedInTheCheckpoint,
    /// What the checkpoint has of a group counts more than what the journal has, which is newer.
    ReplayTheCheckpointOverTheJournal,
    /// A bad batch counts as the torn end of the journal, whatever follows.
    TakeDamageForATornEnd,
    /// An append leaves the first of the entries that it replaces.
    TruncateOneTooFew,

    // The directory and the snapshot store.
    /// A directory that is opened again has the boot counter it had: ids are used twice.
    KeepTheBootCounter,
    /// A received snapshot is announced before its body is durable.
    AnnounceASnapshotBeforeItIsDurable,

    // Persistence of the replica.
    /// What may only be said when it is durable is said at once: votes, and acknowledgements of appends.
    AcknowledgeBeforeTheBarrier,
    /// A replica that restarts votes a second time in a term.
    ForgetTheVote,
    /// A replica that restarts goes back to the term of its last entry.
    ForgetTheTerm,
    /// A leader takes for committed what is durable on its own disk, and answers.
    CommitWithoutAQuorum,
    /// The commit index of a heartbeat is trusted, though the log ends before it.
    TrustACommitBeyondTheLog,

    // Configurations.
    /// Configuration entries behind the membership last recorded are passed over at the start.
    ForgetTheConfigurationAtRestart,
    /// A snapshot replaces the log, but not the membership.
    LoseTheMembershipOfASnapshot,
    /// The votes of learners count, after a restart.
    CountTheVotesOfLearners,
    /// The old half of a joint configuration has no say, after a restart.
    ForgetTheOldHalf,
    /// A joint configuration is never left.
    StayInTheJointConfiguration,
    /// A new member gets a raft id that a removed one had.
    ReuseRaftIds,
    /// Messages for a former life of the node are taken.
    IgnoreTheIncarnation,
    /// An initial member votes before it knows that all others have stored it: one may be wiped and vote again.
    FormBeforeAllHaveStoredAll,

    // The state machine and its snapshots.
    /// After a restart the machine is given an entry that it has.
    ApplyTwiceAfterARestart,
    /// After a restart the machine is not given an entry that it lacks.
    SkipAnEntryAfterARestart,
    /// A snapshot is said to hold all that is committed, though the machine was given less.
    DateASnapshotAhead,
    /// Entries are compacted that the machine was not given yet.
    CompactBeyondTheApplied,
    /// The log a snapshot is to be followed by is not kept for the peer that gets it.
    DropThePinOfASnapshot,
    /// The machine is said to hold a received snapshot as soon as the log does.
    RecordARestoreBeforeItIsDone,

    // Calls.
    /// Proposals of all boots of a replica have the same ids.
    ReuseProposalIds,
    /// Reads of all boots of a replica have the same ids.
    ReuseReadIds,
    /// A follower sends its proposals to the leader twice.
    ForwardTwice,
    /// What ran out of time is said to be rejected, though it may yet be applied.
    RejectWhatIsUnknown,
    /// Proposals of the term of an applied entry are said to be overwritten, as if only the older ones were not.
    RejectTheTermOfTheApplied,
    /// A result is given to another call than the one whose entry was applied.
    AnswerAnotherCall,
    /// Calls whose proposals a new leader has overwritten are never completed.
    LoseTheCompletionsOfTheOverwritten,
    /// The bytes of pending proposals are not bounded.
    AdmitAnyBytes,
    /// A read is answered before the machine has applied up to the read index.
    AnswerReadsBeforeTheApply,
    /// A leader gives a read index before it has committed an entry of its term.
    ReadBeforeACommitInTheTerm,
    /// A leader gives a read index without asking whether it still leads.
    ReadWithoutAQuorum,
}

#[cfg(not(feature = "deliberate-bugs"))]
#[inline(always)]
pub(crate) const fn is_on(_: Bug) -> bool {
    false
}

#[cfg(feature = "deliberate-bugs")]
pub use switch::{reached, switch_off, switch_on};

#[cfg(feature = "deliberate-bugs")]
pub(crate) use switch::is_on;

#[cfg(feature = "deliberate-bugs")]
mod switch {
    use std::io::Write;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    use std::sync::Once;

    use super::Bug;

    /// Names the bug that is on from the start of a process.
    const VARIABLE: &str = "LIBRAFT_DELIBERATE_BUG";
    const NONE: usize = usize::MAX;

    static ENVIRONMENT: Once = Once::new();
    static ON: AtomicUsize = AtomicUsize::new(NONE);
    static REACHED: AtomicU64 = AtomicU64::new(0);

    /// Whether the rule is to be broken here and now. The last thing that a place asks, when breaking the rule makes a
    /// difference: for a `true` is counted.
    pub(crate) fn is_on(bug: Bug) -> bool {
        ENVIRONMENT.call_once(obey_environment);
        if ON.load(Ordering::Relaxed) != bug as usize {
            return false;
        }
        if REACHED.fetch_add(1, Ordering::Relaxed) == 0 {
            // Past the test harness, which keeps what tests print: whoever runs a test must see that it was reached.
            let _ = writeln!(std::io::stderr(), "deliberate bug reached: {bug:?}");
        }
        true
    }

    /// Breaks a rule from now on, and no other.
    pub fn switch_on(bug: Bug) {
        ENVIRONMENT.call_once(|| {});
        REACHED.store(0, Ordering::Relaxed);
        ON.store(bug as usize, Ordering::Relaxed);
    }

    pub fn switch_off() {
        ENVIRONMENT.call_once(|| {});
        ON.store(NONE, Ordering::Relaxed);
    }

    /// How often the rule was broken since it was switched on.
    pub fn reached() -> u64 {
        REACHED.load(Ordering::Relaxed)
    }

    fn obey_environment() {
        let Ok(name) = std::env::var(VARIABLE) else { return };
        let bug = Bug::ALL.iter().find(|bug| format!("{bug:?}") == name);
        // A name without a bug would make a test pass for nothing.
        let bug =
            bug.unwrap_or_else(|| panic!("{VARIABLE}={name}: there is no such deliberate bug"));
        ON.store(*bug as usize, Ordering::Relaxed);
    }
}
