package io.libraft;

/**
 * {@code sync} failed: the group is stopped on this node.
 *
 * @see ErrorCode#SYNC_FAILED
 */
public final class SyncFailedException extends LibraftException {
    private static final long serialVersionUID = 1L;

    SyncFailedException(ErrorDetails details) {
        super(details);
    }
}
