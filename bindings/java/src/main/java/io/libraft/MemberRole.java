package io.libraft;

/** What a member may do. */
public enum MemberRole {
    /** Votes. */
    VOTER,
    /** Gets all entries but does not vote. */
    LEARNER,
    /** Votes in the old half of a joint configuration only. */
    OUTGOING;

    private static final MemberRole[] ROLES = values();

    static MemberRole of(int number) {
        return ROLES[number];
    }
}
