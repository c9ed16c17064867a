import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.*;
import java.lang.reflect.*;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.zip.*;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.ApiMessageType.ListenerType;
import org.apache.kafka.common.protocol.*;
import org.apache.kafka.common.protocol.Readable;
import org.apache.kafka.common.protocol.types.RawTaggedField;

/**
 * What Kafka's own classes say about the protocol, for the checks of xtask. Run with the jars of one Kafka on the class path:
 *
 *   Wire json                      every message definition inside the jars, one JSON array
 *   Wire apis                      the table of APIs, tab-separated
 *   Wire make FILE SEED VALUES     random values of every message at every version, written by Kafka's classes
 *   Wire check FILE                reads values that another program wrote and writes them again; prints what differs
 *
 * A file of values is a sequence of: name (UTF-8 behind an int16), int16 version, int32 length, bytes.
 */
public class Wire {
    static final ObjectMapper JSON = new ObjectMapper().configure(JsonParser.Feature.ALLOW_COMMENTS, true);
    /** Where the classes of messages are generated to. */
    static final String[] PACKAGES = {
        "org.apache.kafka.common.message.", "org.apache.kafka.common.metadata.",
        "org.apache.kafka.coordinator.group.generated.", "org.apache.kafka.coordinator.transaction.generated.",
        "org.apache.kafka.coordinator.share.generated."};

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "json" -> System.out.println(JSON.writeValueAsString(specs().values()));
            case "apis" -> apis();
            case "make" -> make(args[1], Long.parseLong(args[2]), Integer.parseInt(args[3]));
            case "check" -> check(args[1]);
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    // ---- the definitions

    static SortedMap<String, JsonNode> specs() throws IOException {
        var found = new TreeMap<String, JsonNode>();
        for (String jar : System.getProperty("java.class.path").split(File.pathSeparator)) {
            String name = new File(jar).getName();
            if (!name.startsWith("kafka") || name.contains("-test")) continue;
            try (var zip = new ZipFile(jar)) {
                for (var entries = zip.entries(); entries.hasMoreElements();) {
                    ZipEntry entry = entries.nextElement();
                    if (!entry.getName().matches("common/(message|metadata)/[A-Za-z]+\\.json")) continue;
                    JsonNode spec = JSON.readTree(zip.getInputStream(entry));
                    found.put(spec.get("name").asText(), spec);
                }
            }
        }
        return found;
    }

    static void apis() {
        for (ApiKeys key : ApiKeys.values()) {
            if (!key.hasValidVersion()) continue;
            var headers = new StringBuilder();
            for (short v = key.oldestVersion(); v <= key.latestVersion(); v++)
                headers.append(v).append(':').append(key.requestHeaderVersion(v)).append(':').append(key.responseHeaderVersion(v)).append(' ');
            System.out.println(String.join("\t", "" + key.id, key.name, "" + key.oldestVersion(), "" + key.latestVersion(),
                "" + key.latestVersion(false), "" + key.messageType.latestVersionUnstable(),
                "" + key.inScope(ListenerType.BROKER), "" + key.inScope(ListenerType.CONTROLLER),
                "" + key.forwardable, "" + key.clusterAction, headers.toString().trim(),
                advertised(key, false, ListenerType.BROKER), advertised(key, true, ListenerType.BROKER),
                advertised(key, false, ListenerType.CONTROLLER)));
        }
    }

    static String advertised(ApiKeys key, boolean unstable, ListenerType listener) {
        return key.toApiVersionForApiResponse(unstable, listener).map(v -> v.minVersion() + "-" + v.maxVersion()).orElse("none");
    }

    // ---- the messages that have classes

    static Class<?> classOf(JsonNode spec) {
        String name = spec.get("name").asText();
        for (String prefix : PACKAGES)
            for (String suffix : new String[] {"Data", ""})
                try {
                    Class<?> c = Class.forName(prefix + name + suffix);
                    if (Message.class.isAssignableFrom(c)) return c;
                } catch (ClassNotFoundException | NoClassDefFoundError e) {
                    // Another package has it.
                }
        return null;
    }

    /** From and to which version something exists. */
    static short[] range(String versions) {
        if (versions.equals("none")) return new short[] {0, -1};
        if (versions.endsWith("+")) return new short[] {Short.parseShort(versions.substring(0, versions.length() - 1)), Short.MAX_VALUE};
        String[] ends = versions.split("-");
        return new short[] {Short.parseShort(ends[0]), Short.parseShort(ends[ends.length - 1])};
    }

    static boolean has(JsonNode node, String key, short version) {
        if (!node.has(key)) return false;
        short[] range = range(node.get(key).asText());
        return range[0] <= version && version <= range[1];
    }

    static byte[] bytesOf(Message message, short version) {
        return MessageUtil.byteBufferToArray(MessageUtil.toByteBufferAccessor(message, version).buffer());
    }

    // ---- making values

    static Random random;

    static void make(String file, long seed, int values) throws Exception {
        try (var out = new DataOutputStream(new BufferedOutputStream(new FileOutputStream(file)))) {
            for (var entry : specs().entrySet()) {
                Class<?> type = classOf(entry.getValue());
                short[] valid = range(entry.getValue().get("validVersions").asText());
                if (type == null) continue;
                for (short version = valid[0]; version <= valid[1]; version++) {
                    for (int i = 0; i < values; i++) {
                        random = new Random(Objects.hash(seed, entry.getKey(), version, i));
                        write(out, entry.getKey(), version, bytesOf(struct(type, type, entry.getValue(), entry.getValue(), version), version));
                    }
                }
            }
        }
    }

    static void write(DataOutputStream out, String name, short version, byte[] bytes) throws IOException {
        out.writeUTF(name);
        out.writeShort(version);
        out.writeInt(bytes.length);
        out.write(bytes);
    }

