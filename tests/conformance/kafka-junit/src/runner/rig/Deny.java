package rig;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;

/** The deny list: a class, or a method of it, and why it is not asked. */
final class Deny {
    /** What the rig throws a {@code TestAbortedException} with, before the reason. */
    static final String PREFIX = "denied: ";

    /** The reason that holds only where controllers live in brokers' processes. */
    private static final String APART = "needs a controller apart from the broker";
    private static final boolean MERGED = Boolean.getBoolean("rig.merge");

    private final Map<String, String> reasons = new HashMap<>();

    static Deny read(String file) throws IOException {
        Deny deny = new Deny();
        if (file.isEmpty()) return deny;
        for (String line : Files.readAllLines(Path.of(file))) {
            String[] columns = line.split("\t", 2);
            boolean applies = MERGED || columns.length < 2 || !columns[1].equals(APART);
            if (!line.startsWith("#") && columns.length == 2 && applies) deny.reasons.put(columns[0], columns[1]);
        }
        return deny;
    }

    /** {@code null} where the test may be asked. */
    String reason(String type, String method) {
        String ofMethod = reasons.get(type + "#" + method);
        return ofMethod != null ? ofMethod : reasons.get(type);
    }
}
