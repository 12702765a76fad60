package io.libraft;

/**
 * {@code restoreSnapshot} failed: the group is stopped on this node.
 *
 * @see ErrorCode#RESTORE_FAILED
 */
public final class RestoreFailedException extends LibraftException {
    private static final long serialVersionUID = 1L;

    RestoreFailedException(ErrorDetails details) {
        super(details);
    }
}