    static Message struct(Class<?> type, Class<?> top, JsonNode message, JsonNode spec, short version) throws Exception {
        Message made = (Message) type.getConstructor().newInstance();
        for (JsonNode field : spec.get("fields")) {
            boolean tagged = field.has("tag");
            if (!has(field, field.has("versions") ? "versions" : "taggedVersions", version)) continue;
            if (tagged && random.nextBoolean()) continue;
            Method setter = setter(type, field.get("name").asText());
            Object value = has(field, "nullableVersions", version) && random.nextInt(4) == 0
                ? null : value(field.get("type").asText(), setter.getParameterTypes()[0], field, top, message, version);
            setter.invoke(made, value);
        }
        if (has(message, "flexibleVersions", version) && random.nextInt(8) == 0)
            for (int tag = 100, n = random.nextInt(3); n > 0; n--) {
                tag += 1 + random.nextInt(200);
                made.unknownTaggedFields().add(new RawTaggedField(tag, bytes()));
            }
        return made;
    }

    static Method setter(Class<?> type, String field) {
        String name = "set" + Character.toUpperCase(field.charAt(0)) + field.substring(1);
        for (Method m : type.getMethods()) if (m.getName().equals(name) && m.getParameterCount() == 1) return m;
        throw new IllegalStateException(type + " has no " + name);
    }

    @SuppressWarnings("unchecked")
    static Object value(String type, Class<?> param, JsonNode field, Class<?> top, JsonNode message, short version) throws Exception {
        if (type.startsWith("[]")) {
            var list = List.class.isAssignableFrom(param) && param.isInterface()
                ? new ArrayList<Object>() : (Collection<Object>) param.getConstructor().newInstance();
            for (int n = random.nextInt(4); n > 0; n--)
                list.add(value(type.substring(2), Object.class, field, top, message, version));
            return list;
        }
        switch (type) {
            case "bool": return random.nextBoolean();
            case "int8": return (byte) number();
            case "int16": return (short) number();
            case "uint16": return (int) number() & 0xffff;
            case "int32": return (int) number();
            case "uint32": return number() & 0xffffffffL;
            case "int64": return number();
            case "float64": return random.nextGaussian();
            case "uuid": return random.nextInt(4) == 0 ? Uuid.ZERO_UUID : new Uuid(random.nextLong(), random.nextLong());
            case "string": return text();
            case "bytes": return param == ByteBuffer.class ? ByteBuffer.wrap(bytes()) : bytes();
            case "records":
                // The interface and the class moved between packages; the setter knows where they are.
                Class<?> records = Class.forName(param.getPackageName() + ".MemoryRecords");
                return records.getMethod("readableRecords", ByteBuffer.class).invoke(null, ByteBuffer.wrap(bytes()));
            default:
                Class<?> nested = Class.forName(top.getName() + "$" + type);
                JsonNode spec = field;
                if (!field.has("fields"))
                    for (JsonNode common : message.get("commonStructs"))
                        if (common.get("name").asText().equals(type)) spec = common;
                return struct(nested, top, message, spec, version);
        }
    }

    static long number() {
        switch (random.nextInt(6)) {
            case 0: return 0;
            case 1: return -1;
            case 2: return Long.MAX_VALUE;
            case 3: return Long.MIN_VALUE;
            case 4: return random.nextInt(256) - 128;
            default: return random.nextLong();
        }
    }

    static int length() {
        switch (random.nextInt(12)) {
            case 0: return 0;
            case 1: return 125 + random.nextInt(5);
            default: return random.nextInt(12);
        }
    }

    static String text() {
        var text = new StringBuilder();
        for (int n = length(); n > 0; n--) {
            int c = random.nextInt(4) > 0 ? 32 + random.nextInt(95) : random.nextInt(0x11000);
            if (c < 0xd800 || c > 0xdfff) text.appendCodePoint(c);
        }
        return text.toString();
    }

    static byte[] bytes() {
        byte[] bytes = new byte[length()];
        random.nextBytes(bytes);
        return bytes;
    }

    // ---- checking values

    static void check(String file) throws Exception {
        var types = new HashMap<String, Class<?>>();
        for (var entry : specs().entrySet()) types.put(entry.getKey(), classOf(entry.getValue()));
        int same = 0, different = 0;
        var pairs = new HashSet<String>();
        try (var in = new DataInputStream(new BufferedInputStream(new FileInputStream(file)))) {
            while (true) {
                String name;
                try { name = in.readUTF(); } catch (EOFException end) { break; }
                short version = in.readShort();
                byte[] bytes = new byte[in.readInt()];
                in.readFully(bytes);
                String fault = fault(types.get(name), version, bytes);
                pairs.add(name + version);
                if (fault == null) same++; else {
                    different++;
                    System.out.println(name + " v" + version + ": " + fault + ": " + HexFormat.of().formatHex(bytes));
                }
            }
        }
        System.out.println(pairs.size() + "\t" + same + "\t" + different);
    }

    static String fault(Class<?> type, short version, byte[] bytes) {
        if (type == null) return "no such message";
        try {
            var readable = new ByteBufferAccessor(ByteBuffer.wrap(bytes));
            Message read = (Message) type.getConstructor(Readable.class, short.class).newInstance(readable, version);
            if (readable.remaining() > 0) return readable.remaining() + " bytes left over";
            byte[] again = bytesOf(read, version);
            return Arrays.equals(again, bytes) ? null : "written again as " + HexFormat.of().formatHex(again);
        } catch (InvocationTargetException e) {
            return e.getCause().toString();
        } catch (Exception e) {
            return e.toString();
        }
    }
}
