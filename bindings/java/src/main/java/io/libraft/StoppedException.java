package io.libraft;

/**
 * The group is stopped, or was stopped while the call was pending.
 *
 * @see ErrorCode#STOPPED
 */
public final class StoppedException extends LibraftException {
    private static final long serialVersionUID = 1L;

    StoppedException(ErrorDetails details) {
        super(details);
    }
}
