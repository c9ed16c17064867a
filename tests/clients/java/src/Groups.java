import java.time.Duration;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** The verbs that work on groups: group, committed, group-state, groups, group-delete, join, await, leave. */
final class Groups {
    private static final Duration POLL = Duration.ofMillis(100);
    private static final long LIMIT_MS = 60_000;
    /** Two heartbeats of a member, as the brokers under test and the members here are set. */
    private static final long HEARTBEATS_MS = 700;
    private static final Set<String> VERBS = new TreeSet<>(
        Arrays.asList("group", "committed", "group-state", "groups", "group-delete", "join", "await", "leave"));
    private final String bootstrap;
    private final Map<String, Member> members = new HashMap<>();

    Groups(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    boolean handles(String verb) {
        return VERBS.contains(verb);
    }

    Map<String, Object> run(Client.Command c) throws Exception {
        switch (c.verb) {
            case "group":
                return group(c);
            case "join":
                members.put(c.text("name"), new Member(c));
                return new LinkedHashMap<>();
            case "await":
                members.get(c.text("name")).await(c.number("assigned"));
                return new LinkedHashMap<>();
            case "leave":
                members.remove(c.text("name")).leave();
                return new LinkedHashMap<>();
            default:
                try (AdminClient admin = AdminClient.create(Client.base(bootstrap))) {
                    return administer(c, admin);
                }
        }
    }

    private static Map<String, Object> administer(Client.Command c, AdminClient admin) throws Exception {
        Map<String, Object> reply = new LinkedHashMap<>();
        switch (c.verb) {
            case "committed":
                Map<String, Object> offsets = new TreeMap<>();
                admin.listConsumerGroupOffsets(c.text("group")).partitionsToOffsetAndMetadata().get()
                    .forEach((tp, o) -> offsets.put(tp.toString(), o.offset()));
                reply.put("offsets", offsets);
                break;
            case "group-state":
                Collection<String> asked = Collections.singleton(c.text("group"));
                reply.put("state", admin.describeConsumerGroups(asked).all().get().get(c.text("group")).state().toString());
                break;
            case "groups":
                Set<String> names = new TreeSet<>();
                admin.listConsumerGroups().all().get().forEach(g -> names.add(g.groupId()));
                reply.put("groups", names);
                break;
            default:
                admin.deleteConsumerGroups(Collections.singleton(c.text("group"))).all().get();
        }
        return reply;
    }

    private KafkaConsumer<byte[], byte[]> consumer(Client.Command c) {
        Properties p = Client.base(bootstrap);
        p.put("group.id", c.text("group"));
        p.put("enable.auto.commit", "false");
        p.put("auto.offset.reset", "earliest");
        if (!c.text("protocol", "classic").equals("classic")) {
            p.put("group.protocol", c.text("protocol"));
        } else {
            p.put("heartbeat.interval.ms", "300");
        }
        if (!c.text("instance", "").isEmpty()) p.put("group.instance.id", c.text("instance"));
        if (!c.text("assignor", "").isEmpty()) p.put("partition.assignment.strategy", c.text("assignor"));
        if (!c.text("client", "").isEmpty()) p.put("client.id", c.text("client"));
        return new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    /** Reads `count` records as a group's only member, compares each with what the seed puts there, and commits. */
    private Map<String, Object> group(Client.Command c) {
        Content content = new Content(c);
        int partitions = c.number("partitions");
        long seen = 0;
        Map<String, Object> firsts = new TreeMap<>();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(c)) {
            consumer.subscribe(Collections.singleton(c.text("topic")));
            long until = System.currentTimeMillis() + LIMIT_MS;
            while (seen < c.wide("count")) {
                for (ConsumerRecord<byte[], byte[]> got : consumer.poll(POLL)) {
                    Content.Rec want = content.at(got.offset() * partitions + got.partition());
                    if (!Arrays.equals(got.key(), want.key) || !Arrays.equals(got.value(), want.value) || got.timestamp() != want.timestamp) {
                        throw new IllegalStateException("not what was written: " + got);
                    }
                    firsts.putIfAbsent(Integer.toString(got.partition()), got.offset());
                    seen++;
                }
                if (System.currentTimeMillis() > until) throw new IllegalStateException("only " + seen + " records came");
            }
            consumer.commitSync();
        }
        Map<String, Object> reply = new LinkedHashMap<>();
        reply.put("records", seen);
        reply.put("firsts", firsts);
        return reply;
    }

    /** A member that stays, in a thread of its own. */
    private final class Member {
        private final KafkaConsumer<byte[], byte[]> consumer;
        private final Thread thread;
        private final List<String> topics;
        private volatile int assigned;

        Member(Client.Command c) throws InterruptedException {
            consumer = consumer(c);
            topics = Arrays.asList(c.text("topic").split(","));
            thread = new Thread(this::live, "member");
            thread.start();
            await(c.number("assigned"));
        }

        /** Waits until the member has so many partitions, and the broker has heard from it that it has them. */
        void await(int wanted) throws InterruptedException {
            long until = System.currentTimeMillis() + LIMIT_MS;
            while (assigned != wanted) {
                if (System.currentTimeMillis() > until) throw new IllegalStateException(assigned + " partitions instead of " + wanted);
                Thread.sleep(20);
            }
            Thread.sleep(HEARTBEATS_MS);
        }

        private void live() {
            try {
                consumer.subscribe(topics);
                while (true) {
                    consumer.poll(POLL);
                    assigned = consumer.assignment().size();
                }
            } catch (WakeupException left) {
                consumer.close();
            }
        }

        void leave() throws InterruptedException {
            consumer.wakeup();
            thread.join();
        }
    }
}
