package io.libraft;

import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Semaphore;

/**
 * Makes proposals, good and bad ones, and prints what memory it needs after 30% and after 90% of
 * them, in bytes.
 */
final class MemoryProgram implements StateMachine {
    private static final int IN_FLIGHT = 512;
    private static final int BATCH = 4;
    private static final int SINGLES = 4;

    private long count;

    @Override
    public byte[][] apply(Entries entries) {
        byte[][] results = new byte[entries.size()][];
        for (int i = 0; i < results.length; i++) {
            count += entries.get(i).data().remaining();
            results[i] = new byte[8];
        }
        return results;
    }

    @Override
    public void saveSnapshot(OutputStream out) throws java.io.IOException {
        out.write(new byte[1000]);
    }

    @Override
    public void restoreSnapshot(InputStream in) {}

    public static void main(String[] arguments) throws Exception {
        long proposals = Long.parseLong(arguments[0]);
        Semaphore places = new Semaphore(IN_FLIGHT);
        NodeOptions options = new NodeOptions("memory", 1, Path.of("data")).segmentBytes(4 << 20);
        GroupOptions groupOptions =
                new GroupOptions(1)
                        .initialMember(1, "127.0.0.1:0")
                        .snapshotEntries(20_000)
                        .retainedEntries(1_000)
                        .entryCacheBytes(1 << 20);
        try (Node node = Node.open(options)) {
            Group group = node.startGroup(groupOptions, new MemoryProgram());
            group.waitReady(OneNode.PATIENCE);
            group.addListener(new GroupListener() {});
            List<byte[]> batch = java.util.Collections.nCopies(BATCH, new byte[128]);
            long next = 0;
            for (long made = 0; made < proposals; made += SINGLES + BATCH) {
                places.acquire(SINGLES + 1);
                for (int i = 0; i < SINGLES; i++) {
                    group.propose(batch.get(0)).whenComplete((done, error) -> places.release());
                }
                group.proposeBatch(batch).whenComplete((done, error) -> places.release());
                // Errors at once, and later.
                group.propose(new byte[0]);
                group.status();
                if (made % 100 < SINGLES + BATCH) {
                    group.transferLeadership(9);
                }
                if (made * 10 >= proposals * 3 && next == 0
                        || made * 10 >= proposals * 9 && next == 1) {
                    next++;
                    System.out.println(residentBytes());
                }
            }
            places.acquire(IN_FLIGHT);
        }
    }

    private static long residentBytes() throws Exception {
        String line =
                Files.readAllLines(Path.of("/proc/self/status")).stream()
                        .filter(status -> status.startsWith("VmRSS:"))
                        .findFirst()
                        .orElseThrow();
        return Long.parseLong(line.replaceAll("[^0-9]", "")) * 1024;
    }
}
