package io.libraft;

/**
 * The change, transfer or request names a node that is not a member.
 *
 * @see ErrorCode#UNKNOWN_MEMBER
 */
public final class UnknownMemberException extends LibraftException {
    private static final long serialVersionUID = 1L;

    UnknownMemberException(ErrorDetails details) {
        super(details);
    }
}
