package rig;

import org.junit.platform.engine.DiscoverySelector;
import org.junit.platform.engine.FilterResult;
import org.junit.platform.engine.discovery.DiscoverySelectors;
import org.junit.platform.engine.support.descriptor.MethodSource;
import org.junit.platform.launcher.Launcher;
import org.junit.platform.launcher.LauncherDiscoveryRequest;
import org.junit.platform.launcher.PostDiscoveryFilter;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

import java.io.BufferedReader;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * Runs test classes one after another in this process; {@link Table} writes one row per test as it ends.
 *
 * <pre>
 * Runner list MODULE=JAR...         names the classes of each jar that start a cluster: module, tab, class
 * Runner run OUT.tsv FAILURES.txt   says NEXT and reads a line, module, tab, class or class#method, tab, ..., until there is none
 * </pre>
 *
 * Exit: 0 all passed, 1 some failed, 97 a test hung (its row is written; start again for the rest). Every broker that was
 * started is killed before this process ends.
 */
public final class Runner {
    static final int EXIT_HUNG = 97;
    static final PrintStream CONSOLE = System.out;

    public static void main(String[] args) throws Exception {
        keepConsoleForResults();
        int exit = switch (args[0]) {
            case "list" -> ClusterClasses.list(args, CONSOLE);
            case "run" -> run(Path.of(args[1]), Path.of(args[2]));
            default -> throw new IllegalArgumentException(args[0]);
        };
        end(exit);
    }

    /** At once: test code leaves threads behind. */
    static void end(int exit) {
        CONSOLE.flush();
        Procs.killAll();
        Runtime.getRuntime().halt(exit);
    }

    private static void keepConsoleForResults() throws Exception {
        String sink = System.getProperty("rig.stdout", "");
        if (sink.isEmpty()) return;
        PrintStream stream = new PrintStream(new FileOutputStream(sink, true), true, StandardCharsets.UTF_8);
        System.setOut(stream);
        System.setErr(stream);
    }

    private static int run(Path out, Path failures) throws Exception {
        Set<String> done = Table.methodsIn(out);
        try (Table table = new Table(out, failures)) {
            Deny deny = Deny.read(System.getProperty("rig.deny", ""));
            Watch watch = new Watch(table);
            watch.startWatchdog();
            Launcher launcher = LauncherFactory.create();
            BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
            for (String line = next(lines); line != null; line = next(lines)) {
                String[] words = line.split("\t");
                table.module(words[0]);
                for (String word : Arrays.asList(words).subList(1, words.length)) {
                    List<DiscoverySelector> selectors = selectors(word);
                    if (!selectors.isEmpty()) launcher.execute(request(selectors, filter(table, deny, done)), watch);
                }
            }
            return table.failed() > 0 ? 1 : 0;
        }
    }

    private static String next(BufferedReader lines) throws IOException {
        CONSOLE.println("NEXT");
        CONSOLE.flush();
        return lines.readLine();
    }

    private static LauncherDiscoveryRequest request(List<DiscoverySelector> selectors, PostDiscoveryFilter filter) {
        return LauncherDiscoveryRequestBuilder.request().selectors(selectors)
            // without it Kafka's cluster extension is not found, and no @ClusterTest runs
            .configurationParameter("junit.jupiter.extensions.autodetection.enabled", "true")
            .configurationParameter("junit.jupiter.execution.timeout.default", System.getProperty("rig.timeout", "120 s"))
            .configurationParameter("junit.jupiter.execution.parallel.enabled", "false")
            .filters(filter)
            .build();
    }

    /** A denied method is refused before its cluster starts; one that an earlier process has finished is left out. */
    private static PostDiscoveryFilter filter(Table table, Deny deny, Set<String> done) {
        Set<String> told = new HashSet<>();
        return descriptor -> {
            if (!(descriptor.getSource().orElse(null) instanceof MethodSource m)) return FilterResult.included("a container");
            String id = m.getClassName() + "#" + m.getMethodName();
            if (done.contains(id)) return FilterResult.excluded("done");
            String reason = deny.reason(m.getClassName(), m.getMethodName());
            if (reason == null) return FilterResult.included("asked");
            if (told.add(id)) table.denied(m.getClassName(), m.getMethodName(), reason);
            return FilterResult.excluded(reason);
        };
    }

    private static List<DiscoverySelector> selectors(String line) {
        int hash = line.indexOf('#');
        if (hash < 0) return List.of(DiscoverySelectors.selectClass(line));
        List<DiscoverySelector> found = new ArrayList<>();
        try {
            Class<?> type = Class.forName(line.substring(0, hash), false, Runner.class.getClassLoader());
            Set<String> overridden = new HashSet<>();
            for (Class<?> c = type; c != null && c != Object.class; c = c.getSuperclass())
                for (Method m : c.getDeclaredMethods())
                    if (m.getName().equals(line.substring(hash + 1)) && !m.isSynthetic()
                            && overridden.add(Arrays.toString(m.getParameterTypes())))
                        found.add(DiscoverySelectors.selectMethod(type, m));
        } catch (ClassNotFoundException e) {
            CONSOLE.println("no such class: " + line);
        }
        if (found.isEmpty()) CONSOLE.println("no such test: " + line);
        return found;
    }

    private Runner() { }
}
