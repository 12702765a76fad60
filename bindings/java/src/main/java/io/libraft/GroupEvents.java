package io.libraft;

import java.lang.System.Logger.Level;
import java.util.ArrayDeque;
import java.util.List;
import java.util.OptionalLong;
import java.util.Queue;
import java.util.concurrent.CopyOnWriteArrayList;

/** The listeners of a group, and the events that wait for them. */
final class GroupEvents {
    // The kinds of events, as in `events.rs`.
    private static final byte ROLE = 1;
    private static final byte LEADER = 2;
    private static final byte MEMBERSHIP = 3;
    private static final byte SNAPSHOT_TAKEN = 4;
    private static final byte SNAPSHOT_INSTALLED = 5;
    private static final byte FAILED = 6;
    private static final byte SNAPSHOT_SENDING = 7;
    private static final byte SNAPSHOT_RECEIVING = 8;

    private final NativeGroup group;
    private final List<GroupListener> listeners = new CopyOnWriteArrayList<>();
    private final Queue<Event> waiting = new ArrayDeque<>();
    private boolean telling;

    GroupEvents(NativeGroup group) {
        this.group = group;
    }

    record Event(byte kind, long node, long index, long bytes) {
        static Event read(FlatReader reader) {
            return new Event(
                    reader.readByte(), reader.readLong(), reader.readLong(), reader.readLong());
        }
    }

    synchronized void add(GroupListener listener) {
        boolean first = listeners.isEmpty();
        listeners.add(listener);
        if (first) {
            FlatReader.answer(group.listen(true));
        }
    }

    synchronized void remove(GroupListener listener) {
        if (listeners.remove(listener) && listeners.isEmpty()) {
            FlatReader.answer(group.listen(false));
        }
    }

    /**
     * In order, one at a time, whatever threads the executor has: who comes while another tells
     * leaves it the event.
     */
    void tell(Event event) {
        synchronized (waiting) {
            waiting.add(event);
            if (telling) {
                return;
            }
            telling = true;
        }
        while (true) {
            Event next;
            synchronized (waiting) {
                next = waiting.poll();
                if (next == null) {
                    telling = false;
                    return;
                }
            }
            tellAll(next);
            group.eventTold();
        }
    }

    private void tellAll(Event event) {
        for (GroupListener listener : listeners) {
            try {
                tellOne(listener, event);
            } catch (Throwable e) {
                LogThread.log(Level.WARNING, "a listener of a group failed", e);
            }
        }
    }

    private static void tellOne(GroupListener listener, Event event) {
        switch (event.kind) {
            case ROLE -> listener.onRole(Role.of((int) event.node), event.index);
            case LEADER ->
                    listener.onLeader(
                            event.node == 0 ? OptionalLong.empty() : OptionalLong.of(event.node),
                            event.index);
            case MEMBERSHIP -> listener.onMembership(event.index);
            case SNAPSHOT_TAKEN -> listener.onSnapshotTaken(event.index, event.bytes);
            case SNAPSHOT_INSTALLED -> listener.onSnapshotInstalled(event.index);
            case SNAPSHOT_SENDING ->
                    listener.onSnapshotSending(event.node, event.index, event.bytes);
            case SNAPSHOT_RECEIVING ->
                    listener.onSnapshotReceiving(event.node, event.index, event.bytes);
            case FAILED -> listener.onFailed();
            default -> {} // of a library that is newer than this class
        }
    }
}
