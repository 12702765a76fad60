package io.libraft;

/**
 * Another process, or another node of this process, has the data directory open.
 *
 * @see ErrorCode#DIRECTORY_IN_USE
 */
public final class DirectoryInUseException extends LibraftException {
    private static final long serialVersionUID = 1L;

    DirectoryInUseException(ErrorDetails details) {
        super(details);
    }
}
