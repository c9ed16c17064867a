//! Configuration that changes while the cluster runs: what a proposed map of a resource must keep to.
//!
//! Topics, groups and client metrics are checked by the controller; a broker's own map by that broker, before it forwards the
//! change (only it knows its file). All messages are Kafka's.

use crate::keys::{self, KeyDef, Kind, UpdateMode, Value};
use crate::{BrokerDynamic, Config, InvalidConfig, Overrides, synonyms, topic_settings};

/// Checks a topic's whole proposed map (`LogConfig.validate`). `before` is the map it replaces; `dynamic` and `config` give the
/// values of the keys that are left out.
pub fn validate_topic(
    proposed: &Overrides<'_>,
    before: &Overrides<'_>,
    dynamic: &BrokerDynamic<'_>,
    config: &Config,
) -> Result<(), InvalidConfig> {
    if let Some((unknown, _)) = proposed.iter().find(|(name, _)| keys::topic(name).is_none()) {
        return Err(InvalidConfig::new(format!("Unknown topic config name: {unknown}")));
    }
    let parsed = parse_all(proposed, keys::topic)?;
    let current = config.with_dynamic(dynamic).0;
    let value = |name: &str| match parsed.iter().find(|(key, _)| key.name == name) {
        Some((_, value)) => value.clone(),
        None => topic_settings::broker_default(name, &current),
    };
    let long = |name: &str| value(name).as_long().expect("a whole number");
    let (min, max) = (long("min.compaction.lag.ms"), long("max.compaction.lag.ms"));
    if min > max {
        return Err(InvalidConfig::new(format!(
            "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
        )));
    }
    let is_true = |name: &str| value(name) == Value::Boolean(true);
    if is_true("remote.storage.enable") {
        return validate_tiered(&current, &value, &long);
    }
    let was_tiered = before.get("remote.storage.enable").is_some_and(|was| was.eq_ignore_ascii_case("true"));
    if was_tiered && !is_true("remote.log.delete.on.disable") {
        return Err(InvalidConfig::new(
            "It is invalid to disable remote storage without deleting remote data. If you want to keep the remote data and turn to \
             read only, please set `remote.storage.enable=true,remote.log.copy.disable=true`. If you want to disable remote storage \
             and delete all remote data, please set `remote.storage.enable=false,remote.log.delete.on.disable=true`.",
        ));
    }
    Ok(())
}

/// Checks the whole proposed map of a broker (`DynamicBrokerConfig.validate`), or of the cluster-wide default when `per_broker` is
/// false. `dynamic` is what holds now. Kafka answers these with `INVALID_REQUEST`.
pub fn validate_broker(
    proposed: &Overrides<'_>,
    per_broker: bool,
    dynamic: &BrokerDynamic<'_>,
    config: &Config,
) -> Result<(), InvalidConfig> {
    let names = |fault: &dyn Fn(&str) -> bool| -> Vec<&str> {
        proposed.iter().map(|(name, _)| name).filter(|name| fault(name)).collect()
    };
    let refuse = |why: &str, names: &[&str]| match names {
        [] => Ok(()),
        names => Err(InvalidConfig::request(format!("{why}: [{}]", names.join(", ")))),
    };
    refuse("Cannot update these configs dynamically", &names(&is_static))?;
    refuse(
        "These security configs can be dynamically updated only per-listener using the listener prefix",
        &names(&|name| PER_LISTENER_ONLY.contains(&name)),
    )?;
    for (name, raw) in proposed.iter() {
        if let Some(key) = dynamic_key(name) {
            let value = key.parse(raw).map_err(|refused| InvalidConfig::request(refused.message))?;
            if key.kind == Kind::Class && value.to_text().as_deref() != key.default_text() {
                let why = format!(
                    "Invalid value {raw} for configuration {}: Class {raw} could not be found.",
                    key.name
                );
                return Err(InvalidConfig::request(why));
            }
        }
    }
    if !per_broker {
        refuse(
            "Cannot update these configs at default cluster level, broker id must be specified",
            &names(&is_per_broker),
        )?;
    }
    let layers =
        if per_broker { [&dynamic.cluster_default, proposed] } else { [proposed, &dynamic.per_broker] };
    let before = config.with_dynamic(dynamic).0;
    let after = config.try_with([&accepted(layers[0], false), &accepted(layers[1], true)])?;
    validate_steps(&before, &after)
}

