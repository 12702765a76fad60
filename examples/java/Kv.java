import io.libraft.Change;
import io.libraft.Completion;
import io.libraft.Entries;
import io.libraft.Entry;
import io.libraft.Group;
import io.libraft.GroupListener;
import io.libraft.GroupOptions;
import io.libraft.GroupStatus;
import io.libraft.Libraft;
import io.libraft.LibraftException;
import io.libraft.Member;
import io.libraft.Node;
import io.libraft.NodeOptions;
import io.libraft.Outcome;
import io.libraft.Role;
import io.libraft.StateMachine;

import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CompletionException;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/**
 * kv: a replicated key-value store, whole: the program of examples/c/kv.c in Java. Processes of
 * both are one cluster.
 *
 * <p>Every process holds all keys in memory. Changes go through libraft, which hands them to each
 * process in the same order ({@link #apply}) and keeps them, as long as most of the processes live.
 * A client may talk to any of them.
 *
 * <pre>
 *     java -cp libraft.jar Kv.java --node 1 --directory data-1 --listen 127.0.0.1:7001
 *          --clients 8001 --member 1=127.0.0.1:7001 --member 2=127.0.0.1:7002
 *          --member 3=127.0.0.1:7003
 * </pre>
 *
 * and the same as node 2 and 3; or one alone, with itself as the only member. A process without
 * --member waits until the leader of those that are there is told to {@code add} it.
 *
 * <p>The protocol, on a port of 127.0.0.1: a line for each request, and behind the line of a value
 * its bytes, whatever they are. Try it with {@code nc 127.0.0.1 8001}.
 *
 * <pre>
 *     put LENGTH KEY, then the bytes   ok INDEX
 *     del KEY                          ok INDEX, or none
 *     get KEY                          value LENGTH, then the bytes; or none. Linearizable.
 *     keys                             keys COUNT, then a line for each. Linearizable.
 *     dump INDEX                       dump APPLIED COUNT, then for each LENGTH KEY and the bytes:
 *                                      this process's own state, once it has applied INDEX
 *     status                           status NAME=VALUE ...
 *     members                          members COUNT, then NODE ROLE ADDRESS for each
 *     add NODE ADDRESS, promote NODE,  ok. At the leader: a new node is a learner, and votes
 *     remove NODE, transfer NODE       once it is promoted
 * </pre>
 *
 * or, to any: {@code error CODE OUTCOME retriable|final MESSAGE}. After the outcome {@code unknown}
 * the change may yet happen.
 */
public final class Kv implements StateMachine, GroupListener {
    private static final int KEY_BYTES_MAX = 4095;
    private static final int LINE_BYTES_MAX = KEY_BYTES_MAX + 64;
    private static final int VALUE_BYTES_MAX =
            (8 << 20) - 2 * KEY_BYTES_MAX; // an entry may have 8 MiB
    private static final int CLIENTS_MAX = 256;
    private static final long DUMP_TIMEOUT_NANOS = TimeUnit.SECONDS.toNanos(30);

    /**
     * Keys are bytes: one character for each, so that they are ordered as in every other language.
     */
    private static final Charset BYTES = StandardCharsets.ISO_8859_1;

    // ---------------------------------------------------------------- the state

    /**
     * Changed by the callbacks of the state machine, read by the clients' threads; all synchronized
     * on this.
     */
    private TreeMap<String, byte[]> items = new TreeMap<>();

    /** Of the last entry that is in it. */
    private long appliedIndex;

    private long snapshotBytes;
    private long installedIndex;
    private Group group;

    // ---------------------------------------------------------------- the state machine

    /** An entry is 'P' or 'D', the key, a zero byte, and for 'P' the value. */
    @Override
    public synchronized byte[][] apply(Entries entries) {
        byte[][] results = new byte[entries.size()][];
        for (int i = 0; i < results.length; i++) {
            Entry entry = entries.get(i);
            byte[] data = entry.bytes();
            int zero = 0;
            while (zero < data.length && data[zero] != 0) {
                zero++;
            }
            if (zero == data.length || data[0] != 'P' && data[0] != 'D') {
                // Better to stop than to differ from the others.
                throw new IllegalArgumentException("an entry is not kv's: who else is here?");
            }
            String key = new String(data, 1, zero - 1, BYTES);
            boolean found = true;
            if (data[0] == 'P') {
                items.put(key, java.util.Arrays.copyOfRange(data, zero + 1, data.length));
            } else {
                found = items.remove(key) != null;
            }
            results[i] = new byte[] {(byte) (found ? '1' : '0')};
            appliedIndex = entry.index();
        }
        notifyAll();
        return results;
    }

