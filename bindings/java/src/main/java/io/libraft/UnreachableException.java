package io.libraft;

/**
 * A peer could not be reached.
 *
 * @see ErrorCode#UNREACHABLE
 */
public final class UnreachableException extends LibraftException {
    private static final long serialVersionUID = 1L;

    UnreachableException(ErrorDetails details) {
        super(details);
    }
}
