import io.libraft.Entries;
import io.libraft.Group;
import io.libraft.GroupOptions;
import io.libraft.Node;
import io.libraft.NodeOptions;
import io.libraft.StateMachine;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.logging.Level;
import java.util.logging.Logger;

/** A member of the benchmark's cluster. */
final class BenchMember {
    private static final Logger LOGGER = Logger.getLogger("io.libraft");

    private BenchMember() {}

    /** Counts entries, and reads every byte of them. */
    private static final class Counter implements StateMachine {
        private long count;

        /**
         * Goes on over all payloads; a CRC32 cannot be set, so after a restore it is `base`'s
         * continuation.
         */
        private RunningCrc crc = new RunningCrc(0);

        @Override
        public boolean quick() {
            return true;
        }

        @Override
        public synchronized byte[][] apply(Entries entries) {
            byte[][] results = new byte[entries.size()][];
            for (int i = 0; i < results.length; i++) {
                crc.update(entries.get(i).bytes());
                count++;
                results[i] =
                        LedgerState.littleEndian(8)
                                .putInt((int) count)
                                .putInt((int) crc.value())
                                .array();
            }
            return results;
        }

        synchronized String state() {
            return count + " " + crc.value();
        }

        @Override
        public void saveSnapshot(OutputStream out) throws IOException {
            out.write(
                    LedgerState.littleEndian(12).putLong(count).putInt((int) crc.value()).array());
        }

        @Override
        public synchronized void restoreSnapshot(InputStream in) throws IOException {
            ByteBuffer saved = LedgerState.littleEndian(12).put(in.readNBytes(12)).flip();
            count = saved.getLong();
            crc = new RunningCrc(saved.getInt());
        }
    }

    static void run(long id, Path directory) throws Exception {
        LOGGER.setLevel(Level.WARNING);
        Counter counter = new Counter();
        try (Node node = Node.open(new NodeOptions("bench", id, directory))) {
            Driver.print(node.status().address());
            Group group = null;
            BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
            String line;
            while ((line = in.readLine()) != null) {
                String[] words = line.split(" ");
                switch (words[0]) {
                    case "start" -> {
                        group = start(node, words, counter);
                        Driver.print("started");
                    }
                    case "role" -> {
                        String role = group.status().role().name();
                        Driver.print(role.charAt(0) + role.substring(1).toLowerCase());
                    }
                    case "run" -> Driver.print(new Load(group, words).run());
                    case "state" -> Driver.print(counter.state());
                    case "cpu" -> Driver.print(Double.toString(cpuSeconds()));
                    default -> throw new IllegalArgumentException(line + " is not understood");
                }
            }
        }
    }

    private static Group start(Node node, String[] words, StateMachine machine) {
        GroupOptions options = new GroupOptions(1);
        for (int i = 1; i < words.length; i++) {
            String[] member = words[i].split("=", 2);
            options.initialMember(Long.parseLong(member[0]), member[1]);
        }
        Group group = node.startGroup(options, machine);
        group.waitReady(Duration.ofSeconds(60));
        return group;
    }

    private static double cpuSeconds() {
        var system =
                (com.sun.management.OperatingSystemMXBean)
                        ManagementFactory.getOperatingSystemMXBean();
        return system.getProcessCpuTime() / 1e9;
    }
}
