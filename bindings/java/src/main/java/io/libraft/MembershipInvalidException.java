package io.libraft;

/**
 * The membership change is impossible: it would leave no voter, add a member twice, and so on.
 *
 * @see ErrorCode#MEMBERSHIP_INVALID
 */
public final class MembershipInvalidException extends LibraftException {
    private static final long serialVersionUID = 1L;

    MembershipInvalidException(ErrorDetails details) {
        super(details);
    }
}
