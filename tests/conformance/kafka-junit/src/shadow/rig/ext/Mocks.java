package rig.ext;

import kafka.cluster.Partition;
import kafka.log.LogManager;
import kafka.network.SocketServer;
import kafka.raft.KafkaRaftManager;
import kafka.server.BrokerServer;
import kafka.server.ControllerServer;
import kafka.server.KafkaApis;
import kafka.server.KafkaConfig;
import kafka.server.ReplicaManager;
import kafka.server.SharedServer;

import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.internals.Plugin;
import org.apache.kafka.common.internals.Topic;
import org.apache.kafka.common.message.DescribeConfigsRequestData;
import org.apache.kafka.common.message.DescribeConfigsResponseData;
import org.apache.kafka.common.message.DescribeLogDirsRequestData;
import org.apache.kafka.common.message.DescribeQuorumResponseData;
import org.apache.kafka.common.message.ListOffsetsRequestData;
import org.apache.kafka.common.message.MetadataResponseData;
import org.apache.kafka.common.network.ListenerName;
import org.apache.kafka.common.requests.DescribeAclsRequest;
import org.apache.kafka.common.requests.DescribeAclsResponse;
import org.apache.kafka.common.requests.DescribeConfigsRequest;
import org.apache.kafka.common.requests.DescribeConfigsResponse;
import org.apache.kafka.common.requests.DescribeLogDirsRequest;
import org.apache.kafka.common.requests.DescribeLogDirsResponse;
import org.apache.kafka.common.requests.DescribeQuorumRequest;
import org.apache.kafka.common.requests.DescribeQuorumResponse;
import org.apache.kafka.common.requests.ListOffsetsRequest;
import org.apache.kafka.common.requests.ListOffsetsResponse;
import org.apache.kafka.common.requests.MetadataRequest;
import org.apache.kafka.common.requests.MetadataResponse;
import org.apache.kafka.controller.Controller;
import org.apache.kafka.coordinator.group.Group;
import org.apache.kafka.image.loader.MetadataLoader;
import org.apache.kafka.metadata.BrokerState;
import org.apache.kafka.metadata.KRaftMetadataCache;
import org.apache.kafka.metadata.LeaderAndIsr;
import org.apache.kafka.raft.KafkaRaftClient;
import org.apache.kafka.raft.LeaderAndEpoch;
import org.apache.kafka.raft.LogOffsetMetadata;
import org.apache.kafka.raft.RaftLog;
import org.apache.kafka.server.authorizer.Authorizer;
import org.apache.kafka.server.common.ApiMessageAndVersion;
import org.apache.kafka.storage.internals.log.LogConfig;
import org.apache.kafka.storage.internals.log.UnifiedLog;
import org.mockito.Mockito;
import org.mockito.invocation.InvocationOnMock;
import org.opentest4j.TestAbortedException;

import java.io.File;
import java.io.IOException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Collectors;

import scala.Option;
import scala.collection.immutable.Nil$;

/**
 * Server objects for tests that ask for them. Each answers from the live process over the protocol; what the protocol cannot tell
 * aborts the test with its reason (it then counts neither as passed nor as failed).
 */
public final class Mocks {
    private interface Body { Object answer(InvocationOnMock i, String method) throws Exception; }

    private static final Object UNKNOWN = new Object();

    private static <T> T mock(Class<T> type, Body body) {
        return Mockito.mock(type, Mockito.withSettings().stubOnly().defaultAnswer(i -> {
            String m = i.getMethod().getName();
            if (m.equals("toString")) return "external " + type.getSimpleName();
            if (m.equals("finalize") || m.equals("logger") || m.equals("isDebugEnabled") || m.equals("isTraceEnabled")) return null;
            Object r = body.answer(i, m);
            if (r != UNKNOWN) return r;
            throw whiteBox(type.getSimpleName() + "." + m);
        }));
    }

    private static TestAbortedException whiteBox(String what) {
        return new TestAbortedException("denied: looks inside Kafka's objects: " + what);
    }

