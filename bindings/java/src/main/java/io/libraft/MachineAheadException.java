package io.libraft;

/**
 * The state machine's applied index is beyond the log.
 *
 * @see ErrorCode#MACHINE_AHEAD
 */
public final class MachineAheadException extends LibraftException {
    private static final long serialVersionUID = 1L;

    MachineAheadException(ErrorDetails details) {
        super(details);
    }
}
