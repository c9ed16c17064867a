import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.common.config.ConfigResource;

/** Settings of a topic, key by key: clients from 2.3 on. */
final class Alter {
    static void set(AdminClient admin, Client.Command c) throws Exception {
        alter(admin, c, AlterConfigOp.OpType.SET);
    }

    static void reset(AdminClient admin, Client.Command c) throws Exception {
        alter(admin, c, AlterConfigOp.OpType.DELETE);
    }

    private static void alter(AdminClient admin, Client.Command c, AlterConfigOp.OpType op) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, c.text("topic"));
        List<AlterConfigOp> ops = new ArrayList<>();
        c.pairs("config").forEach((k, v) -> ops.add(new AlterConfigOp(new ConfigEntry(k, v), op)));
        admin.incrementalAlterConfigs(Collections.singletonMap(resource, (Collection<AlterConfigOp>) ops)).all().get();
    }
}
