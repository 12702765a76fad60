package io.libraft;

import java.util.Optional;
import java.util.UUID;

/**
 * What a group says of its replica on this node.
 *
 * @param groupId the group's id
 * @param raftId this replica's number within the group; 0 while it waits to be added
 * @param formation names this formation of the group; nil while it forms
 * @param role what the replica is
 * @param term the current term
 * @param leader the leader, if it is known
 * @param firstIndex the first index that the log holds
 * @param lastIndex the last index that the log holds
 * @param commitIndex up to here entries are committed
 * @param appliedIndex up to here the state machine has applied
 * @param snapshotIndex the index of the latest snapshot; 0 if there is none
 * @param pendingProposals proposals and reads of this node that are pending
 * @param pendingBytes bytes of them
 * @param failure what stopped the group on this node, if anything did
 */
public record GroupStatus(
        long groupId,
        long raftId,
        UUID formation,
        Role role,
        long term,
        Optional<Leader> leader,
        long firstIndex,
        long lastIndex,
        long commitIndex,
        long appliedIndex,
        long snapshotIndex,
        long pendingProposals,
        long pendingBytes,
        Optional<LibraftException> failure) {

    static GroupStatus read(FlatReader reader, MachineBridge machine) {
        return new GroupStatus(
                reader.readLong(),
                reader.readLong(),
                UUID.fromString(reader.readText()),
                Role.of(reader.readInt()),
                reader.readLong(),
                readLeader(reader),
                reader.readLong(),
                reader.readLong(),
                reader.readLong(),
                reader.readLong(),
                reader.readLong(),
                reader.readLong(),
                reader.readLong(),
                Optional.ofNullable(reader.readOptionalError(machine)));
    }

    private static Optional<Leader> readLeader(FlatReader reader) {
        long nodeId = reader.readLong();
        String address = reader.readText();
        return nodeId == 0 ? Optional.empty() : Optional.of(new Leader(nodeId, address));
    }
}
