import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.DescribeTopicsResult;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.config.ConfigResource;

/** The verbs that work on topics: create, list, describe, alter, reset, grow, purge, delete, cluster. */
final class Topics {
    private final AdminClient admin;

    Topics(String bootstrap) {
        Properties p = Client.base(bootstrap);
        p.put("default.api.timeout.ms", "30000");
        admin = AdminClient.create(p);
    }

    Map<String, Object> run(Client.Command c) throws Exception {
        Map<String, Object> reply = new LinkedHashMap<>();
        switch (c.verb) {
            case "create":
                NewTopic topic = new NewTopic(c.text("topic"), c.number("partitions"), (short) c.number("replicas"));
                admin.createTopics(Collections.singleton(topic.configs(c.pairs("config")))).all().get();
                break;
            case "list":
                reply.put("topics", new TreeSet<>(admin.listTopics().names().get()));
                break;
            case "describe":
                describe(c.text("topic"), reply);
                break;
            case "alter":
                Alter.set(admin, c);
                break;
            case "reset":
                Alter.reset(admin, c);
                break;
            case "grow":
                admin.createPartitions(Collections.singletonMap(c.text("topic"), NewPartitions.increaseTo(c.number("partitions"))))
                    .all().get();
                break;
            case "purge":
                TopicPartition tp = new TopicPartition(c.text("topic"), c.number("partition"));
                reply.put("low_watermark", admin.deleteRecords(Collections.singletonMap(tp, RecordsToDelete.beforeOffset(c.wide("offset"))))
                    .lowWatermarks().get(tp).get().lowWatermark());
                break;
            case "delete":
                admin.deleteTopics(Collections.singleton(c.text("topic"))).all().get();
                break;
            case "cluster":
                Collection<Node> nodes = admin.describeCluster().nodes().get();
                reply.put("cluster", admin.describeCluster().clusterId().get());
                reply.put("nodes", nodes.stream().map(n -> n.host() + ":" + n.port()).collect(Collectors.toList()));
                break;
            default:
                throw new IllegalArgumentException("no verb " + c.verb);
        }
        return reply;
    }

    private void describe(String name, Map<String, Object> reply) throws Exception {
        List<Object> partitions = new ArrayList<>();
        for (TopicPartitionInfo p : description(name).partitions()) {
            Map<String, Object> one = new LinkedHashMap<>();
            one.put("partition", p.partition());
            one.put("leader", p.leader() == null ? -1 : p.leader().id());
            one.put("replicas", p.replicas().stream().map(Node::id).collect(Collectors.toList()));
            one.put("isr", p.isr().stream().map(Node::id).collect(Collectors.toList()));
            partitions.add(one);
        }
        reply.put("partitions", partitions);
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, name);
        Map<String, Object> configs = new TreeMap<>();
        for (ConfigEntry e : admin.describeConfigs(Collections.singleton(resource)).all().get().get(resource).entries()) {
            configs.put(e.name(), e.value());
        }
        reply.put("configs", configs);
    }

    /** The accessor was renamed between the versions under test; the answer is the same. */
    @SuppressWarnings("unchecked")
    private TopicDescription description(String name) throws Exception {
        DescribeTopicsResult result = admin.describeTopics(Collections.singleton(name));
        java.lang.reflect.Method values;
        try {
            values = result.getClass().getMethod("topicNameValues");
        } catch (NoSuchMethodException older) {
            values = result.getClass().getMethod("values");
        }
        return ((Map<String, KafkaFuture<TopicDescription>>) values.invoke(result)).get(name).get();
    }
}
