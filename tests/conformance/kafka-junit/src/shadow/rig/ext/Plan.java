package rig.ext;

import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.metadata.FeatureLevelRecord;
import org.apache.kafka.server.common.Feature;
import org.apache.kafka.common.security.auth.SecurityProtocol;
import org.apache.kafka.common.test.JaasUtils;
import org.apache.kafka.common.test.TestKitNode;
import org.apache.kafka.common.test.TestKitNodes;
import org.opentest4j.TestAbortedException;

import java.util.HashMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * What each process of a cluster is told: its roles, its server.properties with ports already chosen, and what its storage is to
 * be formatted with. Decides from what a test asks for whether the broker under test can be asked at all.
 */
final class Plan {
    /** Puts a controller of its own into a broker's process, for a broker that cannot run them apart. */
    private static final boolean MERGE = Boolean.getBoolean("rig.merge");
    private static final int MOST_NODES = Integer.getInteger("rig.nodes.max", Integer.MAX_VALUE);
    private static final boolean JAVA_PLUGINS = Boolean.parseBoolean(System.getProperty("rig.java.plugins", "true"));
    private static final Pattern LISTENER = Pattern.compile("([A-Za-z0-9_.-]+)://([^:,]*|\\[[^]]*]):(\\d+)(?=\\s*(,|$))");
    /** Java classes of Kafka's own: a name of a thing that every broker has in some form. */
    private static final Set<String> SHIPPED = Set.of("org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "org.apache.kafka.common.replica.RackAwareReplicaSelector", "org.apache.kafka.common.metrics.JmxReporter",
        "org.apache.kafka.server.share.persister.DefaultStatePersister", "org.apache.kafka.server.share.persister.NoOpStatePersister",
        "org.apache.kafka.coordinator.group.assignor.UniformAssignor", "org.apache.kafka.coordinator.group.assignor.RangeAssignor");

    private final TestKitNodes kit;
    private final boolean standalone;
    private final Optional<Map<Integer, Uuid>> voterSet;
    private final String brokerListener, controllerListener;
    /** The ids of the processes. */
    final TreeSet<Integer> ids = new TreeSet<>();
    /** Which process a controller lives in. */
    final TreeMap<Integer, Integer> controllerHost = new TreeMap<>();
    private final Map<Integer, TestKitNode> controllerAt = new HashMap<>();
    private final Map<Integer, Map<String, Integer>> ports = new HashMap<>();

    Plan(TestKitNodes kit, boolean standalone, Optional<Map<Integer, Uuid>> voterSet) {
        this.kit = kit;
        this.standalone = standalone;
        this.voterSet = voterSet;
        brokerListener = kit.brokerListenerName().value();
        controllerListener = kit.controllerListenerName().value();
        ids.addAll(kit.brokerNodes().keySet());
        ids.addAll(kit.controllerNodes().keySet());
        boolean merge = MERGE && kit.brokerNodes().size() >= kit.controllerNodes().size()
            && kit.controllerNodes().keySet().stream().noneMatch(kit.brokerNodes()::containsKey);
        Iterator<Integer> hosts = kit.brokerNodes().keySet().iterator();
        kit.controllerNodes().keySet().forEach(id -> controllerHost.put(id, merge ? hosts.next() : id));
        controllerHost.forEach((controller, host) -> controllerAt.put(host, kit.controllerNodes().get(controller)));
        if (merge) ids.retainAll(kit.brokerNodes().keySet());
        if (merge) controllerHost.forEach(this::refuseDifferentSettings);
        if (ids.size() > MOST_NODES) throw new TestAbortedException("denied: needs more than one node");
        // the controllers' ports first: every node names them
        ids.forEach(id -> ports.put(id, new LinkedHashMap<>()));
        controllerHost.values().forEach(id -> ports.get(id).put(upper(controllerListener), Ports.take()));
    }

