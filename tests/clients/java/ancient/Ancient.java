import java.util.Collections;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * What a client that is older than those which Kafka 4.x promises to serve meets: a line per attempt, with the name of the
 * exception or "ok". Arguments: the broker's address and a topic that has records.
 */
public final class Ancient {
    private static final long LIMIT_MS = 8_000;

    interface Attempt {
        void run() throws Exception;
    }

    public static void main(String[] args) {
        System.out.println("produce " + outcome(() -> produce(args[0], args[1])));
        System.out.println("consume " + outcome(() -> consume(args[0], args[1])));
        System.exit(0);
    }

    static String outcome(Attempt attempt) {
        try {
            attempt.run();
            return "ok";
        } catch (ExecutionException e) {
            return e.getCause().getClass().getSimpleName();
        } catch (Exception e) {
            return e.getClass().getSimpleName();
        }
    }

    static Properties base(String bootstrap) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("client.id", "dohle-ancient");
        return p;
    }

    private static void produce(String bootstrap, String topic) throws Exception {
        Properties p = base(bootstrap);
        p.put("max.block.ms", "10000");
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer())) {
            producer.send(new ProducerRecord<byte[], byte[]>(topic, 0, null, new byte[] {1})).get(30, TimeUnit.SECONDS);
        }
    }

    @SuppressWarnings("deprecation")
    private static void consume(String bootstrap, String topic) {
        TopicPartition tp = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(base(bootstrap), new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(Collections.singleton(tp));
            consumer.seekToBeginning(Collections.singleton(tp));
            long until = System.currentTimeMillis() + LIMIT_MS;
            while (consumer.poll(100).isEmpty()) {
                if (System.currentTimeMillis() > until) throw new IllegalStateException("nothing came");
            }
        }
    }
}
