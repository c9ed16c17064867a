//! The reference page: every key, from the tables (`docs/configuration.md`, `dohle config`).

use std::fmt::Write as _;

use crate::LONE_DEFAULTS;
use crate::keys::{self, DefaultValue, KeyDef, UpdateMode};

const HEAD: &str = "\
# Configuration

This page is generated from the tables in `crates/config/src/keys` by `cargo xtask config --bless`.

A node reads, later ones over earlier ones: its defaults, a file in the format of `server.properties` (`--config`), the
environment, and flags (`--set key=value`). In the environment a key is written in capitals with `_` for a dot, `__` for an
underscore and `___` for a dash, after `DOHLE_` or, as in Kafka's image, `KAFKA_`: `DOHLE_NUM_PARTITIONS=3`. Our own keys leave out
their first part: `DOHLE_DURABILITY=replicated`. A key that is not known is named in a warning, with the nearest one that is; a value
that is not allowed stops the start.

Keys that are given for one listener are written `listener.name.<listener>.<key>`.
";

/// The whole page, in Markdown.
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    section(&mut page, "Keys of our own", keys::OUR_BROKER.iter(), true);
    page.push_str("\nA topic may override `dohle.durability`.\n");
    page.push_str(
        "\n## A node alone\n\nA node with both roles, without bootstrap servers and without voters but itself, is a cluster of its own. Where \
         nothing else is set it has these values instead of the ones in the tables below, as if a file had set them, and its data in \
         `$XDG_DATA_HOME/dohle` or `~/.local/share/dohle`. A node whose only bootstrap server is its own controller listener, as in \
         Kafka's quick-start file, becomes a cluster of its own too when its folder is empty, and keeps Kafka's defaults.\n\n\
         | key | default |\n|---|---|\n",
    );
    for (name, value) in LONE_DEFAULTS {
        let _ = writeln!(page, "| `{name}` | {} |", code(value));
    }
    section(&mut page, "Keys of nodes", keys::BROKER.iter(), true);
    section(
        &mut page,
        "Quotas of brokers, which can only be set while they run",
        keys::BROKER_QUOTAS.iter(),
        false,
    );
    section(&mut page, "Keys of topics", keys::TOPIC.iter(), false);
    section(&mut page, "Keys of groups", keys::GROUP.iter(), false);
    section(&mut page, "Keys of client-metrics subscriptions", keys::CLIENT_METRICS.iter(), false);
    page
}

fn section<'a>(page: &mut String, title: &str, keys: impl Iterator<Item = &'a KeyDef>, changes: bool) {
    let (column, line) = if changes { (" change |", "---|") } else { ("", "") };
    let _ = write!(
        page,
        "\n## {title}\n\n| key | type | default | allowed |{column} what it does |\n|---|---|---|---|{line}---|\n"
    );
    for key in keys.filter(|key| !key.internal) {
        let default = match key.default {
            DefaultValue::Required => "(required)".to_owned(),
            DefaultValue::Null => "(none)".to_owned(),
            DefaultValue::Is(text) => code(text),
        };
        let change = match key.update {
            _ if !changes => "",
            UpdateMode::ReadOnly => " at start |",
            UpdateMode::PerBroker => " per broker |",
            UpdateMode::ClusterWide => " any time |",
        };
        let kind = key.kind.name().to_lowercase();
        let _ = writeln!(
            page,
            "| `{}` | {kind} | {default} | {} |{change} {} |",
            key.name,
            key.valid_text(),
            key.doc
        );
    }
}

fn code(text: &str) -> String {
    if text.is_empty() { "(empty)".to_owned() } else { format!("`{text}`") }
}
