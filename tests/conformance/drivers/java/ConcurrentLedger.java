import io.libraft.ConcurrentStateMachine;

import java.io.OutputStream;

/** The ledger as a machine that is saved beside apply. */
class ConcurrentLedger extends MemoryLedger implements ConcurrentStateMachine<LedgerState> {
    ConcurrentLedger(Behaviour behaviour, boolean quick, boolean async) {
        super(behaviour, quick, async);
    }

    @Override
    public LedgerState prepareSnapshot() throws Exception {
        behaviour.failIf("prepare");
        return copy();
    }

    @Override
    public void saveSnapshot(LedgerState view, OutputStream out) throws Exception {
        // Holding back keeps this thread, which is one for snapshots.
        answer(
                        "save",
                        () -> {
                            behaviour.failIf("save");
                            view.write(out);
                            return null;
                        })
                .toCompletableFuture()
                .get();
    }

    @Override
    public void saveSnapshot(OutputStream out) throws Exception {
        ConcurrentStateMachine.super.saveSnapshot(out);
    }
}
