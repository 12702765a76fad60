package io.libraft;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

class NodeTest {
    @Test
    void proposalsAreAppliedAndSurviveAReopen() throws Exception {
        Ledger first = new Ledger();
        OneNode one = new OneNode(first).ready();
        assertEquals("1", one.propose("a"));
        assertEquals("2", one.propose("b"));
        one.close();
        Ledger second = new Ledger();
        try (OneNode again = new OneNode(one.directory, second).ready()) {
            assertEquals("3", again.propose("c"));
            assertEquals(List.of("a", "b", "c"), second.entries);
        }
    }

    @Test
    void aGroupCanBeWaitedForWithoutAThread() throws Exception {
        try (OneNode one = new OneNode(new Ledger())) {
            OneNode.await(one.group.waitReadyAsync(OneNode.PATIENCE));
            assertEquals(Role.LEADER, one.group.status().role());
            assertThrows(
                    InvalidArgumentException.class,
                    () -> OneNode.await(one.group.waitReadyAsync(null)));
        }
    }

    @Test
    void theStatusSaysWhoTheNodeIs() throws Exception {
        try (OneNode one = new OneNode(new Ledger()).ready()) {
            NodeStatus status = one.node.status();
            assertEquals("test", status.cluster());
            assertEquals(1, status.nodeId());
            assertEquals(1, status.bootCounter());
            assertEquals(1, status.groups());
            assertTrue(status.address().startsWith("127.0.0.1:"), status.address());
            assertTrue(status.failure().isEmpty());
            assertTrue(status.journalBytes() > 0);
            assertSame(one.group, one.node.group(1).orElseThrow());
            assertTrue(one.node.group(2).isEmpty());
        }
        assertEquals("0.1.0", Libraft.version());
    }

    @Test
    void aDirectoryIsOfOneNodeAtATime() throws Exception {
        try (OneNode one = new OneNode(new Ledger()).ready()) {
            DirectoryInUseException refused =
                    assertThrows(
                            DirectoryInUseException.class,
                            () -> Node.open(OneNode.options(one.directory)));
            assertEquals(ErrorCode.DIRECTORY_IN_USE, refused.code());
            assertTrue(refused.message().contains(one.directory.toString()), refused.message());
        }
        Node.open(OneNode.options(OneNode.folder())).close();
    }

    @Test
    void aClosedNodeRefusesEverythingAndMayBeClosedAgain() throws Exception {
        OneNode one = new OneNode(new Ledger()).ready();
        one.close();
        one.close();
        OneNode.await(one.node.closeAsync());
        assertThrows(ClosedException.class, () -> one.propose("late"));
        assertThrows(ClosedException.class, () -> OneNode.await(one.group.readIndex()));
        assertThrows(
                ClosedException.class,
                () -> one.node.startGroup(new GroupOptions(2), new Ledger()));
        assertThrows(ClosedException.class, () -> one.group.waitReady(OneNode.PATIENCE));
        one.group.stop();
        OneNode.await(one.group.stopAsync());
    }

    @Test
    void closingCompletesWhatIsPending() throws Exception {
        CountDownLatch inside = new CountDownLatch(1);
        CountDownLatch goOn = new CountDownLatch(1);
        OneNode one =
                new OneNode(
                        new Ledger() {
                            @Override
                            public byte[][] apply(Entries batch) throws Exception {
                                inside.countDown();
                                goOn.await();
                                return super.apply(batch);
                            }
                        });
        CompletableFuture<Completion> pending = one.group.propose(OneNode.bytes("a"));
        inside.await();
        CompletableFuture<Void> closed = one.node.closeAsync();
        ClosedException told = assertThrows(ClosedException.class, () -> OneNode.await(pending));
        assertEquals(Outcome.UNKNOWN, told.outcome());
        assertFalse(told.retriable());
        assertFalse(closed.isDone(), "the callback runs on");
        goOn.countDown();
        OneNode.await(closed);
        new OneNode(one.directory, new Ledger()).ready().close();
    }

    @Test
    void futuresAreDoneWhenCloseReturns() throws Exception {
        OneNode one = new OneNode(new Ledger()).ready();
        List<CompletableFuture<Completion>> futures = new java.util.ArrayList<>();
        for (int i = 0; i < 1_000; i++) {
            futures.add(one.group.propose(OneNode.bytes("a")));
        }
        one.close();
        assertTrue(futures.stream().allMatch(CompletableFuture::isDone));
    }

    @Test
    void aForgottenNodeIsClosed() throws Exception {
        Ledger ledger = new Ledger();
        Path directory = openAndForget(ledger);
        // Collection needs no help from the program in the end; the test must not wait for that.
        for (int i = 0; i < 600 && !ledger.destroyed.await(100, TimeUnit.MILLISECONDS); i++) {
            System.gc();
        }
        assertEquals(0, ledger.destroyed.getCount());
        // The machine goes before the directory is released.
        OneNode again = null;
        long deadline = System.nanoTime() + OneNode.PATIENCE.toNanos();
        while (again == null) {
            try {
                again = new OneNode(directory, new Ledger());
            } catch (DirectoryInUseException e) {
                assertTrue(System.nanoTime() < deadline, "the directory is never released");
            }
        }
        again.ready().close();
    }

    private static Path openAndForget(Ledger ledger) throws Exception {
        return new OneNode(ledger).ready().directory;
    }

    @Test
    void groupsStopAndStartAgainOnTheirOwn() throws Exception {
        Ledger ledger = new Ledger();
        try (OneNode one = new OneNode(ledger).ready()) {
            one.propose("a");
            one.group.stop();
            assertEquals(0, ledger.destroyed.getCount());
            assertThrows(StoppedException.class, () -> one.propose("late"));
            assertTrue(one.node.group(1).isEmpty());
            Ledger next = new Ledger();
            one.group = one.node.startGroup(OneNode.groupOptions(), next);
            one.ready();
            assertEquals("2", one.propose("b"));
            assertThrows(
                    GroupExistsException.class,
                    () -> one.node.startGroup(OneNode.groupOptions(), new Ledger()));
            OneNode.await(one.group.stopAsync());
            assertEquals(0, next.destroyed.getCount());
        }
    }

    @Test
    void aMachineIsDestroyedOnceAlsoIfItsGroupCannotStart() throws Exception {
        try (OneNode one = new OneNode(new Ledger()).ready()) {
            Ledger refused = new Ledger();
            assertThrows(
                    InvalidArgumentException.class,
                    () -> one.node.startGroup(new GroupOptions(0), refused));
            assertEquals(0, refused.destroyed.getCount());
            Ledger unnamed = new Ledger();
            assertThrows(InvalidArgumentException.class, () -> one.node.startGroup(null, unnamed));
            assertEquals(0, unnamed.destroyed.getCount());
        }
    }

    @Test
    void theNativeLibraryLeavesNoFilesBehind() throws Exception {
        Libraft.version();
        try (var left = Files.list(Path.of(System.getProperty("java.io.tmpdir")))) {
            String mine = "libraft-" + ProcessHandle.current().pid();
            assertTrue(left.noneMatch(path -> path.getFileName().toString().startsWith(mine)));
        }
    }
}
