package io.libraft;

/**
 * The data directory cannot be read or written by this user.
 *
 * @see ErrorCode#PERMISSION_DENIED
 */
public final class PermissionDeniedException extends LibraftException {
    private static final long serialVersionUID = 1L;

    PermissionDeniedException(ErrorDetails details) {
        super(details);
    }
}
