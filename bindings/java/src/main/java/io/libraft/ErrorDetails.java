package io.libraft;

/** What an exception is made of. The cause and the leader may be null. */
record ErrorDetails(
        ErrorCode code,
        Outcome outcome,
        boolean retriable,
        String message,
        Leader leader,
        Throwable cause) {}
