//! From a file, the environment and flags to one checked [`Config`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::keys::{self, Kind};
use crate::settings::Base;
use crate::{Config, ConfigError, parse_properties, synonyms};

/// Where values come from. Later ones win: defaults, file, environment, flags.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `server.properties`: its path (for messages) and its text.
    pub file: Option<(PathBuf, String)>,
    /// The process's environment; what does not start with `DOHLE_` or `KAFKA_` is skipped. Where both name a key `DOHLE_` counts.
    pub environment: Vec<(String, String)>,
    /// `--set key=value`, in order.
    pub flags: Vec<(String, String)>,
    pub base: Base,
}

/// Something that does not stop the start but should be read: an unknown key, a key that has no effect here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub key: String,
    pub message: String,
}

#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<Warning>,
}

/// Variables that start as configuration does and are something else: Kafka's image and scripts know the first ones, the others are
/// this program's.
const NOT_CONFIGURATION: &[&str] = &[
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_HEAP_OPTS",
    "KAFKA_HOME",
    "KAFKA_JMX_HOSTNAME",
    "KAFKA_JMX_OPTS",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_LOG4J_LOGGERS",
    "KAFKA_LOG4J_OPTS",
    "KAFKA_LOG4J_ROOT_LOGLEVEL",
    "KAFKA_OPTS",
    "KAFKA_TOOLS_LOG4J_LOGLEVEL",
    "KAFKA_VERSION",
    "DOHLE_CONFIG",
    "DOHLE_DATA",
];

/// Keys of Kafka 3 and older that files still carry.
const REMOVED: &[&str] = &[
    "advertised.host.name",
    "advertised.port",
    "auto.include.jmx.reporter",
    "broker.id.generation.enable",
    "control.plane.listener.name",
    "controlled.shutdown.max.retries",
    "controlled.shutdown.retry.backoff.ms",
    "delegation.token.master.key",
    "group.coordinator.new.enable",
    "host.name",
    "inter.broker.protocol.version",
    "leader.imbalance.per.broker.percentage",
    "log.message.downconversion.enable",
    "log.message.format.version",
    "log.message.timestamp.difference.max.ms",
    "offsets.commit.required.acks",
    "port",
    "reserved.broker.max.id",
];

/// How alike a known name must be to be suggested for an unknown one, 1 being the same.
const ALIKE: f64 = 0.7;

/// A value, and the words that say where it was found.
struct Found {
    value: String,
    place: String,
}

impl Config {
    /// Reads the sources, checks them, and fills in what they leave out.
    pub fn load(sources: Sources) -> Result<Loaded, ConfigError> {
        let found = collect(&sources)?;
        refuse_providers(&found)?;
        let statics: BTreeMap<String, String> =
            found.iter().map(|(name, found)| (name.clone(), found.value.clone())).collect();
        let config = Self::build(statics, sources.base).map_err(|violation| {
            let place =
                found.get(&violation.key).map(|found| format!(" ({})", found.place)).unwrap_or_default();
            ConfigError { message: format!("{}{place}.", violation.sentence), key: Some(violation.key) }
        })?;
        let warnings = found.iter().filter_map(|(name, found)| warning(name, found)).collect();
        Ok(Loaded { config, warnings })
    }
}

fn collect(sources: &Sources) -> Result<BTreeMap<String, Found>, ConfigError> {
    let mut found = BTreeMap::new();
    if let Some((path, text)) = &sources.file {
        let pairs = parse_properties(text)
            .map_err(|error| ConfigError { message: format!("{}: {error}.", path.display()), ..error })?;
        for (name, value) in pairs {
            found.insert(name, Found { value, place: format!("in {}", path.display()) });
        }
    }
    for prefix in ["KAFKA_", "DOHLE_"] {
        for (variable, value) in &sources.environment {
            if let Some(name) = key_of_variable(variable, prefix) {
                let place = format!("in the environment as {variable}");
                found.insert(name, Found { value: value.clone(), place });
            }
        }
    }
    for (name, value) in &sources.flags {
        found.insert(name.clone(), Found { value: value.clone(), place: "on the command line".into() });
    }
    Ok(found)
}

/// `KAFKA_NUM_PARTITIONS` is `num.partitions`: a dot is written `_`, an underscore `__`, a dash `___`, as in Kafka's image. With
/// `DOHLE_` the prefix may also be the first part of a key of ours: `DOHLE_DURABILITY`.
fn key_of_variable(variable: &str, prefix: &str) -> Option<String> {
    let rest = variable.strip_prefix(prefix)?;
    if rest.is_empty() || NOT_CONFIGURATION.contains(&variable) {
        return None;
    }
    let name = rest.to_lowercase().replace('_', ".").replace("...", "-").replace("..", "_");
    let ours = format!("dohle.{name}");
    let is_ours = prefix == "DOHLE_" && keys::broker(&name).is_none() && keys::broker(&ours).is_some();
    Some(if is_ours { ours } else { name })
}

