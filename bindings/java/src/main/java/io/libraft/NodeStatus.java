package io.libraft;

import java.util.Optional;
import java.util.UUID;

/**
 * What a node says of itself.
 *
 * @param cluster the cluster's name
 * @param nodeId the node's id
 * @param incarnation names its data directory: a wiped node has another
 * @param bootCounter how often the data directory was opened
 * @param address the address that peers connect to, with the actual port
 * @param groups groups on this node
 * @param connectedPeers peers that are connected now
 * @param refusedFrames frames that were refused since the node was opened
 * @param refusedConnections connections that were refused since the node was opened
 * @param journalBytes the journal's bytes on the disk
 * @param checkpointBytes the checkpoint's bytes on the disk
 * @param segments journal segments in use
 * @param full whether new entries are refused for want of space
 * @param failure what put the node out of service, if anything did
 */
public record NodeStatus(
        String cluster,
        long nodeId,
        UUID incarnation,
        long bootCounter,
        String address,
        long groups,
        long connectedPeers,
        long refusedFrames,
        long refusedConnections,
        long journalBytes,
        long checkpointBytes,
        long segments,
        boolean full,
        Optional<LibraftException> failure) {

    static NodeStatus read(FlatReader reader) {
        return new NodeStatus(
                reader.readText(),
                reader.readLong(),
                UUID.fromString(reader.readText()),
                reader.readLong(),
                reader.readText(),
                reader.readLong(),
                reader.readLong(),
                reader.readLong(),
                reader.readLong(),
                reader.readLong(),
                reader.readLong(),
                reader.readLong(),
                reader.readBoolean(),
                Optional.ofNullable(reader.readOptionalError(null)));
    }
}