    /** A snapshot is what `dump` prints. */
    @Override
    public void saveSnapshot(OutputStream out) throws IOException {
        printState(out);
    }

    private synchronized void printState(OutputStream out) throws IOException {
        print(out, "dump " + appliedIndex + " " + items.size());
        for (Map.Entry<String, byte[]> item : items.entrySet()) {
            print(out, item.getValue().length + " " + item.getKey());
            out.write(item.getValue());
            out.write('\n');
        }
    }

    /** The state is replaced when all of the snapshot is there, and not before. */
    @Override
    public void restoreSnapshot(InputStream in) throws IOException {
        String[] head = readLine(in).split(" ");
        TreeMap<String, byte[]> restored = new TreeMap<>();
        for (long count = Long.parseLong(head[2]); count > 0; count--) {
            String[] item = readLine(in).split(" ", 2);
            restored.put(item[1], readValue(in, Integer.parseInt(item[0])));
            if (in.read() != '\n') {
                throw new IOException("a value of the snapshot is longer than it says");
            }
        }
        synchronized (this) {
            items = restored;
            appliedIndex = Long.parseLong(head[1]);
            notifyAll();
        }
    }

    private static void print(OutputStream out, String line) throws IOException {
        out.write((line + "\n").getBytes(BYTES));
    }

    private static String readLine(InputStream in) throws IOException {
        ByteArrayOutputStream line = new ByteArrayOutputStream();
        for (int next = in.read(); next != '\n'; next = in.read()) {
            if (next < 0 || line.size() >= LINE_BYTES_MAX) {
                throw new EOFException("a line is longer than any can be, or cut off");
            }
            line.write(next);
        }
        return line.toString(BYTES);
    }

    private static byte[] readValue(InputStream in, int length) throws IOException {
        byte[] value = in.readNBytes(length);
        if (value.length < length) {
            throw new EOFException("a value is cut off");
        }
        return value;
    }

    // ---------------------------------------------------------------- the requests of clients

    /** Answers one request. An exception of the connection ends it. */
    private void serve(String line, InputStream in, OutputStream out) throws IOException {
        String[] words = line.split(" ", 2);
        String arguments = words.length > 1 ? words[1] : "";
        boolean takesNone =
                words[0].equals("keys") || words[0].equals("status") || words[0].equals("members");
        try {
            switch (arguments.isEmpty() == takesNone ? words[0] : "") {
                case "get" -> get(arguments, out);
                case "put" -> put(arguments, in, out);
                case "del" -> propose('D', arguments, new byte[0], out);
                case "keys" -> keys(out);
                case "dump" -> dump(Long.parseLong(arguments), out);
                case "status" -> status(out);
                case "members" -> members(out);
                case "add" -> {
                    String[] node = arguments.split(" ", 2);
                    change(
                            Change.addLearner(
                                    Long.parseLong(node[0]), node.length > 1 ? node[1] : ""),
                            out);
                }
                case "promote" -> change(Change.promote(Long.parseLong(arguments)), out);
                case "remove" -> change(Change.remove(Long.parseLong(arguments)), out);
                case "transfer" -> {
                    group.transferLeadership(Long.parseLong(arguments)).join();
                    print(out, "ok");
                }
                default ->
                        refuse(
                                out,
                                "there are get, put, del, keys, dump, status, members, add, "
                                        + "promote, remove and transfer");
            }
        } catch (NumberFormatException e) {
            refuse(out, "this is not a number: " + arguments);
        } catch (CompletionException e) {
            refuse(out, (LibraftException) e.getCause());
        } catch (LibraftException e) {
            refuse(out, e);
        }
    }

    private static void refuse(OutputStream out, LibraftException error) throws IOException {
        print(
                out,
                "error "
                        + error.code()
                        + (error.outcome() == Outcome.UNKNOWN ? " unknown" : " rejected")
                        + (error.retriable() ? " retriable " : " final ")
                        + error.message().replace('\n', ' '));
    }

