//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs, ListConfigResources.

use dohle_tests_protocol::run::Run;
use dohle_wire::Text;
use dohle_wire::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use dohle_wire::messages::list_config_resources_request::ListConfigResourcesRequest;
use dohle_wire::messages::{
    alter_configs_request as legacy, incremental_alter_configs_request as incremental,
};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const LOGGER: i8 = 8;
const METRICS: i8 = 16;
const GROUP: i8 = 32;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub fn script(run: &mut Run) {
    run.topic("k-one", 1, &[("retention.ms", "5000")]);
    run.topic("k-two", 1, &[]);
    describe(run);
    run.end("describe_configs");
    alter(run);
    run.end("incremental_alter_configs");
    replace(run);
    run.end("alter_configs");
    list(run);
    run.end("list_config_resources");
}

fn resource(kind: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsResource {
    DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configuration_keys: keys.map(|keys| keys.iter().map(|key| (*key).into()).collect()),
        ..Default::default()
    }
}

fn describe(run: &mut Run) {
    let request = |resources: Vec<DescribeConfigsResource>, synonyms| DescribeConfigsRequest {
        resources,
        include_synonyms: synonyms,
        ..Default::default()
    };
    for synonyms in [false, true] {
        run.ask_in_all(
            &format!("a topic, synonyms {synonyms}"),
            &request(vec![resource(TOPIC, "k-one", None)], synonyms),
        );
        run.ask(
            &format!("a broker, synonyms {synonyms}"),
            4,
            &request(vec![resource(BROKER, "1", None)], synonyms),
        );
        run.ask(
            &format!("the default of brokers, synonyms {synonyms}"),
            4,
            &request(vec![resource(BROKER, "", None)], synonyms),
        );
        run.ask(
            &format!("a group, synonyms {synonyms}"),
            4,
            &request(vec![resource(GROUP, "g", None)], synonyms),
        );
        run.ask(
            &format!("metrics, synonyms {synonyms}"),
            4,
            &request(vec![resource(METRICS, "s", None)], synonyms),
        );
    }
    run.ask("a broker, the oldest version", 1, &request(vec![resource(BROKER, "1", None)], true));
    let documented = DescribeConfigsRequest {
        include_documentation: true,
        ..request(
            vec![
                resource(TOPIC, "k-one", Some(&["retention.ms", "cleanup.policy"])),
                resource(BROKER, "1", Some(&["log.retention.ms", "broker.id"])),
            ],
            true,
        )
    };
    run.ask_in_all("documented", &documented);
    let cases = [
        ("nothing", vec![]),
        ("some keys", vec![resource(TOPIC, "k-one", Some(&["retention.ms", "no.such.key", "retention.ms"]))]),
        ("no keys", vec![resource(TOPIC, "k-one", Some(&[]))]),
        ("unknown topic", vec![resource(TOPIC, "k-none", Some(&["retention.ms"]))]),
        ("a bad topic name", vec![resource(TOPIC, "a b", Some(&["retention.ms"]))]),
        ("no topic name", vec![resource(TOPIC, "", Some(&["retention.ms"]))]),
        ("a dot", vec![resource(TOPIC, ".", Some(&["retention.ms"]))]),
        ("a long topic name", vec![resource(TOPIC, &"n".repeat(250), Some(&["retention.ms"]))]),
        ("an internal topic", vec![resource(TOPIC, "__consumer_offsets", Some(&["retention.ms"]))]),
        ("another broker", vec![resource(BROKER, "7", Some(&["log.retention.ms"]))]),
        ("a broker that is no number", vec![resource(BROKER, "one", Some(&["log.retention.ms"]))]),
        ("a broker below zero", vec![resource(BROKER, "-1", Some(&["log.retention.ms"]))]),
        ("a broker with a plus", vec![resource(BROKER, "+1", Some(&["log.retention.ms"]))]),
        ("a broker too large", vec![resource(BROKER, "99999999999", Some(&["log.retention.ms"]))]),
        ("loggers of nobody", vec![resource(LOGGER, "", Some(&["root"]))]),
        ("loggers of another", vec![resource(LOGGER, "7", Some(&["root"]))]),
        ("loggers of one that is no number", vec![resource(LOGGER, "x", Some(&["root"]))]),
        ("metrics of no name", vec![resource(METRICS, "", None)]),
        ("group of no name", vec![resource(GROUP, "", None)]),
        ("group, some keys", vec![resource(GROUP, "g", Some(&["consumer.session.timeout.ms"]))]),
        ("type 0", vec![resource(0, "x", None)]),
        ("type 1", vec![resource(1, "x", None)]),
        ("type 3", vec![resource(3, "x", None)]),
        ("type 64", vec![resource(64, "x", None)]),
        ("type -1", vec![resource(-1, "x", None)]),
        (
            "twice",
            vec![
                resource(TOPIC, "k-one", Some(&["retention.ms"])),
                resource(TOPIC, "k-one", Some(&["cleanup.policy"])),
            ],
        ),
        (
            "good and bad",
            vec![
                resource(TOPIC, "k-one", Some(&["retention.ms"])),
                resource(TOPIC, "k-none", None),
                resource(BROKER, "9", None),
            ],
        ),
    ];
    for (name, resources) in cases {
        run.ask_in_some(name, &request(resources, true));
    }
    run.ask("loggers", 4, &request(vec![resource(LOGGER, "1", Some(&["no.such.logger"]))], true));
}

