package io.libraft;

/**
 * Another entry was committed at the proposal's index.
 *
 * @see ErrorCode#OVERWRITTEN
 */
public final class OverwrittenException extends LibraftException {
    private static final long serialVersionUID = 1L;

    OverwrittenException(ErrorDetails details) {
        super(details);
    }
}
