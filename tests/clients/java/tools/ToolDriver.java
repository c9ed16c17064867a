import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.lang.reflect.InvocationTargetException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.stream.Collectors;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's command-line tools one after the other in one JVM, each as if it were alone: its classes are loaded anew, its
 * streams are its own, and the first exit it asks for ends it.
 *
 * A question is one line of words in base64: stdin, the main class, the arguments. The answer is one line: the exit code,
 * then stdout and stderr in base64.
 */
public final class ToolDriver {
    private static final long LIMIT_MS = 60_000;
    private static final int TIMED_OUT = -1000;

    /** Thrown where the process would have ended. */
    private static final class Ended extends Error {
        Ended(int code) {
            super("exit " + code, null, false, false);
        }
    }

    /** What the tool had printed, and with which code, when it first asked to end. */
    private static final class Outcome {
        Integer code;
        String out;
        String err;

        synchronized void settle(int exit, ByteArrayOutputStream stdout, ByteArrayOutputStream stderr) {
            if (code != null) return;
            System.out.flush();
            System.err.flush();
            code = exit;
            out = Base64.getEncoder().encodeToString(stdout.toByteArray());
            err = Base64.getEncoder().encodeToString(stderr.toByteArray());
        }

        synchronized String line() {
            return code + " " + out + " " + err;
        }
    }

    public static void main(String[] args) throws Exception {
        PrintStream answers = System.out;
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            List<byte[]> words = new ArrayList<>();
            for (String word : line.split(" ", -1)) words.add(Base64.getDecoder().decode(word));
            answers.println(run(words));
            answers.flush();
        }
        Runtime.getRuntime().halt(0);
    }

    private static String run(List<byte[]> words) throws Exception {
        List<String> args = words.stream().skip(2).map(w -> new String(w, StandardCharsets.UTF_8)).collect(Collectors.toList());
        String tool = new String(words.get(1), StandardCharsets.UTF_8);
        ByteArrayOutputStream stdout = new ByteArrayOutputStream();
        ByteArrayOutputStream stderr = new ByteArrayOutputStream();
        System.setIn(new ByteArrayInputStream(words.get(0)));
        System.setOut(new PrintStream(stdout, true, "UTF-8"));
        System.setErr(new PrintStream(stderr, true, "UTF-8"));
        Outcome outcome = new Outcome();
        Exit.Procedure end = (code, message) -> {
            if (message != null) System.err.println(message);
            outcome.settle(code, stdout, stderr);
            throw new Ended(code);
        };
        Exit.setExitProcedure(end);
        Exit.setHaltProcedure(end);
        Exit.setShutdownHookAdder((name, hook) -> { });
        Thread thread = new Thread(() -> call(tool, args.toArray(new String[0]), outcome, stdout, stderr), "tool");
        thread.start();
        thread.join(LIMIT_MS);
        if (thread.isAlive()) {
            outcome.settle(TIMED_OUT, stdout, stderr);
            thread.interrupt();
            thread.join(LIMIT_MS);
        }
        return outcome.line();
    }

    private static void call(String tool, String[] args, Outcome outcome, ByteArrayOutputStream stdout, ByteArrayOutputStream stderr) {
        try (Fresh loader = new Fresh()) {
            Thread.currentThread().setContextClassLoader(loader);
            loader.loadClass(tool).getMethod("main", String[].class).invoke(null, (Object) args);
            outcome.settle(0, stdout, stderr);
        } catch (InvocationTargetException e) {
            if (e.getCause() instanceof Ended) return;
            e.getCause().printStackTrace();
            outcome.settle(1, stdout, stderr); // as the JVM does when main throws
        } catch (ReflectiveOperationException | IOException e) {
            throw new AssertionError(tool, e);
        }
    }

    /** Loads the tools' own classes anew, so that their static fields start fresh; everything below them is shared. */
    private static final class Fresh extends URLClassLoader {
        Fresh() {
            super(classPath(), ToolDriver.class.getClassLoader());
        }

        private static URL[] classPath() {
            return Arrays.stream(System.getProperty("java.class.path").split(":")).map(Fresh::url).toArray(URL[]::new);
        }

        private static URL url(String path) {
            try {
                return Path.of(path).toUri().toURL();
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }

        @Override
        protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
            synchronized (getClassLoadingLock(name)) {
                boolean own = name.startsWith("org.apache.kafka.tools.") || name.startsWith("kafka.admin.");
                if (!own) return super.loadClass(name, resolve);
                Class<?> loaded = findLoadedClass(name);
                return loaded == null ? findClass(name) : loaded;
            }
        }
    }
}
