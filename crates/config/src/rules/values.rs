//! Rules between numbers: of logs, replication, connections, and of our own keys.

use super::{Violation, scala};
use crate::{Config, SecurityProtocol, listener};

pub(super) fn check_identity(config: &Config) -> Result<(), Violation> {
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

pub(super) fn check_log(config: &Config) -> Result<(), Violation> {
    let topic_default =
        |key: &str| crate::topic_settings::broker_default(key, config).as_long().expect("a whole number");
    for (topic_key, key, min, words, kafka) in [
        ("segment.ms", "log.roll.ms", 1, "at least 1", "log.roll.ms must be greater than or equal to 1"),
        (
            "segment.jitter.ms",
            "log.roll.jitter.ms",
            0,
            "at least 0",
            "log.roll.jitter.ms must be greater than or equal to 0",
        ),
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
    let (dedupe, threads) =
        (config.long("log.cleaner.dedupe.buffer.size"), config.long("log.cleaner.threads"));
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
            format!(
                "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
            ),
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

pub(super) fn check_replication(config: &Config) -> Result<(), Violation> {
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

pub(super) fn check_connections(config: &Config) -> Result<(), Violation> {
    let name = config.inter_broker_listener_name();
    let sasl =
        matches!(config.protocol_of(name), Some(SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl));
    let mechanism = config.text("sasl.mechanism.inter.broker.protocol").unwrap_or_default();
    let enabled = match config.statics_of_listener(name, "sasl.enabled.mechanisms") {
        Some(own) => own.split(',').map(|entry| entry.trim().to_owned()).collect(),
        None => config.list("sasl.enabled.mechanisms").to_vec(),
    };
    if sasl && !enabled.iter().any(|enabled| enabled == mechanism) {
        return Err(Violation::new(
            "sasl.mechanism.inter.broker.protocol",
            format!(
                "sasl.mechanism.inter.broker.protocol is \"{mechanism}\" but must be one of sasl.enabled.mechanisms, {}",
                enabled.join(",")
            ),
            scala(
                "sasl.mechanism.inter.broker.protocol must be included in sasl.enabled.mechanisms when SASL is used for inter-broker \
                 communication",
            ),
        ));
    }
    let (queued, request) =
        (config.long("queued.max.request.bytes"), config.long("socket.request.max.bytes"));
    if queued > 0 && queued < request {
        return Err(Violation::new(
            "queued.max.request.bytes",
            format!(
                "queued.max.request.bytes is {queued} but must be at least socket.request.max.bytes, which is {request}"
            ),
            scala("queued.max.request.bytes must be larger or equal to socket.request.max.bytes"),
        ));
    }
    check_limits_per_address(config)?;
    let (delay, idle) =
        (config.long("connection.failed.authentication.delay.ms"), config.long("connections.max.idle.ms"));
    if idle >= 0 && delay >= idle {
        return Err(Violation::new(
            "connection.failed.authentication.delay.ms",
            format!(
                "connection.failed.authentication.delay.ms is {delay} but must be less than connections.max.idle.ms, which is {idle}"
            ),
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
            scala(
                "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.",
            ),
        ));
    }
    for pair in pairs {
        let is_good = pair.rsplit_once(':').is_some_and(|(host, count)| {
            listener::is_host(host.trim()) && count.trim().parse::<i32>().is_ok()
        });
        if !is_good {
            let host = pair.rsplit_once(':').map_or(pair, |(host, _)| host);
            return Err(Violation::new(
                OVERRIDES,
                format!(
                    "{OVERRIDES} is set to \"{text}\" but must be a list of host:count separated by commas"
                ),
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
            format!(
                "{KEY} contains \"{name}\" but must only contain names in listeners or controller.listener.names"
            ),
            format!(
                "{KEY} contains listener {name}, but this is not contained in listeners or controller.listener.names"
            ),
        )),
    }
}

/// Rules of our own keys.
pub(super) fn check_ours(config: &Config) -> Result<(), Violation> {
    let (budget, request) =
        (config.long("dohle.memory.request.bytes"), config.long("socket.request.max.bytes"));
    if config.is_set("dohle.memory.request.bytes") && budget < request {
        let sentence = format!(
            "dohle.memory.request.bytes is {budget} but must be at least socket.request.max.bytes, which is {request}"
        );
        return Err(Violation::new("dohle.memory.request.bytes", sentence.clone(), sentence));
    }
    let address = config.text("dohle.metrics.listener").unwrap_or_default();
    if !address.is_empty() && listener::parse_host_port(address).is_none() {
        let sentence = format!(
            "dohle.metrics.listener is set to \"{address}\" but must be host:port, or empty for none"
        );
        return Err(Violation::new("dohle.metrics.listener", sentence.clone(), sentence));
    }
    Ok(())
}
