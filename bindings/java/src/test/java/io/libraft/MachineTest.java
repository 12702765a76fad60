package io.libraft;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ReadOnlyBufferException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.atomic.AtomicReference;

class MachineTest {
    /** What a callback throws; recognised by identity. */
    private static final class Planned extends Exception {
        private static final long serialVersionUID = 1L;

        Planned(String message) {
            super(message);
        }
    }

    @Test
    void entriesMayBeKept() throws Exception {
        List<Entry> kept = new ArrayList<>();
        OneNode one =
                new OneNode(
                        new Ledger() {
                            @Override
                            public byte[][] apply(Entries batch) {
                                kept.addAll(batch);
                                assertEquals(0, batch.blob().length);
                                return null;
                            }
                        });
        try (one) {
            one.ready();
            List<byte[]> batch = new ArrayList<>();
            for (int i = 1; i <= 300; i++) {
                batch.add(new byte[i]);
                batch.get(i - 1)[i - 1] = (byte) i;
            }
            BatchCompletion done = OneNode.await(one.group.proposeBatch(batch));
            assertEquals(300, done.size());
            assertEquals(300, kept.size());
            for (int i = 0; i < 300; i++) {
                Entry entry = kept.get(i);
                assertArrayEquals(batch.get(i), entry.bytes());
                assertEquals(batch.get(i).length, entry.size());
                assertEquals(ByteBuffer.wrap(batch.get(i)), entry.data());
                assertEquals(done.get(i).index(), entry.index());
                assertEquals(done.get(i).term(), entry.term());
                assertEquals(0, done.get(i).result().length);
            }
            assertThrows(ReadOnlyBufferException.class, () -> kept.get(0).data().put((byte) 1));
        }
    }

    @Test
    void proposalsComeFromArraysAndBuffersOfAllKinds() throws Exception {
        Ledger ledger = new Ledger();
        try (OneNode one = new OneNode(ledger).ready()) {
            ByteBuffer part = ByteBuffer.wrap(OneNode.bytes("--heap--")).position(2).limit(6);
            ByteBuffer direct = ByteBuffer.allocateDirect(6).put(OneNode.bytes("direct")).flip();
            ByteBuffer readOnly = ByteBuffer.wrap(OneNode.bytes("read-only")).asReadOnlyBuffer();
            OneNode.await(one.group.propose(part));
            OneNode.await(one.group.propose(direct));
            OneNode.await(one.group.propose(readOnly));
            assertEquals(List.of("heap", "direct", "read-only"), ledger.entries);
            assertEquals(4, part.remaining());
            assertEquals(6, direct.remaining());
        }
    }

    @Test
    void whatApplyThrowsIsWhatEverybodySees() throws Exception {
        Planned planned = new Planned("planned failure");
        OneNode one =
                new OneNode(
                        new Ledger() {
                            @Override
                            byte[] one(String entry) throws Exception {
                                if (entry.equals("bad")) {
                                    throw planned;
                                }
                                return super.one(entry);
                            }
                        });
        one.ready().propose("good");
        ApplyFailedException pending =
                assertThrows(ApplyFailedException.class, () -> one.propose("bad"));
        ApplyFailedException later =
                assertThrows(ApplyFailedException.class, () -> one.propose("good"));
        LibraftException status = one.group.status().failure().orElseThrow();
        ApplyFailedException ready =
                assertThrows(
                        ApplyFailedException.class, () -> one.group.waitReady(OneNode.PATIENCE));
        ApplyFailedException close = assertThrows(ApplyFailedException.class, one::close);
        for (LibraftException error : List.of(pending, later, status, ready, close)) {
            assertSame(planned, error.getCause());
            assertTrue(error.message().contains("planned failure"), error.message());
            assertTrue(
                    error.message().contains("MachineTest"),
                    "no stack trace in " + error.message());
        }
        one.close(); // the second time there is nothing to say
        assertEquals(Role.STOPPED, one.group.status().role());
    }

