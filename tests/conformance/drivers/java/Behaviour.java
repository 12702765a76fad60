import io.libraft.Node;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;

/** How a ledger behaves from now on; any thread sets it. */
final class Behaviour {
    volatile long blockMs;
    volatile String fail = "none";
    private String pend = "none";
    private final List<Runnable> held = new ArrayList<>();

    /** The next apply closes this, and says what came of it. */
    private Node closing;

    private CompletableFuture<Throwable> closed;
    private volatile CountDownLatch inside = new CountDownLatch(1);

    static final class Planned extends Exception {
        private static final long serialVersionUID = 1L;

        Planned(String what) {
            super("planned failure of " + what);
        }
    }

    void failIf(String what) throws Planned {
        if (fail.equals(what)) {
            throw new Planned(what);
        }
    }

    synchronized void setPend(String what) {
        pend = what;
    }

    synchronized void release() {
        pend = "none";
        held.forEach(Runnable::run);
        held.clear();
    }

    /** Keeps an answer back if such callbacks are to wait; says whether it does. */
    synchronized boolean hold(String what, Runnable answer) {
        if (!pend.equals(what)) {
            return false;
        }
        held.add(answer);
        return true;
    }

    synchronized CompletableFuture<Throwable> closeInCallback(Node node) {
        closing = node;
        closed = new CompletableFuture<>();
        return closed;
    }

    /** Counted down by the next apply, from inside. */
    CountDownLatch inside() {
        inside = new CountDownLatch(1);
        return inside;
    }

    void enter() {
        inside.countDown();
    }

    void closeIfAsked() {
        Node node;
        CompletableFuture<Throwable> told;
        synchronized (this) {
            node = closing;
            told = closed;
            closing = null;
        }
        if (node == null) {
            return;
        }
        try {
            node.close();
            told.complete(null);
        } catch (RuntimeException e) {
            told.complete(e);
        }
    }
}
