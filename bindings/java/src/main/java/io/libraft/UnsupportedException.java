package io.libraft;

/**
 * The operation does not apply to the state machine's kind, or is not supported by this build.
 *
 * @see ErrorCode#UNSUPPORTED
 */
public final class UnsupportedException extends LibraftException {
    private static final long serialVersionUID = 1L;

    UnsupportedException(ErrorDetails details) {
        super(details);
    }
}
