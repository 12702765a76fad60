package io.libraft;

/**
 * An address cannot be parsed or resolved.
 *
 * @see ErrorCode#ADDRESS_INVALID
 */
public final class AddressInvalidException extends LibraftException {
    private static final long serialVersionUID = 1L;

    AddressInvalidException(ErrorDetails details) {
        super(details);
    }
}
