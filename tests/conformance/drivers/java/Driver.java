import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;

/** The conformance driver for Java: see PROTOCOL.md beside its folder. */
public final class Driver {
    /** Every line is written and flushed as a whole. */
    private static final PrintStream OUT =
            new PrintStream(System.out, true, StandardCharsets.UTF_8);

    private Driver() {}

    public static void main(String[] arguments) throws Exception {
        if (arguments.length == 3 && arguments[0].equals("exit")) {
            ExitCase.run(arguments[1], Path.of(arguments[2]));
        } else if (arguments.length == 3 && arguments[0].equals("bench-member")) {
            BenchMember.run(Long.parseLong(arguments[1]), Path.of(arguments[2]));
        } else if (arguments.length == 0) {
            serve();
        } else {
            System.err.println(
                    "usage: driver | driver exit CASE DIRECTORY | driver bench-member ID"
                            + " DIRECTORY");
            System.err.println("not: " + Arrays.toString(arguments));
            System.exit(2);
        }
    }

    static synchronized void print(String line) {
        OUT.println(line);
    }

    private static void serve() throws IOException {
        String runtime = Path.of(System.getProperty("java.home"), "bin", "java").toString();
        print("! driver language=java runtime=" + Words.hex(runtime) + " protocol=1");
        Host host = new Host();
        BufferedReader in =
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        String line;
        while ((line = in.readLine()) != null) {
            host.serve(new Words(line));
        }
        // At once, closing nothing: without the hook that closes nodes.
        Runtime.getRuntime().halt(0);
    }
}
