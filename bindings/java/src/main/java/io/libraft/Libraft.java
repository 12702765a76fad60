package io.libraft;

/** The library itself. Begin with {@link Node#open}. */
public final class Libraft {
    private static final String VERSION = FlatReader.answer(NativeNode.version()).readText();

    private Libraft() {}

    /**
     * The version of the native library.
     *
     * @return such as "0.1.0"
     */
    public static String version() {
        return VERSION;
    }

    /**
     * Looks anew at what the {@link System.Logger} named {@code io.libraft} wants to hear. Opening
     * a node does so, too; call this after changing the logger's level while nodes are open.
     */
    public static void updateLogLevel() {
        LogThread.listen();
    }
}
