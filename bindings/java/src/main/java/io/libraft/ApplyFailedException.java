package io.libraft;

/**
 * {@code apply} failed: the group is stopped on this node.
 *
 * @see ErrorCode#APPLY_FAILED
 */
public final class ApplyFailedException extends LibraftException {
    private static final long serialVersionUID = 1L;

    ApplyFailedException(ErrorDetails details) {
        super(details);
    }
}
