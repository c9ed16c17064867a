import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.zip.CRC32;

/** The record that stands at a place, made from a seed alone; docs/clients.md has the rule that every client follows. */
final class Content {
    private static final int POOL = 65536;
    private static final long BASE_TIMESTAMP = 1_700_000_000_000L;
    private final int seed;
    private final boolean headerNulls;
    private final byte[] pool = new byte[POOL + 1024];

    Content(Client.Command c) {
        seed = c.number("seed");
        headerNulls = c.text("header_nulls", "yes").equals("yes");
        int x = seed | 1;
        for (int i = 0; i < pool.length; i++) {
            x ^= x << 13;
            x ^= x >>> 17;
            x ^= x << 5;
            pool[i] = (byte) (i < POOL / 2 ? x : 97 + (x >>> 28));
        }
    }

    static final class Header {
        final String key;
        final byte[] value;

        Header(String key, byte[] value) {
            this.key = key;
            this.value = value;
        }
    }

    static final class Rec {
        byte[] key;
        byte[] value;
        long timestamp;
        Header[] headers;
    }

    Rec at(long index) {
        int h = mix(seed + (int) index * 0x9E3779B9);
        Rec r = new Rec();
        r.timestamp = BASE_TIMESTAMP + index * 10 + Integer.remainderUnsigned(h, 10);
        r.key = (h & 7) == 0 ? null : (h & 7) == 1 ? new byte[0] : utf8("key-" + index);
        r.value = (h & 63) == 2 ? null : (h & 63) == 3 ? new byte[0] : value(index, h);
        r.headers = headers(index, h);
        return r;
    }

    private byte[] value(long index, int h) {
        byte[] head = utf8("value-" + Integer.toUnsignedString(seed) + "-" + index + "-");
        int from = (h >>> 6) & 0xFFFF;
        int len = (h >>> 22) & 0xFF;
        byte[] out = Arrays.copyOf(head, head.length + len);
        System.arraycopy(pool, from, out, head.length, len);
        return out;
    }

    private Header[] headers(long index, int h) {
        switch ((h >>> 20) & 3) {
            case 0:
                return new Header[0];
            case 1:
                return new Header[] {
                    new Header("trace", new byte[] {(byte) (h >>> 24), (byte) (h >>> 16), (byte) (h >>> 8), (byte) h})};
            case 2:
                return new Header[] {new Header("dup", utf8("a" + index)), new Header("dup", utf8("b" + index)),
                    new Header("null", headerNulls ? null : new byte[0])};
            default:
                int from = Integer.remainderUnsigned(h, 1000);
                return new Header[] {new Header("empty", new byte[0]),
                    new Header("größe", Arrays.copyOfRange(pool, from, from + 8))};
        }
    }

    /** Adds one record to a partition's digest: everything that the broker must give back, lengths included. */
    static void digest(CRC32 crc, long offset, Rec r) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream(256);
        try (DataOutputStream out = new DataOutputStream(bytes)) {
            out.writeLong(offset);
            out.writeLong(r.timestamp);
            put(out, r.key);
            put(out, r.value);
            out.writeInt(r.headers.length);
            for (Header h : r.headers) {
                put(out, utf8(h.key));
                put(out, h.value);
            }
        } catch (IOException e) {
            throw new AssertionError(e);
        }
        byte[] all = bytes.toByteArray();
        crc.update(all, 0, all.length);
    }

    private static void put(DataOutputStream out, byte[] b) throws IOException {
        out.writeInt(b == null ? -1 : b.length);
        if (b != null) out.write(b);
    }

    private static int mix(int x) {
        x ^= x >>> 16;
        x *= 0x7feb352d;
        x ^= x >>> 15;
        x *= 0x846ca68b;
        x ^= x >>> 16;
        return x;
    }

    static byte[] utf8(String s) {
        return s.getBytes(StandardCharsets.UTF_8);
    }
}
