import java.util.Collections;
import java.util.Properties;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.common.config.ConfigResource;

/** As {@link Ancient}, for the versions that have an admin client. */
public final class AncientAdmin {
    public static void main(String[] args) {
        Properties p = Ancient.base(args[0]);
        p.put("request.timeout.ms", "10000");
        try (AdminClient admin = AdminClient.create(p)) {
            NewTopic topic = new NewTopic("of-an-ancient", 1, (short) 1);
            System.out.println("create " + Ancient.outcome(() -> admin.createTopics(Collections.singleton(topic)).all().get()));
            System.out.println("list " + Ancient.outcome(() -> admin.listTopics().names().get()));
            ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, args[1]);
            System.out.println("configs " + Ancient.outcome(() -> admin.describeConfigs(Collections.singleton(resource)).all().get()));
        }
        Ancient.main(args);
    }
}
