package io.libraft;

/**
 * No such group on this node.
 *
 * @see ErrorCode#GROUP_NOT_FOUND
 */
public final class GroupNotFoundException extends LibraftException {
    private static final long serialVersionUID = 1L;

    GroupNotFoundException(ErrorDetails details) {
        super(details);
    }
}
