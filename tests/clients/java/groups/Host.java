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
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Members of groups in one process, behind the command interface of docs/clients.md. Compiled against each version under test. */
public final class Host {
    private final String bootstrap;
    private final Map<String, Member> members = new HashMap<>();
    private Admin admin;
    private KafkaProducer<byte[], byte[]> promised;

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
            case "promise":
                promise(args);
                return "{\"ok\":true}";
            case "keep":
                promised.commitTransaction();
                return "{\"ok\":true}";
            case "alter":
                admin().alterConsumerGroupOffsets(args.get("group"), Collections.singletonMap(place(args), offset(args))).all().get();
                return "{\"ok\":true}";
            case "forget":
                admin().deleteConsumerGroupOffsets(args.get("group"), Collections.singleton(place(args))).all().get();
                return "{\"ok\":true}";
            case "remove":
                admin().deleteConsumerGroups(Collections.singleton(args.get("group"))).all().get();
                return "{\"ok\":true}";
            case "group":
                return group(args.get("group"));
            case "committed":
                return committed(args.get("group"));
            default:
                throw new IllegalArgumentException("no verb " + words[0]);
        }
    }

    private static TopicPartition place(Map<String, String> args) {
        return new TopicPartition(args.get("topic"), Integer.parseInt(args.get("partition")));
    }

    private static OffsetAndMetadata offset(Map<String, String> args) {
        return new OffsetAndMetadata(Long.parseLong(args.get("offset")), args.getOrDefault("metadata", ""));
    }

    /** Commits an offset within a transaction that stays open. */
    private void promise(Map<String, String> args) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("transactional.id", "promise-" + args.get("group"));
        p.put("transaction.timeout.ms", "600000");
        p.put("reconnect.backoff.max.ms", "200");
        promised = new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer());
        promised.initTransactions();
        promised.beginTransaction();
        promised.sendOffsetsToTransaction(Collections.singletonMap(place(args), offset(args)), new ConsumerGroupMetadata(args.get("group")));
        promised.flush();
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
