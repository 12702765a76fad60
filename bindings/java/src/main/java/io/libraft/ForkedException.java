package io.libraft;

/**
 * The node was opened in the parent of this process; a forked child cannot use it.
 *
 * @see ErrorCode#FORKED
 */
public final class ForkedException extends LibraftException {
    private static final long serialVersionUID = 1L;

    ForkedException(ErrorDetails details) {
        super(details);
    }
}
