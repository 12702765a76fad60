package io.libraft;

/**
 * The data directory belongs to another cluster or to another node.
 *
 * @see ErrorCode#WRONG_IDENTITY
 */
public final class WrongIdentityException extends LibraftException {
    private static final long serialVersionUID = 1L;

    WrongIdentityException(ErrorDetails details) {
        super(details);
    }
}
