package io.libraft;

/**
 * A handle is stale, forged or of another kind.
 *
 * @see ErrorCode#INVALID_HANDLE
 */
public final class InvalidHandleException extends LibraftException {
    private static final long serialVersionUID = 1L;

    InvalidHandleException(ErrorDetails details) {
        super(details);
    }
}
