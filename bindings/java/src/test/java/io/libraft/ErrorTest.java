package io.libraft;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.regex.Pattern;

class ErrorTest {
    @Test
    void theCodesAreThoseOfAllLanguages() throws Exception {
        Path list = Path.of(System.getProperty("io.libraft.test.root"), "docs", "api.toml");
        TreeMap<String, Integer> listed = new TreeMap<>();
        Pattern.compile("^([A-Z][A-Z0-9_]*) = (\\d+)$", Pattern.MULTILINE)
                .matcher(Files.readString(list))
                .results()
                .forEach(line -> listed.put(line.group(1), Integer.valueOf(line.group(2))));
        TreeMap<String, Integer> here = new TreeMap<>();
        for (ErrorCode code : ErrorCode.values()) {
            here.put(code.name(), code.number());
        }
        assertEquals(listed, here);
    }

    @Test
    void everyCodeHasAnExceptionOfItsName() {
        for (ErrorCode code : ErrorCode.values()) {
            LibraftException exception = LibraftException.rejected(code, "why");
            assertEquals(code, exception.code());
            assertEquals("why", exception.message());
            StringBuilder name = new StringBuilder();
            for (String word : code.name().split("_")) {
                name.append(word.charAt(0)).append(word.substring(1).toLowerCase());
            }
            assertEquals(name + "Exception", exception.getClass().getSimpleName());
        }
    }

    @Test
    void badArgumentsAreRefusedWithTheirName() throws Exception {
        refused("cluster is null", () -> new NodeOptions(null, 1, Path.of("x")));
        refused("directory is null", () -> new NodeOptions("x", 1, null));
        refused("nodeId is -1", () -> new NodeOptions("x", -1, Path.of("x")));
        refused("tick is null", () -> new NodeOptions("x", 1, Path.of("x")).tick(null));
        refused("segmentBytes is -5", () -> new NodeOptions("x", 1, Path.of("x")).segmentBytes(-5));
        refused("retainedEntries is -1", () -> new GroupOptions(1).retainedEntries(-1));
        Duration ever = Duration.ofSeconds(Long.MAX_VALUE);
        refused("that is too long", () -> new GroupOptions(1).proposalTimeout(ever));
        refused("executor is null", () -> new NodeOptions("x", 1, Path.of("x")).executor(null));
        refused("options is null", () -> Node.open(null));
        refused("node_id 0", () -> Node.open(new NodeOptions("x", 0, OneNode.folder())));
        refused("address", () -> Change.addVoter(1, null));
        try (OneNode one = new OneNode(new Ledger()).ready()) {
            refused("machine is null", () -> one.node.startGroup(new GroupOptions(2), null));
            refused("timeout is null", () -> one.group.waitReady(null));
            refused("timeout is -1", () -> one.group.waitReady(Duration.ofMillis(-1)));
            refused("listener is null", () -> one.group.addListener(null));
            refused("data is null", () -> OneNode.await(one.group.propose((byte[]) null)));
            refused("data is null", () -> OneNode.await(one.group.propose((ByteBuffer) null)));
            refused("batch is null", () -> OneNode.await(one.group.proposeBatch(null)));
            refused(
                    "entry 1 of the batch is null",
                    () ->
                            OneNode.await(
                                    one.group.proposeBatch(Arrays.asList(new byte[] {1}, null))));
            refused(
                    "changes is null",
                    () -> OneNode.await(one.group.changeMembership((Change[]) null)));
            refused(
                    "a change is null",
                    () -> OneNode.await(one.group.changeMembership((Change) null)));
            refused("empty", () -> OneNode.await(one.group.changeMembership()));
            refused("toNodeId is -1", () -> OneNode.await(one.group.transferLeadership(-1)));
            assertThrows(
                    EmptyProposalException.class,
                    () -> OneNode.await(one.group.propose(new byte[0])));
            assertThrows(
                    EmptyProposalException.class,
                    () -> OneNode.await(one.group.proposeBatch(List.of())));
            assertThrows(
                    UnknownMemberException.class,
                    () -> OneNode.await(one.group.transferLeadership(7)));
            assertEquals("1", one.propose("all is well"));
        }
    }

