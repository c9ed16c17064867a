import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.common.config.ConfigResource;

/** Settings of a topic, replaced as a whole, which is all that clients before 2.3 know. */
final class Alter {
    static void set(AdminClient admin, Client.Command c) throws Exception {
        List<ConfigEntry> entries = new ArrayList<>();
        c.pairs("config").forEach((k, v) -> entries.add(new ConfigEntry(k, v)));
        replace(admin, c, entries);
    }

    static void reset(AdminClient admin, Client.Command c) throws Exception {
        replace(admin, c, Collections.emptyList());
    }

    private static void replace(AdminClient admin, Client.Command c, List<ConfigEntry> entries) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, c.text("topic"));
        admin.alterConfigs(Collections.singletonMap(resource, new Config(entries))).all().get();
    }
}
