import io.libraft.Libraft;

import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import java.util.logging.Logger;

/**
 * Counts what the library logs, in the way in which System.Logger logs by default:
 * java.util.logging.
 */
final class LogCounter extends Handler {
    private static final Map<String, Level> LEVELS =
            Map.of(
                    "off",
                    Level.OFF,
                    "error",
                    Level.SEVERE,
                    "warn",
                    Level.WARNING,
                    "info",
                    Level.INFO,
                    "debug",
                    Level.FINE,
                    "trace",
                    Level.FINER);

    /** Kept here, for the logging system does not. */
    private final Logger logger = Logger.getLogger("io.libraft");

    private final AtomicLong records = new AtomicLong();

    LogCounter() {
        setLevel(Level.ALL);
        logger.setUseParentHandlers(false);
        logger.setLevel(Level.OFF);
        logger.addHandler(this);
    }

    void listen(String level) {
        logger.setLevel(LEVELS.get(level));
        Libraft.updateLogLevel();
    }

    long count() {
        return records.get();
    }

    @Override
    public void publish(LogRecord record) {
        records.incrementAndGet();
    }

    @Override
    public void flush() {}

    @Override
    public void close() {}
}
