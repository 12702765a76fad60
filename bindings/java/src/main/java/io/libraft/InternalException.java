package io.libraft;

/**
 * The library found itself in a state that must not exist. Please report it.
 *
 * @see ErrorCode#INTERNAL
 */
public final class InternalException extends LibraftException {
    private static final long serialVersionUID = 1L;

    InternalException(ErrorDetails details) {
        super(details);
    }
}
