package io.libraft;

/**
 * The replica lost track of the proposal: leadership moved, or a snapshot jumped over it.
 *
 * @see ErrorCode#OUTCOME_LOST
 */
public final class OutcomeLostException extends LibraftException {
    private static final long serialVersionUID = 1L;

    OutcomeLostException(ErrorDetails details) {
        super(details);
    }
}
