//! Which test finds which bug out. `docs/testing.md` has the same table in words.

use std::fmt;
use std::path::PathBuf;

use libraft::deliberate::Bug;

/// A bug, and those who find it out, each by itself.
pub struct Row {
    pub bug: Bug,
    pub by: &'static [By],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    Test {
        suite: Suite,
        module: &'static str,
        name: &'static str,
    },
    /// Simulated worlds of 10,000 steps: those of the seeds from 1 to `seeds`.
    Worlds {
        seeds: u64,
    },
}

/// A program with tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suite {
    /// The unit tests of `core`.
    Core,
    /// The log with the real sled, under power cuts.
    PowerCut,
}

impl Suite {
    /// What cargo is told to build.
    pub fn target(self) -> &'static [&'static str] {
        match self {
            Suite::Core => &["-p", "libraft", "--lib"],
            Suite::PowerCut => &["-p", "libraft-storage", "--test", "power_cut"],
        }
    }

    /// What cargo calls the program that it builds.
    pub fn name(self) -> &'static str {
        match self {
            Suite::Core => "libraft",
            Suite::PowerCut => "power_cut",
        }
    }

    /// How much of it is enough.
    pub fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Suite::Core => &[],
            Suite::PowerCut => &[("LIBRAFT_POWER_CUTS", "400")],
        }
    }

    pub fn folder(self) -> PathBuf {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
        match self {
            Suite::Core => root.join("core"),
            Suite::PowerCut => root.join("tests/storage"),
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            By::Test { name, .. } => f.write_str(name),
            By::Worlds { seeds } => write!(f, "worlds 1 to {seeds}"),
        }
    }
}

const LOG: By = core(
    "log::tests::random",
    "whatever_happens_the_acknowledged_records_are_there_and_nothing_truncated_comes_back",
);
const REPLICA: By =
    core("replica::tests::random", "whatever_happens_all_apply_the_same_and_calls_tell_the_truth");
const POWER_CUT: By = By::Test {
    suite: Suite::PowerCut,
    module: "",
    name: "after_a_power_cut_at_any_moment_all_that_was_acknowledged_is_there_and_the_log_goes_on",
};
const TRANSCRIPTS: By = core("replica::tests::transcript", "the_transcripts_tell_what_happens");

const fn core(module: &'static str, name: &'static str) -> By {
    By::Test { suite: Suite::Core, module, name }
}

const fn worlds(seeds: u64) -> By {
    By::Worlds { seeds }
}

const fn row(bug: Bug, by: &'static [By]) -> Row {
    Row { bug, by }
}