    private static void refuse(OutputStream out, String message) throws IOException {
        print(out, "error INVALID_ARGUMENT rejected final " + message);
    }

    private void put(String arguments, InputStream in, OutputStream out) throws IOException {
        String[] words = arguments.split(" ", 2);
        int length = words[0].matches("\\d{1,8}") ? Integer.parseInt(words[0]) : Integer.MAX_VALUE;
        if (words.length < 2 || words[1].isEmpty() || length > VALUE_BYTES_MAX) {
            refuse(out, "usage: put LENGTH KEY, then the bytes (8 MiB at most)");
            throw new EOFException("where the next request begins cannot be known");
        }
        propose('P', words[1], readValue(in, length), out);
    }

    /** Proposes a change, and waits until it is applied here. */
    private void propose(char kind, String key, byte[] value, OutputStream out) throws IOException {
        ByteArrayOutputStream entry = new ByteArrayOutputStream(key.length() + value.length + 2);
        entry.write(kind);
        entry.writeBytes(key.getBytes(BYTES));
        entry.write(0);
        entry.writeBytes(value);
        Completion done = group.propose(entry.toByteArray()).join();
        print(out, done.result()[0] == '0' ? "none" : "ok " + done.index());
    }

    private void get(String key, OutputStream out) throws IOException {
        // From here on, this process's own state has all that was acknowledged anywhere before.
        group.readIndex().join();
        byte[] value;
        synchronized (this) {
            value = items.get(key);
        }
        if (value == null) {
            print(out, "none");
            return;
        }
        print(out, "value " + value.length);
        out.write(value);
        out.write('\n');
    }

    private void keys(OutputStream out) throws IOException {
        group.readIndex().join();
        synchronized (this) {
            print(out, "keys " + items.size());
            for (String key : items.keySet()) {
                print(out, key);
            }
        }
    }

    private void dump(long index, OutputStream out) throws IOException {
        long deadline = System.nanoTime() + DUMP_TIMEOUT_NANOS;
        synchronized (this) {
            while (appliedIndex < index && System.nanoTime() < deadline) {
                try {
                    TimeUnit.NANOSECONDS.timedWait(this, deadline - System.nanoTime());
                } catch (InterruptedException e) {
                    break;
                }
            }
            if (appliedIndex >= index) {
                printState(out);
                return;
            }
        }
        refuse(out, "this process has not applied that index");
    }

    private void status(OutputStream out) throws IOException {
        GroupStatus now = group.status();
        synchronized (this) {
            print(
                    out,
                    "status role="
                            + name(now.role())
                            + " term="
                            + now.term()
                            + " leader="
                            + now.leader().map(leader -> leader.nodeId()).orElse(0L)
                            + " first="
                            + now.firstIndex()
                            + " last="
                            + now.lastIndex()
                            + " commit="
                            + now.commitIndex()
                            + " applied="
                            + appliedIndex
                            + " keys="
                            + items.size()
                            + " snapshot="
                            + now.snapshotIndex()
                            + " snapshot_bytes="
                            + snapshotBytes
                            + " installed="
                            + installedIndex);
        }
    }

    private void members(OutputStream out) throws IOException {
        var all = group.members();
        print(out, "members " + all.size());
        for (Member member : all) {
            print(
                    out,
                    member.nodeId()
                            + " "
                            + member.role().name().toLowerCase()
                            + " "
                            + member.address());
        }
    }

    private void change(Change step, OutputStream out) throws IOException {
        group.changeMembership(step).join();
        print(out, "ok");
    }

    private static String name(Role role) {
        return role.name().toLowerCase().replace('_', '-');
    }

    // ---------------------------------------------------------------- threads and connections

    private void serveClient(Socket socket) {
        try (socket;
                InputStream in = new BufferedInputStream(socket.getInputStream());
                OutputStream out = socket.getOutputStream()) {
            socket.setTcpNoDelay(true);
            while (true) {
                String line = readLine(in).replaceFirst("\r$", "");
                ByteArrayOutputStream answer = new ByteArrayOutputStream();
                try {
                    // Empty is such as the line break that a person types behind a value.
                    if (!line.isEmpty()) {
                        serve(line, in, answer);
                    }
                } finally {
                    // From memory: a client that reads slowly holds no lock.
                    answer.writeTo(out);
                }
            }
        } catch (IOException e) {
            // The client is gone.
        }
    }

