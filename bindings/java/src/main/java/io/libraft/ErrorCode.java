package io.libraft;

import java.util.function.Function;

/**
 * The cause of a {@link LibraftException}. Each has a class of its own, too. The numbers are the
 * same in every language and never change their meaning.
 */
public enum ErrorCode {
    // 1xx: the call itself is wrong: the same call will fail again.
    /** An argument is missing, out of range or contradicts another. */
    INVALID_ARGUMENT(101, InvalidArgumentException::new),
    /** A handle is stale, forged or of another kind. */
    INVALID_HANDLE(102, InvalidHandleException::new),
    /**
     * A struct of the C interface has a size that the library cannot accept; never seen from Java.
     */
    INVALID_SIZE(103, InvalidSizeException::new),
    /** Bytes that must be UTF-8 are not. */
    INVALID_UTF8(104, InvalidUtf8Exception::new),
    /** A proposal has no bytes. */
    EMPTY_PROPOSAL(105, EmptyProposalException::new),
    /** A proposal or a result exceeds the configured cap. */
    TOO_LARGE(106, TooLargeException::new),
    /** A blocking call was made on one of the library's own threads. */
    WOULD_DEADLOCK(107, WouldDeadlockException::new),
    /** The node was opened in the parent of this process; a forked child cannot use it. */
    FORKED(108, ForkedException::new),
    /** Listening beyond loopback without transport security was not asked for explicitly. */
    INSECURE_ADDRESS(109, InsecureAddressException::new),
    /**
     * The operation does not apply to the state machine's kind, or is not supported by this build.
     */
    UNSUPPORTED(110, UnsupportedException::new),

    // 2xx: the group cannot serve the call now.
    /** This replica is not the leader; the error names the leader when it is known. */
    NOT_LEADER(201, NotLeaderException::new),
    /** There is no leader at present. */
    NO_LEADER(202, NoLeaderException::new),
    /** A limit on pending, uncommitted or unapplied work is reached. */
    BUSY(203, BusyException::new),
    /** The call's time ran out. */
    TIMEOUT(204, TimeoutException::new),
    /** Another entry was committed at the proposal's index. */
    OVERWRITTEN(205, OverwrittenException::new),
    /** The replica lost track of the proposal: leadership moved, or a snapshot jumped over it. */
    OUTCOME_LOST(206, OutcomeLostException::new),
    /** The group is still forming: not all initial members have met each other. */
    FORMING(207, FormingException::new),

    // 3xx: groups and membership.
    /** No such group on this node. */
    GROUP_NOT_FOUND(301, GroupNotFoundException::new),
    /** The group is already running on this node. */
    GROUP_EXISTS(302, GroupExistsException::new),
    /**
     * The membership change is impossible: it would leave no voter, add a member twice, and so on.
     */
    MEMBERSHIP_INVALID(303, MembershipInvalidException::new),
    /** Another membership change is still in progress. */
    MEMBERSHIP_BUSY(304, MembershipBusyException::new),
    /** The change, transfer or request names a node that is not a member. */
    UNKNOWN_MEMBER(305, UnknownMemberException::new),
    /** The initial members contradict what the data directory holds. */
    INITIAL_MEMBERS_CONFLICT(306, InitialMembersConflictException::new),
    /** This replica was removed from the group. */
    REMOVED(307, RemovedException::new),

    // 4xx: the disk.
    /** A file could not be read or written. */
    IO(401, IoException::new),
    /** The disk is full; service resumes by itself when space returns. */
    NO_SPACE(402, NoSpaceException::new),
    /** A file is damaged; the message names the file and the offset. */
    CORRUPTED(403, CorruptedException::new),
    /** Another process, or another node of this process, has the data directory open. */
    DIRECTORY_IN_USE(404, DirectoryInUseException::new),
    /** The data directory belongs to another cluster or to another node. */
    WRONG_IDENTITY(405, WrongIdentityException::new),
    /** The data directory was written by a newer version of libraft. */
    NEWER_FORMAT(406, NewerFormatException::new),
    /** The data directory cannot be read or written by this user. */
    PERMISSION_DENIED(407, PermissionDeniedException::new),
    /** A sync failed; the node no longer votes or acknowledges. Close it and look at the disk. */
    STORAGE_FAILED(408, StorageFailedException::new),

    // 5xx: the program's state machine.
    /** {@code apply} failed: the group is stopped on this node. */
    APPLY_FAILED(501, ApplyFailedException::new),
    /** {@code open} failed: the group could not be started on this node. */
    OPEN_FAILED(502, OpenFailedException::new),
    /** The state machine's applied index is beyond the log. */
    MACHINE_AHEAD(503, MachineAheadException::new),
    /** {@code prepareSnapshot} or {@code saveSnapshot} failed. */
    SAVE_FAILED(504, SaveFailedException::new),
    /** {@code restoreSnapshot} failed: the group is stopped on this node. */
    RESTORE_FAILED(505, RestoreFailedException::new),
    /** {@code sync} failed: the group is stopped on this node. */
    SYNC_FAILED(506, SyncFailedException::new),

    // 6xx: the network.
    /** The listening address is in use. */
    ADDRESS_IN_USE(601, AddressInUseException::new),
    /** An address cannot be parsed or resolved. */
    ADDRESS_INVALID(602, AddressInvalidException::new),
    /** A peer could not be reached. */
    UNREACHABLE(603, UnreachableException::new),
    /** A peer refused the handshake, or was refused; the message says why. */
    HANDSHAKE_REFUSED(604, HandshakeRefusedException::new),

    // 7xx: the life cycle.
    /** The node is closed, or was closed while the call was pending. */
    CLOSED(701, ClosedException::new),
    /** The group is stopped, or was stopped while the call was pending. */
    STOPPED(702, StoppedException::new),

    // 9xx: the library itself.
    /** A panic was caught; the replica (or the call) is out of service. Please report it. */
    PANICKED(901, PanickedException::new),
    /** The library found itself in a state that must not exist. Please report it. */
    INTERNAL(902, InternalException::new);

    private final int number;
    private final Function<ErrorDetails, LibraftException> exception;

    ErrorCode(int number, Function<ErrorDetails, LibraftException> exception) {
        this.number = number;
        this.exception = exception;
    }

    /**
     * The number of this code in every language.
     *
     * @return such as 201 for {@link #NOT_LEADER}
     */
    public int number() {
        return number;
    }

    static ErrorCode of(int number) {
        for (ErrorCode code : values()) {
            if (code.number == number) {
                return code;
            }
        }
        return INTERNAL; // of a library that is newer than this class
    }

    LibraftException exception(ErrorDetails details) {
        return exception.apply(details);
    }
}