pub const TABLE: &[Row] = &[
    row(Bug::SkipTheSync, &[LOG, POWER_CUT, worlds(40)]),
    row(
        Bug::PassOverAFailedSync,
        &[core("log::tests::space", "a_failed_sync_is_final"), worlds(200)],
    ),
    row(Bug::SameSaltAfterRecycling, &[LOG, POWER_CUT, worlds(10)]),
    row(Bug::ReleaseBeforeTheCheckpointIsSynced, &[LOG, POWER_CUT, worlds(10)]),
    row(Bug::MoveBeforeTheRestIsDurable, &[LOG]),
    row(
        Bug::KeepTruncatedInTheCheckpoint,
        &[
            core(
                "log::tests::checkpoint",
                "entries_overwritten_in_the_checkpoint_do_not_come_back_from_it",
            ),
            POWER_CUT,
        ],
    ),
    row(Bug::ReplayTheCheckpointOverTheJournal, &[LOG, POWER_CUT, worlds(10)]),
    row(
        Bug::TakeDamageForATornEnd,
        &[core(
            "log::tests::damage",
            "a_flipped_bit_anywhere_in_a_sealed_journal_is_harmless_or_named",
        )],
    ),
    row(Bug::TruncateOneTooFew, &[LOG, POWER_CUT]),
    row(
        Bug::KeepTheBootCounter,
        &[core(
            "directory::layout::tests",
            "a_boot_counter_is_never_given_out_twice_whenever_the_power_is_cut",
        )],
    ),
    row(
        Bug::AnnounceASnapshotBeforeItIsDurable,
        &[
            core(
                "snapshot::store::tests",
                "a_crash_at_any_step_of_receiving_leaves_the_snapshot_that_the_log_continues",
            ),
            POWER_CUT,
        ],
    ),
    row(Bug::AcknowledgeBeforeTheBarrier, &[REPLICA, worlds(10)]),
    row(Bug::ForgetTheVote, &[TRANSCRIPTS, worlds(10)]),
    row(Bug::ForgetTheTerm, &[REPLICA, worlds(100)]),
    row(Bug::CommitWithoutAQuorum, &[REPLICA, worlds(10)]),
    row(
        Bug::TrustACommitBeyondTheLog,
        &[core("replica::tests::messages", "a_heartbeat_that_commits_beyond_the_log_is_refused")],
    ),
    row(
        Bug::ForgetTheConfigurationAtRestart,
        &[
            core(
                "replica::tests::members",
                "a_membership_that_only_the_machine_is_ahead_of_is_found_in_the_log_at_the_start",
            ),
            worlds(40),
        ],
    ),
    row(Bug::LoseTheMembershipOfASnapshot, &[REPLICA, worlds(40)]),
    row(Bug::CountTheVotesOfLearners, &[REPLICA, worlds(40)]),
    row(
        Bug::ForgetTheOldHalf,
        &[
            core(
                "replica::tests::removal",
                "one_of_two_goes_on_though_it_lost_power_right_after_it_removed_the_other",
            ),
            worlds(40),
        ],
    ),
    row(
        Bug::StayInTheJointConfiguration,
        &[core("replica::tests::members", "a_group_of_one_grows_to_three"), worlds(40)],
    ),
    row(Bug::ReuseRaftIds, &[REPLICA]),
    row(Bug::IgnoreTheIncarnation, &[REPLICA, worlds(100)]),
    row(
        Bug::FormBeforeAllHaveStoredAll,
        &[core(
            "replica::tests::formation",
            "a_member_that_was_wiped_while_the_group_formed_is_refused_with_a_reason",
        )],
    ),
    row(Bug::ApplyTwiceAfterARestart, &[REPLICA, worlds(10)]),
    row(Bug::SkipAnEntryAfterARestart, &[REPLICA, worlds(10)]),
    row(Bug::DateASnapshotAhead, &[REPLICA, worlds(200)]),
    row(Bug::CompactBeyondTheApplied, &[REPLICA, worlds(10)]),
    row(
        Bug::DropThePinOfASnapshot,
        &[core(
            "replica::tests::snapshots",
            "the_log_that_a_peer_needs_after_its_snapshot_is_kept",
        )],
    ),
    row(
        Bug::RecordARestoreBeforeItIsDone,
        &[core(
            "replica::tests::snapshots",
            "a_snapshot_that_was_installed_but_not_restored_is_restored_at_the_start",
        )],
    ),
    row(Bug::ReuseProposalIds, &[REPLICA, worlds(200)]),
    row(
        Bug::ReuseReadIds,
        &[core(
            "replica::tests::messages",
            "the_answer_to_a_read_of_an_earlier_boot_answers_none_of_this_one",
        )],
    ),
    row(Bug::ForwardTwice, &[REPLICA, worlds(10)]),
    row(Bug::RejectWhatIsUnknown, &[REPLICA, worlds(100)]),
    row(Bug::RejectTheTermOfTheApplied, &[REPLICA, worlds(10)]),
    row(Bug::AnswerAnotherCall, &[REPLICA, worlds(10)]),
    row(Bug::LoseTheCompletionsOfTheOverwritten, &[REPLICA, worlds(40)]),
    row(
        Bug::AdmitAnyBytes,
        &[core("replica::tests::calls", "limits_on_pending_calls_and_bytes_are_answered_busy")],
    ),
    row(
        Bug::AnswerReadsBeforeTheApply,
        &[
            core(
                "replica::tests::calls",
                "a_read_waits_until_this_nodes_machine_has_applied_what_was_committed_before_it",
            ),
            worlds(10),
        ],
    ),
    row(Bug::ReadBeforeACommitInTheTerm, &[REPLICA, worlds(100)]),
    row(
        Bug::ReadWithoutAQuorum,
        &[core("replica::tests::calls", "a_leader_that_is_cut_off_serves_no_reads")],
    ),
];
