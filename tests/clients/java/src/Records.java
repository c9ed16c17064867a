import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.zip.CRC32;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The verbs that work on records: produce, big, consume, seek, times, ends, soak, soak-count, soak-stop, dump. */
final class Records {
    private static final Duration POLL = Duration.ofMillis(200);
    private static final long IDLE_LIMIT_MS = 30_000;
    private static final Set<String> VERBS = new TreeSet<>(
        Arrays.asList("produce", "big", "consume", "seek", "times", "ends", "soak", "soak-count", "soak-stop", "dump"));
    private final String bootstrap;
    private Soak soak;

    Records(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    boolean handles(String verb) {
        return VERBS.contains(verb);
    }

    Map<String, Object> run(Client.Command c) throws Exception {
        switch (c.verb) {
            case "produce":
                return produce(c);
            case "big":
                return big(c);
            case "consume":
                return consume(c);
            case "seek":
                return seek(c);
            case "times":
                return times(c);
            case "ends":
                return ends(c);
            case "soak":
                soak = new Soak(bootstrap, c);
                return new LinkedHashMap<>();
            case "soak-count":
                return soak.count();
            case "soak-stop":
                return soak.stop();
            default:
                return dump(c);
        }
    }

    private KafkaProducer<byte[], byte[]> producer(Client.Command c) {
        Properties p = Client.base(bootstrap);
        p.put("acks", c.text("acks", "all"));
        p.put("enable.idempotence", c.text("idempotent", "false"));
        p.put("compression.type", c.text("codec", "none"));
        p.put("linger.ms", "5");
        p.put("batch.size", "65536");
        p.put("max.request.size", "16000000");
        p.put("delivery.timeout.ms", "60000");
        return new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private Map<String, Object> produce(Client.Command c) throws Exception {
        Content content = new Content(c);
        int partitions = c.number("partitions");
        long from = Long.parseLong(c.text("from", "0"));
        long count = c.wide("count");
        AtomicLong atOffset = new AtomicLong();
        AtomicReference<Exception> failed = new AtomicReference<>();
        try (KafkaProducer<byte[], byte[]> producer = producer(c)) {
            for (long i = from; i < from + count && failed.get() == null; i++) {
                Content.Rec r = content.at(i);
                long offset = i / partitions;
                ProducerRecord<byte[], byte[]> record =
                    new ProducerRecord<>(c.text("topic"), (int) (i % partitions), r.timestamp, r.key, r.value);
                for (Content.Header h : r.headers) record.headers().add(h.key, h.value);
                producer.send(record, (meta, e) -> {
                    if (e != null) failed.compareAndSet(null, e);
                    else if (meta.offset() == offset) atOffset.incrementAndGet();
                });
            }
            producer.flush();
        }
        if (failed.get() != null) throw failed.get();
        Map<String, Object> reply = new LinkedHashMap<>();
        reply.put("records", count);
        reply.put("at_offset", atOffset.get());
        return reply;
    }

    private Map<String, Object> big(Client.Command c) throws Exception {
        byte[] value = new byte[c.number("bytes")];
        Arrays.fill(value, (byte) 'x');
        Map<String, Object> reply = new LinkedHashMap<>();
        try (KafkaProducer<byte[], byte[]> producer = producer(c)) {
            ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(c.text("topic"), c.number("partition"), null, value);
            reply.put("offset", producer.send(record).get().offset());
        }
        return reply;
    }

    private KafkaConsumer<byte[], byte[]> consumer() {
        Properties p = Client.base(bootstrap);
        p.put("enable.auto.commit", "false");
        p.put("auto.offset.reset", "none");
        p.put("max.poll.records", "5000");
        return new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private static List<TopicPartition> partitionsOf(Client.Command c) {
        List<TopicPartition> out = new ArrayList<>();
        for (int p = 0; p < c.number("partitions"); p++) out.add(new TopicPartition(c.text("topic"), p));
        return out;
    }

    /** Reads from the start, compares each record with the one that the seed puts at that place, and digests what came. */
    private Map<String, Object> consume(Client.Command c) {
        Content content = new Content(c);
        int partitions = c.number("partitions");
        long count = c.wide("count");
        boolean appendTime = c.text("stamp", "create").equals("append");
        CRC32[] digests = new CRC32[partitions];
        long[] next = new long[partitions];
        for (int p = 0; p < partitions; p++) digests[p] = new CRC32();
        long seen = 0;
        try (KafkaConsumer<byte[], byte[]> consumer = consumer()) {
            consumer.assign(partitionsOf(c));
            consumer.seekToBeginning(partitionsOf(c));
            long idleSince = System.currentTimeMillis();
            while (seen < count) {
                for (ConsumerRecord<byte[], byte[]> got : consumer.poll(POLL)) {
                    int p = got.partition();
                    Content.Rec want = content.at(next[p] * partitions + p);
                    if (appendTime) want.timestamp = got.timestamp();
                    compare(got, want, next[p], appendTime ? TimestampType.LOG_APPEND_TIME : TimestampType.CREATE_TIME);
                    Content.digest(digests[p], got.offset(), received(got));
                    next[p]++;
                    seen++;
                    idleSince = System.currentTimeMillis();
                }
                if (System.currentTimeMillis() - idleSince > IDLE_LIMIT_MS) throw new IllegalStateException("only " + seen + " records came");
            }
        }
        List<String> crcs = new ArrayList<>();
        for (CRC32 d : digests) crcs.add(String.format("%08x", d.getValue()));
        Map<String, Object> reply = new LinkedHashMap<>();
        reply.put("records", seen);
        reply.put("crc32", crcs);
        return reply;
    }

    private static Content.Rec received(ConsumerRecord<byte[], byte[]> got) {
        Content.Rec r = new Content.Rec();
        r.key = got.key();
        r.value = got.value();
        r.timestamp = got.timestamp();
        Header[] headers = got.headers().toArray();
        r.headers = new Content.Header[headers.length];
        for (int i = 0; i < headers.length; i++) r.headers[i] = new Content.Header(headers[i].key(), headers[i].value());
        return r;
    }

    private static void compare(ConsumerRecord<byte[], byte[]> got, Content.Rec want, long offset, TimestampType type) {
        Content.Rec r = received(got);
        boolean same = got.offset() == offset && got.timestampType() == type && r.timestamp == want.timestamp
            && Arrays.equals(r.key, want.key) && Arrays.equals(r.value, want.value) && r.headers.length == want.headers.length;
        for (int i = 0; same && i < r.headers.length; i++) {
            same = r.headers[i].key.equals(want.headers[i].key) && Arrays.equals(r.headers[i].value, want.headers[i].value);
        }
        if (!same) throw new IllegalStateException("partition " + got.partition() + " offset " + offset + " differs: " + got);
    }

    private Map<String, Object> seek(Client.Command c) {
        TopicPartition tp = new TopicPartition(c.text("topic"), c.number("partition"));
        Map<String, Object> reply = new LinkedHashMap<>();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer()) {
            consumer.assign(Collections.singleton(tp));
            consumer.seek(tp, c.wide("offset"));
            long until = System.currentTimeMillis() + IDLE_LIMIT_MS;
            while (System.currentTimeMillis() < until) {
                for (ConsumerRecord<byte[], byte[]> got : consumer.poll(POLL)) {
                    reply.put("offset", got.offset());
                    reply.put("timestamp", got.timestamp());
                    CRC32 crc = new CRC32();
                    if (got.value() != null) crc.update(got.value());
                    reply.put("bytes", got.value() == null ? -1 : got.value().length);
                    reply.put("value_crc32", String.format("%08x", crc.getValue()));
                    return reply;
                }
            }
        }
        throw new IllegalStateException("no record came");
    }

    private Map<String, Object> times(Client.Command c) {
        TopicPartition tp = new TopicPartition(c.text("topic"), c.number("partition"));
        List<Object> offsets = new ArrayList<>();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer()) {
            for (String t : c.text("timestamps").split(",")) {
                OffsetAndTimestamp at = consumer.offsetsForTimes(Collections.singletonMap(tp, Long.parseLong(t))).get(tp);
                offsets.add(at == null ? -1 : at.offset());
            }
        }
        Map<String, Object> reply = new LinkedHashMap<>();
        reply.put("offsets", offsets);
        return reply;
    }

    private Map<String, Object> ends(Client.Command c) {
        List<TopicPartition> partitions = partitionsOf(c);
        List<Object> starts = new ArrayList<>();
        List<Object> ends = new ArrayList<>();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer()) {
            Map<TopicPartition, Long> first = consumer.beginningOffsets(partitions);
            Map<TopicPartition, Long> last = consumer.endOffsets(partitions);
            for (TopicPartition tp : partitions) {
                starts.add(first.get(tp));
                ends.add(last.get(tp));
            }
        }
        Map<String, Object> reply = new LinkedHashMap<>();
        reply.put("starts", starts);
        reply.put("ends", ends);
        return reply;
    }

    /** Writes "partition offset value" of everything up to the end offsets of this moment. */
    private Map<String, Object> dump(Client.Command c) throws IOException {
        List<TopicPartition> partitions = partitionsOf(c);
        long lines = 0;
        try (KafkaConsumer<byte[], byte[]> consumer = consumer();
            java.io.Writer out = new java.io.BufferedWriter(new java.io.FileWriter(c.text("file")))) {
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            long idleSince = System.currentTimeMillis();
            while (partitions.stream().anyMatch(tp -> consumer.position(tp) < ends.get(tp))) {
                for (ConsumerRecord<byte[], byte[]> got : consumer.poll(POLL)) {
                    out.write(got.partition() + " " + got.offset() + " " + new String(got.value(), "UTF-8") + "\n");
                    lines++;
                    idleSince = System.currentTimeMillis();
                }
                if (System.currentTimeMillis() - idleSince > IDLE_LIMIT_MS) throw new IllegalStateException("only " + lines + " records came");
            }
        }
        Map<String, Object> reply = new LinkedHashMap<>();
        reply.put("records", lines);
        return reply;
    }
}
