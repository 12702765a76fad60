package io.libraft;

/**
 * The disk is full; service resumes by itself when space returns.
 *
 * @see ErrorCode#NO_SPACE
 */
public final class NoSpaceException extends LibraftException {
    private static final long serialVersionUID = 1L;

    NoSpaceException(ErrorDetails details) {
        super(details);
    }
}
