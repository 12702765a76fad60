import io.libraft.LibraftException;

import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;

/** A request: `ID COMMAND name=value ...`, and the words of answers. */
final class Words {
    final String id;
    final String command;
    private final Map<String, String> values = new HashMap<>();

    Words(String line) {
        String[] words = line.split(" ");
        id = words[0];
        command = words.length > 1 ? words[1] : "";
        for (int i = 2; i < words.length; i++) {
            int equals = words[i].indexOf('=');
            values.put(words[i].substring(0, equals), words[i].substring(equals + 1));
        }
    }

    boolean has(String name) {
        return values.containsKey(name);
    }

    String text(String name) {
        String value = values.get(name);
        if (value == null) {
            throw new IllegalArgumentException(name + " is missing");
        }
        return value;
    }

    String textOr(String name, String missing) {
        return values.getOrDefault(name, missing);
    }

    long number(String name) {
        return Long.parseUnsignedLong(text(name));
    }

    boolean isSet(String name) {
        return textOr(name, "0").equals("1");
    }

    byte[] bytes(String name) {
        return unhex(text(name));
    }

    String decoded(String name) {
        return new String(bytes(name), StandardCharsets.UTF_8);
    }

    static byte[] unhex(String hex) {
        return hex.equals("-") ? new byte[0] : HexFormat.of().parseHex(hex);
    }

    static String hex(byte[] bytes) {
        return bytes.length == 0 ? "-" : HexFormat.of().formatHex(bytes);
    }

    static String hex(String text) {
        return hex(text.getBytes(StandardCharsets.UTF_8));
    }

    /** What follows the id in an answer that says that the request failed. */
    static String failure(Throwable error) {
        Throwable cause = error;
        while ((cause instanceof CompletionException || cause instanceof ExecutionException)
                && cause.getCause() != null) {
            cause = cause.getCause();
        }
        if (!(cause instanceof LibraftException e)) {
            cause.printStackTrace();
            return "error code=DRIVER number=0 outcome=rejected retriable=0 leader=0"
                    + " leader_address=- message="
                    + hex(cause.toString());
        }
        return "error code="
                + e.code()
                + " number="
                + e.code().number()
                + " outcome="
                + e.outcome().name().toLowerCase()
                + " retriable="
                + (e.retriable() ? 1 : 0)
                + " leader="
                + e.leader().map(leader -> leader.nodeId()).orElse(0L)
                + " leader_address="
                + hex(e.leader().map(leader -> leader.address()).orElse(""))
                + " message="
                + hex(e.message());
    }
}
