// What Apache Kafka's own classes say about configuration. Driven by `cargo xtask config`.
//
//   tables             every key: resource, name, type, default, valid values, list rules, importance, update mode, internal
//   cases FILE         the cases of FILE with the answer of Kafka's validators behind each
//   describe FILE      what DescribeConfigs answers for the resources that FILE sets up

import java.io.IOException;
import java.lang.reflect.Proxy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.*;
import kafka.server.ConfigHelper;
import kafka.server.KafkaConfig;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.message.DescribeConfigsRequestData.DescribeConfigsResource;
import org.apache.kafka.coordinator.group.GroupConfig;
import org.apache.kafka.metadata.ConfigRepository;
import org.apache.kafka.metadata.MetadataCache;
import org.apache.kafka.server.config.DynamicBrokerConfig;
import org.apache.kafka.server.config.QuotaConfig;
import org.apache.kafka.server.metrics.ClientMetricsConfigs;
import org.apache.kafka.storage.internals.log.LogConfig;

public class ConfigFacts {
    static final Map<String, String> BASE = Map.of(
        "process.roles", "broker,controller",
        "node.id", "1",
        "controller.quorum.voters", "1@localhost:9093",
        "controller.listener.names", "CONTROLLER",
        "listeners", "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093");

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "tables" -> tables();
            case "cases" -> cases(Path.of(args[1]));
            case "describe" -> describe(Path.of(args[1]));
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    static void tables() throws Exception {
        Map<String, String> modes = DynamicBrokerConfig.dynamicConfigUpdateModes();
        table("broker", KafkaConfig.configDef(), modes);
        table("broker-quota", QuotaConfig.brokerQuotaConfigs(), modes);
        table("topic", LogConfig.configDefCopy(), Map.of());
        table("group", privateDefinition(GroupConfig.class), Map.of());
        table("client-metrics", privateDefinition(ClientMetricsConfigs.class), Map.of());
    }

    static ConfigDef privateDefinition(Class<?> owner) throws Exception {
        for (var field : owner.getDeclaredFields()) {
            if (field.getType() == ConfigDef.class) {
                field.setAccessible(true);
                return (ConfigDef) field.get(null);
            }
        }
        throw new IllegalStateException(owner + " has no definition");
    }

    static void table(String resource, ConfigDef definition, Map<String, String> modes) throws Exception {
        for (var key : new TreeMap<>(definition.configKeys()).values()) {
            String fallback = "(required)";
            if (key.defaultValue != ConfigDef.NO_DEFAULT_VALUE) {
                fallback = key.defaultValue == null ? "(null)" : ConfigDef.convertToString(key.defaultValue, key.type);
            }
            String list = "";
            if (key.validator instanceof ConfigDef.ValidList) {
                list = (flag(key.validator, "isEmptyAllowed") ? "empty" : "") + (flag(key.validator, "isNullAllowed") ? " null" : "");
                list = list.trim() + " unique";
            }
            System.out.println(String.join("\t", resource, key.name, key.type.toString(), fallback,
                key.validator == null ? "" : key.validator.toString(), list.trim(), key.importance.toString(),
                modes.getOrDefault(key.name, "read-only"), key.internalConfig ? "internal" : ""));
        }
    }

    static boolean flag(Object validator, String name) throws Exception {
        var field = validator.getClass().getDeclaredField(name);
        field.setAccessible(true);
        return (Boolean) field.get(validator);
    }

    // A case is "KIND TITLE", lines "key=value" (of the resource) or "@key=value" (of the node's file), and "-> ANSWER".
    static void cases(Path file) throws IOException {
        var properties = new LinkedHashMap<String, String>();
        var statics = new LinkedHashMap<String, String>();
        String kind = null;
        for (String line : Files.readAllLines(file)) {
            if (line.startsWith("-> ")) {
                System.out.println("-> " + answer(kind, properties, statics));
                kind = null;
                continue;
            }
            System.out.println(line);
            if (line.isBlank() || line.startsWith("#")) continue;
            if (kind == null) {
                kind = line.split(" ")[0];
                properties.clear();
                statics.clear();
            } else {
                var target = line.startsWith("@") ? statics : properties;
                String pair = line.startsWith("@") ? line.substring(1) : line;
                int at = pair.indexOf('=');
                target.put(pair.substring(0, at), pair.substring(at + 1));
            }
        }
    }

