import io.libraft.OnDiskStateMachine;
import io.libraft.Opened;

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;

/** The ledger as a machine that keeps its state in a file. */
final class DiskLedger extends ConcurrentLedger implements OnDiskStateMachine<LedgerState> {
    private final Path folder;

    DiskLedger(Behaviour behaviour, boolean quick, boolean async, Path folder) {
        super(behaviour, quick, async);
        this.folder = folder;
    }

    @Override
    public Opened open() throws Exception {
        behaviour.failIf("open");
        Path file = folder.resolve("state");
        if (!Files.exists(file)) {
            return Opened.fresh();
        }
        try (InputStream in = new BufferedInputStream(Files.newInputStream(file))) {
            LedgerState opened = LedgerState.read(in);
            synchronized (this) {
                state = opened;
            }
            return Opened.at(opened.applied);
        }
    }

    @Override
    public void sync() throws Exception {
        behaviour.failIf("sync");
        keep();
    }

    @Override
    public void restoreSnapshot(InputStream in) throws Exception {
        super.restoreSnapshot(in);
        keep();
    }

    private void keep() throws IOException {
        Path fresh = folder.resolve("state.new");
        try (FileOutputStream file = new FileOutputStream(fresh.toFile())) {
            OutputStream out = new BufferedOutputStream(file);
            copy().write(out);
            out.flush();
            file.getFD().sync();
        }
        Files.move(fresh, folder.resolve("state"), StandardCopyOption.ATOMIC_MOVE);
        try (FileChannel directory = FileChannel.open(folder, StandardOpenOption.READ)) {
            directory.force(true);
        }
    }
}
