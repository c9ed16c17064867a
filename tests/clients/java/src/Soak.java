import java.io.BufferedWriter;
import java.io.FileWriter;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Writes numbered records without end, and one ledger line "partition offset number" per acknowledgement. */
final class Soak {
    private static final int BURST = 200;
    private static final long BURST_PAUSE_MS = 10;
    private final KafkaProducer<byte[], byte[]> producer;
    private final BufferedWriter ledger;
    private final Thread writer;
    private volatile boolean stopping;
    private volatile Exception failed;
    private long sent;
    private volatile long acknowledged;

    Soak(String bootstrap, Client.Command c) throws IOException {
        Properties p = Client.base(bootstrap);
        p.put("acks", "all");
        p.put("enable.idempotence", "true");
        p.put("compression.type", c.text("codec", "none"));
        p.put("linger.ms", "2");
        p.put("reconnect.backoff.ms", "20");
        p.put("reconnect.backoff.max.ms", "100");
        p.put("retry.backoff.ms", "20");
        p.put("request.timeout.ms", "10000");
        p.put("delivery.timeout.ms", "600000");
        p.put("max.block.ms", "120000");
        producer = new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer());
        ledger = new BufferedWriter(new FileWriter(c.text("ledger")));
        String topic = c.text("topic");
        int partitions = c.number("partitions");
        writer = new Thread(() -> write(topic, partitions), "soak");
        writer.start();
    }

    private void write(String topic, int partitions) {
        try {
            while (!stopping && failed == null) {
                for (int i = 0; i < BURST; i++) {
                    send(topic, (int) (sent % partitions), sent / partitions);
                    sent++;
                }
                Thread.sleep(BURST_PAUSE_MS);
            }
        } catch (Exception e) {
            failed = e;
        }
    }

    private void send(String topic, int partition, long number) {
        producer.send(new ProducerRecord<>(topic, partition, null, Content.utf8(Long.toString(number))), (meta, e) -> {
            if (e != null) {
                failed = e;
                return;
            }
            acknowledged = acknowledged + 1; // only the producer's own thread counts
            try {
                ledger.write(partition + " " + meta.offset() + " " + number + "\n");
            } catch (IOException disk) {
                failed = disk;
            }
        });
    }

    Map<String, Object> count() throws Exception {
        if (failed != null) throw failed;
        Map<String, Object> reply = new LinkedHashMap<>();
        reply.put("acknowledged", acknowledged);
        return reply;
    }

    Map<String, Object> stop() throws Exception {
        stopping = true;
        writer.join();
        producer.close();
        ledger.close();
        if (failed != null) throw failed;
        Map<String, Object> reply = new LinkedHashMap<>();
        reply.put("sent", sent);
        reply.put("acknowledged", acknowledged);
        return reply;
    }
}
