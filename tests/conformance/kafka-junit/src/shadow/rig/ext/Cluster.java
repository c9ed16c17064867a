package rig.ext;

import kafka.server.KafkaConfig;

import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.metadata.FeatureLevelRecord;
import org.apache.kafka.common.security.auth.SecurityProtocol;
import org.apache.kafka.common.test.JaasUtils;
import org.apache.kafka.common.test.TestKitNodes;
import org.apache.kafka.common.utils.Utils;
import org.apache.kafka.metadata.bootstrap.BootstrapDirectory;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.nio.file.StandardCopyOption;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;

/** The processes of one cluster: formatted, started, watched until they are ready, stopped. */
public final class Cluster {
    private static final long START_MS = Long.getLong("rig.start.ms", 60_000L);
    private static final long STOP_MS = Long.getLong("rig.stop.ms", 30_000L);
    private static final int POLL_MS = 10;

    public final TestKitNodes kitNodes;
    public final TreeMap<Integer, Node> nodes = new TreeMap<>();
    /** Which process a controller lives in. */
    public final TreeMap<Integer, Integer> controllerHost;
    private final Plan plan;
    final Map<Integer, KafkaConfig> kafkaConfigs = new HashMap<>();
    /** How the rig itself connects. */
    final Map<String, Object> superClient, superController;

    private Cluster(TestKitNodes kit, Plan plan) {
        kitNodes = kit;
        this.plan = plan;
        controllerHost = plan.controllerHost;
        superClient = clientConfig(kit.brokerListenerProtocol());
        superController = clientConfig(kit.controllerListenerProtocol());
    }

    private static Map<String, Object> clientConfig(SecurityProtocol protocol) {
        Map<String, Object> config = new HashMap<>();
        config.put("security.protocol", protocol.name);
        if (protocol == SecurityProtocol.SASL_PLAINTEXT) {
            config.put("sasl.mechanism", "PLAIN");
            config.put("sasl.jaas.config", plainJaas(false));
        }
        return config;
    }

    /** The administrator of a SASL cluster; for a server, with all users. */
    public static String plainJaas(boolean server) {
        String login = "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"" + JaasUtils.KAFKA_PLAIN_ADMIN
            + "\" password=\"" + JaasUtils.KAFKA_PLAIN_ADMIN_PASSWORD + "\"";
        if (server)
            login += " user_" + JaasUtils.KAFKA_PLAIN_USER1 + "=\"" + JaasUtils.KAFKA_PLAIN_USER1_PASSWORD + "\" user_"
                + JaasUtils.KAFKA_PLAIN_ADMIN + "=\"" + JaasUtils.KAFKA_PLAIN_ADMIN_PASSWORD + "\"";
        return login + ";";
    }

    public static Cluster plan(TestKitNodes kit, Map<String, Object> testProps, boolean standalone, Optional<Map<Integer, Uuid>> voterSet)
            throws IOException {
        Plan plan = new Plan(kit, standalone, voterSet);
        Cluster cluster = new Cluster(kit, plan);
        for (int id : plan.ids) {
            Map<String, String> server = plan.server(id, testProps);
            cluster.kafkaConfigs.put(id, new KafkaConfig(server, false));     // refuses what Kafka would refuse, at the same moment
            boolean broker = plan.broker(id) != null;
            Wire wire = new Wire(broker ? cluster.superClient : cluster.superController);
            cluster.nodes.put(id, new Node(id, broker, plan.controller(id) != null, Paths.get(kit.baseDirectory(), "rig-node-" + id), server,
                plan.ports(id), kit.brokerListenerName().value(), kit.controllerListenerName().value(), wire));
            for (String directory : plan.directories(id)) Files.createDirectories(Paths.get(directory));
        }
        return cluster;
    }

