import io.libraft.Change;
import io.libraft.Group;
import io.libraft.GroupOptions;
import io.libraft.Node;
import io.libraft.NodeOptions;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.concurrent.CompletableFuture;

/** Mistakes that Java's compiler lets one make. */
final class Misuse {
    private Misuse() {}

    static CompletableFuture<?> of(Words words, Node node, Group group) {
        Path nowhere = Path.of("nowhere");
        try {
            return switch (words.text("what")) {
                case "null" -> group.propose((byte[]) null);
                case "null_in_batch" -> group.proposeBatch(Arrays.asList(new byte[] {1}, null));
                case "null_option" -> done(Node.open(new NodeOptions(null, 1, nowhere)));
                case "not_utf8" -> done(Node.open(new NodeOptions("a\ud800b", 1, nowhere)));
                case "negative" ->
                        done(
                                node.startGroup(
                                        new GroupOptions(99).proposalBytesMax(-1),
                                        new MemoryLedger(new Behaviour(), false, false)));
                case "no_machine" -> done(node.startGroup(new GroupOptions(99), null));
                case "wrong_step" -> group.changeMembership((Change) null);
                default ->
                        throw new IllegalArgumentException(
                                "Java cannot express " + words.text("what"));
            };
        } catch (io.libraft.LibraftException e) {
            return CompletableFuture.failedFuture(e);
        }
    }

    private static CompletableFuture<Object> done(Object result) {
        return CompletableFuture.completedFuture(result);
    }
}
