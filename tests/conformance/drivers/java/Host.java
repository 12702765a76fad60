import io.libraft.Change;
import io.libraft.Completion;
import io.libraft.Group;
import io.libraft.GroupOptions;
import io.libraft.Libraft;
import io.libraft.LibraftException;
import io.libraft.Node;
import io.libraft.NodeOptions;

import java.lang.ref.WeakReference;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Function;

/** The nodes and groups of this process, and what is asked of them. */
final class Host {
    /** A group and its machine, with the name of both. */
    record Seat(Group group, MemoryLedger ledger, EventPrinter events) {}

    private final Map<Long, Node> nodes = new ConcurrentHashMap<>();
    private final Map<String, Seat> seats = new ConcurrentHashMap<>();
    private final LogCounter log = new LogCounter();

    /** For calls that block their thread. */
    private final ExecutorService blocking =
            Executors.newCachedThreadPool(
                    body -> {
                        Thread thread = new Thread(body, "call");
                        thread.setDaemon(true);
                        return thread;
                    });

    void serve(Words words) {
        try {
            start(words);
        } catch (Exception e) {
            Driver.print(words.id + " " + Words.failure(e));
        }
    }

    private void start(Words words) throws Exception {
        switch (words.command) {
            case "version" -> answer(words, " version=" + Libraft.version());
            case "open" -> block(words, () -> open(words));
            case "start_group" -> startGroup(words);
            case "wait_ready" -> {
                Group group = seat(words).group;
                Duration timeout = Duration.ofMillis(words.number("timeout_ms"));
                block(
                        words,
                        () -> {
                            group.waitReady(timeout);
                            return "";
                        });
            }
            case "propose" ->
                    answer(words, seat(words).group.propose(words.bytes("data")), Host::completed);
            case "propose_batch" -> proposeBatch(words);
            case "read_index" ->
                    answer(words, seat(words).group.readIndex(), index -> " index=" + index);
            case "read" -> {
                MemoryLedger ledger = seat(words).ledger;
                byte[] key = words.bytes("key");
                answer(
                        words,
                        seat(words).group.readIndex(),
                        index -> " index=" + index + found(ledger.value(key)));
            }
            case "dump" -> dump(words);
            case "node_status" -> answer(words, StatusWords.of(node(words).status()));
            case "group_status" -> answer(words, StatusWords.of(seat(words).group.status()));
            case "members" -> answer(words, StatusWords.of(seat(words).group.members()));
            case "change_membership" ->
                    answer(
                            words,
                            seat(words).group.changeMembership(steps(words.text("steps"))),
                            index -> "");
            case "transfer_leadership" ->
                    answer(
                            words,
                            seat(words).group.transferLeadership(words.number("to")),
                            nothing -> "");
            case "take_snapshot" ->
                    answer(words, seat(words).group.takeSnapshot(), index -> " index=" + index);
            case "events" -> events(words);
            case "machine" -> machine(words);
            case "stop" -> {
                Group group = seat(words).group;
                block(
                        words,
                        () -> {
                            group.stop();
                            return "";
                        });
            }
            case "close" -> close(words);
            case "close_in_callback" ->
                    seat(words)
                            .ledger
                            .behaviour
                            .closeInCallback(node(words))
                            .thenAccept(
                                    error -> {
                                        String code =
                                                error == null
                                                        ? "OK"
                                                        : Words.failure(error).split("[ =]")[2];
                                        answer(words, " code=" + code);
                                    });
            case "misuse" ->
                    answer(words, Misuse.of(words, node(words), seat(words).group), nothing -> "");
            case "destroyed" -> answer(words, " count=" + MemoryLedger.DESTROYED.get());
            case "log" -> {
                log.listen(words.text("level"));
                answer(words, "");
            }
            case "logged" -> answer(words, " count=" + log.count());
            default -> throw new IllegalArgumentException("there is no command " + words.command);
        }
    }

