package io.libraft;

/**
 * Where the leader of a group is, as far as a node knows.
 *
 * @param nodeId the leader's node id
 * @param address the address that the leader advertises to its peers
 */
public record Leader(long nodeId, String address) {}
