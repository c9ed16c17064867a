//! The rules that span keys (`KafkaConfig.validateValues` and its kin).

use crate::keys::{self, KeyDef};
use crate::listener::{self, ProtocolMap};
use crate::{Config, InvalidConfig, Listener, SecurityProtocol};

/// A rule that is not kept, told twice: for who starts a node, and in Kafka's words for who changes a running one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) key: String,
    /// One sentence that names the key, the value and what is allowed.
    pub(crate) sentence: String,
    pub(crate) kafka: String,
}

impl Violation {
    /// A value that its own key refuses.
    pub(crate) fn of_value(key: &KeyDef, raw: &str, refused: InvalidConfig) -> Self {
        Self::of_listener_value(key.name, key, raw, refused)
    }

    /// The same for `listener.name.<listener>.<key>`.
    pub(crate) fn of_listener_value(name: &str, key: &KeyDef, raw: &str, refused: InvalidConfig) -> Self {
        let sentence = format!("{name} is set to \"{raw}\" but must be {}", key.allowed());
        Self { key: name.to_owned(), sentence, kafka: refused.message }
    }

    fn new(key: &str, sentence: String, kafka: impl Into<String>) -> Self {
        Self { key: key.to_owned(), sentence, kafka: kafka.into() }
    }
}

/// Scala's `require`, which most of Kafka's rules are written with, puts this in front.
fn scala(message: &str) -> String {
    format!("requirement failed: {message}")
}

/// How two keys have to compare.
#[derive(Clone, Copy)]
enum Relation {
    AtLeast,
    AtMost,
    Below,
}

use Relation::{AtLeast, AtMost, Below};

/// `GroupCoordinatorConfig` and `ShareGroupConfig`, in Kafka's order.
#[rustfmt::skip]
const GROUP_RELATIONS: &[(&str, Relation, &str)] = &[
    ("group.consumer.max.heartbeat.interval.ms", AtLeast, "group.consumer.min.heartbeat.interval.ms"),
    ("group.consumer.heartbeat.interval.ms", AtLeast, "group.consumer.min.heartbeat.interval.ms"),
    ("group.consumer.heartbeat.interval.ms", AtMost, "group.consumer.max.heartbeat.interval.ms"),
    ("group.consumer.max.session.timeout.ms", AtLeast, "group.consumer.min.session.timeout.ms"),
    ("group.consumer.session.timeout.ms", AtLeast, "group.consumer.min.session.timeout.ms"),
    ("group.consumer.session.timeout.ms", AtMost, "group.consumer.max.session.timeout.ms"),
    ("group.consumer.heartbeat.interval.ms", Below, "group.consumer.session.timeout.ms"),
    ("group.consumer.max.assignment.interval.ms", AtLeast, "group.consumer.min.assignment.interval.ms"),
    ("group.consumer.assignment.interval.ms", AtLeast, "group.consumer.min.assignment.interval.ms"),
    ("group.consumer.assignment.interval.ms", AtMost, "group.consumer.max.assignment.interval.ms"),
    ("group.share.max.heartbeat.interval.ms", AtLeast, "group.share.min.heartbeat.interval.ms"),
    ("group.share.heartbeat.interval.ms", AtLeast, "group.share.min.heartbeat.interval.ms"),
    ("group.share.heartbeat.interval.ms", AtMost, "group.share.max.heartbeat.interval.ms"),
    ("group.share.max.session.timeout.ms", AtLeast, "group.share.min.session.timeout.ms"),
    ("group.share.session.timeout.ms", AtLeast, "group.share.min.session.timeout.ms"),
    ("group.share.session.timeout.ms", AtMost, "group.share.max.session.timeout.ms"),
    ("group.share.heartbeat.interval.ms", Below, "group.share.session.timeout.ms"),
    ("group.share.max.assignment.interval.ms", AtLeast, "group.share.min.assignment.interval.ms"),
    ("group.share.assignment.interval.ms", AtLeast, "group.share.min.assignment.interval.ms"),
    ("group.share.assignment.interval.ms", AtMost, "group.share.max.assignment.interval.ms"),
    ("group.streams.max.heartbeat.interval.ms", AtLeast, "group.streams.min.heartbeat.interval.ms"),
    ("group.streams.heartbeat.interval.ms", AtLeast, "group.streams.min.heartbeat.interval.ms"),
    ("group.streams.heartbeat.interval.ms", AtMost, "group.streams.max.heartbeat.interval.ms"),
    ("group.streams.max.session.timeout.ms", AtLeast, "group.streams.min.session.timeout.ms"),
    ("group.streams.session.timeout.ms", AtLeast, "group.streams.min.session.timeout.ms"),
    ("group.streams.session.timeout.ms", AtMost, "group.streams.max.session.timeout.ms"),
    ("group.streams.heartbeat.interval.ms", Below, "group.streams.session.timeout.ms"),
    ("group.streams.max.assignment.interval.ms", AtLeast, "group.streams.min.assignment.interval.ms"),
    ("group.streams.assignment.interval.ms", AtLeast, "group.streams.min.assignment.interval.ms"),
    ("group.streams.assignment.interval.ms", AtMost, "group.streams.max.assignment.interval.ms"),
    ("group.streams.num.standby.replicas", AtMost, "group.streams.max.standby.replicas"),
    ("group.share.max.delivery.count.limit", AtLeast, "group.share.delivery.count.limit"),
    ("group.share.delivery.count.limit", AtLeast, "group.share.min.delivery.count.limit"),
    ("group.share.max.partition.max.record.locks", AtLeast, "group.share.partition.max.record.locks"),
    ("group.share.partition.max.record.locks", AtLeast, "group.share.min.partition.max.record.locks"),
    ("group.share.record.lock.duration.ms", AtLeast, "group.share.min.record.lock.duration.ms"),
    ("group.share.max.record.lock.duration.ms", AtLeast, "group.share.record.lock.duration.ms"),
    ("group.share.max.share.sessions", AtLeast, "group.share.max.size"),
];

