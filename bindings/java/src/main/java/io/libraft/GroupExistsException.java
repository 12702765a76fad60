package io.libraft;

/**
 * The group is already running on this node.
 *
 * @see ErrorCode#GROUP_EXISTS
 */
public final class GroupExistsException extends LibraftException {
    private static final long serialVersionUID = 1L;

    GroupExistsException(ErrorDetails details) {
        super(details);
    }
}