    // ---- broker -----------------------------------------------------------------------------------------------------

    public static BrokerServer broker(Cluster c, rig.ext.Node n) {
        KRaftMetadataCache[] cache = new KRaftMetadataCache[1];
        return mock(BrokerServer.class, (i, m) -> switch (m) {
            case "config" -> liveConfig(c, n);
            case "clusterId" -> c.kitNodes.clusterId();
            case "brokerState" -> n.isReady() ? BrokerState.RUNNING : n.isAlive() ? BrokerState.STARTING
                : n.everStarted() ? BrokerState.SHUTTING_DOWN : BrokerState.NOT_RUNNING;     // Kafka's stays at SHUTTING_DOWN
            case "isShutdown" -> n.everStarted() && !n.isAlive();
            case "startup" -> { c.start(n); yield null; }
            case "shutdown" -> {
                // in one process the broker cannot go without the controller: only where that makes no difference to clients
                if (n.isController && c.nodes.size() > 1 && !c.quorumSurvives(n)) throw whiteBox("shutdown of the broker half of the only controller");
                c.stop(n);
                yield null;
            }
            case "awaitShutdown" -> { n.awaitExit(); yield null; }
            case "boundPort" -> c.started(n.id).port(((ListenerName) i.getArgument(0)).value());
            case "socketServer" -> n.everStarted() ? socketServer(c, n) : null;      // as before the start of Kafka's
            case "metadataCache" -> cache[0] == null ? cache[0] = metadataCache(c, n) : cache[0];
            case "logManager" -> logManager(c, n);
            case "replicaManager" -> replicaManager(c, n);
            case "dataPlaneRequestProcessor" -> kafkaApis(c, n);
            case "sharedServer" -> sharedServer(c, n);
            case "raftManager" -> raftManager(c, n);
            case "authorizerPlugin" -> authorizer(c, n);
            case "groupCoordinator" -> mock(org.apache.kafka.coordinator.group.GroupCoordinator.class, (j, g) -> {
                if (!g.equals("groupMetadataTopicConfigs")) return UNKNOWN;
                Properties p = new Properties();
                p.put("cleanup.policy", "compact");
                p.put("compression.type", "producer");
                p.put("segment.bytes", Integer.toString(c.kafkaConfigs.get(n.id).groupCoordinatorConfig().offsetsTopicSegmentBytes()));
                return p;
            });
            default -> UNKNOWN;
        });
    }

    /** The configuration as it is now: what was set while the broker runs, over what it was started with. */
    private static KafkaConfig liveConfig(Cluster c, rig.ext.Node n) {
        KafkaConfig started = c.kafkaConfigs.get(n.id);
        if (!n.isReady()) return started;
        try {
            Map<String, Object> now = new HashMap<>(started.originals());
            int before = now.hashCode();
            for (var x : describe(n, ConfigResource.Type.BROKER, Integer.toString(n.id)))
                if (DYNAMIC.contains(x.configSource()) && x.value() != null) now.put(x.name(), x.value());
            return now.hashCode() == before ? started : new KafkaConfig(now, false);
        } catch (IOException e) {
            return started;
        }
    }

    private static final Set<Byte> DYNAMIC = Set.of(DescribeConfigsResponse.ConfigSource.DYNAMIC_BROKER_CONFIG.id(),
        DescribeConfigsResponse.ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG.id());

    private static List<DescribeConfigsResponseData.DescribeConfigsResourceResult> describe(rig.ext.Node n, ConfigResource.Type type, String name)
            throws IOException {
        DescribeConfigsResponse r = n.wire().send("localhost", n.clientPort(), new DescribeConfigsRequest.Builder(new DescribeConfigsRequestData().setResources(List.of(
            new DescribeConfigsRequestData.DescribeConfigsResource().setResourceType(type.id()).setResourceName(name)))), 5000);
        return r.data().results().get(0).configs();
    }

