package io.libraft;

/**
 * A proposal or a result exceeds the configured cap.
 *
 * @see ErrorCode#TOO_LARGE
 */
public final class TooLargeException extends LibraftException {
    private static final long serialVersionUID = 1L;

    TooLargeException(ErrorDetails details) {
        super(details);
    }
}
