import java.lang.reflect.Constructor;
import java.time.Duration;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.regex.Pattern;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** A member of a group on a thread of its own: reads, writes down, commits in step, until it is asked to leave. */
final class Member implements ConsumerRebalanceListener {
    private static final Duration POLL = Duration.ofMillis(100);
    private static final String ASSIGNORS = "org.apache.kafka.clients.consumer.";
    private final Map<String, String> args;
    private final Ledger ledger;
    private final KafkaConsumer<byte[], byte[]> consumer;
    /** Delivered, and not known to be committed. */
    private final Map<TopicPartition, OffsetAndMetadata> pending = new HashMap<>();
    private final Thread thread;
    private volatile boolean leaving;

    Member(String bootstrap, Map<String, String> args) throws Exception {
        this.args = args;
        ledger = new Ledger(args.get("ledger"));
        consumer = new KafkaConsumer<>(settings(bootstrap), new ByteArrayDeserializer(), new ByteArrayDeserializer());
        subscribe();
        thread = new Thread(this::run, args.get("member"));
        thread.start();
    }

    void leave() throws InterruptedException {
        leaving = true;
        thread.join();
    }

    private Properties settings(String bootstrap) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("client.id", args.get("member"));
        p.put("group.id", args.get("group"));
        p.put("enable.auto.commit", "false");
        p.put("auto.offset.reset", "earliest");
        p.put("max.poll.records", "500");
        p.put("metadata.max.age.ms", "1000");
        p.put("reconnect.backoff.max.ms", "200");
        p.put("request.timeout.ms", "15000"); // a dead broker's answers are not waited for
        p.put("default.api.timeout.ms", "60000");
        if (args.containsKey("instance")) p.put("group.instance.id", args.get("instance"));
        if (args.get("protocol").equals("consumer")) {
            p.put("group.protocol", "consumer");
            p.put("group.remote.assignor", args.get("assignor"));
        } else {
            p.put("session.timeout.ms", args.get("session_ms"));
            p.put("heartbeat.interval.ms", "500");
            p.put("partition.assignment.strategy", assignor(args.get("assignor")));
        }
        return p;
    }

    private static String assignor(String name) {
        switch (name) {
            case "range": return ASSIGNORS + "RangeAssignor";
            case "roundrobin": return ASSIGNORS + "RoundRobinAssignor";
            case "sticky": return ASSIGNORS + "StickyAssignor";
            case "cooperative-sticky": return ASSIGNORS + "CooperativeStickyAssignor";
            default: throw new IllegalArgumentException(name);
        }
    }

    /** `topic`; or `pattern`, which the broker resolves in the consumer protocol and the client in the classic one. */
    private void subscribe() throws Exception {
        String pattern = args.get("pattern");
        if (pattern == null) {
            consumer.subscribe(Collections.singletonList(args.get("topic")), this);
        } else if (args.get("protocol").equals("consumer")) {
            Class<?> type = Class.forName("org.apache.kafka.clients.consumer.SubscriptionPattern"); // not in 2.8
            Constructor<?> made = type.getConstructor(String.class);
            consumer.getClass().getMethod("subscribe", type, ConsumerRebalanceListener.class)
                .invoke(consumer, made.newInstance(pattern), this);
        } else {
            consumer.subscribe(Pattern.compile(pattern), this);
        }
    }

    private void run() {
        try {
            while (!leaving) {
                for (ConsumerRecord<byte[], byte[]> r : consumer.poll(POLL)) {
                    ledger.delivered(r);
                    pending.put(new TopicPartition(r.topic(), r.partition()), new OffsetAndMetadata(r.offset() + 1));
                }
                commit(new HashMap<>(pending));
            }
            consumer.close();
            ledger.said('Q', "left");
        } catch (WakeupException e) {
            ledger.said('Q', "woken");
        } catch (Throwable t) {
            ledger.said('E', t);
        }
    }

    private void commit(Map<TopicPartition, OffsetAndMetadata> offsets) {
        if (offsets.isEmpty()) return;
        ledger.offsets('T', offsets);
        try {
            consumer.commitSync(offsets);
        } catch (org.apache.kafka.common.KafkaException refused) {
            ledger.said('X', refused); // a rebalance is under way: what is still held after it is committed then
            return;
        }
        ledger.offsets('C', offsets);
        offsets.forEach(pending::remove);
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        ledger.partitions('A', partitions);
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        Map<TopicPartition, OffsetAndMetadata> last = new HashMap<>(pending);
        last.keySet().retainAll(partitions);
        commit(last);
        pending.keySet().removeAll(partitions);
        ledger.partitions('R', partitions);
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> partitions) {
        pending.keySet().removeAll(partitions);
        ledger.partitions('L', partitions);
    }
}
