package io.libraft;

import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.Executor;

/** How a node is opened. What is not set has the default that is said here. */
public final class NodeOptions {
    private final FlatWriter options = new FlatWriter(256);
    private final long nodeId;
    private Executor executor;

    /**
     * What every node needs.
     *
     * @param cluster the cluster's name, 1 to 128 bytes; nodes of different clusters refuse each
     *     other
     * @param nodeId this node's id within the cluster, not 0
     * @param directory the data directory; created if it is missing. Each node has its own.
     */
    public NodeOptions(String cluster, long nodeId, Path directory) {
        this.nodeId = LibraftException.notNegative(nodeId, "nodeId");
        text(1, cluster, "cluster");
        number(2, nodeId, "nodeId");
        path(3, directory, "directory");
    }

    /**
     * Where snapshots are kept.
     *
     * @param directory such as one on another disk; by default it is below the data directory
     * @return this
     */
    public NodeOptions snapshotDirectory(Path directory) {
        return path(4, directory, "snapshotDirectory");
    }

    /**
     * The address to listen on.
     *
     * @param address {@code host:port} or {@code [ipv6]:port}; port 0 takes a free one; by default
     *     {@code 127.0.0.1:0}
     * @return this
     */
    public NodeOptions listenAddress(String address) {
        return text(5, address, "listenAddress");
    }

    /**
     * The address that peers connect to.
     *
     * @param address by default the one listened on
     * @return this
     */
    public NodeOptions advertisedAddress(String address) {
        return text(6, address, "advertisedAddress");
    }

    /**
     * Allows listening beyond loopback although connections are not encrypted.
     *
     * @param allowed false by default
     * @return this
     */
    public NodeOptions insecureTransport(boolean allowed) {
        return number(7, allowed ? 1 : 0, "insecureTransport");
    }

    /**
     * The length of a tick.
     *
     * @param tick 100 ms by default; of whole milliseconds
     * @return this
     */
    public NodeOptions tick(Duration tick) {
        return number(8, LibraftException.millis(tick, "tick"), "tick");
    }

    /**
     * How long a follower waits for its leader.
     *
     * @param ticks without a heartbeat before it campaigns, 10 by default; the actual time is drawn
     *     from this up to twice this
     * @return this
     */
    public NodeOptions electionTicks(long ticks) {
        return number(9, ticks, "electionTicks");
    }

    /**
     * How often a leader says that it is there.
     *
     * @param ticks between heartbeats, 1 by default
     * @return this
     */
    public NodeOptions heartbeatTicks(long ticks) {
        return number(10, ticks, "heartbeatTicks");
    }

    /**
     * How many threads run state machines that are not quick.
     *
     * @param threads 2 by default
     * @return this
     */
    public NodeOptions applyThreads(long threads) {
        return number(11, threads, "applyThreads");
    }

    /**
     * The size of a journal segment.
     *
     * @param bytes 64 MiB by default
     * @return this
     */
    public NodeOptions segmentBytes(long bytes) {
        return number(12, bytes, "segmentBytes");
    }

    /**
     * How many journal segments are in use before the oldest is checkpointed.
     *
     * @param segments 8 by default
     * @return this
     */
    public NodeOptions segmentsMax(long segments) {
        return number(13, segments, "segmentsMax");
    }

    /**
     * What must stay free on the disk.
     *
     * @param bytes 64 MiB by default
     * @return this
     */
    public NodeOptions freeBytesMin(long bytes) {
        return number(14, bytes, "freeBytesMin");
    }

    /**
     * What completes futures and calls listeners: many at once in one task. The order between
     * futures is then the executor's.
     *
     * @param executor by default a daemon thread of the node, its <em>delivery thread</em>, does
     *     that itself; continuations on it must not wait for other calls of libraft, whose
     *     completions come after theirs
     * @return this
     */
    public NodeOptions executor(Executor executor) {
        this.executor = LibraftException.required(executor, "executor");
        return this;
    }

    long nodeId() {
        return nodeId;
    }

    Executor executor() {
        return executor;
    }

    byte[] write() {
        return options.finish();
    }

    private NodeOptions text(int number, String value, String name) {
        options.writeByte(number).writeText(LibraftException.required(value, name), name);
        return this;
    }

    private NodeOptions path(int number, Path value, String name) {
        return text(number, LibraftException.required(value, name).toString(), name);
    }

    private NodeOptions number(int number, long value, String name) {
        options.writeByte(number).writeLong(LibraftException.notNegative(value, name));
        return this;
    }
}
