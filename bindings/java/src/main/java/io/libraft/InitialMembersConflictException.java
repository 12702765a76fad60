package io.libraft;

/**
 * The initial members contradict what the data directory holds.
 *
 * @see ErrorCode#INITIAL_MEMBERS_CONFLICT
 */
public final class InitialMembersConflictException extends LibraftException {
    private static final long serialVersionUID = 1L;

    InitialMembersConflictException(ErrorDetails details) {
        super(details);
    }
}
