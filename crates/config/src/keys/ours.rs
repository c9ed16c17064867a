//! Our own keys, sorted by name. They all start with `dohle.`.

use super::rows::*;

#[rustfmt::skip]
pub static OUR_BROKER: &[KeyDef] = &[
    key("dohle.cores", Int, Is("0"), AtLeast(0.0), Medium, ReadOnly,
        "Cores that serve connections and partitions, one thread each; 0 for as many as the process may use."),
    key("dohle.durability", Text, Is("synced"), OneOf(&["synced", "replicated"]), High, ClusterWide,
        "When a record counts as stored: `synced` after the disk has flushed it, `replicated` as in Kafka once it is in the page cache of its replicas."),
    key("dohle.log.dir.retry.ms", Long, Is("30000"), AtLeast(-1.0), Low, ReadOnly,
        "After how long a log directory that is offline is tried out, and again after as long while it is not well; 0 or -1 for a restart only, as in Kafka."),
    key("dohle.log.format", Text, Is("text"), OneOf(&["text", "json"]), Low, ReadOnly,
        "How this node's own log lines are written to stderr."),
    key("dohle.log.level", Text, Is("info"), NonEmpty, Low, ReadOnly,
        "Which of its own log lines a node writes: a level (`error`, `warn`, `info`, `debug`), or levels per part such as `info,dohle_broker=debug`."),
    key("dohle.memory.groups.bytes", Long, Is("268435456"), AtLeast(1048576.0), Medium, ReadOnly,
        "Memory for what the members of all groups of a node say of themselves and are given to do; who wants to join beyond it is told COORDINATOR_NOT_AVAILABLE until there is room."),
    key("dohle.memory.request.bytes", Long, Is("268435456"), AtLeast(1048576.0), Medium, ReadOnly,
        "Memory for requests that are being received or wait to be processed. At least `socket.request.max.bytes`; connections wait when it is used up."),
    key("dohle.memory.tail.bytes", Long, Is("1048576"), AtLeast(0.0), Medium, ReadOnly,
        "Memory for recent records, over all partitions, from which consumers that keep up are served."),
    key("dohle.metrics.listener", Text, Is("127.0.0.1:9644"), Any, Medium, ReadOnly,
        "Address that serves `/metrics` and `/healthz` over HTTP; empty for none."),
    key("dohle.partition.rest.ms", Long, Is("60000"), AtLeast(100.0), Low, ReadOnly,
        "After how long without use a partition is closed, to be opened again for whoever comes."),
    key("dohle.shutdown.drain.ms", Long, Is("10000"), AtLeast(0.0), Low, ReadOnly,
        "How long a stopping node lets requests in flight finish."),
];

#[rustfmt::skip]
pub static OUR_TOPIC: &[KeyDef] = &[
    key("dohle.durability", Text, Is("synced"), OneOf(&["synced", "replicated"]), High, ReadOnly,
        "When a record counts as stored: `synced` after the disk has flushed it, `replicated` as in Kafka once it is in the page cache of its replicas."),
];
