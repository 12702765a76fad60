package io.libraft;

/**
 * The listening address is in use.
 *
 * @see ErrorCode#ADDRESS_IN_USE
 */
public final class AddressInUseException extends LibraftException {
    private static final long serialVersionUID = 1L;

    AddressInUseException(ErrorDetails details) {
        super(details);
    }
}