/// Every rule, on settings whose values are valid one by one.
pub(crate) fn check(config: &Config) -> Result<(), Violation> {
    check_groups(config)?;
    check_identity(config)?;
    check_log(config)?;
    check_replication(config)?;
    match (config.roles().broker, config.roles().controller) {
        (true, false) => check_broker_only(config)?,
        (false, _) => check_controller_only(config)?,
        (true, true) => check_controller_role(config)?,
    }
    if config.roles().broker {
        check_advertised(config)?;
    }
    check_routable(config)?;
    check_connections(config)?;
    check_ours(config)
}

/// What a member of a cluster has to say, since no default could be right for it.
pub(crate) fn require_cluster_keys(config: &Config) -> Result<(), Violation> {
    for key in ["process.roles", "node.id", "controller.listener.names"] {
        if !config.is_set(key) {
            let sentence = format!(
                "{key} is not set but must be {} on a node that is not a cluster of its own",
                keys::broker(key).expect("a key").allowed()
            );
            let kafka = format!("Missing required configuration \"{key}\" which has no default value.");
            return Err(Violation::new(key, sentence, kafka));
        }
    }
    Ok(())
}

/// `listener.security.protocol.map`; while it is not set, controller listeners speak PLAINTEXT unless something secure is about.
pub(crate) fn protocols(config: &Config) -> Result<ProtocolMap, Violation> {
    const KEY: &str = "listener.security.protocol.map";
    let text = config.text(KEY).unwrap_or_default();
    let mut map = listener::parse_protocol_map(text).map_err(|pair| {
        let name = pair.rsplit_once(':').map_or(pair.as_str(), |(_, protocol)| protocol);
        Violation::new(
            KEY,
            format!(
                "{KEY} is set to \"{text}\" but \"{pair}\" must be NAME:PROTOCOL with one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"
            ),
            format!("Invalid security protocol `{name}` defined in {KEY}"),
        )
    })?;
    let is_secure = |name: &str| SecurityProtocol::from_name(name).is_some_and(|p| p != SecurityProtocol::Plaintext);
    let names = config.controller_listener_names();
    let secure = names.iter().any(|name| is_secure(name))
        || config.list("listeners").iter().any(|uri| is_secure(uri.split(':').next().unwrap_or_default()));
    if !config.is_set(KEY) && !secure {
        for name in names {
            map.entry(name.clone()).or_insert(SecurityProtocol::Plaintext);
        }
    }
    Ok(map)
}

