package io.libraft;

/**
 * {@code prepareSnapshot} or {@code saveSnapshot} failed.
 *
 * @see ErrorCode#SAVE_FAILED
 */
public final class SaveFailedException extends LibraftException {
    private static final long serialVersionUID = 1L;

    SaveFailedException(ErrorDetails details) {
        super(details);
    }
}
