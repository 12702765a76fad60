package io.libraft;

/**
 * A panic was caught; the replica (or the call) is out of service. Please report it.
 *
 * @see ErrorCode#PANICKED
 */
public final class PanickedException extends LibraftException {
    private static final long serialVersionUID = 1L;

    PanickedException(ErrorDetails details) {
        super(details);
    }
}