    @Test
    void otherMistakesOfApplyStopTheGroupToo() throws Exception {
        assertTrue(
                failure(
                                new Ledger() {
                                    @Override
                                    public byte[][] apply(Entries batch) {
                                        return new byte[batch.size() + 1][];
                                    }
                                })
                        .message()
                        .contains("apply returned 2 results for 1 entries"));
        assertInstanceOf(
                StackOverflowError.class,
                failure(
                                new Ledger() {
                                    @Override
                                    public byte[][] apply(Entries batch) throws Exception {
                                        return apply(batch);
                                    }
                                })
                        .getCause());
        assertInstanceOf(
                OutOfMemoryError.class,
                failure(
                                new Ledger() {
                                    @Override
                                    public byte[][] apply(Entries batch) {
                                        return new byte[][] {new byte[Integer.MAX_VALUE]};
                                    }
                                })
                        .getCause());
        assertTrue(
                failure(
                                new Ledger() {
                                    @Override
                                    public CompletionStage<byte[][]> applyAsync(Entries batch) {
                                        return null;
                                    }
                                })
                        .message()
                        .contains("the callback returned null"));
        assertEquals(
                "later",
                failure(
                                new Ledger() {
                                    @Override
                                    public CompletionStage<byte[][]> applyAsync(Entries batch) {
                                        return CompletableFuture.supplyAsync(
                                                () -> {
                                                    throw new IllegalStateException("later");
                                                });
                                    }
                                })
                        .getCause()
                        .getMessage());
    }

    private static LibraftException failure(Ledger machine) throws Exception {
        OneNode one = new OneNode(machine);
        LibraftException failure = assertThrows(ApplyFailedException.class, () -> one.propose("a"));
        assertThrows(ApplyFailedException.class, one::close);
        return failure;
    }

    @Test
    void applyMayAnswerLater() throws Exception {
        List<CompletableFuture<byte[][]>> answers = new ArrayList<>();
        Ledger ledger =
                new Ledger() {
                    @Override
                    public CompletionStage<byte[][]> applyAsync(Entries batch) {
                        CompletableFuture<byte[][]> answer = new CompletableFuture<>();
                        synchronized (answers) {
                            answers.add(answer);
                            answers.notifyAll();
                        }
                        return answer;
                    }
                };
        try (OneNode one = new OneNode(ledger)) {
            CompletableFuture<Completion> proposal = one.group.propose(OneNode.bytes("a"));
            synchronized (answers) {
                while (answers.isEmpty()) {
                    answers.wait();
                }
            }
            CompletableFuture<Completion> next = one.group.propose(OneNode.bytes("b"));
            assertFalse(proposal.isDone());
            answers.get(0).complete(new byte[][] {OneNode.bytes("at last")});
            assertEquals("at last", OneNode.text(OneNode.await(proposal).result()));
            synchronized (answers) {
                while (answers.size() < 2) {
                    answers.wait();
                }
            }
            answers.get(1).complete(null);
            assertEquals(0, OneNode.await(next).result().length);
        }
    }

    @Test
    void blockingCallsInACallbackAreRefused() throws Exception {
        AtomicReference<OneNode> self = new AtomicReference<>();
        AtomicReference<Throwable> thrown = new AtomicReference<>();
        Ledger ledger =
                new Ledger() {
                    @Override
                    byte[] one(String entry) throws Exception {
                        OneNode one = self.get();
                        for (Runnable call :
                                List.<Runnable>of(
                                        () -> one.group.waitReady(OneNode.PATIENCE),
                                        one.group::stop,
                                        one.node::close)) {
                            try {
                                call.run();
                                thrown.set(new AssertionError("a call that blocks was allowed"));
                            } catch (WouldDeadlockException e) {
                                thrown.compareAndSet(null, e);
                            }
                        }
                        return super.one(entry);
                    }
                };
        self.set(new OneNode(ledger));
        self.get().group.propose(OneNode.bytes("a"));
        assertTrue(
                ledger.destroyed.await(
                        OneNode.PATIENCE.toSeconds(), java.util.concurrent.TimeUnit.SECONDS));
        assertInstanceOf(WouldDeadlockException.class, thrown.get());
        self.get().close();
        new OneNode(self.get().directory, new Ledger()).ready().close();
    }

