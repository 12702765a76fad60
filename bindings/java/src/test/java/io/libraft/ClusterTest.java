package io.libraft;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

import java.net.InetAddress;
import java.net.ServerSocket;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** Three members in one process. */
class ClusterTest {
    private final List<Node> nodes = new ArrayList<>();
    private final List<Ledger> ledgers = new ArrayList<>();
    private final List<Group> groups = new ArrayList<>();

    @BeforeEach
    void start() throws Exception {
        for (long id = 1; id <= 4; id++) {
            nodes.add(
                    Node.open(
                            new NodeOptions("test", id, OneNode.folder())
                                    // Nobody is to vote because the machine is busy.
                                    .tick(java.time.Duration.ofMillis(100))
                                    .segmentBytes(1 << 20)));
            ledgers.add(new Ledger());
        }
        for (int i = 0; i < 4; i++) {
            GroupOptions options = new GroupOptions(7).snapshotEntries(0);
            for (int member = 0; i < 3 && member < 3; member++) {
                options.initialMember(member + 1, address(member));
            }
            groups.add(nodes.get(i).startGroup(options, ledgers.get(i)));
        }
        for (int i = 0; i < 3; i++) {
            groups.get(i).waitReady(OneNode.PATIENCE);
        }
    }

    @AfterEach
    void close() {
        nodes.forEach(Node::close);
    }

    private String address(int node) {
        return nodes.get(node).status().address();
    }

    private int leader() {
        for (long deadline = deadline(); System.nanoTime() < deadline; Thread.onSpinWait()) {
            for (int i = 0; i < 4; i++) {
                if (groups.get(i).status().role() == Role.LEADER) {
                    return i;
                }
            }
        }
        throw new AssertionError("nobody leads");
    }

    private static long deadline() {
        return System.nanoTime() + OneNode.PATIENCE.toNanos();
    }

    /** Leadership may move at any time: goes to whoever leads, until it has worked. */
    private <T> T atLeader(
            java.util.function.Function<Group, java.util.concurrent.CompletableFuture<T>> call) {
        long deadline = deadline();
        while (true) {
            try {
                return OneNode.await(call.apply(groups.get(leader())));
            } catch (LibraftException e) {
                if (!e.retriable() || System.nanoTime() > deadline) {
                    throw e;
                }
            }
        }
    }

    @Test
    void everyMemberProposesAndReads() {
        for (int i = 0; i < 3; i++) {
            Group group = groups.get(i);
            Completion done = OneNode.await(group.propose(OneNode.bytes("from " + i)));
            assertEquals(Integer.toString(i + 1), OneNode.text(done.result()));
            assertTrue(OneNode.await(group.readIndex()) >= done.index());
            assertEquals(i + 1, ledgers.get(i).entries.size());
        }
    }

    @Test
    void whoIsNotLeaderSaysWhoIs() {
        int leader = leader();
        int other = (leader + 1) % 3;
        NotLeaderException error =
                assertThrows(
                        NotLeaderException.class,
                        () -> OneNode.await(groups.get(other).transferLeadership(other + 1)));
        assertEquals(leader + 1, error.leader().orElseThrow().nodeId());
        assertEquals(address(leader), error.leader().orElseThrow().address());
        assertTrue(error.retriable());
        assertEquals(Outcome.REJECTED, error.outcome());
    }

    @Test
    void leadershipMovesAndListenersHearOfIt() throws Exception {
        BlockingQueue<Long> leaders = new LinkedBlockingQueue<>();
        BlockingQueue<Role> roles = new LinkedBlockingQueue<>();
        int from = leader();
        int to = (from + 1) % 3;
        groups.get(to)
                .addListener(
                        new GroupListener() {
                            @Override
                            public void onLeader(OptionalLong nodeId, long term) {
                                leaders.add(nodeId.orElse(0));
                                throw new IllegalStateException("listeners may fail");
                            }
                        });
        groups.get(to)
                .addListener(
                        new GroupListener() {
                            @Override
                            public void onRole(Role role, long term) {
                                roles.add(role);
                            }
                        });
        OneNode.await(groups.get(from).transferLeadership(to + 1));
        assertTrue(waitFor(roles, Role.LEADER));
        assertTrue(waitFor(leaders, to + 1L));
    }

    private static <T> boolean waitFor(BlockingQueue<T> queue, T wanted)
            throws InterruptedException {
        T next = null;
        do {
            next = queue.poll(OneNode.PATIENCE.toSeconds(), TimeUnit.SECONDS);
        } while (next != null && !next.equals(wanted));
        return next != null;
    }

    @Test
    void aFourthMemberLearnsTheStateFromASnapshotAndIsPromoted() throws Exception {
        BlockingQueue<Long> installed = new LinkedBlockingQueue<>();
        groups.get(3)
                .addListener(
                        new GroupListener() {
                            @Override
                            public void onSnapshotInstalled(long index) {
                                installed.add(index);
                            }
                        });
        atLeader(group -> group.propose(OneNode.bytes("before")));
        long index = atLeader(group -> group.changeMembership(Change.addLearner(4, address(3))));
        assertTrue(index > 0);
        groups.get(3).waitReady(OneNode.PATIENCE);
        assertTrue(installed.poll(OneNode.PATIENCE.toSeconds(), TimeUnit.SECONDS) > 0);
        assertEquals(List.of("before"), ledgers.get(3).entries);
        atLeader(
                group ->
                        group.changeMembership(
                                Change.promote(4), Change.demote(firstFollower() + 1)));
        List<Member> members = groups.get(leader()).members();
        assertEquals(4, members.size());
        assertEquals(
                3, members.stream().filter(member -> member.role() == MemberRole.VOTER).count());
        Member fourth =
                members.stream().filter(member -> member.nodeId() == 4).findFirst().orElseThrow();
        assertEquals(MemberRole.VOTER, fourth.role());
        assertEquals(address(3), fourth.address());
        assertEquals(nodes.get(3).status().incarnation(), fourth.incarnation());
        atLeader(group -> group.changeMembership(Change.remove(4)));
        assertEquals(3, groups.get(leader()).members().size());
    }

    private int firstFollower() {
        return leader() == 0 ? 1 : 0;
    }

    @Test
    void impossibleChangesAreRefused() {
        assertThrows(
                MembershipInvalidException.class,
                () ->
                        atLeader(
                                group ->
                                        group.changeMembership(
                                                Change.remove(1),
                                                Change.remove(2),
                                                Change.remove(3))));
        assertThrows(
                UnknownMemberException.class,
                () -> atLeader(group -> group.changeMembership(Change.promote(9))));
        LibraftException error =
                assertThrows(
                        LibraftException.class,
                        () ->
                                OneNode.await(
                                        groups.get(leader())
                                                .changeMembership(Change.addVoter(9, nobody()))));
        assertEquals(Outcome.REJECTED, error.outcome());
    }

    /** An address where nobody listens. */
    private static String nobody() throws Exception {
        try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return "127.0.0.1:" + socket.getLocalPort();
        }
    }
}
