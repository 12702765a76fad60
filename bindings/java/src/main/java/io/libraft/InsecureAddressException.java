package io.libraft;

/**
 * Listening beyond loopback without transport security was not asked for explicitly.
 *
 * @see ErrorCode#INSECURE_ADDRESS
 */
public final class InsecureAddressException extends LibraftException {
    private static final long serialVersionUID = 1L;

    InsecureAddressException(ErrorDetails details) {
        super(details);
    }
}