    static String answer(String kind, Map<String, String> properties, Map<String, String> statics) {
        try {
            switch (kind) {
                case "server" -> node(properties);
                case "topic" -> {
                    var node = node(statics);
                    LogConfig.validate(Map.of(), properties, node.extractLogConfigMap(), node.remoteLogManagerConfig().isRemoteStorageSystemEnabled());
                }
                case "group" -> {
                    var node = node(statics);
                    GroupConfig.validate(properties, node.groupCoordinatorConfig(), node.shareGroupConfig());
                }
                case "client-metrics" -> ClientMetricsConfigs.validate("name", properties);
                case "broker", "cluster" -> {
                    var node = node(statics);
                    node.dynamicConfig().initialize(scala.Option.empty());
                    var changed = new Properties();
                    changed.putAll(properties);
                    node.dynamicConfig().validate(changed, kind.equals("broker"));
                }
                default -> throw new IllegalStateException("kind of case: " + kind);
            }
            return "ok";
        } catch (Exception refused) {
            return String.valueOf(refused.getMessage()).replace("\n", " ").replaceAll(" +\\|", " ");
        }
    }

    static KafkaConfig node(Map<String, String> statics) {
        var properties = new Properties();
        properties.putAll(BASE);
        statics.forEach((key, value) -> {
            if (value.equals("(unset)")) properties.remove(key); else properties.put(key, value);
        });
        return KafkaConfig.fromProps(properties, false);
    }

    // Lines "RESOURCE key=value": static, cluster, broker, topic, group, client-metrics.
    static void describe(Path file) throws IOException {
        var resources = new HashMap<String, Properties>();
        for (String line : Files.readAllLines(file)) {
            if (line.isBlank() || line.startsWith("#")) continue;
            String[] words = line.split(" ", 2);
            int at = words[1].indexOf('=');
            resources.computeIfAbsent(words[0], k -> new Properties()).put(words[1].substring(0, at), words[1].substring(at + 1));
        }
        var statics = new LinkedHashMap<String, String>();
        resources.getOrDefault("static", new Properties()).forEach((k, v) -> statics.put((String) k, (String) v));
        KafkaConfig node = node(statics);
        node.dynamicConfig().initialize(scala.Option.empty());
        node.dynamicConfig().updateDefaultConfig(resources.getOrDefault("cluster", new Properties()), false);
        node.dynamicConfig().updateBrokerConfig(1, resources.getOrDefault("broker", new Properties()), false);
        ConfigRepository repository = resource -> resources.getOrDefault(resource.type().name().toLowerCase(Locale.ROOT).replace('_', '-'), new Properties());
        MetadataCache cache = (MetadataCache) Proxy.newProxyInstance(ConfigFacts.class.getClassLoader(), new Class<?>[] {MetadataCache.class}, (proxy, method, args) -> true);
        var helper = new ConfigHelper(cache, node, repository);
        for (var resource : List.of(
            Map.entry("broker", new ConfigResource(ConfigResource.Type.BROKER, "1")),
            Map.entry("cluster", new ConfigResource(ConfigResource.Type.BROKER, "")),
            Map.entry("topic", new ConfigResource(ConfigResource.Type.TOPIC, "t")),
            Map.entry("group", new ConfigResource(ConfigResource.Type.GROUP, "g")),
            Map.entry("client-metrics", new ConfigResource(ConfigResource.Type.CLIENT_METRICS, "m")))) {
            var asked = new DescribeConfigsResource().setResourceType(resource.getValue().type().id()).setResourceName(resource.getValue().name());
            var list = scala.jdk.javaapi.CollectionConverters.asScala(List.of(asked)).toList();
            var results = scala.jdk.javaapi.CollectionConverters.asJava(helper.describeConfigs(list, true, false));
            var lines = new TreeSet<String>();
            for (var result : results) {
                if (result.errorCode() != 0) throw new IllegalStateException(resource.getKey() + ": " + result.errorMessage());
                for (var config : result.configs()) {
                    var line = new StringJoiner("\t");
                    line.add(resource.getKey()).add(config.name()).add(shown(config.value())).add("" + config.configSource());
                    line.add((config.isSensitive() ? "sensitive " : "") + (config.readOnly() ? "read-only" : "dynamic")).add("" + config.configType());
                    var synonyms = new StringJoiner(" ");
                    config.synonyms().forEach(s -> synonyms.add(s.name() + "=" + shown(s.value()) + "/" + s.source()));
                    lines.add(line.add(synonyms.toString()).toString());
                }
            }
            lines.forEach(System.out::println);
        }
    }

    static String shown(String value) {
        return value == null ? "(null)" : value;
    }
}