    private static void refused(String what, org.junit.jupiter.api.function.Executable call) {
        InvalidArgumentException error = assertThrows(InvalidArgumentException.class, call);
        assertTrue(error.message().contains(what), error.message());
        assertEquals(Outcome.REJECTED, error.outcome());
    }

    @Test
    void halfACharacterIsNotUtf8() {
        InvalidUtf8Exception error =
                assertThrows(
                        InvalidUtf8Exception.class,
                        () -> new NodeOptions("a\ud800b", 1, Path.of("x")));
        assertTrue(error.message().startsWith("cluster "), error.message());
    }

    @Test
    void aTextMayHaveAnyCharacter() throws Exception {
        String name = "Grüße \u0000 \ud83d\ude00";
        Path directory = OneNode.folder();
        try (Node node = Node.open(new NodeOptions(name, 1, directory))) {
            assertEquals(name, node.status().cluster());
        }
    }

    @Test
    void whatIsTooLargeIsRefusedByName() throws Exception {
        OneNode one =
                new OneNode(
                        OneNode.folder(),
                        new Ledger(),
                        OneNode.groupOptions().proposalBytesMax(10));
        try (one) {
            TooLargeException error =
                    assertThrows(
                            TooLargeException.class, () -> one.ready().propose("eleven bytes"));
            assertTrue(error.message().contains("10"), error.message());
            assertEquals("1", one.propose("ten bytes!"));
        }
    }

    @Test
    void aFullGroupIsBusyUntilFuturesAreCompleted() throws Exception {
        CountDownLatch attached = new CountDownLatch(1);
        CountDownLatch goOn = new CountDownLatch(1);
        Ledger ledger =
                new Ledger() {
                    @Override
                    byte[] one(String entry) throws Exception {
                        attached.await();
                        return super.one(entry);
                    }
                };
        GroupOptions options = OneNode.groupOptions().pendingCountMax(4);
        try (OneNode one = new OneNode(OneNode.folder(), ledger, options)) {
            one.ready();
            // Its completion holds up the delivery thread, behind which the others wait.
            CompletableFuture<Void> first =
                    one.group
                            .propose(OneNode.bytes("a"))
                            .thenAccept(done -> awaitUninterruptibly(goOn));
            CompletableFuture<?> second = one.group.propose(OneNode.bytes("b"));
            attached.countDown();
            try {
                BusyException busy =
                        assertThrows(BusyException.class, () -> proposeUntilRefused(one.group));
                assertTrue(busy.retriable());
            } finally {
                goOn.countDown();
            }
            OneNode.await(first);
            OneNode.await(second);
            OneNode.await(one.group.readIndex());
            assertTrue(Integer.parseInt(one.propose("d")) > 2);
        }
    }

    private static void awaitUninterruptibly(CountDownLatch latch) {
        try {
            latch.await();
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    /** One after the other, so that only what waits for the delivery thread can fill the group. */
    private static void proposeUntilRefused(Group group) {
        for (int i = 0; i < 1_000; i++) {
            while (group.status().pendingProposals() > 0) {
                Thread.onSpinWait();
            }
            CompletableFuture<?> more = group.propose(OneNode.bytes("c"));
            if (more.isCompletedExceptionally()) {
                OneNode.await(more);
            }
        }
    }

    @Test
    void futuresFailWithTheExceptionAsTheirCause() throws Exception {
        try (OneNode one = new OneNode(new Ledger()).ready()) {
            ExecutionException thrown =
                    assertThrows(
                            ExecutionException.class, () -> one.group.propose(new byte[0]).get());
            assertInstanceOf(EmptyProposalException.class, thrown.getCause());
        }
    }

    @Test
    void withoutAQuorumAProposalTimesOut() throws Exception {
        GroupOptions options =
                OneNode.groupOptions()
                        .initialMember(2, "127.0.0.1:1")
                        .proposalTimeout(Duration.ofMillis(200));
        try (OneNode one = new OneNode(OneNode.folder(), new Ledger(), options)) {
            TimeoutException error = assertThrows(TimeoutException.class, () -> one.propose("a"));
            assertEquals(ErrorCode.TIMEOUT, error.code());
            assertThrows(TimeoutException.class, () -> one.group.waitReady(Duration.ofMillis(100)));
        }
    }
}