    public static ControllerServer controller(Cluster c, rig.ext.Node n) {
        return mock(ControllerServer.class, (i, m) -> switch (m) {
            case "config" -> c.kafkaConfigs.get(n.id);
            case "clusterId" -> c.kitNodes.clusterId();
            case "startup" -> { c.start(n); yield null; }
            case "shutdown" -> { c.stop(n); yield null; }
            case "awaitShutdown" -> { n.awaitExit(); yield null; }
            case "socketServer" -> n.everStarted() ? socketServer(c, n) : null;      // as before the start of Kafka's
            case "socketServerFirstBoundPortFuture" -> CompletableFuture.completedFuture(n.port(n.controllerListener));
            case "raftManager" -> raftManager(c, n);
            case "sharedServer" -> sharedServer(c, n);
            case "authorizerPlugin" -> authorizer(c, n);
            case "controller" -> controllerLogic(c, n.id);
            default -> UNKNOWN;
        });
    }

    private static SocketServer socketServer(Cluster c, rig.ext.Node n) {
        return mock(SocketServer.class, (i, m) -> switch (m) {
            case "boundPort" -> c.started(n.id).port(((ListenerName) i.getArgument(0)).value());
            case "config" -> c.kafkaConfigs.get(n.id);
            case "nodeId" -> n.id;
            default -> UNKNOWN;
        });
    }

    private static KafkaApis kafkaApis(Cluster c, rig.ext.Node n) {
        return mock(KafkaApis.class, (i, m) -> switch (m) {
            case "isConsumerGroupProtocolEnabled" -> c.kitNodes.bootstrapMetadata().featureLevel("group.version") >= 1
                && c.kafkaConfigs.get(n.id).groupCoordinatorRebalanceProtocols().contains(Group.GroupType.CONSUMER);
            case "brokerId" -> n.id;
            case "config" -> c.kafkaConfigs.get(n.id);
            default -> UNKNOWN;
        });
    }

    // ---- controller side ----------------------------------------------------------------------------------------------

    private static Controller controllerLogic(Cluster c, int id) {
        return mock(Controller.class, (i, m) -> switch (m) {
            case "findAllTopicIds" -> CompletableFuture.completedFuture(topicIds(anyBroker(c)));
            case "isActive" -> leader(c).leaderId() == id;
            case "waitForReadyBrokers" -> CompletableFuture.runAsync(() -> {
                try { c.waitForReadyBrokers(); } catch (Exception e) { throw new RuntimeException(e); }
            });
            case "curClaimEpoch" -> leader(c).leaderId() == id ? leader(c).leaderEpoch() : -1;
            default -> UNKNOWN;
        });
    }

    public static Controller activeController(Cluster c) throws InterruptedException {
        for (int t = 0; t < 600; t++) {
            try {
                int l = leader(c).leaderId();
                if (l >= 0) return controllerLogic(c, l);
            } catch (IOException e) { /* again */ }
            Thread.sleep(50);
        }
        throw new RuntimeException("no active controller");
    }

    @SuppressWarnings("unchecked")
    public static KafkaRaftManager<ApiMessageAndVersion> raftManager(Cluster c, rig.ext.Node n) {
        return mock(KafkaRaftManager.class, (i, m) -> switch (m) {
            case "client" -> mock(KafkaRaftClient.class, (j, g) -> switch (g) {
                case "leaderAndEpoch" -> {
                    var l = leader(c);
                    yield new LeaderAndEpoch(l.leaderId() < 0 ? OptionalInt.empty() : OptionalInt.of(l.leaderId()), l.leaderEpoch());
                }
                case "nodeId" -> OptionalInt.of(n.id);
                default -> UNKNOWN;
            });
            // ensureConsistentMetadata() compares this with the brokers' loaders: the barrier is taken here
            case "raftLog" -> mock(RaftLog.class, (j, g) -> {
                if (!g.equals("endOffset")) return UNKNOWN;
                barrier(c);
                return new LogOffsetMetadata(0);
            });
            default -> UNKNOWN;
        });
    }

