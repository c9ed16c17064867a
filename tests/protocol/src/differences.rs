//! Where Dohle means to answer otherwise than Apache Kafka 4.3.1, each with the reason.

use regex::Regex;

/// A field that may differ. The patterns are regular expressions over the whole of what they are matched with.
#[derive(Debug)]
pub struct Difference {
    /// `script/case vN`.
    pub case: &'static str,
    /// `path.field`, as `.topics[x].partitions[0].error_code`; of a struct that only one side has, `path`.
    pub field: &'static str,
    /// What Kafka has there, `-` for nothing.
    pub kafka: &'static str,
    pub dohle: &'static str,
    pub reason: &'static str,
}

/// Of a broker without groups.
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        case: "api_versions/.*",
        field: r"\.api_keys\[\d+\]",
        kafka: ".*",
        dohle: "-",
        reason: "an API that is not there yet is not advertised",
    },
    Difference {
        case: "api_versions/broker.*",
        field: r"\.api_keys\[7[12]\]",
        kafka: "-",
        dohle: ".*",
        reason: "Kafka advertises telemetry only with a receiver configured; here it is always answered, with nothing subscribed",
    },
    Difference {
        case: "refused/controller, key 18 v0",
        field: ".*",
        kafka: ".*",
        dohle: ".*",
        reason: "the list of APIs is shorter, as some are not there yet",
    },
    Difference {
        case: "metadata/by neither v1[0-3]",
        field: ".*",
        kafka: ".*",
        dohle: ".*",
        reason: "a topic with neither name nor id: Kafka fails over it as a whole, with UNKNOWN_SERVER_ERROR in new versions",
    },
    Difference {
        case: r"metadata/made, (at once|two that collide) v\d+",
        field: r"\.topics\[.*\].*",
        kafka: ".*",
        dohle: ".*",
        reason: "a topic that is made is answered at once, when Kafka sends the client into another round; a name that collides is refused",
    },
    Difference {
        case: "metadata/made, one that collides v13",
        field: r"\.topics\[m_dot\]\.error_code",
        kafka: "3",
        dohle: "17",
        reason: "Kafka says that the topic is unknown, for ever; here the client learns that its name cannot be had",
    },
    Difference {
        case: "(metadata|create_topics|list_config_resources|describe_topic_partitions|describe_log_dirs)/.*",
        field: r".*\[(2/)?(c\.x_\d|m_col)\].*",
        kafka: ".*",
        dohle: ".*",
        reason: "two names that collide are not made, also when one request or two auto-creations bring both; Kafka makes them",
    },
    Difference {
        case: "describe_quorum/.*",
        field: r".*\.high_watermark",
        kafka: r"\d+",
        dohle: r"\d+",
        reason: "the metadata log has other records",
    },
    Difference {
        case: "telemetry/push, unknown compression v0",
        field: r"\.error_code",
        kafka: "89",
        dohle: "117",
        reason: "Kafka throttles a client's second push; here pushes are dropped, and none is counted",
    },
    Difference {
        case: "delete_records/a partition twice v2",
        field: ".*",
        kafka: "-",
        dohle: ".*",
        reason: "a partition that is named twice is answered twice",
    },
    Difference {
        case: "list_offsets/deleted, -3 v11",
        field: r".*\.(offset|timestamp)",
        kafka: ".*",
        dohle: ".*",
        reason: "Kafka names a record that was deleted",
    },
    Difference {
        case: r"produce/a (partition|topic) twice v\d+",
        field: ".*",
        kafka: ".*",
        dohle: ".*",
        reason: "Kafka silently drops the first batch of a partition that is named twice; here both are appended and answered",
    },
    Difference {
        case: "produce_batches/.*(magic 3|length 0|length below zero|garbage) v13",
        field: r".*\.error_message",
        kafka: r#"".*""#,
        dohle: "None",
        reason: "the code says it; the sentence is in the broker's log",
    },
    Difference {
        case: r"produce_batches/.*codec [57] v\d+",
        field: r".*\.error_code",
        kafka: "-1",
        dohle: "76",
        reason: "an unknown codec is an unsupported one, not an unknown error",
    },
    Difference {
        case: r"produce_batches/.*that is none v\d+",
        field: ".*",
        kafka: ".*",
        dohle: ".*",
        reason: "batches that are compressed are not opened where nothing has to be looked at, and are refused as invalid otherwise, where Kafka has no code; offset deltas must be 0, 1, 2..",
    },
    Difference {
        case: r"produce_idempotent/.*again v\d+",
        field: r".*\.log_append_time_ms",
        kafka: r"17\d+",
        dohle: "-1",
        reason: "Kafka answers a duplicate with its create time as if it were the append time",
    },
    Difference {
        case: "produce_idempotent/.* v13",
        field: r".*\.error_message",
        kafka: "None",
        dohle: r#""producer .*""#,
        reason: "the producer is told what was expected; Kafka keeps it in its log",
    },
    Difference {
        case: r"fetch/an isolation of 2 v\d+.*",
        field: ".*",
        kafka: ".*",
        dohle: ".*",
        reason: "an unknown isolation is read-uncommitted; Kafka has no error code for it",
    },
    Difference {
        case: r"fetch/at most -1.* v\d+.*",
        field: ".*",
        kafka: ".*",
        dohle: ".*",
        reason: "a limit below zero is a limit of zero; Kafka has no error code for it",
    },
    Difference {
        case: "fetch/good and unknown v18",
        field: ".*",
        kafka: ".*",
        dohle: ".*",
        reason: "partitions of one topic are answered under one heading; Kafka opens a second one for the unknown",
    },
    Difference {
        case: "create_topics/.*",
        field: r".*\.configs\[dohle\..*\].*",
        kafka: "-",
        dohle: ".*",
        reason: "a setting of our own",
    },
    Difference {
        case: "(describe_configs|alter_configs|incremental_alter_configs)/.*",
        field: r".*\.configs\[dohle\..*\].*",
        kafka: "-",
        dohle: ".*",
        reason: "a setting of our own",
    },
    Difference {
        case: "create_topics/spaces around.*",
        field: r".*\.value",
        kafka: r#""( 1000 |TRUE)""#,
        dohle: r#""(1000|true)""#,
        reason: "the value is shown as it was understood, as DescribeConfigs does",
    },
    Difference {
        case: "create_topics/no time v7",
        field: ".*",
        kafka: ".*",
        dohle: ".*",
        reason: "the controller answers at once, so that no time is enough time",
    },
    Difference {
        case: r"create_partitions/(far too many|10,001) v\d",
        field: r".*\.error_(code|message)",
        kafka: ".*",
        dohle: ".*",
        reason: "Kafka refuses with UNKNOWN_SERVER_ERROR; here the client is told why",
    },
    Difference {
        case: "describe_topic_partitions/no name v0",
        field: r".*\.(error_code|topic_authorized_operations)",
        kafka: ".*",
        dohle: ".*",
        reason: "an empty name is an invalid one; Kafka fails over it",
    },
    Difference {
        case: r"describe_configs/documented v\d",
        field: r".*\.documentation",
        kafka: ".*",
        dohle: ".*",
        reason: "our own words about the same settings",
    },
    Difference {
        case: "describe_log_dirs/all v4",
        field: r".*\.partition_size",
        kafka: r"\d+",
        dohle: r"\d+",
        reason: "topics of the cases in which batches are refused here and not there, or the other way",
    },
    Difference {
        case: "incremental_alter_configs/an unknown operation, .*",
        field: r".*\.error_(code|message)",
        kafka: ".*",
        dohle: ".*",
        reason: "Kafka refuses with UNKNOWN_SERVER_ERROR; here the client is told why",
    },
    Difference {
        case: "incremental_alter_configs/logger, .*",
        field: r".*\.error_(code|message)",
        kafka: ".*",
        dohle: ".*",
        reason: "levels are set when the node starts; no logger can be changed while it runs",
    },
];

