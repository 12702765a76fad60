package io.libraft;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.lang.System.Logger.Level;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Function;

/** The program's state machine, as the native half sees it: see {@code machine.rs}. */
final class MachineBridge {
    // What is asked, as in `machine.rs`.
    private static final int OPEN = 1;
    private static final int APPLY = 2;
    private static final int SYNC = 3;
    private static final int PREPARE = 4;
    private static final int SAVE = 5;
    private static final int SAVE_PREPARED = 6;
    private static final int RESTORE = 7;
    private static final int RELEASE = 8;
    private static final int DESTROY = 9;

    private static final byte[] DONE = {0};
    private static final byte[] NOTHING = {};

    /** An answer for when there is no memory for any other. */
    private static final byte[] WORDLESS =
            "\001the callback failed, and there was no memory to say how"
                    .getBytes(StandardCharsets.UTF_8);

    /** A longer stack trace is cut. */
    private static final int TRACE_CHARS_MAX = 16_384;

    private final long groupId;
    private final int kind;
    private final boolean quick;

    /** Null when it was destroyed. */
    private volatile StateMachine machine;

    private final Map<Long, Object> views = new HashMap<>();
    private long lastView;

    /** What was thrown, by the code that the library gives to it. */
    private final Map<ErrorCode, Throwable> thrown = new HashMap<>();

    private LibraftException failure;

    MachineBridge(StateMachine machine, long groupId) {
        this.machine = machine;
        this.groupId = groupId;
        kind =
                machine instanceof OnDiskStateMachine
                        ? 2
                        : machine instanceof ConcurrentStateMachine ? 1 : 0;
        quick = machine.quick();
    }

    int kind() {
        return kind;
    }

    boolean quick() {
        return quick;
    }

    /** What a callback threw, if an error with this code is about that. */
    synchronized Throwable thrown(ErrorCode code) {
        return thrown.get(code);
    }

    /** What stopped the group, if that was something a callback threw; or null. */
    synchronized LibraftException failure() {
        return failure;
    }

    /**
     * Called by the native half. Null: the answer comes later, by {@link #answer}. Never throws
     * once it gave the request away.
     */
    private byte[] call(int what, byte[] input, long request, long stream) {
        try {
            return switch (what) {
                case OPEN ->
                        settle(
                                ErrorCode.OPEN_FAILED,
                                request,
                                null,
                                onDisk().openAsync(),
                                MachineBridge::opened);
                case APPLY -> apply(new Entries(input), request);
                case SYNC ->
                        settle(
                                ErrorCode.SYNC_FAILED,
                                request,
                                null,
                                onDisk().syncAsync(),
                                ignored -> DONE);
                case PREPARE ->
                        settle(
                                ErrorCode.SAVE_FAILED,
                                request,
                                null,
                                concurrent().prepareSnapshotAsync(),
                                this::keepView);
                case SAVE -> {
                    SnapshotOutputStream out = new SnapshotOutputStream(stream);
                    yield saving(out, request);
                }
                case SAVE_PREPARED -> savePrepared(new FlatReader(input).readLong(), stream);
                case RESTORE -> {
                    SnapshotInputStream in = new SnapshotInputStream(stream);
                    yield restoring(in, request);
                }
                case RELEASE -> release(new FlatReader(input).readLong());
                case DESTROY -> destroy();
                default -> throw new AssertionError("there is no request of kind " + what);
            };
        } catch (Throwable error) {
            return failed(codeOf(what), error);
        }
    }

    private static ErrorCode codeOf(int what) {
        return switch (what) {
            case OPEN -> ErrorCode.OPEN_FAILED;
            case APPLY -> ErrorCode.APPLY_FAILED;
            case SYNC -> ErrorCode.SYNC_FAILED;
            case RESTORE -> ErrorCode.RESTORE_FAILED;
            default -> ErrorCode.SAVE_FAILED;
        };
    }

    private byte[] apply(Entries entries, long request) throws Exception {
        return settle(
                ErrorCode.APPLY_FAILED,
                request,
                null,
                machine.applyAsync(entries),
                results -> encode(entries.size(), results));
    }

    private byte[] saving(SnapshotOutputStream out, long request) throws Exception {
        CompletionStage<?> stage;
        try {
            stage = machine.saveSnapshotAsync(out);
        } catch (Throwable error) {
            out.revoke();
            throw error;
        }
        return settle(ErrorCode.SAVE_FAILED, request, out::finish, stage, ignored -> DONE);
    }

    private byte[] restoring(SnapshotInputStream in, long request) throws Exception {
        CompletionStage<?> stage;
        try {
            stage = machine.restoreSnapshotAsync(in);
        } catch (Throwable error) {
            in.revoke();
            throw error;
        }
        return settle(ErrorCode.RESTORE_FAILED, request, in::revoke, stage, ignored -> DONE);
    }

    /** On a thread for snapshots, which waits for it; beside the other calls. */
    private byte[] savePrepared(long view, long stream) throws Exception {
        SnapshotOutputStream out = new SnapshotOutputStream(stream);
        try {
            Object prepared;
            synchronized (this) {
                prepared = views.get(view);
            }
            concurrent().saveSnapshot(prepared, out);
            out.finish();
            return DONE;
        } finally {
            out.revoke();
        }
    }