    /** One process has one configuration. */
    private void refuseDifferentSettings(int controller, int host) {
        Map<String, String> ofBroker = kit.brokerNodes().get(host).propertyOverrides();
        if (kit.controllerNodes().get(controller).propertyOverrides().entrySet().stream()
                .anyMatch(e -> !e.getValue().equals(ofBroker.getOrDefault(e.getKey(), e.getValue()))))
            throw new TestAbortedException("denied: needs a controller apart from the broker");
    }

    TestKitNode broker(int id) { return kit.brokerNodes().get(id); }

    TestKitNode controller(int id) { return controllerAt.get(id); }

    /** By listener name in capitals; whole after {@link #server}. */
    Map<String, Integer> ports(int id) { return ports.get(id); }

    private boolean dynamic() { return standalone || voterSet.isPresent(); }

    private static String upper(String name) { return name.toUpperCase(Locale.ROOT); }

    private int controllerPort(int id) { return ports.get(id).get(upper(controllerListener)); }

    // ---- server.properties ----------------------------------------------------------------------------------------------

    Map<String, String> server(int id, Map<String, Object> testProps) {
        TestKitNode broker = broker(id), controller = controller(id);
        Map<String, Object> p = new HashMap<>(testProps);
        p.put("server.max.startup.time.ms", "600000");
        p.put("process.roles", broker != null && controller != null ? "broker,controller" : broker != null ? "broker" : "controller");
        p.put("node.id", Integer.toString(id));
        p.put("metadata.log.dir", (controller != null ? controller : broker).metadataDirectory());
        p.put("log.dirs", broker != null ? String.join(",", broker.logDataDirectories()) : controller.metadataDirectory());
        if (broker != null) security(p, kit.brokerListenerProtocol(), brokerListener);
        security(p, kit.controllerListenerProtocol(), controllerListener);       // a broker is a client of the controllers
        listeners(p, broker != null, controller != null);
        p.put(dynamic() ? "controller.quorum.bootstrap.servers" : "controller.quorum.voters", quorum());
        p.putIfAbsent("log.cleaner.dedupe.buffer.size", "2097152");
        if (controller == null) p.remove("controller.quorum.auto.join.enable");
        if (broker != null) p.putAll(broker.propertyOverrides());
        if (controller != null) p.putAll(controller.propertyOverrides());
        p.putIfAbsent("unstable.feature.versions.enable", "true");
        p.putIfAbsent("unstable.api.versions.enable", "true");
        Map<String, String> server = new TreeMap<>();
        p.forEach((key, v) -> { if (v != null) server.put(key, v instanceof Class<?> c ? c.getName() : v.toString()); });
        server.put("listeners", withPorts(server.get("listeners"), ports.get(id)));
        if (!JAVA_PLUGINS) server.forEach(Plan::refusePlugin);
        return server;
    }

    private String quorum() {
        return controllerHost.values().stream()
            .map(host -> (dynamic() ? "" : host + "@") + "localhost:" + controllerPort(host)).collect(Collectors.joining(","));
    }

    private void listeners(Map<String, Object> p, boolean broker, boolean controller) {
        p.putIfAbsent("listener.security.protocol.map", brokerListener + ":" + kit.brokerListenerProtocol().name + ","
            + controllerListener + ":" + kit.controllerListenerProtocol().name);
        p.putIfAbsent("listeners", (broker ? brokerListener + "://localhost:0" : "") + (broker && controller ? "," : "")
            + (controller ? controllerListener + "://localhost:0" : ""));
        p.putIfAbsent("inter.broker.listener.name", brokerListener);
        p.putIfAbsent("controller.listener.names", controllerListener);
    }

    /** The same listeners with a port in the place of each 0, and all ports noted in {@code mine}. */
    private static String withPorts(String listeners, Map<String, Integer> mine) {
        Matcher m = LISTENER.matcher(listeners);
        StringBuilder chosen = new StringBuilder();
        while (m.find()) {
            String name = upper(m.group(1));
            int asked = Integer.parseInt(m.group(3));
            int port = asked != 0 ? asked : mine.containsKey(name) ? mine.get(name) : Ports.take();
            mine.put(name, port);
            m.appendReplacement(chosen, Matcher.quoteReplacement(m.group(1) + "://" + m.group(2) + ":" + port));
        }
        m.appendTail(chosen);
        return chosen.toString();
    }