    private static SharedServer sharedServer(Cluster c, rig.ext.Node n) {
        return mock(SharedServer.class, (i, m) -> switch (m) {
            case "loader" -> mock(MetadataLoader.class, (j, g) -> g.equals("lastAppliedOffset") ? (Object) Long.MAX_VALUE : UNKNOWN);
            case "raftManager" -> raftManager(c, n);
            case "brokerConfig", "controllerConfig" -> c.kafkaConfigs.get(n.id);
            case "clusterId" -> c.kitNodes.clusterId();
            case "nodeId" -> n.id;
            default -> UNKNOWN;
        });
    }

    private static rig.ext.Node anyBroker(Cluster c) throws IOException {
        return c.nodes.values().stream().filter(x -> x.isBroker && x.isReady()).findFirst().orElseThrow(() -> new IOException("no broker runs"));
    }

    private static DescribeQuorumResponseData.PartitionData leader(Cluster c) throws IOException {
        DescribeQuorumResponse r = anyBroker(c).wire().send("localhost", anyBroker(c).clientPort(),
            new DescribeQuorumRequest.Builder(DescribeQuorumRequest.singletonRequest(Topic.CLUSTER_METADATA_TOPIC_PARTITION)), 5000);
        if (r.data().errorCode() != 0 || r.data().topics().isEmpty()) throw new IOException("DescribeQuorum error " + r.data().errorCode());
        return r.data().topics().get(0).partitions().get(0);
    }

    /** Waits until every running broker has fetched what the quorum had committed at the call. A no-op where DescribeQuorum fails. */
    private static void barrier(Cluster c) throws InterruptedException {
        try {
            long hw = leader(c).highWatermark();
            for (int t = 0; t < 400; t++) {
                var p = leader(c);
                Map<Integer, Long> end = new HashMap<>();
                p.observers().forEach(o -> end.put(o.replicaId(), o.logEndOffset()));
                p.currentVoters().forEach(o -> end.put(o.replicaId(), o.logEndOffset()));
                boolean ok = c.nodes.values().stream().filter(x -> x.isBroker && x.isReady()).allMatch(x -> end.getOrDefault(x.id, Long.MAX_VALUE) >= hw);
                if (ok) break;
                Thread.sleep(10);
            }
        } catch (IOException | RuntimeException e) { /* no quorum information */ }
        Thread.sleep(30);
    }

    // ---- metadata -----------------------------------------------------------------------------------------------------

    private static MetadataResponseData metadata(rig.ext.Node n, List<String> topics) throws IOException {
        MetadataRequest.Builder b = topics == null ? MetadataRequest.Builder.allTopics() : MetadataRequest.Builder.forTopicNames(topics, false);
        MetadataResponse r = n.wire().send("localhost", n.clientPort(), b, 5000);
        return r.data();
    }

    private static Optional<MetadataResponseData.MetadataResponseTopic> topic(rig.ext.Node n, String t) throws IOException {
        return metadata(n, List.of(t)).topics().stream().filter(x -> t.equals(x.name()) && !x.partitions().isEmpty()).findFirst();
    }

    private static Map<String, Uuid> topicIds(rig.ext.Node n) throws IOException {
        return metadata(n, null).topics().stream().collect(Collectors.toMap(MetadataResponseData.MetadataResponseTopic::name, MetadataResponseData.MetadataResponseTopic::topicId));
    }

