import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;

/** Members of groups in one process, behind the command interface of docs/clients.md. Compiled against each version under test. */
public final class Host {
    private final String bootstrap;
    private final Map<String, Member> members = new HashMap<>();
    private Admin admin;

    private Host(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    public static void main(String[] args) throws IOException {
        Host host = new Host(args[0]);
        PrintStream answers = new PrintStream(System.out, true, "UTF-8");
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String answer;
            try {
                answer = host.run(line.trim().split(" "));
            } catch (Throwable t) {
                answer = "{\"ok\":false,\"code\":-1000,\"message\":\"" + t.toString().replaceAll("[\"\\\\\\n]", "'") + "\"}";
            }
            answers.println(answer);
        }
        Runtime.getRuntime().halt(0);
    }

    private String run(String[] words) throws Exception {
        Map<String, String> args = new HashMap<>();
        for (int i = 1; i < words.length; i++) {
            int eq = words[i].indexOf('=');
            args.put(words[i].substring(0, eq), words[i].substring(eq + 1));
        }
        switch (words[0]) {
            case "hello":
                return "{\"ok\":true}";
            case "join":
                members.put(args.get("member"), new Member(bootstrap, args));
                return "{\"ok\":true}";
            case "leave":
                members.remove(args.get("member")).leave();
                return "{\"ok\":true}";
            case "group":
                return group(args.get("group"));
            case "committed":
                return committed(args.get("group"));
            default:
                throw new IllegalArgumentException("no verb " + words[0]);
        }
    }

    private Admin admin() {
        if (admin == null) {
            Properties p = new Properties();
            p.put("bootstrap.servers", bootstrap);
            p.put("default.api.timeout.ms", "60000");
            admin = Admin.create(p);
        }
        return admin;
    }

    /** What the group says of itself; its type is told by versions that know of types. */
    private String group(String name) throws Exception {
        ConsumerGroupDescription d = admin().describeConsumerGroups(Collections.singleton(name)).all().get().get(name);
        Object type;
        try {
            type = d.getClass().getMethod("type").invoke(d);
        } catch (NoSuchMethodException older) {
            type = "unknown";
        }
        Object state;
        try {
            state = d.getClass().getMethod("groupState").invoke(d);
        } catch (NoSuchMethodException older) {
            state = d.state();
        }
        return String.format("{\"ok\":true,\"type\":\"%s\",\"state\":\"%s\",\"members\":%d,\"assignor\":\"%s\"}",
            type, state, d.members().size(), d.partitionAssignor());
    }

    private String committed(String name) throws Exception {
        Map<String, Long> offsets = new TreeMap<>();
        for (Map.Entry<TopicPartition, OffsetAndMetadata> e
                : admin().listConsumerGroupOffsets(name).partitionsToOffsetAndMetadata().get().entrySet()) {
            if (e.getValue() != null) offsets.put(e.getKey().topic() + "/" + e.getKey().partition(), e.getValue().offset());
        }
        StringBuilder out = new StringBuilder();
        offsets.forEach((p, o) -> out.append(out.length() == 0 ? "" : ",").append('"').append(p).append("\":").append(o));
        return "{\"ok\":true,\"offsets\":{" + out + "}}";
    }
}
