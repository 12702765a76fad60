package io.libraft;

/**
 * A struct of the C interface has a size that the library cannot accept; never seen from Java.
 *
 * @see ErrorCode#INVALID_SIZE
 */
public final class InvalidSizeException extends LibraftException {
    private static final long serialVersionUID = 1L;

    InvalidSizeException(ErrorDetails details) {
        super(details);
    }
}