    @Test
    void aQuickMachineDoesTheSame() throws Exception {
        AtomicReference<String> thread = new AtomicReference<>();
        Ledger ledger =
                new Ledger() {
                    @Override
                    public boolean quick() {
                        return true;
                    }

                    @Override
                    byte[] one(String entry) throws Exception {
                        thread.set(Thread.currentThread().getName());
                        assertTrue(Thread.currentThread().isDaemon());
                        return super.one(entry);
                    }
                };
        try (OneNode one = new OneNode(ledger).ready()) {
            assertEquals("1", one.propose("a"));
            assertTrue(
                    List.of("libraft-worker", "libraft-standby").contains(thread.get()),
                    thread.get());
        }
    }

    @Test
    void aSnapshotIsSavedAndRestored() throws Exception {
        OneNode one = new OneNode(new Ledger()).ready();
        for (int i = 0; i < 10; i++) {
            one.propose("x".repeat(20_000) + i);
        }
        long index = OneNode.await(one.group.takeSnapshot());
        assertEquals(index, one.group.status().snapshotIndex());
        one.propose("after");
        one.close();
        Ledger restored = new Ledger();
        try (OneNode again = new OneNode(one.directory, restored).ready()) {
            assertEquals(11, restored.entries.size());
            assertEquals("12", again.propose("b"));
        }
    }

    @Test
    void snapshotStreamsEndWithTheirCallback() throws Exception {
        AtomicReference<OutputStream> out = new AtomicReference<>();
        AtomicReference<InputStream> in = new AtomicReference<>();
        class Keeper extends Ledger {
            @Override
            public void saveSnapshot(OutputStream stream) throws IOException {
                super.saveSnapshot(stream);
                out.set(stream);
            }

            @Override
            public void restoreSnapshot(InputStream stream) throws IOException {
                super.restoreSnapshot(stream);
                assertEquals(-1, stream.read());
                assertEquals(-1, stream.read(new byte[10]));
                in.set(stream);
            }
        }
        OneNode one = new OneNode(new Keeper()).ready();
        one.propose("a");
        OneNode.await(one.group.takeSnapshot());
        assertThrows(
                IOException.class,
                () -> {
                    out.get().write(1);
                    out.get().flush();
                });
        assertThrows(IOException.class, () -> out.get().write(new byte[100_000]));
        one.close();
        new OneNode(one.directory, new Keeper()).ready().close();
        assertThrows(IOException.class, () -> in.get().read());
        assertThrows(IOException.class, () -> in.get().read(new byte[100_000]));
    }

    @Test
    void aSaveThatFailsFailsTheSnapshotOnly() throws Exception {
        Planned planned = new Planned("no pen");
        OneNode one =
                new OneNode(
                        new Ledger() {
                            @Override
                            public CompletionStage<?> saveSnapshotAsync(OutputStream out) {
                                return CompletableFuture.failedFuture(planned);
                            }
                        });
        try (one) {
            one.ready().propose("a");
            SaveFailedException error =
                    assertThrows(
                            SaveFailedException.class,
                            () -> OneNode.await(one.group.takeSnapshot()));
            assertSame(planned, error.getCause());
            assertEquals("2", one.propose("b"));
        }
    }

    @Test
    void aRestoreThatFailsStopsTheGroup() throws Exception {
        OneNode one = new OneNode(new Ledger()).ready();
        one.propose("a");
        OneNode.await(one.group.takeSnapshot());
        one.close();
        Planned planned = new Planned("cannot read");
        OneNode again =
                new OneNode(
                        one.directory,
                        new Ledger() {
                            @Override
                            public CompletionStage<?> restoreSnapshotAsync(InputStream in)
                                    throws Exception {
                                throw planned;
                            }
                        });
        RestoreFailedException error = assertThrows(RestoreFailedException.class, again::ready);
        assertSame(planned, error.getCause());
        assertNotNull(error.message());
        assertSame(planned, assertThrows(RestoreFailedException.class, again::close).getCause());
    }
}