    private void acceptClients(ServerSocket listener) {
        Semaphore places = new Semaphore(CLIENTS_MAX);
        while (true) {
            places.acquireUninterruptibly(); // more clients wait in the kernel's queue
            try {
                Socket socket = listener.accept();
                Thread client =
                        new Thread(
                                () -> {
                                    serveClient(socket);
                                    places.release();
                                });
                client.setDaemon(true);
                client.start();
            } catch (IOException e) {
                throw fail("accept clients any more", e);
            }
        }
    }

    // What the library tells of itself: in order, one at a time.

    @Override
    public void onRole(Role role, long term) {
        System.out.println("kv: " + name(role) + " in term " + term);
    }

    @Override
    public synchronized void onSnapshotTaken(long index, long bytes) {
        snapshotBytes = bytes;
    }

    @Override
    public synchronized void onSnapshotInstalled(long index) {
        installedIndex = index;
        System.out.println("kv: installed a snapshot of index " + index);
    }

    @Override
    public void onFailed() {
        System.out.println("kv: the group is out of service on this node");
    }

    // ---------------------------------------------------------------- the program

    private static RuntimeException fail(String what, Exception error) {
        System.err.println("kv: cannot " + what + ": " + error.getMessage());
        Runtime.getRuntime().halt(1);
        return new IllegalStateException(error);
    }

    private static void usage() {
        System.err.println(
                "usage: kv --node N --directory DIR --listen HOST:PORT --clients PORT\n"
                        + "          [--member N=HOST:PORT ...] [--cluster NAME]\n"
                        + "          [--snapshot-entries N] [--retained-entries N]");
        System.exit(2);
    }

    public static void main(String[] arguments) {
        if (arguments.length == 1 && arguments[0].equals("--version")) {
            System.out.println("kv with libraft " + Libraft.version());
            return;
        }
        Map<String, String> known =
                new TreeMap<>(Map.of("--cluster", "kv", "--listen", "127.0.0.1:0"));
        GroupOptions groupOptions = new GroupOptions(1);
        Map<String, Consumer<String>> applied =
                Map.of(
                        "--member",
                                member -> {
                                    String[] parts = member.split("=", 2);
                                    groupOptions.initialMember(Long.parseLong(parts[0]), parts[1]);
                                },
                        "--snapshot-entries",
                                number -> groupOptions.snapshotEntries(Long.parseLong(number)),
                        "--retained-entries",
                                number -> groupOptions.retainedEntries(Long.parseLong(number)));
        Kv kv = new Kv();
        try {
            for (int i = 0; i < arguments.length; i += 2) {
                Consumer<String> apply = applied.get(arguments[i]);
                if (apply != null) {
                    apply.accept(arguments[i + 1]);
                } else if (arguments[i].matches("--(node|directory|listen|clients|cluster)")) {
                    known.put(arguments[i], arguments[i + 1]);
                } else {
                    usage();
                }
            }
            kv.run(
                    new NodeOptions(
                                    known.get("--cluster"),
                                    Long.parseLong(known.get("--node")),
                                    Path.of(known.get("--directory")))
                            .listenAddress(known.get("--listen")),
                    groupOptions,
                    Integer.parseInt(known.get("--clients")));
        } catch (IndexOutOfBoundsException | NumberFormatException | NullPointerException e) {
            usage();
        }
    }

    private void run(NodeOptions options, GroupOptions groupOptions, int port) {
        Node node;
        ServerSocket listener;
        try {
            node = Node.open(options);
            group = node.startGroup(groupOptions, this);
            group.addListener(this);
            listener = new ServerSocket(port, 64, InetAddress.getLoopbackAddress());
        } catch (LibraftException | IOException e) {
            throw fail("start", e);
        }
        // Told to end, this program closes its node in order, and then has ended well.
        Runtime.getRuntime()
                .addShutdownHook(
                        new Thread(
                                () -> {
                                    node.close();
                                    System.out.println("kv: closed");
                                    Runtime.getRuntime().halt(0);
                                }));
        System.out.println(
                "kv: node " + node.status().nodeId() + " serves clients on port " + port);
        acceptClients(listener);
    }
}