/// Of groups and their offsets.
pub const OF_GROUPS: &[Difference] = &[];

/// The differences that a run may show, and how often each was seen.
#[derive(Debug)]
pub struct Listed {
    differences: &'static [Difference],
    compiled: Vec<[Regex; 4]>,
    used: Vec<usize>,
}

impl Listed {
    pub fn new(differences: &'static [Difference]) -> Self {
        let whole =
            |pattern: &str| Regex::new(&format!("^(?s:{pattern})$")).expect("a pattern of a difference");
        let compiled =
            differences.iter().map(|d| [whole(d.case), whole(d.field), whole(d.kafka), whole(d.dohle)]);
        Self { differences, compiled: compiled.collect(), used: vec![0; differences.len()] }
    }

    /// Whether a field may differ like this; counted if it may.
    pub fn allow(&mut self, case: &str, field: &str, kafka: &str, dohle: &str) -> bool {
        let given = [case, field, kafka, dohle];
        let meant =
            |patterns: &[Regex; 4]| patterns.iter().zip(given).all(|(pattern, text)| pattern.is_match(text));
        let found = self.compiled.iter().position(meant);
        found.inspect(|&at| self.used[at] += 1).is_some()
    }

    /// What is listed, and was not seen.
    pub fn unseen(&self) -> impl Iterator<Item = &'static Difference> {
        let counted = self.differences.iter().zip(&self.used);
        counted.filter(|(_, times)| **times == 0).map(|(difference, _)| difference)
    }
}
