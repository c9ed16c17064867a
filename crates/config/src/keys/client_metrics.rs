//! Keys of client-metrics subscriptions (`ClientMetricsConfigs`), sorted by name.

use super::rows::*;

#[rustfmt::skip]
pub static CLIENT_METRICS: &[KeyDef] = &[
    key("interval.ms", Int, Is("300000"), Any, Medium, ReadOnly,
        "How often the clients push, in milliseconds."),
    key("match", List, Is(""), Valid::List { of: &[], empty: true, null: false }, Medium, ReadOnly,
        "Which clients: `name=regular expression` pairs that all have to match."),
    key("metrics", List, Is(""), Valid::List { of: &[], empty: true, null: false }, Medium, ReadOnly,
        "Which metrics, by prefix of their names; `*` for all."),
];