    public void format() throws Exception {
        for (Node n : nodes.values()) {
            Files.createDirectories(n.dir);
            n.format.putAll(plan.format(n.id));
            boolean onlyFeatures = kitNodes.bootstrapMetadata().records().stream().allMatch(r -> r.message() instanceof FeatureLevelRecord);
            if (n.isController) {
                new BootstrapDirectory(n.dir.toString()).writeBinaryFile(kitNodes.bootstrapMetadata());
                n.format.put("bootstrap.checkpoint", bootstrap(n).toString());
            }
            n.format();
            // records that no flag of a format command says, in Kafka's own file
            if (n.isController && !onlyFeatures) {
                Path to = Path.of(n.format.get("metadata.log.dir")).resolve(BootstrapDirectory.BINARY_BOOTSTRAP_FILENAME);
                if (Files.exists(to)) Files.copy(bootstrap(n), to, StandardCopyOption.REPLACE_EXISTING);
            }
        }
    }

    private static Path bootstrap(Node n) { return n.dir.resolve(BootstrapDirectory.BINARY_BOOTSTRAP_FILENAME); }

    public void startup() throws ExecutionException, InterruptedException {
        try {
            for (Node n : nodes.values()) if (n.isController) n.spawnBroker();
            for (Node n : nodes.values()) if (!n.isController) n.spawnBroker();
        } catch (Exception e) {
            throw new ExecutionException(e);
        }
        CompletableFuture<?>[] fs = nodes.values().stream().map(n -> CompletableFuture.runAsync(() -> {
            try { n.awaitReady(START_MS); } catch (InterruptedException e) { throw new RuntimeException(e); }
        }, r -> { Thread t = new Thread(r, "rig-start-" + n.id); t.setDaemon(true); t.start(); })).toArray(CompletableFuture[]::new);
        CompletableFuture.allOf(fs).get();
    }

    /** Every broker that runs lists every broker that exists. */
    public void waitForReadyBrokers() throws ExecutionException, InterruptedException {
        long end = System.nanoTime() + START_MS * 1_000_000L;
        TreeSet<Integer> want = new TreeSet<>(kitNodes.brokerNodes().keySet());
        Object last = null;
        while (System.nanoTime() < end) {
            try {
                boolean all = true;
                for (Node n : nodes.values()) {
                    if (!n.isBroker || !n.isAlive()) continue;
                    TreeSet<Integer> got = n.aliveBrokers();
                    if (!got.containsAll(want)) { all = false; last = "node " + n.id + " sees " + got; break; }
                }
                if (all) return;
            } catch (Exception e) {
                last = e;
            }
            Thread.sleep(POLL_MS);
        }
        throw new ExecutionException(new RuntimeException("brokers not ready: want " + want + ", last " + last));
    }

    public Node started(int id) {
        Node n = nodes.get(controllerHost.getOrDefault(id, id));
        if (!n.everStarted()) throw new RuntimeException("node " + id + " was never started");
        return n;
    }

    void start(Node n) {
        try {
            n.spawnBroker();
            n.awaitReady(START_MS);
        } catch (IOException | InterruptedException e) {
            throw new RuntimeException(e);
        }
    }

    boolean quorumSurvives(Node without) {
        long all = nodes.values().stream().filter(x -> x.isController).count();
        long left = nodes.values().stream().filter(x -> x.isController && x != without && x.isAlive()).count();
        return left > all / 2;
    }

    void stop(Node n) {
        try { n.stop(STOP_MS); } catch (InterruptedException e) { throw new RuntimeException(e); }
    }

    public void close(boolean delete) throws Exception {
        Thread.interrupted();      // the processes go all the same
        for (Node n : nodes.values()) n.kill();       // at the end of a test nothing is left to be shut down in order
        for (Node n : nodes.values()) {
            if (!n.everStarted()) continue;
            n.tellUnknownApi();
            n.saveOutput(kitNodes.clusterId());
        }
        if (delete && !Boolean.getBoolean("rig.keep")) Utils.delete(new File(kitNodes.baseDirectory()));
    }
}
