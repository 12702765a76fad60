package io.libraft;

/** What a replica is in its group. */
public enum Role {
    /**
     * An initial member that has not met all others, or an empty replica that waits to be added.
     */
    FORMING,
    /** Follows a leader. */
    FOLLOWER,
    /** Asks whether it could become a candidate. */
    PRE_CANDIDATE,
    /** Asks for votes. */
    CANDIDATE,
    /** Leads. */
    LEADER,
    /** Gets all entries but does not vote. */
    LEARNER,
    /** Stopped by a failure, or removed from the group. */
    STOPPED;

    private static final Role[] ROLES = values();

    static Role of(int number) {
        return ROLES[number];
    }
}