    /** There is no JAAS file: the process gets its users per listener. */
    private static void security(Map<String, Object> p, SecurityProtocol protocol, String listener) {
        if (protocol != SecurityProtocol.SASL_PLAINTEXT) return;
        p.putIfAbsent("sasl.enabled.mechanisms", "PLAIN");
        p.putIfAbsent("sasl.mechanism.inter.broker.protocol", "PLAIN");
        p.putIfAbsent("sasl.mechanism.controller.protocol", "PLAIN");
        p.putIfAbsent("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer");
        p.putIfAbsent("allow.everyone.if.no.acl.found", "false");
        p.putIfAbsent("super.users", "User:" + JaasUtils.KAFKA_PLAIN_ADMIN);
        p.putIfAbsent("listener.name." + listener.toLowerCase(Locale.ROOT) + ".plain.sasl.jaas.config", Cluster.plainJaas(true));
    }

    /** A broker that is not Java cannot take a class of the test's own. */
    private static void refusePlugin(String key, String value) {
        boolean namesClass = key.endsWith(".class") || key.endsWith(".class.name") || key.endsWith(".classes")
            || key.endsWith(".assignors") || key.equals("metric.reporters");
        if (!namesClass) return;
        for (String name : value.split(","))
            if (name.contains(".") && !SHIPPED.contains(name.trim()))
                throw new TestAbortedException("denied: needs a Java plug-in: " + key);
    }

    // ---- format.properties ----------------------------------------------------------------------------------------------

    Map<String, String> format(int id) {
        TestKitNode broker = broker(id), controller = controller(id);
        Map<String, String> f = new TreeMap<>();
        f.put("cluster.id", kit.clusterId());
        f.put("node.id", Integer.toString(id));
        f.put("release.version", kit.bootstrapMetadata().metadataVersion().version());
        levels().forEach((name, level) -> f.put("feature." + name, Short.toString(level)));
        f.put("directories", String.join(",", directories(id)));
        f.put("metadata.log.dir", (controller != null ? controller : broker).metadataDirectory());
        f.put("controller.listener.name", controllerListener);
        f.put("dynamic.quorum", Boolean.toString(dynamic()));
        if (controller != null) initialControllers(id).ifPresent(voters -> f.put("initial.controllers", voters));
        return f;
    }

    /** The level of each feature. Records do not tell of level 0: where other features than the metadata's version have one, it is the rest's. */
    private Map<String, Short> levels() {
        Map<String, Short> levels = new TreeMap<>();
        for (var r : kit.bootstrapMetadata().records())
            if (r.message() instanceof FeatureLevelRecord feature) levels.put(feature.name(), feature.featureLevel());
        if (levels.size() > 1)
            for (Feature feature : Feature.PRODUCTION_FEATURES)
                if (feature != Feature.KRAFT_VERSION) levels.putIfAbsent(feature.featureName(), (short) 0);
        return levels;
    }

    /** Whom a node that starts as a voter of a dynamic quorum is told of. */
    private Optional<String> initialControllers(int id) {
        Map<Integer, Uuid> voters = new TreeMap<>();
        if (voterSet.isPresent()) voterSet.get().forEach((controller, directory) -> voters.put(controllerHost.get(controller), directory));
        else if (standalone && id == controllerHost.firstEntry().getValue()) voters.put(id, controller(id).metadataDirectoryId());
        if (!voters.containsKey(id)) return Optional.empty();
        return Optional.of(voters.entrySet().stream()
            .map(e -> e.getKey() + "@localhost:" + controllerPort(e.getKey()) + ":" + e.getValue()).collect(Collectors.joining(",")));
    }

    TreeSet<String> directories(int id) {
        TreeSet<String> all = new TreeSet<>();
        for (TestKitNode node : new TestKitNode[] {broker(id), controller(id)}) {
            if (node == null) continue;
            all.addAll(node.logDataDirectories());
            all.add(node.metadataDirectory());
        }
        return all;
    }
}