    private static KRaftMetadataCache metadataCache(Cluster c, rig.ext.Node n) {
        return mock(KRaftMetadataCache.class, (i, m) -> switch (m) {
            case "numPartitions" -> topic(n, i.getArgument(0)).map(t -> t.partitions().size());
            case "contains" -> i.getArgument(0) instanceof TopicPartition tp
                ? topic(n, tp.topic()).filter(t -> t.partitions().size() > tp.partition()).isPresent()
                : topic(n, i.getArgument(0)).isPresent();
            case "getAllTopics" -> topicIds(n).keySet();
            case "getTopicId" -> topicIds(n).getOrDefault((String) i.getArgument(0), Uuid.ZERO_UUID);
            case "topicNamesToIds" -> topicIds(n);
            case "topicIdsToNames" -> topicIds(n).entrySet().stream().collect(Collectors.toMap(Map.Entry::getValue, Map.Entry::getKey));
            case "hasAliveBroker" -> n.aliveBrokers().contains((Integer) i.getArgument(0));
            case "isBrokerFenced" -> !n.aliveBrokers().contains((Integer) i.getArgument(0));
            case "getAliveBrokerNodes" -> metadata(n, List.of()).brokers().stream().map(b -> new Node(b.nodeId(), b.host(), b.port(), b.rack())).collect(Collectors.toList());
            case "getAliveBrokerNode" -> metadata(n, List.of()).brokers().stream().filter(b -> b.nodeId() == (Integer) i.getArgument(0))
                .map(b -> new Node(b.nodeId(), b.host(), b.port(), b.rack())).findFirst();
            case "getLeaderAndIsr" -> topic(n, i.getArgument(0)).flatMap(t -> t.partitions().stream()
                .filter(p -> p.partitionIndex() == (Integer) i.getArgument(1)).findFirst())
                .map(p -> new LeaderAndIsr(p.leaderId(), p.leaderEpoch(), org.apache.kafka.metadata.LeaderRecoveryState.RECOVERED, isr(p.isrNodes()), 0));
            default -> UNKNOWN;
        });
    }

    private static List<org.apache.kafka.common.message.AlterPartitionRequestData.BrokerState> isr(List<Integer> ids) {
        return ids.stream().map(x -> new org.apache.kafka.common.message.AlterPartitionRequestData.BrokerState().setBrokerId(x)).collect(Collectors.toList());
    }

    // ---- logs, through DescribeLogDirs / DescribeConfigs / ListOffsets --------------------------------------------------

    private static Optional<File> replica(rig.ext.Node n, TopicPartition tp) throws IOException {
        if (!n.isAlive()) return Optional.empty();
        DescribeLogDirsResponse r = n.wire().send("localhost", n.clientPort(), new DescribeLogDirsRequest.Builder(new DescribeLogDirsRequestData().setTopics(null)), 5000);
        for (var d : r.data().results())
            for (var t : d.topics())
                if (t.name().equals(tp.topic()) && t.partitions().stream().anyMatch(p -> p.partitionIndex() == tp.partition() && !p.isFutureKey()))
                    return Optional.of(new File(d.logDir(), tp.toString()));
        return Optional.empty();
    }

    private static long offset(rig.ext.Node n, TopicPartition tp, long timestamp) throws IOException {
        var b = ListOffsetsRequest.Builder.forConsumer(false, org.apache.kafka.common.IsolationLevel.READ_UNCOMMITTED)
            .setTargetTimes(List.of(new ListOffsetsRequestData.ListOffsetsTopic().setName(tp.topic()).setPartitions(List.of(
                new ListOffsetsRequestData.ListOffsetsPartition().setPartitionIndex(tp.partition()).setTimestamp(timestamp).setCurrentLeaderEpoch(-1)))));
        ListOffsetsResponse r = n.wire().send("localhost", n.clientPort(), b, 5000);
        return r.topics().get(0).partitions().get(0).offset();
    }

    private static LogConfig logConfig(rig.ext.Node n, String topic) throws IOException {
        Map<String, String> m = new HashMap<>();
        describe(n, ConfigResource.Type.TOPIC, topic).forEach(x -> { if (x.value() != null) m.put(x.name(), x.value()); });
        return new LogConfig(m);
    }

    private static UnifiedLog log(rig.ext.Node n, TopicPartition tp, File dir) {
        return mock(UnifiedLog.class, (i, m) -> switch (m) {
            case "config" -> logConfig(n, tp.topic());
            case "dir" -> dir;
            case "parentDir" -> dir.getParent();
            case "topicPartition" -> tp;
            case "logEndOffset", "highWatermark" -> offset(n, tp, ListOffsetsRequest.LATEST_TIMESTAMP);
            case "logStartOffset" -> offset(n, tp, ListOffsetsRequest.EARLIEST_TIMESTAMP);
            default -> UNKNOWN;
        });
    }

