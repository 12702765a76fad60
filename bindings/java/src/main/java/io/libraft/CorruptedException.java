package io.libraft;

/**
 * A file is damaged; the message names the file and the offset.
 *
 * @see ErrorCode#CORRUPTED
 */
public final class CorruptedException extends LibraftException {
    private static final long serialVersionUID = 1L;

    CorruptedException(ErrorDetails details) {
        super(details);
    }
}
