package rig;

import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Locale;
import java.util.Set;

/**
 * The results: {@code module class method invocation verdict seconds reason}, tab-separated, a row as each test ends; and the
 * stack traces of what did not pass.
 */
final class Table implements AutoCloseable {
    enum Verdict { PASSED, FAILED, SKIPPED, DENIED }

    private static final int TRACE_LINES = 60;
    /** What nearly every invocation of a cluster test says of itself. */
    private static final String[] USUAL = {"Type=", ", MetadataVersion=4.4-IV0", ",BrokerSecurityProtocol=PLAINTEXT",
        ",BrokerListenerName=ListenerName(EXTERNAL)", ",ControllerSecurityProtocol=PLAINTEXT", ",ControllerListenerName=ListenerName(CONTROLLER)"};

    private String module = "-";
    private final PrintWriter rows;
    private final PrintWriter failures;
    private final boolean quiet = Boolean.getBoolean("rig.quiet");
    private int failed;

    Table(Path rows, Path failures) throws IOException {
        this.rows = append(rows);
        this.failures = append(failures);
    }

    private static PrintWriter append(Path file) throws IOException {
        return new PrintWriter(new FileOutputStream(file.toFile(), true), true, StandardCharsets.UTF_8);
    }

    /** The {@code class#method}s that have a row. */
    static Set<String> methodsIn(Path rows) throws IOException {
        Set<String> found = new HashSet<>();
        if (!Files.exists(rows)) return found;
        for (String line : Files.readAllLines(rows)) {
            String[] columns = line.split("\t", -1);
            found.add(columns[1] + "#" + columns[2]);
        }
        return found;
    }

    /** The module of the rows from now on. */
    void module(String name) { module = name; }

    int failed() { return failed; }

    void denied(String type, String method, String reason) { row(type, method, "", Verdict.DENIED, 0, reason); }

    synchronized void row(String type, String method, String display, Verdict verdict, double seconds, String reason) {
        if (verdict == Verdict.FAILED) failed++;
        String invocation = invocation(method, display);
        String took = String.format(Locale.ROOT, "%.2f", seconds);
        rows.println(String.join("\t", module, type, method, invocation, verdict.name(), took, oneLine(reason)));
        if (quiet && verdict != Verdict.FAILED) return;
        String name = type.substring(type.lastIndexOf('.') + 1) + "#" + method;
        Runner.CONSOLE.printf(Locale.ROOT, "%-7s %6ss %s %s%s%n", verdict, took, name, invocation, reason.isEmpty() ? "" : " (" + oneLine(reason) + ")");
    }

    void trace(String type, String method, String display, Throwable thrown) {
        StringWriter text = new StringWriter();
        thrown.printStackTrace(new PrintWriter(text));
        String shown = text.toString().lines().limit(TRACE_LINES).reduce("", (all, line) -> all + line + "\n");
        failures.println("=== " + type + "#" + method + " " + display + "\n" + shown);
    }

    void note(String text) { failures.println(text); }

    /** The display name without what is the same in all. */
    private static String invocation(String method, String display) {
        String name = display.startsWith(method) ? display.substring(method.length()) : display;
        for (String usual : USUAL) name = name.replace(usual, "");
        return oneLine(name).trim();
    }

    private static String oneLine(String text) { return text.replaceAll("[\\t\\r\\n]+", " "); }

    @Override
    public void close() {
        rows.close();
        failures.close();
    }
}
