package io.libraft;

/**
 * A file could not be read or written.
 *
 * @see ErrorCode#IO
 */
public final class IoException extends LibraftException {
    private static final long serialVersionUID = 1L;

    IoException(ErrorDetails details) {
        super(details);
    }
}