/// Values behind `${provider:...}` cannot be looked up, and must not be taken for what they stand for.
fn refuse_providers(found: &BTreeMap<String, Found>) -> Result<(), ConfigError> {
    let providers = found.get("config.providers").map_or("", |found| found.value.as_str());
    for provider in providers.split(',').map(str::trim).filter(|provider| !provider.is_empty()) {
        if let Some((name, found)) =
            found.iter().find(|(_, found)| found.value.contains(&format!("${{{provider}:")))
        {
            let message = format!(
                "{name} is set to \"{}\" but must be the value itself: config.providers are Java classes and cannot be loaded ({}).",
                found.value, found.place
            );
            return Err(ConfigError { key: Some(name.clone()), message });
        }
    }
    Ok(())
}

fn warning(name: &str, found: &Found) -> Option<Warning> {
    let place = &found.place;
    let message = match keys::broker(name) {
        Some(key)
            if key.kind == Kind::Class
                && !found.value.trim().is_empty()
                && key.default_text() != Some(found.value.trim()) =>
        {
            format!("{name} has no effect: Java classes cannot be loaded ({place})")
        }
        Some(_) => return None,
        None if is_plausible(name) => return None,
        None if REMOVED.contains(&name)
            || name.starts_with("zookeeper.")
            || name.starts_with("password.encoder.") =>
        {
            format!("{name} has no effect: Kafka 4 no longer has this key ({place})")
        }
        None => match suggestion(name) {
            Some(known) => format!("{name} is not a known key and has no effect; {known} is one ({place})"),
            None => format!("{name} is not a known key and has no effect ({place})"),
        },
    };
    Some(Warning { key: name.to_owned(), message })
}

/// Keys that are in no table but have a reader: those of one listener, and those of providers and plugins.
fn is_plausible(name: &str) -> bool {
    const PREFIXES: &[&str] = &["ssl.", "sasl.", "config.providers.", "rsm.config.", "rlmm.config."];
    match synonyms::listener_base(name) {
        Some(base) => keys::broker(base).is_some() || PREFIXES.iter().any(|prefix| base.starts_with(prefix)),
        None => PREFIXES.iter().any(|prefix| name.starts_with(prefix)),
    }
}

fn suggestion(name: &str) -> Option<&'static str> {
    // A topic's key in a node's file: the node has it under another name.
    if let Some((broker, _)) = synonyms::of_topic(name).first() {
        return Some(broker);
    }
    let likeness =
        |key: &'static keys::KeyDef| (strsim::normalized_damerau_levenshtein(name, key.name), key.name);
    let (alike, known) = keys::all_broker().map(likeness).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (alike >= ALIKE).then_some(known)
}

#[cfg(test)]
mod tests {
    use dohle_types::NodeId;

    use super::*;
    use crate::BrokerDynamic;
    use crate::describe::{self, ConfigSource};

    fn load(file: &str) -> Result<Loaded, ConfigError> {
        Config::load(Sources { file: Some(("server.properties".into(), file.into())), ..Sources::default() })
    }

    #[test]
    fn nothing_configured_is_a_cluster_of_one() {
        let base = Base { log_dir: Some("/home/me/data".into()), host_name: Some("laptop".into()) };
        let config = Config::load(Sources { base, ..Sources::default() }).expect("the defaults fit").config;
        assert!(config.is_alone() && config.roles().broker && config.roles().controller);
        assert_eq!(config.node_id().0, 1);
        assert_eq!(config.listeners()[0].to_string(), "PLAINTEXT://localhost:9092");
        assert!(config.controller_listeners().is_empty());
        assert_eq!(config.log_dirs(), [PathBuf::from("/home/me/data")]);
        assert_eq!(config.short("offsets.topic.replication.factor"), 1);
        assert_eq!(config.int("broker.id"), 1);
        assert!(!config.is_set("node.id"));
    }