/// The entries of `listeners` or `advertised.listeners`.
pub(crate) fn listeners(config: &Config, key: &str, map: &ProtocolMap) -> Result<Vec<Listener>, Violation> {
    let uris = config.list(key);
    let violation = |why: String| {
        let all = uris.join(",");
        Violation::new(
            key,
            format!(
                "{key} is set to \"{all}\" but must be a list of NAME://host:port separated by commas, with names and ports that \
                 differ and names that listener.security.protocol.map knows: {why}"
            ),
            format!("Error creating broker listeners from '[{}]': {why}", uris.join(", ")),
        )
    };
    let parsed: Result<Vec<_>, _> = uris.iter().map(|uri| listener::parse_listener(uri, map)).collect();
    let parsed = parsed.map_err(violation)?;
    listener::check_distinct(&parsed, key == "listeners").map_err(violation)?;
    Ok(parsed)
}

pub(crate) fn inter_broker_listener_name(config: &Config, map: &ProtocolMap) -> Result<String, Violation> {
    const NAME: &str = "inter.broker.listener.name";
    const PROTOCOL: &str = "security.inter.broker.protocol";
    let Some(name) = config.text(NAME) else {
        return Ok(config.text(PROTOCOL).expect("has a default").to_owned());
    };
    if config.is_set(PROTOCOL) {
        return Err(Violation::new(
            NAME,
            format!("{NAME} is set to \"{name}\" but must not be set together with {PROTOCOL}"),
            format!("Only one of {NAME} and {PROTOCOL} should be set."),
        ));
    }
    let upper = name.to_uppercase();
    if !map.contains_key(&upper) {
        return Err(Violation::new(
            NAME,
            format!("{NAME} is set to \"{name}\" but must be a name that listener.security.protocol.map knows"),
            format!("Listener with name {upper} defined in {NAME} not found in listener.security.protocol.map."),
        ));
    }
    Ok(upper)
}

fn check_groups(config: &Config) -> Result<(), Violation> {
    for &(key, relation, other) in GROUP_RELATIONS {
        let (value, bound) = (config.long(key), config.long(other));
        let (kept, words) = match relation {
            AtLeast => (value >= bound, "greater than or equal to"),
            AtMost => (value <= bound, "less than or equal to"),
            Below => (value < bound, "less than"),
        };
        if !kept {
            return Err(Violation::new(
                key,
                format!("{key} is {value} but must be {words} {other}, which is {bound}"),
                format!("{key} must be {words} {other}"),
            ));
        }
    }
    let assignors = config.list("group.share.assignors");
    if assignors.len() != 1 {
        return Err(Violation::new(
            "group.share.assignors",
            format!("group.share.assignors is set to \"{}\" but must name exactly one assignor", assignors.join(",")),
            format!("group.share.assignors must contain exactly one assignor, but found {}", assignors.len()),
        ));
    }
    let protocols = config.list("group.coordinator.rebalance.protocols");
    if !protocols.iter().any(|protocol| protocol == "classic") {
        return Err(Violation::new(
            "group.coordinator.rebalance.protocols",
            format!(
                "group.coordinator.rebalance.protocols is set to \"{}\" but must contain classic, which cannot be disabled",
                protocols.join(",")
            ),
            "Disabling the 'classic' protocol is not supported.",
        ));
    }
    Ok(())
}

fn check_identity(config: &Config) -> Result<(), Violation> {
    let (node, broker) = (config.int("node.id"), config.int("broker.id"));
    if config.is_set("broker.id") && node != broker {
        return Err(Violation::new(
            "node.id",
            format!("node.id is {node} but must be the same as broker.id, which is {broker}"),
            "You must set `node.id` to the same value as `broker.id`.",
        ));
    }
    Ok(())
}

