package io.libraft;

/**
 * A proposal has no bytes.
 *
 * @see ErrorCode#EMPTY_PROPOSAL
 */
public final class EmptyProposalException extends LibraftException {
    private static final long serialVersionUID = 1L;

    EmptyProposalException(ErrorDetails details) {
        super(details);
    }
}