/// Checks a group's whole proposed map (`GroupConfig.validate`).
pub fn validate_group(
    proposed: &Overrides<'_>,
    dynamic: &BrokerDynamic<'_>,
    config: &Config,
) -> Result<(), InvalidConfig> {
    if let Some((unknown, _)) = proposed.iter().find(|(name, _)| keys::group(name).is_none()) {
        return Err(InvalidConfig::new(format!("Unknown group config name: {unknown}")));
    }
    let parsed = parse_all(proposed, keys::group)?;
    let current = config.with_dynamic(dynamic).0;
    let value = |name: &str| match parsed.iter().find(|(key, _)| key.name == name) {
        Some((_, value)) => value.as_long(),
        None => synonyms::of_group(name).and_then(|name| current.value(name).as_long()),
    };
    for (key, lowest, highest) in GROUP_BOUNDS {
        let Some(number) = value(key) else { continue };
        if !lowest.is_empty() && number < current.long(lowest) {
            return Err(InvalidConfig::new(format!("{key} must be greater than or equal to {lowest}")));
        }
        if number > current.long(highest) {
            return Err(InvalidConfig::new(format!("{key} must be less than or equal to {highest}")));
        }
    }
    for kind in ["consumer", "share", "streams"] {
        let (session, heartbeat) =
            (format!("{kind}.session.timeout.ms"), format!("{kind}.heartbeat.interval.ms"));
        if value(&session) <= value(&heartbeat) {
            return Err(InvalidConfig::new(format!("{session} must be greater than {heartbeat}")));
        }
    }
    Ok(())
}

