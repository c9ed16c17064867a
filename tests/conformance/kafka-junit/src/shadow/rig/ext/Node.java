package rig.ext;

import rig.Procs;
import rig.UnsupportedApis;

import org.apache.kafka.common.message.DescribeClusterRequestData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.requests.DescribeClusterRequest;
import org.apache.kafka.common.requests.DescribeClusterResponse;
import org.opentest4j.TestAbortedException;

import java.io.File;
import java.io.IOException;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** One process: a broker, a controller, or both. Its ports and files stay the same over restarts. */
public final class Node {
    private static final String BROKER_COMMAND = System.getProperty("rig.broker.cmd", "");
    private static final String FORMAT_COMMAND = System.getProperty("rig.format.cmd", "");
    /** With what the broker ends when it does not do what its configuration asks for; its last line says what. */
    private static final int UNSERVED = Integer.getInteger("rig.unserved.exit", Integer.MAX_VALUE);
    private static final Pattern UNKNOWN_API = Pattern.compile("unknown API key (\\d+)");
    private static final int REQUEST_MS = 5_000, FORMAT_MS = 60_000, EXIT_MS = 60_000, KILLED_MS = 10_000;
    private static final int FIRST_POLL_MS = 2, LONGEST_POLL_MS = 50, TAIL_LINES = 25;

    public final int id;
    public final boolean isBroker, isController;
    public final Map<String, String> config;
    /** What the storage is formatted with. Empty where a test starts on storage that is there. */
    final Map<String, String> format = new TreeMap<>();
    public final Map<String, Integer> ports;          // by listener name in capitals
    public final String clientListener, controllerListener;
    final Path dir;
    private final Wire wire;
    private Process process;
    private volatile boolean ready;
    private volatile boolean everStarted;

    Node(int id, boolean isBroker, boolean isController, Path dir, Map<String, String> config, Map<String, Integer> ports, String clientListener, String controllerListener, Wire wire) {
        this.id = id;
        this.isBroker = isBroker;
        this.isController = isController;
        this.dir = dir;
        this.config = config;
        this.ports = ports;
        this.clientListener = clientListener;
        this.controllerListener = controllerListener;
        this.wire = wire;
    }

    Wire wire() { return wire; }

    public int port(String listener) {
        Integer port = ports.get(listener.toUpperCase(Locale.ROOT));
        if (port == null) throw new RuntimeException("node " + id + " has no listener " + listener + ": " + ports);
        return port;
    }

    int clientPort() { return port(isBroker ? clientListener : controllerListener); }

    // ---- files and the format command ---------------------------------------------------------------------------------

    void format() throws IOException, InterruptedException {
        storeConfig();
        store(format, dir.resolve("format.properties"));
        if (FORMAT_COMMAND.isEmpty()) return;
        Process formatting = spawn(FORMAT_COMMAND, "format.out");
        if (formatting.waitFor(FORMAT_MS, TimeUnit.MILLISECONDS) && formatting.exitValue() == 0) return;
        if (!formatting.isAlive()) refuseUnserved(formatting, "format.out");
        throw new RuntimeException("Failed to format node " + id + ": " + tail("format.out"));
    }

    private void storeConfig() throws IOException {
        Files.createDirectories(dir);
        store(config, dir.resolve("server.properties"));
    }

