package io.libraft;

/**
 * A limit on pending, uncommitted or unapplied work is reached.
 *
 * @see ErrorCode#BUSY
 */
public final class BusyException extends LibraftException {
    private static final long serialVersionUID = 1L;

    BusyException(ErrorDetails details) {
        super(details);
    }
}
