package io.libraft;

import java.util.UUID;

/**
 * A member of a group.
 *
 * @param raftId the member's number within the group, never used twice
 * @param nodeId the node it is on
 * @param incarnation names that node's data directory; nil while it is not known
 * @param address the address that peers connect to
 * @param role what it may do
 */
public record Member(long raftId, long nodeId, UUID incarnation, String address, MemberRole role) {

    static Member read(FlatReader reader) {
        return new Member(
                reader.readLong(),
                reader.readLong(),
                UUID.fromString(reader.readText()),
                reader.readText(),
                MemberRole.of(reader.readInt()));
    }
}