    /** {@code key=value} with only backslash and line ends escaped: a subset of Java's form that any reader can take. */
    private static void store(Map<String, String> properties, Path file) throws IOException {
        try (Writer writer = Files.newBufferedWriter(file, StandardCharsets.UTF_8)) {
            for (var e : properties.entrySet())
                writer.write(e.getKey() + "=" + e.getValue().replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r") + "\n");
        }
    }

    /** The flags of Kafka's StorageTool that say what format.properties says. */
    private String formatFlags() {
        if (format.isEmpty()) return "";
        StringBuilder flags = new StringBuilder("--ignore-formatted --cluster-id " + format.get("cluster.id")
            + " --release-version " + format.get("release.version"));
        format.forEach((key, level) -> {
            if (key.startsWith("feature.") && !key.equals("feature.metadata.version"))
                flags.append(" --feature ").append(key.substring("feature.".length())).append('=').append(level);
        });
        String voters = format.get("initial.controllers");
        if (voters != null) flags.append(" --initial-controllers ").append(voters);
        else if (Boolean.parseBoolean(format.get("dynamic.quorum")) && isController) flags.append(" --no-initial-controllers");
        return flags.toString();
    }

    // ---- the process --------------------------------------------------------------------------------------------------

    private Process spawn(String template, String out) throws IOException {
        String command = template.replace("{config}", dir.resolve("server.properties").toString())
            .replace("{format}", dir.resolve("format.properties").toString())
            .replace("{format_flags}", formatFlags());
        ProcessBuilder builder = new ProcessBuilder("/bin/sh", "-c", "exec " + command);
        builder.redirectErrorStream(true).redirectOutput(ProcessBuilder.Redirect.appendTo(dir.resolve(out).toFile()));
        builder.redirectInput(ProcessBuilder.Redirect.from(new File("/dev/null")));
        Process started = builder.start();
        Procs.add(started);
        return started;
    }

    synchronized void spawnBroker() throws IOException {
        if (isAlive()) return;
        ready = false;
        everStarted = true;
        storeConfig();
        process = spawn(BROKER_COMMAND, "broker.out");
    }

    synchronized boolean isAlive() { return process != null && process.isAlive(); }

    boolean everStarted() { return everStarted; }

    boolean isReady() { return isAlive() && ready; }

    /**
     * Ready: the process lives, every listener answers, and (a broker) its own DescribeCluster lists this node unfenced. Nothing is
     * read from its output.
     */
    void awaitReady(long limitMs) throws InterruptedException {
        long end = System.nanoTime() + limitMs * 1_000_000L;
        long pause = FIRST_POLL_MS;
        Exception last = null;
        while (System.nanoTime() < end) {
            if (!isAlive()) {
                refuseUnserved(process, "broker.out");
                throw new RuntimeException("node " + id + " ended with " + exit() + " during start: " + tail("broker.out"));
            }
            try {
                if (isBroker ? aliveBrokers().contains(id) : controllerAnswers()) {
                    ready = true;
                    return;
                }
                last = new IOException("not listed by its own DescribeCluster answer");
            } catch (IOException | RuntimeException e) {
                last = e;
            }
            Thread.sleep(pause);
            pause = Math.min(LONGEST_POLL_MS, pause + pause / 2);
        }
        throw new RuntimeException("node " + id + " not ready within " + limitMs + " ms (" + last + "): " + tail("broker.out"));
    }

    private void refuseUnserved(Process ended, String out) {
        if (ended.exitValue() != UNSERVED) return;
        String line = tail(out).lines().reduce("", (all, next) -> next);
        String why = line.substring(Math.max(0, line.lastIndexOf(", but ") + ", but ".length()));
        throw new TestAbortedException("denied: not built: " + why.replaceAll("\\.$", ""));
    }

    private boolean controllerAnswers() throws IOException {
        for (int port : ports.values())
            wire.send("localhost", port, new DescribeClusterRequest.Builder(
                new DescribeClusterRequestData().setEndpointType((byte) 2)), REQUEST_MS);
        return true;
    }

    /** The unfenced brokers as this broker sees them. */
    TreeSet<Integer> aliveBrokers() throws IOException {
        DescribeClusterResponse response = wire.send("localhost", clientPort(),
            new DescribeClusterRequest.Builder(new DescribeClusterRequestData()), REQUEST_MS);
        if (response.data().errorCode() != 0) throw new IOException("DescribeCluster error " + response.data().errorCode());
        TreeSet<Integer> alive = new TreeSet<>();
        response.data().brokers().forEach(b -> { if (!b.isFenced()) alive.add(b.brokerId()); });
        return alive;
    }

    /** SIGTERM, and SIGKILL after the given time: a controlled shutdown. */
    synchronized void stop(long graceMs) throws InterruptedException {
        ready = false;
        if (!isAlive()) return;
        process.destroy();
        if (!process.waitFor(graceMs, TimeUnit.MILLISECONDS)) Procs.kill(process);
        process.waitFor(KILLED_MS, TimeUnit.MILLISECONDS);
    }

    synchronized void kill() throws InterruptedException {
        ready = false;
        if (!isAlive()) return;
        Procs.kill(process);
        process.waitFor(KILLED_MS, TimeUnit.MILLISECONDS);
    }

    void awaitExit() throws InterruptedException {
        Process ending;
        synchronized (this) { ending = process; }
        if (ending != null) ending.waitFor(EXIT_MS, TimeUnit.MILLISECONDS);
    }

    private String exit() { return process == null || process.isAlive() ? "-" : Integer.toString(process.exitValue()); }

    private String tail(String file) {
        try {
            List<String> lines = Files.readAllLines(dir.resolve(file), StandardCharsets.ISO_8859_1);
            return String.join("\n", lines.subList(Math.max(0, lines.size() - TAIL_LINES), lines.size()));
        } catch (IOException e) {
            return "(no " + file + ")";
        }
    }

    /** Tells of the first API that the broker's output says it does not know. */
    void tellUnknownApi() {
        try (Stream<String> lines = Files.lines(dir.resolve("broker.out"), StandardCharsets.ISO_8859_1)) {
            lines.map(UNKNOWN_API::matcher).filter(Matcher::find).map(m -> Short.parseShort(m.group(1))).filter(ApiKeys::hasId).findFirst()
                .ifPresent(key -> UnsupportedApis.refused(ApiKeys.forId(key).name()));
        } catch (IOException e) {
            System.err.println("cannot read the output of node " + id + ": " + e);
        }
    }

    /** Keeps the end of the output for a look after the directory is gone. */
    void saveOutput(String label) {
        String to = System.getProperty("rig.broker.log", "");
        if (to.isEmpty()) return;
        try {
            Files.writeString(Path.of(to), "--- " + label + " node " + id + " exit " + exit() + "\n" + tail("broker.out") + "\n",
                StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        } catch (IOException e) {
            System.err.println("cannot keep the output of node " + id + ": " + e);
        }
    }
}