    private String open(Words words) {
        NodeOptions options =
                new NodeOptions(
                        words.text("cluster"),
                        words.number("node"),
                        Path.of(words.decoded("directory")));
        if (words.has("listen")) {
            options.listenAddress(words.decoded("listen"));
        }
        if (words.has("advertise")) {
            options.advertisedAddress(words.decoded("advertise"));
        }
        if (words.has("tick_ms")) {
            options.tick(Duration.ofMillis(words.number("tick_ms")));
        }
        if (words.has("election_ticks")) {
            options.electionTicks(words.number("election_ticks"));
        }
        if (words.has("heartbeat_ticks")) {
            options.heartbeatTicks(words.number("heartbeat_ticks"));
        }
        if (words.has("segment_bytes")) {
            options.segmentBytes(words.number("segment_bytes"));
        }
        if (words.has("insecure")) {
            options.insecureTransport(words.isSet("insecure"));
        }
        Node node = Node.open(options);
        nodes.put(words.number("node"), node);
        return " address=" + Words.hex(node.status().address());
    }

    private void startGroup(Words words) {
        GroupOptions options = new GroupOptions(words.number("group"));
        if (!words.text("members").equals("-")) {
            for (String member : words.text("members").split(",")) {
                String[] parts = member.split("@", 2);
                options.initialMember(Long.parseLong(parts[0]), parts[1]);
            }
        }
        Map<String, Function<Long, GroupOptions>> numbers =
                Map.of(
                        "proposal_bytes_max", options::proposalBytesMax,
                        "pending_bytes_max", options::pendingBytesMax,
                        "pending_count_max", options::pendingCountMax,
                        "snapshot_entries", options::snapshotEntries,
                        "snapshot_log_bytes", options::snapshotLogBytes,
                        "retained_entries", options::retainedEntries,
                        "proposal_timeout_ms", ms -> options.proposalTimeout(Duration.ofMillis(ms)),
                        "snapshot_transfer_timeout_ms",
                                ms -> options.snapshotTransferTimeout(Duration.ofMillis(ms)),
                        "snapshot_restore_timeout_ms",
                                ms -> options.snapshotRestoreTimeout(Duration.ofMillis(ms)));
        numbers.forEach(
                (name, set) -> {
                    if (words.has(name)) {
                        set.apply(words.number(name));
                    }
                });
        MemoryLedger ledger = ledger(words);
        Group group = node(words).startGroup(options, ledger);
        seats.put(
                place(words), new Seat(group, ledger, new EventPrinter(words.text("node"), group)));
        answer(words, "");
    }

    private static MemoryLedger ledger(Words words) {
        Behaviour behaviour = new Behaviour();
        behaviour.fail = words.textOr("fail", "none");
        boolean quick = words.isSet("quick");
        boolean async = words.textOr("style", "sync").equals("async");
        return switch (words.text("machine")) {
            case "memory" -> new MemoryLedger(behaviour, quick, async);
            case "concurrent" -> new ConcurrentLedger(behaviour, quick, async);
            case "disk" -> new DiskLedger(behaviour, quick, async, Path.of(words.decoded("state")));
            default ->
                    throw new IllegalArgumentException(
                            "there is no machine " + words.text("machine"));
        };
    }

    private void proposeBatch(Words words) {
        List<byte[]> batch = new ArrayList<>();
        for (String entry : words.text("data").split(",")) {
            batch.add(Words.unhex(entry));
        }
        answer(
                words,
                seat(words).group.proposeBatch(batch),
                done -> {
                    StringBuilder text = new StringBuilder();
                    for (int i = 0; i < done.size(); i++) {
                        LibraftException failure = done.failure(i);
                        if (failure == null) {
                            Completion entry = done.get(i);
                            text.append(" r=")
                                    .append(entry.index())
                                    .append(':')
                                    .append(entry.term());
                            text.append(':').append(Words.hex(entry.result()));
                        } else {
                            text.append(" r=").append(failure.code()).append(':');
                            text.append(failure.outcome().name().toLowerCase());
                        }
                    }
                    return text.toString();
                });
    }

