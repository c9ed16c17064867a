package rig;

import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.TestSource;
import org.junit.platform.engine.support.descriptor.ClassSource;
import org.junit.platform.engine.support.descriptor.MethodSource;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.TestPlan;
import org.opentest4j.TestAbortedException;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/** Turns what JUnit tells into rows of the {@link Table}, and ends the process when a test hangs. */
final class Watch implements TestExecutionListener {
    private static final long NANOS = 1_000_000_000L;
    /** How long a test may go on after a client found that the broker lacks an API: some need none of what they miss. */
    private static final int GIVE_UP_SECONDS = 2;

    private final Table table;
    private final UnsupportedApis unsupported = UnsupportedApis.listen();
    private final long hangSeconds = Long.getLong("rig.hang.seconds", 180L);
    private final Map<String, Long> started = new ConcurrentHashMap<>();
    private volatile TestIdentifier current;
    private volatile Thread currentThread;
    private volatile long currentSince;
    private volatile TestPlan plan;

    Watch(Table table) { this.table = table; }

    void startWatchdog() {
        Thread thread = new Thread(this::watch, "rig-watchdog");
        thread.setDaemon(true);
        thread.start();
    }

    private void watch() {
        while (true) {
            try {
                Thread.sleep(1000);
            } catch (InterruptedException e) {
                return;
            }
            TestIdentifier test = current;
            if (test != null && unsupported.heardForSeconds() >= GIVE_UP_SECONDS) giveUp();
            long seconds = (System.nanoTime() - currentSince) / NANOS;
            if (test == null || seconds < hangSeconds) continue;
            StringBuilder stacks = new StringBuilder("=== hung: " + test.getUniqueId() + "\n");
            Thread.getAllStackTraces().forEach((thread, frames) -> {
                if (thread.getName().startsWith("main") || thread.getName().contains("Test"))
                    stacks.append(thread).append("\n  ").append(Arrays.toString(frames).replace(", ", "\n  ")).append('\n');
            });
            table.note(stacks.toString());
            failedOrNotBuilt(test, seconds);
            Runner.end(Runner.EXIT_HUNG);
        }
    }

    /** Spares the rest of a wait for what cannot come. Again and again, because some tests swallow the first interrupt. */
    private void giveUp() {
        Thread running = currentThread;
        if (running != null) running.interrupt();
    }

    @Override
    public void testPlanExecutionStarted(TestPlan started) { plan = started; }

    @Override
    public void executionStarted(TestIdentifier test) {
        started.put(test.getUniqueId(), System.nanoTime());
        if (!test.isTest()) return;
        unsupported.forget();
        currentSince = System.nanoTime();
        currentThread = Thread.currentThread();
        current = test;
    }

    @Override
    public void executionFinished(TestIdentifier test, TestExecutionResult result) {
        Long since = started.remove(test.getUniqueId());
        double seconds = since == null ? 0 : (System.nanoTime() - since) / (double) NANOS;
        if (test.isTest()) {
            current = null;
            currentThread = null;
            Thread.interrupted();
        } else if (result.getStatus() != TestExecutionResult.Status.FAILED) return;      // a container counts when its set-up fails
        Throwable thrown = result.getThrowable().orElse(null);
        String denied = thrown == null ? null : reasonIn(thrown);
        if (denied != null) row(test, Table.Verdict.DENIED, seconds, denied);
        else switch (result.getStatus()) {
            case SUCCESSFUL -> row(test, Table.Verdict.PASSED, seconds, unsupported.first() == null ? "" : "without " + unsupported.first());
            case ABORTED -> row(test, Table.Verdict.SKIPPED, seconds, String.valueOf(thrown == null ? "" : thrown.getMessage()));
            case FAILED -> failedOrNotBuilt(test, seconds);
        }
        if (thrown != null) table.trace(type(test), method(test), test.getDisplayName(), thrown);
    }

    @Override
    public void executionSkipped(TestIdentifier test, String reason) { row(test, Table.Verdict.SKIPPED, 0, reason); }

    /** A test that failed after the broker lacked an API that it needed says nothing about the broker but that. */
    private void failedOrNotBuilt(TestIdentifier test, double seconds) {
        String api = unsupported.first();
        if (api == null) row(test, Table.Verdict.FAILED, seconds, "");
        else row(test, Table.Verdict.DENIED, seconds, "not built: " + api);
    }

    private void row(TestIdentifier test, Table.Verdict verdict, double seconds, String reason) {
        table.row(type(test), method(test), test.getDisplayName(), verdict, seconds, reason);
    }

    /** The reason of an abort of the rig's own, also where the test wrapped it in another exception. */
    private static String reasonIn(Throwable thrown) {
        Set<Throwable> seen = new HashSet<>();
        List<Throwable> open = new ArrayList<>(List.of(thrown));
        while (!open.isEmpty()) {
            Throwable next = open.remove(open.size() - 1);
            if (!seen.add(next)) continue;
            if (next instanceof TestAbortedException && next.getMessage() != null && next.getMessage().startsWith(Deny.PREFIX))
                return next.getMessage().substring(Deny.PREFIX.length());
            if (next.getCause() != null) open.add(next.getCause());
            open.addAll(Arrays.asList(next.getSuppressed()));
        }
        return null;
    }

    private String type(TestIdentifier test) {
        TestSource source = test.getSource().orElse(null);
        if (source instanceof MethodSource m) return m.getClassName();
        if (source instanceof ClassSource c) return c.getClassName();
        return plan == null ? "-" : plan.getParent(test).map(this::type).orElse("-");
    }

    private static String method(TestIdentifier test) {
        return test.getSource().orElse(null) instanceof MethodSource m ? m.getMethodName() : "-";
    }
}
