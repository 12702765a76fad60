package io.libraft;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;

/** The kinds of machines that are not only in memory. */
class KindsTest {
    /** Saves a copy beside apply, when it is told to go on. */
    private static class Concurrent extends Ledger implements ConcurrentStateMachine<List<String>> {
        final CountDownLatch saving = new CountDownLatch(1);
        final CountDownLatch goOn = new CountDownLatch(1);
        final AtomicInteger views = new AtomicInteger();

        @Override
        public List<String> prepareSnapshot() throws Exception {
            views.incrementAndGet();
            return new ArrayList<>(entries);
        }

        @Override
        public void saveSnapshot(List<String> view, OutputStream out) throws Exception {
            saving.countDown();
            goOn.await();
            out.write(OneNode.bytes(String.join("\n", view)));
        }

        @Override
        public void saveSnapshot(OutputStream out) throws IOException {
            throw new AssertionError("the library saves views");
        }

        @Override
        public void releaseSnapshot(List<String> view) {
            views.decrementAndGet();
        }

        @Override
        public void restoreSnapshot(InputStream in) throws IOException {
            entries.clear();
            entries.addAll(List.of(OneNode.text(in.readAllBytes()).split("\n")));
        }
    }

    @Test
    void aConcurrentMachineAppliesWhileItIsSaved() throws Exception {
        Concurrent machine = new Concurrent();
        OneNode one = new OneNode(machine).ready();
        one.propose("a");
        one.propose("b");
        var snapshot = one.group.takeSnapshot();
        machine.saving.await();
        assertEquals("3", one.propose("c"));
        machine.goOn.countDown();
        OneNode.await(snapshot);
        one.close();
        assertEquals(0, machine.views.get(), "every view is released");
        Concurrent restored = new Concurrent();
        try (OneNode again = new OneNode(one.directory, restored).ready()) {
            assertEquals(List.of("a", "b", "c"), restored.entries);
            assertEquals("4", again.propose("d"));
        }
    }

    @Test
    void aPrepareThatFailsFailsTheSnapshotOnly() throws Exception {
        Concurrent machine =
                new Concurrent() {
                    @Override
                    public List<String> prepareSnapshot() throws Exception {
                        throw new IllegalStateException("no view");
                    }
                };
        try (OneNode one = new OneNode(machine).ready()) {
            one.propose("a");
            SaveFailedException error =
                    assertThrows(
                            SaveFailedException.class,
                            () -> OneNode.await(one.group.takeSnapshot()));
            assertEquals("no view", error.getCause().getMessage());
            assertEquals("2", one.propose("b"));
        }
    }

    /** Keeps everything in a file, and says at open how far it had come. */
    private static final class OnDisk extends Concurrent
            implements OnDiskStateMachine<List<String>> {
        final Path file;
        final AtomicInteger syncs = new AtomicInteger();
        long index;
        int applied;

        OnDisk(Path file) {
            this.file = file;
            goOn.countDown();
        }

        @Override
        public Opened open() throws Exception {
            if (Files.exists(file)) {
                List<String> lines = Files.readAllLines(file);
                index = Long.parseLong(lines.get(0));
                entries.addAll(lines.subList(1, lines.size()));
            }
            return Opened.at(index);
        }

        @Override
        public byte[][] apply(Entries batch) throws Exception {
            applied += batch.size();
            index = batch.get(batch.size() - 1).index();
            return super.apply(batch);
        }

        @Override
        public void sync() throws IOException {
            syncs.incrementAndGet();
            List<String> lines = new ArrayList<>(List.of(Long.toString(index)));
            lines.addAll(entries);
            Files.write(file, lines);
        }
    }

    @Test
    void anOnDiskMachineGoesOnWhereItWas() throws Exception {
        Path directory = OneNode.folder();
        Path file = directory.resolveSibling(directory.getFileName() + ".state");
        OnDisk machine = new OnDisk(file);
        OneNode one = new OneNode(directory, machine).ready();
        one.propose("a");
        one.propose("b");
        OneNode.await(one.group.takeSnapshot());
        assertTrue(machine.syncs.get() > 0);
        one.propose("c");
        one.close();
        OnDisk again = new OnDisk(file);
        try (OneNode next = new OneNode(directory, again).ready()) {
            assertEquals("4", next.propose("d"));
            assertEquals(List.of("a", "b", "c", "d"), again.entries);
            assertEquals(2, again.applied, "what was synced is not applied again");
        }
    }

    @Test
    void aMachineBeyondTheLogIsRefused() throws Exception {
        Path directory = OneNode.folder();
        Path file = directory.resolveSibling(directory.getFileName() + ".state");
        Files.write(file, List.of("1000"));
        try (OneNode one = new OneNode(directory, new OnDisk(file))) {
            assertThrows(MachineAheadException.class, one::ready);
        }
    }

    @Test
    void anOpenThatFailsIsTold() throws Exception {
        Path directory = OneNode.folder();
        Path file = directory.resolveSibling(directory.getFileName() + ".state");
        Files.write(file, List.of("no number"));
        OneNode one = new OneNode(directory, new OnDisk(file));
        OpenFailedException error = assertThrows(OpenFailedException.class, one::ready);
        assertEquals(NumberFormatException.class, error.getCause().getClass());
        assertThrows(OpenFailedException.class, one::close);
    }
}
