package io.libraft;

import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

/**
 * Carries what the library says to the {@link Logger} named {@code io.libraft}. A thread of its own
 * does that, so that a handler that blocks holds up nothing else.
 */
final class LogThread implements Runnable {
    private static final Logger LOGGER = System.getLogger("io.libraft");
    private static final long PAUSE_NANOS = TimeUnit.MILLISECONDS.toNanos(50);

    /** By the core's numbers for levels. */
    private static final Level[] LEVELS = {
        Level.OFF, Level.ERROR, Level.WARNING, Level.INFO, Level.DEBUG, Level.TRACE
    };

    private static boolean started;

    private LogThread() {}

    /** Listens to what the logger wants to hear now. */
    static synchronized void listen() {
        int level = LEVELS.length - 1;
        while (level > 0 && !LOGGER.isLoggable(LEVELS[level])) {
            level--;
        }
        FlatReader.answer(NativeLog.listen(level));
        if (!started) {
            started = true;
            Thread thread = new Thread(new LogThread(), "libraft-log");
            thread.setDaemon(true);
            thread.start();
        }
    }

    /** Says something of this half of the library. */
    static void log(Level level, String message, Throwable error) {
        try {
            LOGGER.log(level, message, error);
        } catch (Throwable e) {
            // A broken handler is its owner's matter; nobody is left to be told.
        }
    }

    @Override
    public void run() {
        while (true) {
            try {
                tell(new FlatReader(NativeLog.take()));
            } catch (OutOfMemoryError e) {
                LockSupport.parkNanos(PAUSE_NANOS);
            }
        }
    }

    private static void tell(FlatReader records) {
        long lost = records.readLong();
        if (lost > 0) {
            log(Level.WARNING, lost + " records were lost, for the log's handlers are slow", null);
        }
        while (records.hasMore()) {
            Level level = LEVELS[records.readInt()];
            String part = records.readText();
            log(level, part + ": " + records.readText(), null);
        }
    }
}
