package io.libraft;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicInteger;

/** Where futures are completed. */
class DeliveryTest {
    private static final int COUNT = 2_000;

    /**
     * The threads that complete futures: what runs as a continuation before, does so on the thread
     * that asked.
     */
    private static Set<String> threadsOf(Group group) {
        Set<String> threads = ConcurrentHashMap.newKeySet();
        List<CompletableFuture<?>> futures = new ArrayList<>();
        for (int i = 0; i < COUNT; i++) {
            futures.add(
                    group.propose(OneNode.bytes("a"))
                            .thenAccept(done -> threads.add(Thread.currentThread().getName())));
        }
        futures.forEach(OneNode::await);
        threads.remove(Thread.currentThread().getName());
        return threads;
    }

    @Test
    void futuresAreCompletedOnTheDeliveryThread() throws Exception {
        try (OneNode one = new OneNode(new Ledger()).ready()) {
            assertEquals(Set.of("libraft-delivery-1"), threadsOf(one.group));
        }
    }

    @Test
    void futuresAreCompletedByTheProgramsExecutor() throws Exception {
        ExecutorService executor =
                Executors.newFixedThreadPool(2, body -> new Thread(body, "mine"));
        try (Node node = Node.open(OneNode.options(OneNode.folder()).executor(executor))) {
            Group group = node.startGroup(OneNode.groupOptions(), new Ledger());
            assertEquals(Set.of("mine"), threadsOf(group));
        } finally {
            executor.shutdown();
        }
    }

    @Test
    void anExecutorThatRefusesLosesNothing() throws Exception {
        AtomicInteger refused = new AtomicInteger();
        NodeOptions options =
                OneNode.options(OneNode.folder())
                        .executor(
                                task -> {
                                    refused.incrementAndGet();
                                    throw new RejectedExecutionException("no");
                                });
        try (Node node = Node.open(options)) {
            Group group = node.startGroup(OneNode.groupOptions(), new Ledger());
            assertEquals(Set.of("libraft-delivery-1"), threadsOf(group));
        }
        assertTrue(refused.get() > 0);
    }

    @Test
    void aContinuationMayProposeAndMayClose() throws Exception {
        OneNode one = new OneNode(new Ledger()).ready();
        CompletableFuture<Completion> chain = one.group.propose(OneNode.bytes("0"));
        for (int i = 1; i < 100; i++) {
            byte[] next = OneNode.bytes(Integer.toString(i));
            chain = chain.thenCompose(done -> one.group.propose(next));
        }
        assertEquals("100", OneNode.text(OneNode.await(chain).result()));
        OneNode.await(one.group.propose(OneNode.bytes("last")).thenRun(one.node::close));
        new OneNode(one.directory, new Ledger()).ready().close();
    }

    @Test
    void everyProposalCompletesOnceAndInOrder() throws Exception {
        try (OneNode one = new OneNode(new Ledger()).ready()) {
            List<Integer> order = new ArrayList<>();
            List<CompletableFuture<?>> futures = new ArrayList<>();
            for (int i = 0; i < COUNT; i++) {
                futures.add(
                        one.group
                                .propose(OneNode.bytes("a"))
                                .thenAccept(
                                        done -> {
                                            synchronized (order) {
                                                order.add(
                                                        Integer.parseInt(
                                                                OneNode.text(done.result())));
                                            }
                                        }));
            }
            futures.forEach(OneNode::await);
            assertEquals(COUNT, order.size());
            assertEquals(COUNT, order.stream().distinct().count());
            assertEquals(COUNT, one.group.status().appliedIndex() - 2);
        }
    }
}