fn check_log(config: &Config) -> Result<(), Violation> {
    let topic_default = |key: &str| crate::topic_settings::broker_default(key, config).as_long().expect("a whole number");
    for (topic_key, key, min, words, kafka) in [
        ("segment.ms", "log.roll.ms", 1, "at least 1", "log.roll.ms must be greater than or equal to 1"),
        ("segment.jitter.ms", "log.roll.jitter.ms", 0, "at least 0", "log.roll.jitter.ms must be greater than or equal to 0"),
    ] {
        let value = topic_default(topic_key);
        if value < min {
            return Err(Violation::new(key, format!("{key} is {value} but must be {words}"), scala(kafka)));
        }
    }
    let retention = topic_default("retention.ms");
    if retention == 0 {
        return Err(Violation::new(
            "log.retention.ms",
            "log.retention.ms, or what log.retention.minutes or log.retention.hours gives it, is 0 but must be at least 1, or -1 for \
             no limit"
                .into(),
            scala("log.retention.ms must be unlimited (-1) or, greater than or equal to 1"),
        ));
    }
    let (dedupe, threads) = (config.long("log.cleaner.dedupe.buffer.size"), config.long("log.cleaner.threads"));
    if threads == 0 {
        let sentence = "log.cleaner.threads is 0 but must be at least 1".to_owned();
        // Kafka divides by it.
        return Err(Violation::new("log.cleaner.threads", sentence, "/ by zero"));
    }
    if dedupe / threads <= 1024 * 1024 {
        return Err(Violation::new(
            "log.cleaner.dedupe.buffer.size",
            format!(
                "log.cleaner.dedupe.buffer.size is {dedupe} but must be more than 1048576 for each of the {threads} \
                 log.cleaner.threads"
            ),
            scala("log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread."),
        ));
    }
    let (min, max) = (topic_default("min.compaction.lag.ms"), topic_default("max.compaction.lag.ms"));
    if min > max {
        return Err(Violation::new(
            "log.cleaner.min.compaction.lag.ms",
            format!(
                "log.cleaner.min.compaction.lag.ms is {min} but must be at most log.cleaner.max.compaction.lag.ms, which is {max}"
            ),
            format!("conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"),
        ));
    }
    check_cordoned(config)
}

fn check_cordoned(config: &Config) -> Result<(), Violation> {
    const KEY: &str = "cordoned.log.dirs";
    let cordoned = config.list(KEY);
    let all = cordoned.join(",");
    if cordoned.len() > 1 && cordoned.iter().any(|dir| dir == "*") {
        return Err(Violation::new(
            KEY,
            format!("{KEY} is set to \"{all}\" but must be * alone or a list of log directories"),
            scala("When cordoned.log.dirs is set to *, it must not contain other values"),
        ));
    }
    let missing: Vec<&str> = cordoned
        .iter()
        .filter(|dir| *dir != "*" && !config.log_dirs().contains(&dir.into()))
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        return Err(Violation::new(
            KEY,
            format!("{KEY} is set to \"{all}\" but must only name entries of log.dirs"),
            scala(&format!(
                "All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : {}",
                missing.join(", ")
            )),
        ));
    }
    Ok(())
}

fn check_replication(config: &Config) -> Result<(), Violation> {
    const WAIT: &str = "replica.fetch.wait.max.ms";
    let wait = config.long(WAIT);
    for (bound, kafka) in [
        (
            "replica.socket.timeout.ms",
            "replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms to prevent unnecessary socket timeouts",
        ),
        (
            "replica.lag.time.max.ms",
            "replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms to prevent frequent changes in \
             ISR",
        ),
    ] {
        let limit = config.long(bound);
        if wait > limit {
            let sentence = format!("{WAIT} is {wait} but must be at most {bound}, which is {limit}");
            return Err(Violation::new(WAIT, sentence, scala(kafka)));
        }
    }
    Ok(())
}

fn check_quorum_is_known(config: &Config) -> Result<(), Violation> {
    if config.is_alone() || !config.quorum_voters().is_empty() || !config.quorum_bootstrap_servers().is_empty() {
        return Ok(());
    }
    Err(Violation::new(
        "controller.quorum.bootstrap.servers",
        format!(
            "controller.quorum.bootstrap.servers is not set but must name the controllers, host:port, when process.roles is {}",
            config.list("process.roles").join(",")
        ),
        "If using process.roles, either controller.quorum.bootstrap.servers must contain the set of bootstrap controllers or \
         controller.quorum.voters must contain a parseable set of controllers.",
    ))
}

