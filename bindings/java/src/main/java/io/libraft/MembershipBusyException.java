package io.libraft;

/**
 * Another membership change is still in progress.
 *
 * @see ErrorCode#MEMBERSHIP_BUSY
 */
public final class MembershipBusyException extends LibraftException {
    private static final long serialVersionUID = 1L;

    MembershipBusyException(ErrorDetails details) {
        super(details);
    }
}