type Change<'a> = (&'a str, i8, Option<&'a str>);

fn change(kind: i8, name: &str, changes: &[Change<'_>]) -> incremental::AlterConfigsResource {
    let configs = changes.iter().map(|(name, operation, value)| incremental::AlterableConfig {
        name: (*name).into(),
        config_operation: *operation,
        value: value.map(Text::from),
        ..Default::default()
    });
    incremental::AlterConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configs: configs.collect(),
        ..Default::default()
    }
}

fn changes() -> Vec<(&'static str, Vec<incremental::AlterConfigsResource>)> {
    vec![
        ("nothing", vec![]),
        ("no changes", vec![change(TOPIC, "k-two", &[])]),
        ("set", vec![change(TOPIC, "k-two", &[("retention.ms", SET, Some("7000"))])]),
        ("set to null", vec![change(TOPIC, "k-two", &[("retention.ms", SET, None)])]),
        ("set to nothing", vec![change(TOPIC, "k-two", &[("retention.ms", SET, Some(""))])]),
        ("set to a word", vec![change(TOPIC, "k-two", &[("retention.ms", SET, Some("long"))])]),
        ("set out of range", vec![change(TOPIC, "k-two", &[("retention.ms", SET, Some("-2"))])]),
        ("set a list", vec![change(TOPIC, "k-two", &[("cleanup.policy", SET, Some("delete"))])]),
        ("append", vec![change(TOPIC, "k-two", &[("cleanup.policy", APPEND, Some("compact"))])]),
        ("append again", vec![change(TOPIC, "k-two", &[("cleanup.policy", APPEND, Some("compact"))])]),
        ("append to a number", vec![change(TOPIC, "k-two", &[("retention.ms", APPEND, Some("1"))])]),
        ("append null", vec![change(TOPIC, "k-two", &[("cleanup.policy", APPEND, None)])]),
        ("append nonsense", vec![change(TOPIC, "k-two", &[("cleanup.policy", APPEND, Some("burn"))])]),
        ("subtract", vec![change(TOPIC, "k-two", &[("cleanup.policy", SUBTRACT, Some("delete"))])]),
        (
            "subtract what is not there",
            vec![change(TOPIC, "k-two", &[("cleanup.policy", SUBTRACT, Some("burn"))])],
        ),
        (
            "subtract all",
            vec![change(TOPIC, "k-two", &[("cleanup.policy", SUBTRACT, Some("compact,delete"))])],
        ),
        ("subtract from a number", vec![change(TOPIC, "k-two", &[("retention.ms", SUBTRACT, Some("1"))])]),
        ("delete", vec![change(TOPIC, "k-two", &[("retention.ms", DELETE, None)])]),
        ("delete what is not set", vec![change(TOPIC, "k-two", &[("segment.ms", DELETE, None)])]),
        ("delete an unknown key", vec![change(TOPIC, "k-two", &[("no.such.key", DELETE, None)])]),
        ("an unknown operation", vec![change(TOPIC, "k-two", &[("retention.ms", 9, Some("1"))])]),
        ("an unknown key", vec![change(TOPIC, "k-two", &[("no.such.key", SET, Some("1"))])]),
        ("an empty key", vec![change(TOPIC, "k-two", &[("", SET, Some("1"))])]),
        (
            "a key twice",
            vec![change(TOPIC, "k-two", &[("retention.ms", SET, Some("1")), ("retention.ms", DELETE, None)])],
        ),
        (
            "a resource twice",
            vec![
                change(TOPIC, "k-two", &[("retention.ms", SET, Some("1"))]),
                change(TOPIC, "k-two", &[("segment.ms", SET, Some("1"))]),
            ],
        ),
        ("unknown topic", vec![change(TOPIC, "k-none", &[("retention.ms", SET, Some("1"))])]),
        ("bad topic name", vec![change(TOPIC, "a b", &[("retention.ms", SET, Some("1"))])]),
        ("no topic name", vec![change(TOPIC, "", &[("retention.ms", SET, Some("1"))])]),
        ("remote storage", vec![change(TOPIC, "k-two", &[("remote.storage.enable", SET, Some("true"))])]),
        ("min isr", vec![change(TOPIC, "k-two", &[("min.insync.replicas", SET, Some("0"))])]),
        ("a broker", vec![change(BROKER, "1", &[("log.cleaner.threads", SET, Some("2"))])]),
        ("a broker's default", vec![change(BROKER, "", &[("log.retention.ms", SET, Some("900000"))])]),
        ("a broker's default back", vec![change(BROKER, "", &[("log.retention.ms", DELETE, None)])]),
        ("another broker", vec![change(BROKER, "9", &[("log.retention.ms", SET, Some("900000"))])]),
        (
            "a broker that is no number",
            vec![change(BROKER, "one", &[("log.retention.ms", SET, Some("900000"))])],
        ),
        ("a read-only key", vec![change(BROKER, "1", &[("broker.id", SET, Some("5"))])]),
        ("another read-only key", vec![change(BROKER, "1", &[("log.dirs", SET, Some("/tmp/x"))])]),
        ("a read-only key for all", vec![change(BROKER, "", &[("num.partitions", SET, Some("5"))])]),
        ("a per-broker key for all", vec![change(BROKER, "", &[("listeners", SET, Some("PLAINTEXT://:1"))])]),
        ("a broker's unknown key", vec![change(BROKER, "1", &[("no.such.key", SET, Some("5"))])]),
        ("a broker's unknown key back", vec![change(BROKER, "1", &[("no.such.key", DELETE, None)])]),
        ("a broker's bad value", vec![change(BROKER, "1", &[("log.retention.ms", SET, Some("long"))])]),
        ("a broker's value out of range", vec![change(BROKER, "1", &[("num.io.threads", SET, Some("0"))])]),
        ("threads far up", vec![change(BROKER, "1", &[("num.io.threads", SET, Some("1000"))])]),
        ("threads back", vec![change(BROKER, "1", &[("log.cleaner.threads", DELETE, None)])]),
        ("a group", vec![change(GROUP, "g", &[("consumer.session.timeout.ms", SET, Some("50000"))])]),
        (
            "a group out of range",
            vec![change(GROUP, "g", &[("consumer.session.timeout.ms", SET, Some("1"))])],
        ),
        ("a group's unknown key", vec![change(GROUP, "g", &[("no.such.key", SET, Some("1"))])]),
        (
            "a group of no name",
            vec![change(GROUP, "", &[("consumer.session.timeout.ms", SET, Some("50000"))])],
        ),
        (
            "metrics",
            vec![change(METRICS, "s", &[("interval.ms", SET, Some("1000")), ("metrics", SET, Some("*"))])],
        ),
        ("metrics, bad interval", vec![change(METRICS, "s", &[("interval.ms", SET, Some("1"))])]),
        ("metrics, bad match", vec![change(METRICS, "s", &[("match", SET, Some("x"))])]),
        ("metrics, unknown key", vec![change(METRICS, "s", &[("no.such.key", SET, Some("x"))])]),
        ("metrics of no name", vec![change(METRICS, "", &[("interval.ms", SET, Some("1000"))])]),
        (
            "metrics back",
            vec![change(METRICS, "s", &[("interval.ms", DELETE, None), ("metrics", DELETE, None)])],
        ),
        ("logger of nobody", vec![change(LOGGER, "", &[("root", SET, Some("INFO"))])]),
        ("logger of another", vec![change(LOGGER, "9", &[("root", SET, Some("INFO"))])]),
        ("logger, bad level", vec![change(LOGGER, "1", &[("root", SET, Some("LOUD"))])]),
        ("logger, unknown", vec![change(LOGGER, "1", &[("no.such.logger", SET, Some("INFO"))])]),
        ("logger, append", vec![change(LOGGER, "1", &[("root", APPEND, Some("INFO"))])]),
        ("type 0", vec![change(0, "x", &[("a", SET, Some("b"))])]),
        ("type 3", vec![change(3, "x", &[("a", SET, Some("b"))])]),
        ("type 64", vec![change(64, "x", &[("a", SET, Some("b"))])]),
        (
            "good and bad",
            vec![
                change(TOPIC, "k-two", &[("segment.ms", SET, Some("60000"))]),
                change(TOPIC, "k-none", &[("retention.ms", SET, Some("1"))]),
                change(BROKER, "1", &[("broker.id", SET, Some("3"))]),
            ],
        ),
    ]
}

