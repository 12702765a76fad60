package io.libraft;

/**
 * The node is closed, or was closed while the call was pending.
 *
 * @see ErrorCode#CLOSED
 */
public final class ClosedException extends LibraftException {
    private static final long serialVersionUID = 1L;

    ClosedException(ErrorDetails details) {
        super(details);
    }
}
