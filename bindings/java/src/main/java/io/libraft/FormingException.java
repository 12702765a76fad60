package io.libraft;

/**
 * The group is still forming: not all initial members have met each other.
 *
 * @see ErrorCode#FORMING
 */
public final class FormingException extends LibraftException {
    private static final long serialVersionUID = 1L;

    FormingException(ErrorDetails details) {
        super(details);
    }
}
