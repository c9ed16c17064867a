package org.apache.kafka.common.test;

import kafka.raft.KafkaRaftManager;
import kafka.server.BrokerServer;
import kafka.server.ControllerServer;

import org.apache.kafka.clients.CommonClientConfigs;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.SaslConfigs;
import org.apache.kafka.common.security.auth.SecurityProtocol;
import org.apache.kafka.controller.Controller;
import org.apache.kafka.common.utils.Utils;
import org.apache.kafka.server.common.ApiMessageAndVersion;

import java.io.File;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;

import rig.ext.Cluster;
import rig.ext.Mocks;
import rig.ext.Node;

/**
 * Stands in for Apache Kafka's class of the same name (written from its public surface, nothing taken over): starts external
 * processes instead of servers inside this JVM. Must come before kafka-test-common-runtime on the class path.
 */
public class KafkaClusterTestKit implements AutoCloseable {
    private final Cluster cluster;
    private final Map<Integer, BrokerServer> brokers = new TreeMap<>();
    private final Map<Integer, ControllerServer> controllers = new TreeMap<>();
    private final MockFaultHandler fatal = new MockFaultHandler("fatalFaultHandler");
    private final MockFaultHandler nonFatal = new MockFaultHandler("nonFatalFaultHandler");
    private final boolean deleteOnClose;
    private boolean closed;

    private KafkaClusterTestKit(Cluster cluster, boolean deleteOnClose) {
        this.cluster = cluster;
        this.deleteOnClose = deleteOnClose;
        for (Node n : cluster.nodes.values()) {
            if (n.isBroker) brokers.put(n.id, Mocks.broker(cluster, n));
        }
        cluster.controllerHost.forEach((id, host) -> controllers.put(id, Mocks.controller(cluster, cluster.nodes.get(host))));
    }

    public static class Builder {
        private final TestKitNodes nodes;
        private final Map<String, Object> configProps = new HashMap<>();
        private boolean standalone;
        private Optional<Map<Integer, Uuid>> initialVoterSet = Optional.empty();
        private boolean deleteOnClose = true;

        public Builder(TestKitNodes nodes) { this.nodes = nodes; }

        public Builder setConfigProp(String key, Object value) { configProps.put(key, value); return this; }

        public Builder setStandalone(boolean standalone) { this.standalone = standalone; return this; }

        public Builder setInitialVoterSet(Map<Integer, Uuid> voters) { this.initialVoterSet = Optional.of(voters); return this; }

        public Builder setDeleteOnClose(boolean deleteOnClose) { this.deleteOnClose = deleteOnClose; return this; }

        public KafkaClusterTestKit build() throws Exception {
            try {
                return new KafkaClusterTestKit(Cluster.plan(nodes, configProps, standalone, initialVoterSet), deleteOnClose);
            } catch (Throwable t) {
                Utils.delete(new File(nodes.baseDirectory()));
                throw t;
            }
        }
    }

    public void format() throws Exception { cluster.format(); }

    public void startup() throws ExecutionException, InterruptedException { cluster.startup(); }

    public void waitForReadyBrokers() throws ExecutionException, InterruptedException { cluster.waitForReadyBrokers(); }

    public Admin admin() { return admin(new HashMap<>()); }

    public Admin admin(Map<String, Object> configs) { return admin(configs, false); }

    public Admin admin(Map<String, Object> configs, boolean usingBootstrapControllers) {
        Map<String, Object> c = new HashMap<>(configs);
        if (usingBootstrapControllers) {
            c.putIfAbsent(AdminClientConfig.BOOTSTRAP_CONTROLLERS_CONFIG, bootstrapControllers());
            c.remove(CommonClientConfigs.BOOTSTRAP_SERVERS_CONFIG);
        } else {
            c.putIfAbsent(CommonClientConfigs.BOOTSTRAP_SERVERS_CONFIG, bootstrapServers());
            c.remove(AdminClientConfig.BOOTSTRAP_CONTROLLERS_CONFIG);
        }
        SecurityProtocol p = usingBootstrapControllers ? nodes().controllerListenerProtocol() : nodes().brokerListenerProtocol();
        c.putIfAbsent(CommonClientConfigs.SECURITY_PROTOCOL_CONFIG, p.name);
        if (p == SecurityProtocol.SASL_PLAINTEXT) {
            c.putIfAbsent(SaslConfigs.SASL_MECHANISM, "PLAIN");
            c.putIfAbsent(SaslConfigs.SASL_JAAS_CONFIG, Cluster.plainJaas(false));
        }
        return Admin.create(c);
    }

    public String bootstrapServers() {
        String l = nodes().brokerListenerName().value();
        return brokers.keySet().stream().map(i -> "localhost:" + cluster.started(i).port(l)).collect(Collectors.joining(","));
    }

    public String bootstrapControllers() {
        String l = nodes().controllerListenerName().value();
        return controllers.keySet().stream().map(i -> "localhost:" + cluster.started(i).port(l)).collect(Collectors.joining(","));
    }

    public Map<Integer, ControllerServer> controllers() { return controllers; }

    public Map<Integer, BrokerServer> brokers() { return brokers; }

    public Controller waitForActiveController() throws InterruptedException { return Mocks.activeController(cluster); }

    public Map<Integer, KafkaRaftManager<ApiMessageAndVersion>> raftManagers() {
        Map<Integer, KafkaRaftManager<ApiMessageAndVersion>> m = new HashMap<>();
        cluster.nodes.values().forEach(n -> m.put(n.id, Mocks.raftManager(cluster, n)));
        return m;
    }

    public TestKitNodes nodes() { return cluster.kitNodes; }

    public MockFaultHandler fatalFaultHandler() { return fatal; }

    public MockFaultHandler nonFatalFaultHandler() { return nonFatal; }

    @Override
    public void close() throws Exception {
        if (closed) return;
        closed = true;
        cluster.close(deleteOnClose);
        fatal.maybeRethrowFirstException();
        nonFatal.maybeRethrowFirstException();
    }
}
