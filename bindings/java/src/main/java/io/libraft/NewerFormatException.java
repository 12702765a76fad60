package io.libraft;

/**
 * The data directory was written by a newer version of libraft.
 *
 * @see ErrorCode#NEWER_FORMAT
 */
public final class NewerFormatException extends LibraftException {
    private static final long serialVersionUID = 1L;

    NewerFormatException(ErrorDetails details) {
        super(details);
    }
}
