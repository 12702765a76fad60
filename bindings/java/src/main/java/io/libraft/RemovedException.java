package io.libraft;

/**
 * This replica was removed from the group.
 *
 * @see ErrorCode#REMOVED
 */
public final class RemovedException extends LibraftException {
    private static final long serialVersionUID = 1L;

    RemovedException(ErrorDetails details) {
        super(details);
    }
}
