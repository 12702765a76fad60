package io.libraft;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;

/** The example: one process of it, over its protocol. Many together are what the demo runs. */
class KvTest {
    @Test
    void itKeepsValuesAndEndsWellWhenItIsTold() throws Exception {
        Path folder = OneNode.folder();
        int port = freePort();
        for (int run = 0; run < 2; run++) {
            Process kv = start(folder, port);
            try (Socket socket = connect(folder, kv, port)) {
                assertTrue(ask(socket, "put 5 a key\nvalue").startsWith("ok "));
                assertEquals("value 5", ask(socket, "get a key"));
                assertEquals("none", ask(socket, "del nothing"));
                assertEquals("keys 1", ask(socket, "keys"));
                assertTrue(ask(socket, "status").contains("role=leader"));
                assertTrue(
                        ask(socket, "put 1")
                                .startsWith("error INVALID_ARGUMENT rejected final usage: put"));
            }
            try (Socket socket = connect(folder, kv, port)) {
                assertTrue(
                        ask(socket, "promote 7").startsWith("error UNKNOWN_MEMBER rejected final"));
                assertTrue(
                        ask(socket, "bake a cake")
                                .startsWith("error INVALID_ARGUMENT rejected final there are"));
                assertEquals("members 1", ask(socket, "members"));
            }
            kv.destroy();
            Programs.Ended ended = Programs.end(folder, kv);
            assertEquals(0, ended.code(), ended.err());
            assertTrue(ended.out().endsWith("kv: closed\n"), ended.out());
        }
    }

    @Test
    void itSaysHowItIsUsed() throws Exception {
        Path folder = OneNode.folder();
        Programs.Ended ended = Programs.run(folder, "-cp", classes(), "Kv", "--node");
        assertEquals(2, ended.code());
        assertTrue(ended.err().startsWith("usage: kv --node N"), ended.err());
    }

    private static String classes() {
        return Programs.binding() + ":" + Programs.ROOT.resolve("target/java-kv");
    }

    private static Process start(Path folder, int port) throws Exception {
        List<String> arguments =
                List.of(
                        "-Xmx128m",
                        "-cp",
                        classes(),
                        "Kv",
                        "--node",
                        "1",
                        "--directory",
                        "data",
                        "--clients",
                        Integer.toString(port),
                        "--member",
                        "1=127.0.0.1:0");
        return Programs.java(folder, arguments).start();
    }

    private static Socket connect(Path folder, Process kv, int port) throws Exception {
        long deadline = System.nanoTime() + OneNode.PATIENCE.toNanos();
        while (true) {
            try {
                return new Socket(InetAddress.getLoopbackAddress(), port);
            } catch (IOException e) {
                assertTrue(
                        kv.isAlive() && System.nanoTime() < deadline,
                        () -> Programs.read(folder, "err"));
            }
        }
    }

    /**
     * The first line of the answer; what comes behind it is of no interest here, but for a value's.
     */
    private static String ask(Socket socket, String request) throws IOException {
        OutputStream out = socket.getOutputStream();
        out.write(
                (request + (request.contains("\n") ? "" : "\n"))
                        .getBytes(StandardCharsets.ISO_8859_1));
        StringBuilder line = new StringBuilder();
        int rest =
                request.startsWith("get") || request.equals("keys") || request.equals("members")
                        ? 1
                        : 0;
        for (int next = socket.getInputStream().read();
                next >= 0;
                next = socket.getInputStream().read()) {
            if (next == '\n' && rest-- == 0) {
                break;
            }
            line.append((char) next);
        }
        return line.toString().lines().findFirst().orElseThrow();
    }

    private static int freePort() throws IOException {
        try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return socket.getLocalPort();
        }
    }
}
