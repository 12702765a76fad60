package io.libraft;

/**
 * A peer refused the handshake, or was refused; the message says why.
 *
 * @see ErrorCode#HANDSHAKE_REFUSED
 */
public final class HandshakeRefusedException extends LibraftException {
    private static final long serialVersionUID = 1L;

    HandshakeRefusedException(ErrorDetails details) {
        super(details);
    }
}