    private static Option<UnifiedLog> logOf(rig.ext.Node n, TopicPartition tp) throws IOException {
        return Option.apply(replica(n, tp).map(d -> log(n, tp, d)).orElse(null));
    }

    private static LogManager logManager(Cluster c, rig.ext.Node n) {
        return mock(LogManager.class, (i, m) -> switch (m) {
            case "getLog" -> logOf(n, i.getArgument(0));
            case "getLog$default$2" -> false;
            case "liveLogDirs" -> Nil$.MODULE$;      // waitTopicDeletion would read Kafka's own checkpoint files there
            default -> UNKNOWN;
        });
    }

    private static ReplicaManager replicaManager(Cluster c, rig.ext.Node n) {
        return mock(ReplicaManager.class, (i, m) -> switch (m) {
            case "onlinePartition" -> {
                TopicPartition tp = i.getArgument(0);
                yield Option.apply(replica(n, tp).map(d -> partition(n, tp, d)).orElse(null));
            }
            case "localLog", "getLog" -> logOf(n, i.getArgument(0));
            case "logManager" -> logManager(c, n);
            case "metadataCache" -> metadataCache(c, n);
            case "localBrokerId" -> n.id;
            case "config" -> c.kafkaConfigs.get(n.id);
            default -> UNKNOWN;
        });
    }

    private static Partition partition(rig.ext.Node n, TopicPartition tp, File dir) {
        return mock(Partition.class, (i, m) -> {
            boolean leads = topic(n, tp.topic()).flatMap(t -> t.partitions().stream().filter(p -> p.partitionIndex() == tp.partition()).findFirst())
                .map(p -> p.leaderId() == n.id).orElse(false);
            return switch (m) {
                case "leaderIdIfLocal" -> leads ? Option.apply(n.id) : Option.empty();
                case "isLeader" -> leads;
                case "leaderLogIfLocal" -> leads ? Option.apply(log(n, tp, dir)) : Option.empty();
                case "log" -> Option.apply(log(n, tp, dir));
                case "topicPartition" -> tp;
                case "topic" -> tp.topic();
                case "partitionId" -> tp.partition();
                default -> UNKNOWN;
            };
        });
    }

    // ---- ACLs -----------------------------------------------------------------------------------------------------------

    private static List<AclBinding> acls(Cluster c, rig.ext.Node n, AclBindingFilter f, boolean controllerListener) throws IOException {
        Wire w = controllerListener ? new Wire(c.superController) : n.wire();
        int port = controllerListener ? n.port(n.controllerListener) : n.clientPort();
        DescribeAclsResponse r = w.send("localhost", port, new DescribeAclsRequest.Builder(f), 5000);
        if (r.error().isFailure()) throw new IOException(r.error().toString());
        return DescribeAclsResponse.aclBindings(r.acls());
    }

    /** waitAcls() reads through this. Where the rig may not describe ACLs the test aborts: it must not pass by looking at nothing. */
    private static Option<Plugin<Authorizer>> authorizer(Cluster c, rig.ext.Node n) throws Exception {
        String cls = n.config.getOrDefault("authorizer.class.name", "");
        if (cls.isEmpty() || !n.isAlive()) return Option.empty();
        boolean viaController = !n.isBroker;
        Authorizer a = mock(Authorizer.class, (i, m) -> switch (m) {
            case "acls" -> {
                try {
                    yield acls(c, n, i.getArguments().length == 0 ? AclBindingFilter.ANY : i.getArgument(0), viaController);
                } catch (IOException e) {
                    throw whiteBox("Authorizer.acls (DescribeAcls refused: " + e.getMessage() + ")");
                }
            }
            case "close" -> null;
            default -> UNKNOWN;
        });
        return Option.apply(Plugin.wrapInstance(a, null, "authorizer.class.name"));
    }

    private Mocks() { }
}
