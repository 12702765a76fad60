package io.libraft;

/**
 * There is no leader at present.
 *
 * @see ErrorCode#NO_LEADER
 */
public final class NoLeaderException extends LibraftException {
    private static final long serialVersionUID = 1L;

    NoLeaderException(ErrorDetails details) {
        super(details);
    }
}