fn check_broker_only(config: &Config) -> Result<(), Violation> {
    const NAMES: &str = "controller.listener.names";
    check_quorum_is_known(config)?;
    let (id, voters) = (config.node_id(), config.list("controller.quorum.voters").join(","));
    if config.quorum_voters().iter().any(|voter| voter.id == id) {
        return Err(Violation::new(
            "controller.quorum.voters",
            format!("controller.quorum.voters is set to \"{voters}\" but must not contain this node, {}, whose process.roles is broker", id.0),
            scala(&format!(
                "If process.roles contains just the 'broker' role, the node id {} must not be included in the set of voters \
                 controller.quorum.voters={}",
                id.0,
                voter_ids(config)
            )),
        ));
    }
    let names = config.controller_listener_names();
    let shown = names.join(",");
    if !config.controller_listeners().is_empty() {
        return Err(Violation::new(
            NAMES,
            format!("{NAMES} is set to \"{shown}\" but must not contain names of listeners when process.roles is broker"),
            scala(
                "controller.listener.names must not contain a value appearing in the 'listeners' configuration when running KRaft \
                 with just the broker role",
            ),
        ));
    }
    if let Some(unknown) = names.iter().find(|name| config.protocol_of(&name.to_uppercase()).is_none()) {
        return Err(Violation::new(
            NAMES,
            format!("{NAMES} is set to \"{shown}\" but must only contain names that listener.security.protocol.map knows"),
            format!(
                "Controller listener with name {} defined in controller.listener.names not found in listener.security.protocol.map  \
                 (an explicit security mapping for each controller listener is required if listener.security.protocol.map is \
                 non-empty, or if there are security protocols other than PLAINTEXT in use)",
                unknown.to_uppercase()
            ),
        ));
    }
    if config.boolean("controller.quorum.auto.join.enable") {
        return Err(Violation::new(
            "controller.quorum.auto.join.enable",
            "controller.quorum.auto.join.enable is true but must be false when process.roles is broker".into(),
            scala("controller.quorum.auto.join.enable is only supported when process.roles contains the 'controller' role."),
        ));
    }
    Ok(())
}

fn check_controller_only(config: &Config) -> Result<(), Violation> {
    check_quorum_is_known(config)?;
    if config.advertised_controller_listeners().len() != config.listeners().len() {
        return Err(Violation::new(
            "listeners",
            format!(
                "listeners is set to \"{}\" but must only contain names of controller.listener.names when process.roles is controller",
                config.list("listeners").join(",")
            ),
            scala(
                "The listeners config must only contain KRaft controller listeners from controller.listener.names when \
                 process.roles=controller",
            ),
        ));
    }
    if config.is_set("inter.broker.listener.name")
        && config.controller_listener_names().iter().any(|name| name == config.inter_broker_listener_name())
    {
        return Err(Violation::new(
            "inter.broker.listener.name",
            format!(
                "inter.broker.listener.name is set to \"{}\" but must not be one of controller.listener.names when process.roles is \
                 controller",
                config.inter_broker_listener_name()
            ),
            scala(
                "controller.listener.names must not contain an explicitly set inter.broker.listener.name configuration value when \
                 process.roles=controller'",
            ),
        ));
    }
    check_controller_role(config)
}