    private byte[] keepView(Object view) {
        synchronized (this) {
            views.put(++lastView, view);
            return new FlatWriter(16).writeByte(0).writeLong(lastView).finish();
        }
    }

    private byte[] release(long view) {
        try {
            Object prepared;
            synchronized (this) {
                prepared = views.remove(view);
            }
            concurrent().releaseSnapshot(prepared);
        } catch (Throwable error) {
            LogThread.log(Level.WARNING, "releaseSnapshot of group " + groupId + " failed", error);
        }
        return DONE;
    }

    private byte[] destroy() {
        StateMachine last = machine;
        machine = null;
        try {
            last.destroy();
        } catch (Throwable error) {
            LogThread.log(Level.WARNING, "destroy of group " + groupId + " failed", error);
        }
        return DONE;
    }

    /** An end of a request, such as flushing what it was written to. */
    private interface Ending {
        void run() throws Exception;
    }

    /** Answers with what the stage completes with: at once if it has, else later. */
    private <T> byte[] settle(
            ErrorCode code,
            long request,
            Ending ending,
            CompletionStage<T> stage,
            Function<T, byte[]> encode) {
        if (stage == null) {
            return reply(
                    code,
                    ending,
                    null,
                    new NullPointerException("the callback returned null, not a stage"),
                    encode);
        }
        if (stage instanceof CompletableFuture<T> future && future.isDone()) {
            try {
                return reply(code, ending, future.get(), null, encode);
            } catch (Throwable error) {
                return reply(code, ending, null, error, encode);
            }
        }
        AtomicBoolean answered = new AtomicBoolean();
        try {
            stage.whenComplete(
                    (value, error) -> {
                        if (answered.compareAndSet(false, true)) {
                            answer(request, reply(code, ending, value, error, encode));
                        }
                    });
        } catch (Throwable error) {
            if (answered.compareAndSet(false, true)) {
                return reply(code, ending, null, error, encode);
            }
        }
        return null;
    }

    private <T> byte[] reply(
            ErrorCode code, Ending ending, T value, Throwable error, Function<T, byte[]> encode) {
        try {
            if (ending != null) {
                ending.run();
            }
            return error == null ? encode.apply(value) : failed(code, error);
        } catch (Throwable other) {
            return failed(code, error == null ? other : error);
        }
    }

    /** What the request fails with. It must be answered, whatever happens, so this never throws. */
    private byte[] failed(ErrorCode code, Throwable error) {
        try {
            return describe(code, error);
        } catch (Throwable worse) {
            return WORDLESS;
        }
    }

    private byte[] describe(ErrorCode code, Throwable error) {
        Throwable cause = error;
        while ((cause instanceof CompletionException || cause instanceof ExecutionException)
                && cause.getCause() != null) {
            cause = cause.getCause();
        }
        String text = trace(cause);
        synchronized (this) {
            thrown.put(code, cause);
            if (code != ErrorCode.SAVE_FAILED && failure == null) {
                String message = "the state machine of group " + groupId + " failed: " + text;
                failure =
                        code.exception(
                                new ErrorDetails(
                                        code, Outcome.UNKNOWN, false, message, null, cause));
            }
        }
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        return new FlatWriter(1 + bytes.length).writeByte(1).writeRaw(bytes).finish();
    }

    private static String trace(Throwable error) {
        try {
            StringWriter text = new StringWriter();
            error.printStackTrace(new PrintWriter(text, true));
            String trace = text.toString().stripTrailing();
            return trace.length() <= TRACE_CHARS_MAX
                    ? trace
                    : trace.substring(0, TRACE_CHARS_MAX) + "...";
        } catch (Throwable broken) {
            // The exception's own methods are the program's code, too.
            return error.getClass().getName();
        }
    }

    private static byte[] opened(Opened opened) {
        return new FlatWriter(32)
                .writeByte(0)
                .writeLong(LibraftException.notNegative(opened.appliedIndex(), "appliedIndex"))
                .writeBytes(opened.blob() == null ? NOTHING : opened.blob())
                .finish();
    }

    /** The length of each result, then the results: {@code read_results} in {@code machine.rs}. */
    private static byte[] encode(int count, byte[][] results) {
        if (results != null && results.length != count) {
            throw new IllegalStateException(
                    "apply returned " + results.length + " results for " + count + " entries");
        }
        FlatWriter writer = new FlatWriter(1 + 16 * count).writeByte(0);
        for (int i = 0; i < count; i++) {
            writer.writeInt(results == null || results[i] == null ? 0 : results[i].length);
        }
        for (int i = 0; results != null && i < count; i++) {
            if (results[i] != null) {
                writer.writeRaw(results[i]);
            }
        }
        return writer.finish();
    }

    /** The kind, and with it the type of the view, was looked at when the group was started. */
    @SuppressWarnings("unchecked")
    private ConcurrentStateMachine<Object> concurrent() {
        return (ConcurrentStateMachine<Object>) machine;
    }

    @SuppressWarnings("unchecked")
    private OnDiskStateMachine<Object> onDisk() {
        return (OnDiskStateMachine<Object>) machine;
    }

    private static native void answer(long request, byte[] answer);
}
