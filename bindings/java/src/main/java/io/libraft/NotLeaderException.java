package io.libraft;

/**
 * This replica is not the leader; the error names the leader when it is known.
 *
 * @see ErrorCode#NOT_LEADER
 */
public final class NotLeaderException extends LibraftException {
    private static final long serialVersionUID = 1L;

    NotLeaderException(ErrorDetails details) {
        super(details);
    }
}