fn check_controller_role(config: &Config) -> Result<(), Violation> {
    const NAMES: &str = "controller.listener.names";
    check_quorum_is_known(config)?;
    let id = config.node_id();
    if !config.quorum_voters().is_empty() && config.quorum_voters().iter().all(|voter| voter.id != id) {
        return Err(Violation::new(
            "controller.quorum.voters",
            format!(
                "controller.quorum.voters is set to \"{}\" but must contain this node, {}, since it has the role controller",
                config.list("controller.quorum.voters").join(","),
                id.0
            ),
            scala(&format!(
                "If process.roles contains the 'controller' role, the node id {} must be included in the set of voters \
                 controller.quorum.voters={}",
                id.0,
                voter_ids(config)
            )),
        ));
    }
    let names = config.controller_listener_names();
    if names.is_empty() && config.is_alone() {
        return Ok(());
    }
    let shown = names.join(",");
    if config.advertised_controller_listeners().is_empty() {
        return Err(Violation::new(
            NAMES,
            format!("{NAMES} is set to \"{shown}\" but must contain at least one of the names in listeners"),
            scala(
                "controller.listener.names must contain at least one value appearing in the 'listeners' configuration when running \
                 the KRaft controller role",
            ),
        ));
    }
    if !names.iter().all(|name| config.listeners().iter().any(|listener| listener.name == *name)) {
        return Err(Violation::new(
            NAMES,
            format!("{NAMES} is set to \"{shown}\" but must only contain names in listeners"),
            scala(
                "controller.listener.names must only contain values appearing in the 'listeners' configuration when running the KRaft \
                 controller role",
            ),
        ));
    }
    Ok(())
}

/// Rules of every node with the broker's role.
fn check_advertised(config: &Config) -> Result<(), Violation> {
    let advertised: Vec<&str> = config.advertised_listeners().iter().map(|listener| listener.name.as_str()).collect();
    let names = advertised.join(",");
    if advertised.is_empty() {
        return Err(Violation::new(
            "listeners",
            format!(
                "listeners is set to \"{}\" but must contain a listener that is not in controller.listener.names",
                config.list("listeners").join(",")
            ),
            scala(
                "There must be at least one broker advertised listener. Perhaps all listeners appear in controller.listener.names?",
            ),
        ));
    }
    let inter_broker = config.inter_broker_listener_name();
    if !advertised.contains(&inter_broker) {
        return Err(Violation::new(
            "inter.broker.listener.name",
            format!("inter.broker.listener.name is \"{inter_broker}\" but must be one of the advertised listeners, {names}"),
            scala(&format!(
                "inter.broker.listener.name must be a listener name defined in advertised.listeners. The valid options based on \
                 currently configured listeners are {names}"
            )),
        ));
    }
    let listeners: Vec<&str> = config.listeners().iter().map(|listener| listener.name.as_str()).collect();
    if !advertised.iter().all(|name| listeners.contains(name)) {
        let all = listeners.join(",");
        return Err(Violation::new(
            "advertised.listeners",
            format!("advertised.listeners has the names {names} but must only contain names in listeners, {all}"),
            scala(&format!(
                "advertised.listeners listener names must be equal to or a subset of the ones defined in listeners. Found {names}. \
                 The valid options based on the current configuration are {all}"
            )),
        ));
    }
    Ok(())
}

fn check_routable(config: &Config) -> Result<(), Violation> {
    let mut advertised = config.advertised_listeners().into_iter().chain(config.advertised_controller_listeners());
    match advertised.find(|listener| listener.host == "0.0.0.0") {
        None => Ok(()),
        Some(listener) => Err(Violation::new(
            "advertised.listeners",
            format!(
                "advertised.listeners has, or takes over from listeners, \"{listener}\" but must name an address that clients can \
                 connect to"
            ),
            scala("advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address."),
        )),
    }
}

