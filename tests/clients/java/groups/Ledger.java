import java.io.BufferedWriter;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStreamWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.Collection;
import java.util.Map;
import java.util.zip.CRC32;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;

/** What one member saw and did, a line each, in the file that docs/clients.md describes; with the system before anything is committed. */
final class Ledger {
    private final BufferedWriter out;

    Ledger(String path) throws IOException {
        out = new BufferedWriter(new OutputStreamWriter(new FileOutputStream(path, true), StandardCharsets.UTF_8));
    }

    synchronized void partitions(char kind, Collection<TopicPartition> partitions) {
        StringBuilder line = new StringBuilder().append(kind).append(' ').append(now());
        for (TopicPartition p : partitions) line.append(' ').append(p.topic()).append('/').append(p.partition());
        write(line.toString(), true);
    }

    synchronized void offsets(char kind, Map<TopicPartition, OffsetAndMetadata> offsets) {
        StringBuilder line = new StringBuilder().append(kind).append(' ').append(now());
        offsets.forEach((p, o) -> line.append(' ').append(p.topic()).append('/').append(p.partition()).append('=').append(o.offset()));
        write(line.toString(), true);
    }

    synchronized void delivered(ConsumerRecord<byte[], byte[]> r) {
        CRC32 crc = new CRC32();
        if (r.value() != null) crc.update(r.value());
        write(String.format("D %s/%d %d %08x", r.topic(), r.partition(), r.offset(), crc.getValue()), false);
    }

    synchronized void said(char kind, Object what) {
        write(kind + " " + now() + " " + what.toString().replace('\n', ' '), true);
    }

    private void write(String line, boolean flush) {
        try {
            out.write(line);
            out.write('\n');
            if (flush) out.flush();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Microseconds of the wall clock, which all members on the machine share. */
    private static long now() {
        Instant now = Instant.now();
        return now.getEpochSecond() * 1_000_000 + now.getNano() / 1000;
    }
}
