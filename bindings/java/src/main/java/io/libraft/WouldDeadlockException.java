package io.libraft;

/**
 * A blocking call was made on one of the library's own threads.
 *
 * @see ErrorCode#WOULD_DEADLOCK
 */
public final class WouldDeadlockException extends LibraftException {
    private static final long serialVersionUID = 1L;

    WouldDeadlockException(ErrorDetails details) {
        super(details);
    }
}