    #[test]
    fn what_a_lone_node_stands_on_is_told_as_set() {
        let base = Base { log_dir: Some("/home/me/data".into()), host_name: None };
        let config = Config::load(Sources { base, ..Sources::default() }).expect("the defaults fit").config;
        let lines = describe::broker(Some(NodeId(1)), &BrokerDynamic::none(), &config);
        let told = |key: &str| {
            let line = lines.iter().find(|line| line.name == key).expect(key);
            let synonyms = line.synonyms.iter();
            let values: Vec<_> =
                synonyms.map(|one| (one.source, one.value.as_deref().unwrap_or("null"))).collect();
            (line.value.as_deref().unwrap_or("null"), values)
        };
        let (set, default) = (ConfigSource::StaticBroker, ConfigSource::Default);
        assert_eq!(told("broker.id"), ("1", vec![(set, "1"), (default, "-1")]));
        assert_eq!(told("process.roles"), ("broker,controller", vec![(set, "broker,controller")]));
        let listener = "PLAINTEXT://localhost:9092";
        assert_eq!(told("listeners"), (listener, vec![(set, listener), (default, "PLAINTEXT://:9092")]));
        assert_eq!(told("offsets.topic.replication.factor"), ("1", vec![(set, "1"), (default, "3")]));
        let dir = "/home/me/data";
        assert_eq!(told("log.dir"), (dir, vec![(set, dir), (default, "/tmp/kafka-logs")]));
        assert_eq!(told("num.partitions"), ("1", vec![(default, "1")]));
    }

    #[test]
    fn a_member_of_a_cluster_keeps_kafkas_defaults() {
        let file = "process.roles=broker\nnode.id=2\ncontroller.listener.names=CONTROLLER\nlisteners=PLAINTEXT://:9092\n\
                    controller.quorum.bootstrap.servers=c1:9093,c2:9093\n";
        let base = Base { log_dir: None, host_name: Some("b2.example".into()) };
        let sources = Sources { file: Some(("f".into(), file.into())), base, ..Sources::default() };
        let config = Config::load(sources).expect("complete").config;
        assert!(!config.is_alone());
        assert_eq!(config.short("offsets.topic.replication.factor"), 3);
        assert_eq!(config.advertised_listeners()[0].to_string(), "PLAINTEXT://b2.example:9092");
        assert_eq!(config.quorum_bootstrap_servers()[1].to_string(), "c2:9093");
    }

    #[test]
    fn a_quorum_that_names_only_this_node_is_its_own() {
        let quick_start = |listeners: &str, quorum: &str| {
            let file = format!(
                "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\nlisteners={listeners}\n{quorum}\n"
            );
            let base = Base { log_dir: None, host_name: Some("b1.example".into()) };
            let sources = Sources { file: Some(("f".into(), file)), base, ..Sources::default() };
            Config::load(sources).expect("complete").config.is_own_quorum()
        };
        let wildcard = "PLAINTEXT://:9092,CONTROLLER://:9093";
        let named = "PLAINTEXT://:9092,CONTROLLER://c1:9093";
        for (listeners, servers, own) in [
            (wildcard, "localhost:9093", true),
            (wildcard, "127.0.0.1:9093,[::1]:9093", true),
            (wildcard, "B1.example:9093", true),
            (wildcard, "localhost:9092", false),
            (wildcard, "localhost:9093,c2:9093", false),
            (wildcard, "c2:9093", false),
            (named, "c1:9093", true),
            (named, "localhost:9093", false),
            ("PLAINTEXT://:9092,CONTROLLER://127.0.0.1:9093", "localhost:9093", true),
            ("PLAINTEXT://:9092,CONTROLLER://10.0.0.1:9093", "10.0.0.1:9093", true),
            ("PLAINTEXT://:9092,CONTROLLER://10.0.0.1:9093", "localhost:9093", false),
        ] {
            let quorum = format!("controller.quorum.bootstrap.servers={servers}");
            assert_eq!(quick_start(listeners, &quorum), own, "{listeners} {servers}");
        }
        assert!(quick_start(wildcard, "controller.quorum.voters=1@localhost:9093"));
        assert!(!quick_start(wildcard, "controller.quorum.voters=1@localhost:9093,2@c2:9093"));
    }

    #[test]
    fn later_sources_win() {
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        let sources = Sources {
            file: Some((
                "f".into(),
                "num.partitions=2\nnum.io.threads=3\nlog.retention.ms=4\nmin.insync.replicas=9".into(),
            )),
            environment: vec![
                pair("DOHLE_NUM_IO_THREADS", "5"),
                pair("KAFKA_NUM_IO_THREADS", "6"),
                pair("KAFKA_LOG_RETENTION_MS", "7"),
                pair("DOHLE_DURABILITY", "replicated"),
                pair("KAFKA_HEAP_OPTS", "-Xmx1g"),
                pair("PATH", "/bin"),
            ],
            flags: vec![pair("log.retention.ms", "8"), pair("log.retention.ms", "9")],
            base: Base::default(),
        };
        let Loaded { config, warnings } = Config::load(sources).expect("well-formed");
        assert_eq!(warnings, []);
        let read = |key| config.long(key);
        assert_eq!([read("num.partitions"), read("num.io.threads"), read("log.retention.ms")], [2, 5, 9]);
        assert_eq!(config.text("dohle.durability"), Some("replicated"));
    }