fn alter(run: &mut Run) {
    for validate_only in [true, false] {
        for (name, resources) in changes() {
            let request = incremental::IncrementalAlterConfigsRequest {
                resources,
                validate_only,
                ..Default::default()
            };
            let word = if validate_only { "validated" } else { "done" };
            run.ask(&format!("{name}, {word}"), 1, &request);
            if validate_only {
                run.ask(&format!("{name}, {word}"), 0, &request);
            }
        }
    }
    std::thread::sleep(std::time::Duration::from_millis(300));
    let resources = vec![
        resource(TOPIC, "k-two", None),
        resource(
            BROKER,
            "1",
            Some(&["log.cleaner.threads", "log.retention.ms", "no.such.key", "num.io.threads"]),
        ),
        resource(BROKER, "", None),
        resource(GROUP, "g", None),
        resource(METRICS, "s", None),
    ];
    run.ask(
        "afterwards",
        4,
        &DescribeConfigsRequest { resources, include_synonyms: true, ..Default::default() },
    );
}

fn replace(run: &mut Run) {
    let set = |kind: i8, name: &str, configs: &[(&str, Option<&str>)]| legacy::AlterConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configs: configs
            .iter()
            .map(|(name, value)| legacy::AlterableConfig {
                name: (*name).into(),
                value: value.map(Text::from),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let cases = [
        ("nothing", vec![]),
        (
            "a topic",
            vec![set(
                TOPIC,
                "k-one",
                &[("segment.ms", Some("70000")), ("cleanup.policy", Some("compact,delete"))],
            )],
        ),
        ("a null value", vec![set(TOPIC, "k-one", &[("segment.ms", None)])]),
        ("a bad value", vec![set(TOPIC, "k-one", &[("segment.ms", Some("x"))])]),
        ("unknown key", vec![set(TOPIC, "k-one", &[("no.such.key", Some("x"))])]),
        ("unknown topic", vec![set(TOPIC, "k-none", &[("segment.ms", Some("70000"))])]),
        ("no topic name", vec![set(TOPIC, "", &[("segment.ms", Some("70000"))])]),
        // A resource that is named twice is not asked for: Kafka fails over it, and answers nothing.
        (
            "a key twice",
            vec![set(TOPIC, "k-one", &[("segment.ms", Some("70000")), ("segment.ms", Some("80000"))])],
        ),
        ("a broker", vec![set(BROKER, "1", &[("log.cleaner.threads", Some("2"))])]),
        ("a broker, read-only", vec![set(BROKER, "1", &[("broker.id", Some("2"))])]),
        ("a broker that is no number", vec![set(BROKER, "x", &[("log.cleaner.threads", Some("2"))])]),
        ("another broker", vec![set(BROKER, "8", &[("log.cleaner.threads", Some("2"))])]),
        ("brokers", vec![set(BROKER, "", &[("log.cleaner.threads", Some("2"))])]),
        ("brokers back", vec![set(BROKER, "", &[])]),
        ("logger", vec![set(LOGGER, "1", &[("root", Some("INFO"))])]),
        ("a group", vec![set(GROUP, "h", &[("consumer.session.timeout.ms", Some("50000"))])]),
        ("metrics", vec![set(METRICS, "u", &[("interval.ms", Some("1000"))])]),
        ("type 3", vec![set(3, "u", &[("interval.ms", Some("1000"))])]),
        (
            "good and bad",
            vec![set(TOPIC, "k-one", &[("segment.ms", Some("90000"))]), set(TOPIC, "k-none", &[])],
        ),
    ];
    for validate_only in [true, false] {
        for (name, resources) in &cases {
            let request = legacy::AlterConfigsRequest {
                resources: resources.clone(),
                validate_only,
                ..Default::default()
            };
            run.ask_in_some(
                &format!("{name}, {}", if validate_only { "validated" } else { "done" }),
                &request,
            );
        }
    }
    std::thread::sleep(std::time::Duration::from_millis(300));
    let resources = vec![
        resource(TOPIC, "k-one", None),
        resource(BROKER, "", None),
        resource(GROUP, "h", None),
        resource(METRICS, "u", None),
    ];
    run.ask(
        "afterwards",
        4,
        &DescribeConfigsRequest { resources, include_synonyms: true, ..Default::default() },
    );
}

fn list(run: &mut Run) {
    for types in [
        vec![],
        vec![METRICS],
        vec![TOPIC],
        vec![BROKER],
        vec![LOGGER],
        vec![GROUP],
        vec![TOPIC, BROKER, GROUP],
        vec![0],
        vec![3],
        vec![64],
        vec![-1],
        vec![TOPIC, 3],
    ] {
        run.ask_in_all(
            &format!("types {types:?}"),
            &ListConfigResourcesRequest { resource_types: types.clone(), ..Default::default() },
        );
    }
}
