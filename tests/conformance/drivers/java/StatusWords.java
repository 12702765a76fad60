import io.libraft.GroupStatus;
import io.libraft.LibraftException;
import io.libraft.Member;
import io.libraft.NodeStatus;
import io.libraft.Role;

import java.util.List;
import java.util.Optional;
import java.util.UUID;

/** What nodes and groups say of themselves, in words. */
final class StatusWords {
    private StatusWords() {}

    static String of(NodeStatus status) {
        return " node_id="
                + status.nodeId()
                + " incarnation="
                + hex(status.incarnation())
                + " boot_counter="
                + status.bootCounter()
                + " groups="
                + status.groups()
                + " connected_peers="
                + status.connectedPeers()
                + " refused_frames="
                + status.refusedFrames()
                + " refused_connections="
                + status.refusedConnections()
                + " journal_bytes="
                + status.journalBytes()
                + " checkpoint_bytes="
                + status.checkpointBytes()
                + " segments="
                + status.segments()
                + " full="
                + (status.full() ? 1 : 0)
                + " cluster="
                + status.cluster()
                + " address="
                + Words.hex(status.address())
                + failure(status.failure());
    }

    static String of(GroupStatus status) {
        return " group_id="
                + status.groupId()
                + " raft_id="
                + status.raftId()
                + " role="
                + of(status.role())
                + " term="
                + status.term()
                + " first_index="
                + status.firstIndex()
                + " last_index="
                + status.lastIndex()
                + " commit_index="
                + status.commitIndex()
                + " applied_index="
                + status.appliedIndex()
                + " snapshot_index="
                + status.snapshotIndex()
                + " pending_proposals="
                + status.pendingProposals()
                + " pending_bytes="
                + status.pendingBytes()
                + " leader_node_id="
                + status.leader().map(leader -> leader.nodeId()).orElse(0L)
                + " leader_address="
                + Words.hex(status.leader().map(leader -> leader.address()).orElse(""))
                + failure(status.failure());
    }

    static String of(List<Member> members) {
        StringBuilder text = new StringBuilder();
        for (Member member : members) {
            text.append(" m=")
                    .append(member.nodeId())
                    .append(':')
                    .append(member.raftId())
                    .append(':');
            text.append(member.role().name().toLowerCase())
                    .append(':')
                    .append(Words.hex(member.address()));
        }
        return text.toString();
    }

    static String of(Role role) {
        return role.name().toLowerCase();
    }

    private static String failure(Optional<LibraftException> failure) {
        return " failure_code="
                + failure.map(error -> error.code().name()).orElse("OK")
                + " failure="
                + Words.hex(failure.map(LibraftException::message).orElse(""));
    }

    private static String hex(UUID uuid) {
        return uuid.toString().replace("-", "");
    }
}