/// Checks a client-metrics subscription's whole proposed map (`ClientMetricsConfigs.validate`).
pub fn validate_client_metrics(name: &str, proposed: &Overrides<'_>) -> Result<(), InvalidConfig> {
    if name.is_empty() {
        return Err(InvalidConfig::request("Subscription name can't be empty"));
    }
    if let Some((unknown, _)) = proposed.iter().find(|(name, _)| keys::client_metrics(name).is_none()) {
        return Err(InvalidConfig::request(format!("Unknown client metrics configuration: {unknown}")));
    }
    for (key, value) in parse_all(proposed, keys::client_metrics)? {
        match (key.name, value) {
            ("interval.ms", Value::Int(interval)) if !(100..=3_600_000).contains(&interval) => {
                return Err(InvalidConfig::request(format!(
                    "Invalid value {interval} for interval.ms, interval must be between 100 and 3600000 (1 hour)"
                )));
            }
            ("match", Value::List(patterns)) => {
                if let Some(bad) = patterns.iter().find(|pattern| !is_client_pattern(pattern)) {
                    return Err(InvalidConfig::new(format!("Illegal client matching pattern: {bad}")));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The value of a broker key as it is now: its dynamic value, the cluster-wide one, its static value, or the default.
/// To read many, make the current settings once with [`Config::with_dynamic`].
pub fn broker_value(key: &KeyDef, dynamic: &BrokerDynamic<'_>, config: &Config) -> Value {
    config.with_dynamic(dynamic).0.value(key.name).clone()
}

/// The values of a broker's layer that can hold: what is static, of another layer or no value of its key is left out
/// (`DynamicBrokerConfig.fromPersistentProps`). Names that are in no table stay.
pub(crate) fn accepted<'a>(layer: &Overrides<'a>, per_broker: bool) -> Overrides<'a> {
    let holds = |&(name, raw): &(&'a str, &'a str)| {
        !is_static(name)
            && !PER_LISTENER_ONLY.contains(&name)
            && (per_broker || !is_per_broker(name))
            && dynamic_key(name).is_none_or(|key| key.parse(raw).is_ok())
    };
    layer.iter().filter(holds).collect()
}

/// Keys that can change while the broker runs, but only for one listener (`SslConfigs.RECONFIGURABLE_CONFIGS`).
const PER_LISTENER_ONLY: &[&str] = &[
    "ssl.key.password",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.type",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
];

/// Keys that a listener may be given for the whole cluster.
const CLUSTER_WIDE_OF_LISTENERS: &[&str] =
    &["max.connections", "max.connection.creation.rate", "num.network.threads"];

/// Numbers of threads may at most double or halve at a time.
const STEPPED: &[&str] = &[
    "background.threads",
    "log.cleaner.threads",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
];

/// A group's key and the broker's keys that bound it, in the order in which Kafka looks.
#[rustfmt::skip]
const GROUP_BOUNDS: &[(&str, &str, &str)] = &[
    ("consumer.heartbeat.interval.ms", "group.consumer.min.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"),
    ("consumer.session.timeout.ms", "group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms"),
    ("consumer.assignment.interval.ms", "group.consumer.min.assignment.interval.ms", "group.consumer.max.assignment.interval.ms"),
    ("share.heartbeat.interval.ms", "group.share.min.heartbeat.interval.ms", "group.share.max.heartbeat.interval.ms"),
    ("share.session.timeout.ms", "group.share.min.session.timeout.ms", "group.share.max.session.timeout.ms"),
    ("share.record.lock.duration.ms", "group.share.min.record.lock.duration.ms", "group.share.max.record.lock.duration.ms"),
    ("share.delivery.count.limit", "group.share.min.delivery.count.limit", "group.share.max.delivery.count.limit"),
    ("share.partition.max.record.locks", "group.share.min.partition.max.record.locks", "group.share.max.partition.max.record.locks"),
    ("share.assignment.interval.ms", "group.share.min.assignment.interval.ms", "group.share.max.assignment.interval.ms"),
    ("streams.heartbeat.interval.ms", "group.streams.min.heartbeat.interval.ms", "group.streams.max.heartbeat.interval.ms"),
    ("streams.session.timeout.ms", "group.streams.min.session.timeout.ms", "group.streams.max.session.timeout.ms"),
    ("streams.num.standby.replicas", "", "group.streams.max.standby.replicas"),
    ("streams.assignment.interval.ms", "group.streams.min.assignment.interval.ms", "group.streams.max.assignment.interval.ms"),
];

type Parsed = Vec<(&'static KeyDef, Value)>;

fn parse_all(
    proposed: &Overrides<'_>,
    table: fn(&str) -> Option<&'static KeyDef>,
) -> Result<Parsed, InvalidConfig> {
    let parse = |(name, raw)| {
        let key = table(name).expect("unknown names are refused before");
        Ok((key, key.parse(raw)?))
    };
    proposed.iter().map(parse).collect()
}

/// Rules of topics that use tiered storage.
fn validate_tiered(
    current: &Config,
    value: &dyn Fn(&str) -> Value,
    long: &dyn Fn(&str) -> i64,
) -> Result<(), InvalidConfig> {
    if !current.boolean("remote.log.storage.system.enable") {
        return Err(InvalidConfig::new(
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.",
        ));
    }
    if value("cleanup.policy").to_text().is_some_and(|policy| policy.contains("compact")) {
        return Err(InvalidConfig::new(
            "Remote log storage only supports topics with cleanup.policy=delete or cleanup.policy being an empty list.",
        ));
    }
    for (local, all) in [("local.retention.bytes", "retention.bytes"), ("local.retention.ms", "retention.ms")]
    {
        if let Some(why) = local_retention_fault(local, long(local), all, long(all)) {
            return Err(InvalidConfig::new(why));
        }
    }
    if value("remote.log.copy.disable") == Value::Boolean(true) {
        for (local, all) in
            [("local.retention.bytes", "retention.bytes"), ("local.retention.ms", "retention.ms")]
        {
            if long(local) != -2 && long(local) != long(all) {
                return Err(InvalidConfig::new(format!(
                    "When `remote.log.copy.disable` is set to true, the `{local}` and `{all}` must be set to the identical value \
                     because there will be no more logs copied to the remote storage."
                )));
            }
        }
    }
    Ok(())
}

/// Changes that would be right at the start and that a running broker refuses.
fn validate_steps(before: &Config, after: &Config) -> Result<(), InvalidConfig> {
    let steps = STEPPED.iter().find_map(|key| step_fault(key, before.long(key), after.long(key)));
    let retention = [
        ("log.local.retention.ms", "log.retention.ms", after.log_retention_ms()),
        ("log.local.retention.bytes", "log.retention.bytes", after.long("log.retention.bytes")),
    ];
    let retention = || {
        retention
            .iter()
            .find_map(|(local, all, limit)| local_retention_fault(local, after.long(local), all, *limit))
    };
    match steps.or_else(retention) {
        None => Ok(()),
        // Kafka's message comes of an exception made of an exception.
        Some(why) => Err(InvalidConfig::request(format!(
            "Invalid value org.apache.kafka.common.config.ConfigException: {why} for configuration Invalid dynamic configuration"
        ))),
    }
}

/// Why a number of threads cannot change that much at a time, in Kafka's words.
fn step_fault(key: &str, old: i64, new: i64) -> Option<String> {
    let is_cleaner = key == "log.cleaner.threads";
    let failed = || format!("Dynamic thread count update validation failed for {key}={new}");
    match new {
        _ if new >= old / 2 && new <= old.saturating_mul(2) => None,
        _ if new < old && is_cleaner => {
            Some(format!("Log cleaner threads cannot be reduced to less than half the current value {old}"))
        }
        _ if new < old => {
            Some(format!("{}, value should be at least half the current value {old}", failed()))
        }
        _ if is_cleaner => Some(format!(
            "Log cleaner threads cannot be increased to more than double the current value {old}"
        )),
        _ => Some(format!("{}, value should not be greater than double the current value {old}", failed())),
    }
}

/// Why a tiered log cannot keep that much on local disks, in Kafka's words.
fn local_retention_fault(local: &str, kept: i64, all: &str, limit: i64) -> Option<String> {
    let fault = |why: String| Some(format!("Invalid value {kept} for configuration {local}: {why}"));
    match kept {
        _ if limit < 0 || kept == -2 => None,
        -1 => fault(format!("Value must not be -1 as {all} value is set as {limit}.")),
        _ if kept > limit => fault(format!("Value must not be more than {all} property value: {limit}")),
        _ => None,
    }
}

/// Whether a broker key cannot change while the broker runs.
fn is_static(name: &str) -> bool {
    keys::broker(name).is_some_and(|key| key.update == UpdateMode::ReadOnly)
}

fn is_per_broker(name: &str) -> bool {
    match synonyms::listener_base(name) {
        Some(base) => !CLUSTER_WIDE_OF_LISTENERS.contains(&base),
        None => keys::broker(name).is_some_and(|key| key.update == UpdateMode::PerBroker),
    }
}

/// The definition that a dynamic value has to fit, where there is one.
fn dynamic_key(name: &str) -> Option<&'static KeyDef> {
    let base = synonyms::listener_base(name).unwrap_or(name);
    keys::broker(base).filter(|key| key.update != UpdateMode::ReadOnly).or_else(|| keys::broker_quota(base))
}

/// `parameter=regular expression`. Whether the expression compiles is only known to who runs it.
fn is_client_pattern(pattern: &str) -> bool {
    const PARAMETERS: &[&str] = &[
        "client_id",
        "client_instance_id",
        "client_software_name",
        "client_software_version",
        "client_source_address",
        "client_source_port",
    ];
    let mut parts = pattern.trim_end_matches('=').split('=');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(name), Some(value), None) => {
            PARAMETERS.contains(&name.trim()) && is_plausible_pattern(value.trim())
        }
        _ => false,
    }
}

/// Catches what no regular expression can be: unbalanced brackets, a quantifier with nothing before it.
fn is_plausible_pattern(pattern: &str) -> bool {
    let (mut round, mut square, mut escaped) = (0_i32, false, false);
    let mut repeatable = false;
    for c in pattern.chars() {
        if escaped {
            (escaped, repeatable) = (false, true);
            continue;
        }
        match c {
            '\\' => escaped = true,
            '[' => square = true,
            ']' => (square, repeatable) = (false, true),
            _ if square => {}
            '(' => (round, repeatable) = (round + 1, false),
            ')' => (round, repeatable) = (round - 1, true),
            '*' | '+' | '?' if !repeatable => return false,
            '|' => repeatable = false,
            _ => repeatable = true,
        }
        if round < 0 {
            return false;
        }
    }
    round == 0 && !square && !escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sources;

    /// What a running Kafka 4.3.1 answers to kafka-configs.sh. Its validators alone, which the golden cases ask, do not know what
    /// holds now.
    #[test]
    fn a_running_broker_takes_small_steps() {
        let config = Config::load(Sources::default()).expect("the defaults fit").config;
        let answer = |key: &'static str, value: &'static str| {
            let proposed = [(key, value)].into_iter().collect();
            validate_broker(&proposed, true, &BrokerDynamic::none(), &config).map_err(|error| error.message)
        };
        let refused = |why: &str| {
            let inner = format!("org.apache.kafka.common.config.ConfigException: {why}");
            Err(format!("Invalid value {inner} for configuration Invalid dynamic configuration"))
        };
        let threads = "Dynamic thread count update validation failed for";
        for (key, value, why) in [
            ("num.io.threads", "17", format!("{threads} num.io.threads=17, value should not be greater than double the current value 8")),
            ("background.threads", "4", format!("{threads} background.threads=4, value should be at least half the current value 10")),
            ("log.cleaner.threads", "3", "Log cleaner threads cannot be increased to more than double the current value 1".into()),
            (
                "log.local.retention.ms",
                "-1",
                "Invalid value -1 for configuration log.local.retention.ms: Value must not be -1 as log.retention.ms value is set \
                 as 604800000."
                    .into(),
            ),
        ] {
            assert_eq!(answer(key, value), refused(&why));
        }
        assert_eq!(answer("num.io.threads", "16"), Ok(()));
        let zero = "Invalid value 0 for configuration num.io.threads: Value must be at least 1";
        assert_eq!(answer("num.io.threads", "0"), Err(zero.into()));
    }

    #[test]
    fn tiered_storage_is_not_given_up_by_accident() {
        let config = Config::load(Sources::default()).expect("the defaults fit").config;
        let before = [("remote.storage.enable", "true")].into_iter().collect();
        let none = Overrides::none();
        let error = validate_topic(&none, &before, &BrokerDynamic::none(), &config)
            .expect_err("data would be stranded");
        assert!(
            error
                .message
                .starts_with("It is invalid to disable remote storage without deleting remote data.")
        );
        let deleting = [("remote.log.delete.on.disable", "true")].into_iter().collect();
        assert_eq!(validate_topic(&deleting, &before, &BrokerDynamic::none(), &config), Ok(()));
    }
}