    private void dump(Words words) {
        LedgerState state = seat(words).ledger.copy();
        answer(
                words,
                " applied="
                        + state.applied
                        + " count="
                        + state.count
                        + " hash="
                        + Long.toUnsignedString(state.hash)
                        + " keys="
                        + state.values.size());
    }

    private static Change[] steps(String text) {
        return java.util.Arrays.stream(text.split(","))
                .map(
                        step -> {
                            String[] parts = step.split("[:@]", 3);
                            long node = Long.parseLong(parts[1]);
                            return switch (parts[0]) {
                                case "add_learner" -> Change.addLearner(node, parts[2]);
                                case "add_voter" -> Change.addVoter(node, parts[2]);
                                case "set_address" -> Change.setAddress(node, parts[2]);
                                case "promote" -> Change.promote(node);
                                case "demote" -> Change.demote(node);
                                case "remove" -> Change.remove(node);
                                default ->
                                        throw new IllegalArgumentException(
                                                "there is no step " + parts[0]);
                            };
                        })
                .toArray(Change[]::new);
    }

    private void events(Words words) {
        Seat seat = seat(words);
        if (words.isSet("on")) {
            seat.group.addListener(seat.events);
        } else {
            seat.group.removeListener(seat.events);
        }
        answer(words, "");
    }

    private void machine(Words words) {
        Behaviour behaviour = seat(words).ledger.behaviour;
        if (words.has("block_ms")) {
            behaviour.blockMs = words.number("block_ms");
        }
        if (words.has("fail")) {
            behaviour.fail = words.text("fail");
        }
        if (words.has("pend")) {
            behaviour.setPend(words.text("pend"));
        }
        if (words.isSet("release")) {
            behaviour.release();
        }
        answer(words, "");
    }

    private void close(Words words) {
        Node node = node(words);
        switch (words.textOr("how", "wait")) {
            case "wait" ->
                    block(
                            words,
                            () -> {
                                node.close();
                                return "";
                            });
            case "async" -> answer(words, node.closeAsync(), nothing -> "");
            case "forget" -> {
                WeakReference<Node> forgotten =
                        new WeakReference<>(nodes.remove(words.number("node")));
                seats.keySet().removeIf(place -> place.startsWith(words.text("node") + "/"));
                blocking.execute(
                        () -> {
                            while (forgotten.get() != null) {
                                System.gc();
                            }
                        });
                answer(words, "");
            }
            default -> throw new IllegalArgumentException("there is no such way to close");
        }
    }

    private Node node(Words words) {
        Node node = nodes.get(words.number("node"));
        if (node == null) {
            throw new IllegalArgumentException("there is no node " + words.text("node"));
        }
        return node;
    }

    private Seat seat(Words words) {
        Seat seat = seats.get(place(words));
        if (seat == null) {
            throw new IllegalArgumentException("there is no group " + place(words));
        }
        return seat;
    }

    private static String place(Words words) {
        return words.text("node") + "/" + words.text("group");
    }

    private static String completed(Completion completion) {
        return " index="
                + completion.index()
                + " term="
                + completion.term()
                + " result="
                + Words.hex(completion.result());
    }

    private static String found(byte[] value) {
        return value == null ? " found=0 value=-" : " found=1 value=" + Words.hex(value);
    }

    private static void answer(Words words, String values) {
        Driver.print(words.id + " ok" + values);
    }

    /** Answers when the future completes, on its thread, or on one that waits for it. */
    private <T> void answer(Words words, CompletableFuture<T> future, Function<T, String> values) {
        if (words.textOr("form", "async").equals("blocking")) {
            block(words, () -> values.apply(future.get()));
            return;
        }
        future.whenComplete(
                (result, error) -> {
                    if (error == null) {
                        answer(words, values.apply(result));
                    } else {
                        Driver.print(words.id + " " + Words.failure(error));
                    }
                });
    }

    private void block(Words words, Callable<String> body) {
        blocking.execute(
                () -> {
                    try {
                        answer(words, body.call());
                    } catch (Exception e) {
                        Driver.print(words.id + " " + Words.failure(e));
                    }
                });
    }
}
