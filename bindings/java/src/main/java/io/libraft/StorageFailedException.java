package io.libraft;

/**
 * A sync failed; the node no longer votes or acknowledges. Close it and look at the disk.
 *
 * @see ErrorCode#STORAGE_FAILED
 */
public final class StorageFailedException extends LibraftException {
    private static final long serialVersionUID = 1L;

    StorageFailedException(ErrorDetails details) {
        super(details);
    }
}
