package io.libraft;

/**
 * The call's time ran out.
 *
 * @see ErrorCode#TIMEOUT
 */
public final class TimeoutException extends LibraftException {
    private static final long serialVersionUID = 1L;

    TimeoutException(ErrorDetails details) {
        super(details);
    }
}