    #[test]
    fn variables_are_kafkas() {
        for (variable, key) in [
            ("KAFKA_NUM_PARTITIONS", "num.partitions"),
            ("KAFKA_LISTENER_NAME_A__B_SSL_KEY_PASSWORD", "listener.name.a_b.ssl.key.password"),
            (
                "KAFKA_LISTENER_NAME_X_SCRAM___SHA___256_SASL_JAAS_CONFIG",
                "listener.name.x.scram-sha-256.sasl.jaas.config",
            ),
        ] {
            assert_eq!(key_of_variable(variable, "KAFKA_").as_deref(), Some(key));
        }
        assert_eq!(key_of_variable("DOHLE_CONFIG", "DOHLE_"), None);
        assert_eq!(
            key_of_variable("DOHLE_METRICS_LISTENER", "DOHLE_").as_deref(),
            Some("dohle.metrics.listener")
        );
    }

    #[test]
    fn bad_values_stop_with_one_sentence() {
        for (file, parts) in [
            (
                "num.partitions=abc",
                ["num.partitions", "\"abc\"", "a whole number of at least 1", "server.properties"],
            ),
            (
                "num.partitions=0",
                ["num.partitions", "\"0\"", "a whole number of at least 1", "server.properties"],
            ),
            (
                "auto.create.topics.enable=yes",
                ["auto.create.topics.enable", "\"yes\"", "true or false", "server.properties"],
            ),
            (
                "compression.type=lzo",
                ["compression.type", "\"lzo\"", "uncompressed, zstd, lz4", "server.properties"],
            ),
            ("log.roll.ms=0", ["log.roll.ms", "0", "at least 1", "server.properties"]),
            (
                "listeners=PLAINTEXT:9092",
                ["listeners", "PLAINTEXT:9092", "NAME://host:port", "Unable to parse"],
            ),
            ("listeners=X://:1", ["listeners", "X://:1", "listener.security.protocol.map", "listener X"]),
            (
                "controller.quorum.voters=1@h",
                ["controller.quorum.voters", "1@h", "id@host:port", "server.properties"],
            ),
            ("process.roles=broker\nnode.id=1", ["controller.listener.names", "not set", "must be", "."]),
            ("node.id=1\nbroker.id=2", ["node.id", "1", "broker.id", "2"]),
            (
                "dohle.metrics.listener=nowhere",
                ["dohle.metrics.listener", "nowhere", "host:port", "server.properties"],
            ),
            (
                "config.providers=file\nssl.key.password=${file:/x:y}",
                ["ssl.key.password", "${file:/x:y}", "value itself", "."],
            ),
        ] {
            let error = load(file).expect_err(file);
            let message = &error.message;
            assert!(parts.iter().all(|part| message.contains(part)), "{message}");
            assert!(message.ends_with('.') && !message.contains(". "), "{message}");
        }
    }

    #[test]
    fn passwords_are_not_told() {
        let config = load("ssl.key.password=topsecret").expect("well-formed").config;
        assert_eq!(config.text("ssl.key.password"), Some("topsecret"));
        assert_eq!(format!("{:?}", config.value("ssl.key.password")), "[hidden]");
    }

    #[test]
    fn unknown_keys_are_named_with_the_nearest_known_one() {
        let warned = |file: &str| {
            load(file).expect(file).warnings.into_iter().map(|w| w.message).collect::<Vec<_>>().join(" ")
        };
        assert!(warned("num.partition=3").contains("num.partitions is one"));
        assert!(warned("retention.ms=3").contains("log.retention.ms is one"));
        assert!(!warned("quite.something.else=3").contains("is one"));
        assert!(warned("zookeeper.connect=z:2181").contains("no longer"));
        assert!(warned("metric.reporters=x\nprincipal.builder.class=a.B").contains("Java classes"));
        for known in [
            "listener.name.internal.ssl.keystore.type=PEM",
            "ssl.x=1",
            "sasl.y=2",
            "listener.name.x.max.connections=5",
        ] {
            assert_eq!(warned(known), "");
        }
    }
}
