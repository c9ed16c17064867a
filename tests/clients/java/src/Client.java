import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.common.protocol.Errors;

/**
 * Kafka's Java client behind the command interface of docs/clients.md: a line "verb key=value ..." comes in, one line of
 * JSON goes out. Compiled against each version of kafka-clients that is tested, so it uses only what all of them have.
 */
public final class Client {
    public static void main(String[] args) throws IOException {
        PrintStream answers = new PrintStream(System.out, true, "UTF-8");
        String bootstrap = args[0];
        Records records = new Records(bootstrap);
        Topics topics = new Topics(bootstrap);
        Groups groups = new Groups(bootstrap);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            answers.println(answer(records, topics, groups, new Command(line)));
        }
        System.exit(0);
    }

    private static String answer(Records records, Topics topics, Groups groups, Command c) {
        try {
            Map<String, Object> reply;
            if (records.handles(c.verb)) reply = records.run(c);
            else if (groups.handles(c.verb)) reply = groups.run(c);
            else reply = topics.run(c);
            reply.put("ok", true);
            return Json.write(reply);
        } catch (Throwable t) {
            Throwable cause = t;
            while ((cause instanceof ExecutionException || cause instanceof CompletionException) && cause.getCause() != null) {
                cause = cause.getCause();
            }
            Map<String, Object> reply = new LinkedHashMap<>();
            reply.put("ok", false);
            reply.put("code", code(cause));
            reply.put("message", cause.toString());
            return Json.write(reply);
        }
    }

    private static int code(Throwable cause) {
        // The consumer has exceptions of its own for this refusal, which the table of errors does not know.
        if (cause instanceof org.apache.kafka.clients.consumer.OffsetOutOfRangeException) return Errors.OFFSET_OUT_OF_RANGE.code();
        return cause instanceof org.apache.kafka.common.KafkaException ? Errors.forException(cause).code() : -1000;
    }

    static Properties base(String bootstrap) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("client.id", "dohle-java");
        return p;
    }

    static final class Command {
        final String verb;
        private final Map<String, String> args = new HashMap<>();

        Command(String line) {
            String[] words = line.trim().split(" ");
            verb = words[0];
            for (int i = 1; i < words.length; i++) {
                int eq = words[i].indexOf('=');
                args.put(words[i].substring(0, eq), words[i].substring(eq + 1));
            }
        }

        String text(String key) {
            String v = args.get(key);
            if (v == null) throw new IllegalArgumentException(verb + " needs " + key);
            return v;
        }

        String text(String key, String absent) {
            return args.getOrDefault(key, absent);
        }

        int number(String key) {
            return Integer.parseUnsignedInt(text(key));
        }

        long wide(String key) {
            return Long.parseLong(text(key));
        }

        /** "a:1,b:2" as a map. */
        Map<String, String> pairs(String key) {
            Map<String, String> out = new LinkedHashMap<>();
            for (String pair : text(key, "").split(",")) {
                if (pair.isEmpty()) continue;
                int colon = pair.indexOf(':');
                out.put(pair.substring(0, colon), pair.substring(colon + 1));
            }
            return out;
        }
    }

    static final class Json {
        static String write(Object o) {
            StringBuilder out = new StringBuilder();
            value(out, o);
            return out.toString();
        }

        private static void value(StringBuilder out, Object o) {
            if (o instanceof Map) {
                String comma = "{";
                for (Map.Entry<?, ?> e : ((Map<?, ?>) o).entrySet()) {
                    out.append(comma);
                    text(out, e.getKey().toString());
                    out.append(':');
                    value(out, e.getValue());
                    comma = ",";
                }
                out.append(((Map<?, ?>) o).isEmpty() ? "{}" : "}");
            } else if (o instanceof Iterable) {
                String comma = "";
                out.append('[');
                for (Object e : (Iterable<?>) o) {
                    out.append(comma);
                    value(out, e);
                    comma = ",";
                }
                out.append(']');
            } else if (o instanceof String) {
                text(out, (String) o);
            } else {
                out.append(o);
            }
        }

        private static void text(StringBuilder out, String s) {
            out.append('"');
            for (char c : s.toCharArray()) {
                if (c == '"' || c == '\\') out.append('\\').append(c);
                else if (c < ' ') out.append(String.format("\\u%04x", (int) c));
                else out.append(c);
            }
            out.append('"');
        }
    }
}
