import io.libraft.Group;
import io.libraft.GroupListener;
import io.libraft.Role;

import java.util.OptionalLong;

/** Prints the events of a group. */
final class EventPrinter implements GroupListener {
    private final String place;

    EventPrinter(String node, Group group) {
        place = "! event node=" + node + " group=" + group.groupId() + " kind=";
    }

    @Override
    public void onRole(Role role, long term) {
        Driver.print(place + "role role=" + StatusWords.of(role) + " term=" + term);
    }

    @Override
    public void onLeader(OptionalLong nodeId, long term) {
        Driver.print(place + "leader node_id=" + nodeId.orElse(0) + " term=" + term);
    }

    @Override
    public void onMembership(long index) {
        Driver.print(place + "membership index=" + index);
    }

    @Override
    public void onSnapshotTaken(long index, long bytes) {
        Driver.print(place + "snapshot_taken index=" + index + " bytes=" + bytes);
    }

    @Override
    public void onSnapshotInstalled(long index) {
        Driver.print(place + "snapshot_installed index=" + index);
    }

    @Override
    public void onSnapshotSending(long nodeId, long index, long bytes) {
        Driver.print(
                place
                        + "snapshot_sending node_id="
                        + nodeId
                        + " index="
                        + index
                        + " bytes="
                        + bytes);
    }

    @Override
    public void onSnapshotReceiving(long nodeId, long index, long bytes) {
        Driver.print(
                place
                        + "snapshot_receiving node_id="
                        + nodeId
                        + " index="
                        + index
                        + " bytes="
                        + bytes);
    }

    @Override
    public void onFailed() {
        Driver.print(place + "failed");
    }
}
