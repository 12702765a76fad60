package io.libraft;

/**
 * An argument is missing, out of range or contradicts another.
 *
 * @see ErrorCode#INVALID_ARGUMENT
 */
public final class InvalidArgumentException extends LibraftException {
    private static final long serialVersionUID = 1L;

    InvalidArgumentException(ErrorDetails details) {
        super(details);
    }
}
