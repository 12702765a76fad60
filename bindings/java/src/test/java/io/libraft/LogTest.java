package io.libraft;

import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import org.junit.jupiter.api.Test;

class LogTest {
    @Test
    void theLogIsHeardAtTheLevelThatIsWanted() throws Exception {
        Logger logger = Logger.getLogger("io.libraft");
        BlockingQueue<LogRecord> heard = new LinkedBlockingQueue<>();
        Handler handler = new Handler() {
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
            try (OneNode one = new OneNode(new Ledger()).ready()) {
                LogRecord record = next(heard);
                assertTrue(record.getMessage().startsWith("libraft::"), record.getMessage());
                assertTrue(record.getLevel().intValue() >= Level.INFO.intValue());
                logger.setLevel(Level.FINER);
                Libraft.updateLogLevel();
                while (next(heard).getLevel().intValue() >= Level.INFO.intValue()) {
                    one.propose("something to talk about");
                }
            }
        } finally {
            logger.removeHandler(handler);
            logger.setLevel(before);
            Libraft.updateLogLevel();
        }
    }

    private static LogRecord next(BlockingQueue<LogRecord> heard) throws InterruptedException {
        LogRecord record = heard.poll(OneNode.PATIENCE.toSeconds(), TimeUnit.SECONDS);
        assertNotNull(record, "the library says nothing");
        return record;
    }
}
