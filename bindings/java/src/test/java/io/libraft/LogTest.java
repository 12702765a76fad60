package io.libraft;

import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import java.util.logging.Logger;

class LogTest {
    @Test
    void theLogIsHeardAtTheLevelThatIsWanted() throws Exception {
        Logger logger = Logger.getLogger("io.libraft");
        BlockingQueue<LogRecord> heard = new LinkedBlockingQueue<>();
        Handler handler =
                new Handler() {
                    @Override
                    public void publish(LogRecord record) {
                        heard.add(record);
                    }

                    @Override
                    public void flush() {}

                    @Override
                    public void close() {}
                };
        handler.setLevel(Level.ALL);
        Level before = logger.getLevel();
        logger.addHandler(handler);
        try {
            logger.setLevel(Level.INFO);
            Node one = Node.open(OneNode.options(OneNode.folder()));
            Node two = Node.open(new NodeOptions("test", 2, OneNode.folder()));
            try (one;
                    two) {
                GroupOptions options =
                        new GroupOptions(1)
                                .initialMember(1, one.status().address())
                                .initialMember(2, two.status().address());
                one.startGroup(options, new Ledger());
                two.startGroup(options, new Ledger()).waitReady(OneNode.PATIENCE);
                LogRecord record = heard(heard, Level.INFO);
                assertTrue(record.getMessage().startsWith("libraft::"), record.getMessage());
                logger.setLevel(Level.FINER);
                Libraft.updateLogLevel();
                two.close();
                heard(heard, Level.FINE);
            }
        } finally {
            logger.removeHandler(handler);
            logger.setLevel(before);
            Libraft.updateLogLevel();
        }
    }

    private static LogRecord heard(BlockingQueue<LogRecord> heard, Level level)
            throws InterruptedException {
        LogRecord record;
        do {
            record = heard.poll(OneNode.PATIENCE.toSeconds(), TimeUnit.SECONDS);
            assertNotNull(record, "the library says nothing at level " + level);
        } while (!record.getLevel().equals(level));
        return record;
    }
}
