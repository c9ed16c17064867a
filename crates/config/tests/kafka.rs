//! Our answers beside those of Apache Kafka's own classes: the golden files are written by `cargo xtask config --bless`.

use std::collections::{BTreeMap, BTreeSet};

use dohle_config::{
    Base, BrokerDynamic, Config, InvalidConfig, Overrides, Sources, describe, validate_broker,
    validate_client_metrics, validate_group, validate_topic,
};
use dohle_types::NodeId;

const CASES: &str = include_str!("data/cases.golden");
const SCENARIO: &str = include_str!("data/describe.scenario");
const DESCRIBED: &str = include_str!("data/describe.golden");

/// What every case of a server stands on, as in `xtask/java/ConfigFacts.java`.
const NODE: &[(&str, &str)] = &[
    ("process.roles", "broker,controller"),
    ("node.id", "1"),
    ("controller.quorum.voters", "1@localhost:9093"),
    ("controller.listener.names", "CONTROLLER"),
    ("listeners", "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093"),
];

type Pairs = Vec<(&'static str, &'static str)>;

fn node(statics: &[(&'static str, &'static str)]) -> Result<Config, String> {
    let mut all: BTreeMap<&str, &str> = NODE.iter().copied().collect();
    for (key, value) in statics {
        match *value {
            "(unset)" => _ = all.remove(key),
            value => _ = all.insert(key, value),
        }
    }
    let flags = all.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let base = Base { log_dir: None, host_name: Some("host".into()) };
    let loaded = Config::load(Sources { flags, base, ..Sources::default() });
    loaded.map(|loaded| loaded.config).map_err(|error| error.message)
}

fn split(pair: &'static str) -> (&'static str, &'static str) {
    pair.split_once('=').unwrap_or_else(|| panic!("no pair: {pair}"))
}

fn answer(kind: &str, properties: &Pairs, statics: &Pairs) -> Result<(), InvalidConfig> {
    let config = node(statics).expect("the file of a case is well-formed");
    let proposed: Overrides<'_> = properties.iter().copied().collect();
    let none = BrokerDynamic::none();
    match kind {
        "topic" => validate_topic(&proposed, &Overrides::none(), &none, &config),
        "group" => validate_group(&proposed, &none, &config),
        "client-metrics" => validate_client_metrics("name", &proposed),
        "broker" => validate_broker(&proposed, true, &none, &config),
        "cluster" => validate_broker(&proposed, false, &none, &config),
        other => panic!("kind of case: {other}"),
    }
}

#[test]
fn validation_answers_as_kafka_does() {
    let (mut cases, mut different) = (0, Vec::new());
    let (mut title, mut properties, mut statics) = (None, Pairs::new(), Pairs::new());
    for line in CASES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some(expected) = line.strip_prefix("-> ") else {
            match (title, line.strip_prefix('@')) {
                (None, _) => title = Some(line),
                (Some(_), Some(pair)) => statics.push(split(pair)),
                (Some(_), None) => properties.push(split(line)),
            }
            continue;
        };
        let case = title.take().expect("a case has a title");
        let kind = case.split(' ').next().expect("a kind");
        cases += 1;
        let (ours, same) = match kind {
            "server" => {
                let ours = node(&properties).map_or_else(|message| message, |_| "ok".into());
                let same = (ours == "ok") == (expected == "ok");
                (ours, same)
            }
            _ => {
                let ours = answer(kind, &properties, &statics).map_or_else(|e| e.message, |()| "ok".into());
                let same = ours == expected;
                (ours, same)
            }
        };
        if !same {
            different
                .push(format!("{case} {properties:?} {statics:?}\n  kafka: {expected}\n  ours:  {ours}"));
        }
        properties.clear();
        statics.clear();
    }
    assert!(different.is_empty(), "{} of {cases}:\n{}", different.len(), different.join("\n"));
    assert!(cases > 300);
}

#[test]
fn describe_configs_tells_what_kafka_tells() {
    let mut resources: BTreeMap<&str, Pairs> = BTreeMap::new();
    for line in SCENARIO.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (resource, pair) = line.split_once(' ').expect("a resource and a pair");
        resources.entry(resource).or_default().push(split(pair));
    }
    let pairs = |name: &str| resources.get(name).cloned().unwrap_or_default();
    let layer = |name: &str| pairs(name).into_iter().collect::<Overrides<'_>>();
    let config = node(&pairs("static")).expect("the scenario is well-formed");
    let dynamic = BrokerDynamic { per_broker: layer("broker"), cluster_default: layer("cluster") };
    let ours: BTreeSet<String> = [
        ("broker", describe::broker(Some(NodeId(1)), &dynamic, &config)),
        ("cluster", describe::broker(None, &dynamic, &config)),
        ("topic", describe::topic(&layer("topic"), &dynamic, &config)),
        ("group", describe::group(&layer("group"), &dynamic, &config)),
        ("client-metrics", describe::client_metrics(&layer("client-metrics"))),
    ]
    .into_iter()
    .flat_map(|(resource, lines)| lines.into_iter().map(move |line| shown(resource, &line)))
    .filter(|line| !line.contains("dohle."))
    .collect();
    let kafkas: BTreeSet<String> = DESCRIBED.lines().map(str::to_owned).collect();
    let only =
        |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>().join("\n");
    assert_eq!(only(&kafkas, &ours), only(&ours, &kafkas), "left: only Kafka's, right: only ours");
}

fn shown(resource: &str, line: &describe::Described) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "(null)".into());
    let synonyms: Vec<String> =
        line.synonyms.iter().map(|s| format!("{}={}/{}", s.name, text(&s.value), s.source as i8)).collect();
    let sensitive = if line.sensitive { "sensitive " } else { "" };
    let mode = if line.read_only { "read-only" } else { "dynamic" };
    let (name, value, source) = (&line.name, text(&line.value), line.source as i8);
    format!(
        "{resource}\t{name}\t{value}\t{source}\t{sensitive}{mode}\t{}\t{}",
        line.config_type,
        synonyms.join(" ")
    )
}