fn check_connections(config: &Config) -> Result<(), Violation> {
    let name = config.inter_broker_listener_name();
    let sasl = matches!(config.protocol_of(name), Some(SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl));
    let mechanism = config.text("sasl.mechanism.inter.broker.protocol").unwrap_or_default();
    let enabled = match config.statics_of_listener(name, "sasl.enabled.mechanisms") {
        Some(own) => own.split(',').map(|entry| entry.trim().to_owned()).collect(),
        None => config.list("sasl.enabled.mechanisms").to_vec(),
    };
    if sasl && !enabled.iter().any(|enabled| enabled == mechanism) {
        return Err(Violation::new(
            "sasl.mechanism.inter.broker.protocol",
            format!("sasl.mechanism.inter.broker.protocol is \"{mechanism}\" but must be one of sasl.enabled.mechanisms, {}", enabled.join(",")),
            scala(
                "sasl.mechanism.inter.broker.protocol must be included in sasl.enabled.mechanisms when SASL is used for inter-broker \
                 communication",
            ),
        ));
    }
    let (queued, request) = (config.long("queued.max.request.bytes"), config.long("socket.request.max.bytes"));
    if queued > 0 && queued < request {
        return Err(Violation::new(
            "queued.max.request.bytes",
            format!("queued.max.request.bytes is {queued} but must be at least socket.request.max.bytes, which is {request}"),
            scala("queued.max.request.bytes must be larger or equal to socket.request.max.bytes"),
        ));
    }
    check_limits_per_address(config)?;
    let (delay, idle) = (config.long("connection.failed.authentication.delay.ms"), config.long("connections.max.idle.ms"));
    if idle >= 0 && delay >= idle {
        return Err(Violation::new(
            "connection.failed.authentication.delay.ms",
            format!("connection.failed.authentication.delay.ms is {delay} but must be less than connections.max.idle.ms, which is {idle}"),
            scala(&format!(
                "connection.failed.authentication.delay.ms={delay} should always be less than connections.max.idle.ms={idle} to \
                 prevent failed authentication responses from timing out"
            )),
        ));
    }
    check_early_start(config)
}

fn check_limits_per_address(config: &Config) -> Result<(), Violation> {
    const OVERRIDES: &str = "max.connections.per.ip.overrides";
    let text = config.text(OVERRIDES).unwrap_or_default();
    let pairs: Vec<&str> = text.split(',').map(str::trim).filter(|pair| !pair.is_empty()).collect();
    if config.int("max.connections.per.ip") == 0 && pairs.is_empty() {
        return Err(Violation::new(
            "max.connections.per.ip",
            format!("max.connections.per.ip is 0 but must be at least 1 where {OVERRIDES} is not set"),
            scala("max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set."),
        ));
    }
    for pair in pairs {
        let is_good = pair
            .rsplit_once(':')
            .is_some_and(|(host, count)| listener::is_host(host.trim()) && count.trim().parse::<i32>().is_ok());
        if !is_good {
            let host = pair.rsplit_once(':').map_or(pair, |(host, _)| host);
            return Err(Violation::new(
                OVERRIDES,
                format!("{OVERRIDES} is set to \"{text}\" but must be a list of host:count separated by commas"),
                format!("{OVERRIDES} contains invalid addresses : {host}"),
            ));
        }
    }
    Ok(())
}

fn check_early_start(config: &Config) -> Result<(), Violation> {
    const KEY: &str = "early.start.listeners";
    let known = |name: &str| {
        config.listeners().iter().any(|listener| listener.name == name)
            || config.controller_listener_names().iter().any(|known| known == name)
    };
    match config.list(KEY).iter().find(|name| !known(&name.to_uppercase())) {
        None => Ok(()),
        Some(name) => Err(Violation::new(
            KEY,
            format!("{KEY} contains \"{name}\" but must only contain names in listeners or controller.listener.names"),
            format!("{KEY} contains listener {name}, but this is not contained in listeners or controller.listener.names"),
        )),
    }
}

/// Rules of our own keys.
fn check_ours(config: &Config) -> Result<(), Violation> {
    let (budget, request) = (config.long("dohle.memory.request.bytes"), config.long("socket.request.max.bytes"));
    if config.is_set("dohle.memory.request.bytes") && budget < request {
        let sentence = format!(
            "dohle.memory.request.bytes is {budget} but must be at least socket.request.max.bytes, which is {request}"
        );
        return Err(Violation::new("dohle.memory.request.bytes", sentence.clone(), sentence));
    }
    let address = config.text("dohle.metrics.listener").unwrap_or_default();
    if !address.is_empty() && listener::parse_host_port(address).is_none() {
        let sentence = format!("dohle.metrics.listener is set to \"{address}\" but must be host:port, or empty for none");
        return Err(Violation::new("dohle.metrics.listener", sentence.clone(), sentence));
    }
    Ok(())
}

/// As Scala shows a set: `Set(1, 2)`.
fn voter_ids(config: &Config) -> String {
    let ids: Vec<String> = config.quorum_voters().iter().map(|voter| voter.id.0.to_string()).collect();
    format!("Set({})", ids.join(", "))
}
