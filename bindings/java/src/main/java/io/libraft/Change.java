package io.libraft;

/** One step of a membership change. All steps of one call take effect together. */
public final class Change {
    private final int kind;
    private final long nodeId;
    private final String address;

    private Change(int kind, long nodeId, String address) {
        this.kind = kind;
        this.nodeId = LibraftException.notNegative(nodeId, "nodeId");
        this.address = LibraftException.required(address, "the address of a change");
    }

    /**
     * Adds a node that gets all entries but does not vote. It must be running.
     *
     * @param nodeId the node
     * @param address the address that it advertises
     * @return the step
     */
    public static Change addLearner(long nodeId, String address) {
        return new Change(1, nodeId, address);
    }

    /**
     * Adds a node that votes. It must be running.
     *
     * @param nodeId the node
     * @param address the address that it advertises
     * @return the step
     */
    public static Change addVoter(long nodeId, String address) {
        return new Change(2, nodeId, address);
    }

    /**
     * Makes a learner a voter.
     *
     * @param nodeId the node
     * @return the step
     */
    public static Change promote(long nodeId) {
        return new Change(3, nodeId, "");
    }

    /**
     * Makes a voter a learner.
     *
     * @param nodeId the node
     * @return the step
     */
    public static Change demote(long nodeId) {
        return new Change(4, nodeId, "");
    }

    /**
     * Removes a member.
     *
     * @param nodeId the node
     * @return the step
     */
    public static Change remove(long nodeId) {
        return new Change(5, nodeId, "");
    }

    /**
     * Says that a member has moved.
     *
     * @param nodeId the node
     * @param address its new address
     * @return the step
     */
    public static Change setAddress(long nodeId, String address) {
        return new Change(6, nodeId, address);
    }

    void write(FlatWriter writer) {
        writer.writeByte(kind).writeLong(nodeId).writeText(address, "the address of a change");
    }
}
