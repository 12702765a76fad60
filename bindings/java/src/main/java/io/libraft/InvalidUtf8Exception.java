package io.libraft;

/**
 * Bytes that must be UTF-8 are not.
 *
 * @see ErrorCode#INVALID_UTF8
 */
public final class InvalidUtf8Exception extends LibraftException {
    private static final long serialVersionUID = 1L;

    InvalidUtf8Exception(ErrorDetails details) {
        super(details);
    }
}
