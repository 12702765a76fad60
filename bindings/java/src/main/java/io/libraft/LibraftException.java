package io.libraft;

import java.time.Duration;
import java.util.Optional;

/**
 * A failed call: why, and what became of it. There is a subclass for every {@link ErrorCode}, so
 * that {@code catch (NotLeaderException e)} works.
 *
 * <p>Methods that return a {@code CompletableFuture} never throw: their futures fail, with this as
 * the cause of the {@code ExecutionException} or {@code CompletionException}. All other methods
 * throw it. It is unchecked, because almost every caller meets it inside of a future, where checked
 * exceptions cannot go.
 *
 * <p>If a callback of the state machine threw something, that is the {@linkplain #getCause()
 * cause}.
 */
public abstract sealed class LibraftException extends RuntimeException
        permits AddressInUseException,
                AddressInvalidException,
                ApplyFailedException,
                BusyException,
                ClosedException,
                CorruptedException,
                DirectoryInUseException,
                EmptyProposalException,
                ForkedException,
                FormingException,
                GroupExistsException,
                GroupNotFoundException,
                HandshakeRefusedException,
                InitialMembersConflictException,
                InsecureAddressException,
                InternalException,
                InvalidArgumentException,
                InvalidHandleException,
                InvalidSizeException,
                InvalidUtf8Exception,
                IoException,
                MachineAheadException,
                MembershipBusyException,
                MembershipInvalidException,
                NewerFormatException,
                NoLeaderException,
                NoSpaceException,
                NotLeaderException,
                OpenFailedException,
                OutcomeLostException,
                OverwrittenException,
                PanickedException,
                PermissionDeniedException,
                RemovedException,
                RestoreFailedException,
                SaveFailedException,
                StoppedException,
                StorageFailedException,
                SyncFailedException,
                TimeoutException,
                TooLargeException,
                UnknownMemberException,
                UnreachableException,
                UnsupportedException,
                WouldDeadlockException,
                WrongIdentityException {
    private static final long serialVersionUID = 1L;

    /** Why. */
    private final ErrorCode code;

    /** What became of the call. */
    private final Outcome outcome;

    /** Whether the same call can succeed later. */
    private final boolean retriable;

    private final transient Leader leader;

    LibraftException(ErrorDetails details) {
        super(details.message(), details.cause());
        code = details.code();
        outcome = details.outcome();
        retriable = details.retriable();
        leader = details.leader();
    }

    /**
     * The cause, the same in every language.
     *
     * @return the code
     */
    public ErrorCode code() {
        return code;
    }

    /**
     * What became of the call.
     *
     * @return whether it had no effect, or may yet have one
     */
    public Outcome outcome() {
        return outcome;
    }

    /**
     * What happened, to what, and what to do about it; for people.
     *
     * @return what {@link #getMessage()} returns
     */
    public String message() {
        return getMessage();
    }

    /**
     * Whether the same call can succeed later, and cannot apply anything twice.
     *
     * @return true for what passes with time and had no effect
     */
    public boolean retriable() {
        return retriable;
    }

    /**
     * The leader, if this is about leadership and the leader is known.
     *
     * @return where to go instead
     */
    public Optional<Leader> leader() {
        return Optional.ofNullable(leader);
    }

    /** The exception that the native half wrote, as {@code error.rs} does. */
    static LibraftException read(FlatReader reader, MachineBridge machine) {
        ErrorCode code = ErrorCode.of(reader.readInt());
        Outcome outcome = Outcome.of(reader.readInt());
        boolean retriable = reader.readBoolean();
        String message = reader.readText();
        long leaderId = reader.readLong();
        String leaderAddress = reader.readText();
        Leader leader = leaderId == 0 ? null : new Leader(leaderId, leaderAddress);
        Throwable cause = machine == null ? null : machine.thrown(code);
        return code.exception(new ErrorDetails(code, outcome, retriable, message, leader, cause));
    }

    static LibraftException rejected(ErrorCode code, String message) {
        boolean retriable = code == ErrorCode.BUSY;
        return code.exception(
                new ErrorDetails(code, Outcome.REJECTED, retriable, message, null, null));
    }

    static LibraftException invalid(String message) {
        return rejected(ErrorCode.INVALID_ARGUMENT, message);
    }

    /** Refuses null in the way in which all bad arguments are refused. */
    static <T> T required(T value, String name) {
        if (value == null) {
            throw invalid(name + " is null");
        }
        return value;
    }

    static long millis(Duration value, String name) {
        try {
            return notNegative(required(value, name).toMillis(), name);
        } catch (ArithmeticException e) {
            throw invalid(name + " is " + value + ": that is too long");
        }
    }

    static long notNegative(long value, String name) {
        if (value < 0) {
            throw invalid(name + " is " + value + ", but must not be negative");
        }
        return value;
    }
}
