package io.libraft;

import java.lang.System.Logger.Level;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.WeakHashMap;

/**
 * Closes what is still open when the virtual machine shuts down, so that callbacks end before it
 * does and the next start finds everything sealed. Nothing depends on it: what was acknowledged is
 * durable.
 */
final class OpenNodes {
    /** A callback that blocks for longer does not keep the virtual machine from its end. */
    private static final long WAIT_MS = 2_000;

    private static final Set<Node> NODES = Collections.newSetFromMap(new WeakHashMap<>());

    static {
        try {
            Thread hook = new Thread(OpenNodes::closeAll, "libraft-shutdown");
            Runtime.getRuntime().addShutdownHook(hook);
        } catch (IllegalStateException e) {
            // It shuts down already: whoever opens a node now must close it.
        }
    }

    private OpenNodes() {}

    static void add(Node node) {
        synchronized (NODES) {
            NODES.add(node);
        }
    }

    private static void closeAll() {
        List<Node> nodes;
        synchronized (NODES) {
            nodes = new ArrayList<>(NODES);
        }
        Thread closer = new Thread(() -> nodes.forEach(OpenNodes::close), "libraft-closer");
        closer.setDaemon(true);
        nodes.forEach(Node::beginClose);
        closer.start();
        try {
            closer.join(WAIT_MS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private static void close(Node node) {
        try {
            node.closeNative();
        } catch (LibraftException e) {
            LogThread.log(Level.WARNING, "a node could not be closed well", e);
        }
    }
}
