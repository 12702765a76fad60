package io.libraft;

/**
 * {@code open} failed: the group could not be started on this node.
 *
 * @see ErrorCode#OPEN_FAILED
 */
public final class OpenFailedException extends LibraftException {
    private static final long serialVersionUID = 1L;

    OpenFailedException(ErrorDetails details) {
        super(details);
    }
}
