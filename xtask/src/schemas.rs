//! `cargo xtask schemas`: the tables under `schemas/` say, field by field, what the message definitions inside Kafka's jars say,
//! and the table of APIs says what Kafka's own classes say.

use std::collections::BTreeMap;
use std::path::Path;

use dohle_wire::ApiKey;
use dohle_wire::schema::{self, CommonStruct, Field, File, Kind, Message, Versions};
use serde_json::Value;

use crate::jars::JavaProgram;
use crate::test::Counts;

/// The program that asks Kafka's classes.
pub const WIRE: &str = "xtask/java/Wire.java";

/// Definitions inside the jars that are not ours to speak.
const LEFT_OUT: &[(&str, &str)] = &[
    ("QuorumStateData", "kept as JSON in the file quorum-state, never encoded"),
    ("SubscriptionInfoData", "between instances of Kafka Streams; opaque bytes to brokers"),
];

/// Compares everything; one count per message and API.
pub fn run(root: &Path) -> Result<Counts, String> {
    let files = schema::read_folder(&root.join("schemas"))?;
    let java = JavaProgram::new(root, WIRE)?;
    let definitions: Vec<Value> =
        serde_json::from_str(&java.run(&["json"])?).map_err(|error| format!("definitions: {error}"))?;
    let definitions: BTreeMap<&str, &Value> =
        definitions.iter().filter_map(|d| Some((d["name"].as_str()?, d))).collect();
    let mut check = Check::default();
    for file in &files {
        for message in &file.messages {
            check.message(file, message, definitions.get(message.name.as_str()).copied());
        }
    }
    check.nothing_missing(&files, &definitions);
    let fields = check.facts;
    apis(&java.run(&["apis"])?, &mut check);
    check.faults.iter().for_each(|fault| println!("{fault}"));
    println!("schemas: {fields} facts about messages and {} about APIs compared", check.facts - fields);
    println!("schemas: {}", check.counts);
    Ok(check.counts)
}

#[derive(Default)]
struct Check {
    counts: Counts,
    facts: usize,
    faults: Vec<String>,
}

impl Check {
    /// Closes the account of one thing that was compared.
    fn close(&mut self, faults_before: usize) {
        if self.faults.len() == faults_before { self.counts.passed += 1 } else { self.counts.failed += 1 }
    }

    fn same(&mut self, place: &str, what: &str, ours: impl ToString, kafkas: impl ToString) {
        self.facts += 1;
        let (ours, kafkas) = (ours.to_string(), kafkas.to_string());
        if ours != kafkas {
            self.faults.push(format!("{place}: {what} is {ours:?} here and {kafkas:?} in Kafka"));
        }
    }

    fn message(&mut self, file: &File, message: &Message, definition: Option<&Value>) {
        let before = self.faults.len();
        let place = message.name.as_str();
        match definition {
            None => self.faults.push(format!("{place}: Kafka has no such message")),
            Some(definition) => {
                self.same(place, "kind", kind(message.kind), text(definition, "type"));
                self.same(place, "number", number(file, message.kind), number_of(definition));
                self.same(place, "versions", message.versions, text(definition, "validVersions"));
                self.same(place, "flexible versions", message.flexible, text(definition, "flexibleVersions"));
                if let (Kind::Request, Some(api)) = (message.kind, &file.api) {
                    self.same(place, "listeners", api.listeners.join(","), list(definition, "listeners"));
                    let unstable = definition["latestVersionUnstable"].as_bool().unwrap_or(false);
                    self.same(place, "latest version unstable", api.latest_unstable, unstable);
                    self.same(place, "name of the API", format!("{}Request", api.name), place);
                }
                self.fields(place, &message.fields, &definition["fields"]);
                self.structs(place, &message.structs, &definition["commonStructs"]);
            }
        }
        self.close(before);
    }

    fn structs(&mut self, place: &str, ours: &[CommonStruct], kafkas: &Value) {
        let kafkas = kafkas.as_array().map_or(&[][..], Vec::as_slice);
        self.same(place, "number of common structs", ours.len(), kafkas.len());
        for (ours, kafkas) in ours.iter().zip(kafkas) {
            let place = format!("{place}.{}", ours.name);
            self.same(&place, "name", &ours.name, text(kafkas, "name"));
            self.same(&place, "versions", ours.versions, text(kafkas, "versions"));
            self.fields(&place, &ours.fields, &kafkas["fields"]);
        }
    }

    fn fields(&mut self, place: &str, ours: &[Field], kafkas: &Value) {
        let kafkas = kafkas.as_array().map_or(&[][..], Vec::as_slice);
        self.same(place, "number of fields", ours.len(), kafkas.len());
        for (ours, kafkas) in ours.iter().zip(kafkas) {
            self.field(&format!("{place}.{}", ours.name), ours, kafkas);
        }
    }

    fn field(&mut self, place: &str, ours: &Field, kafkas: &Value) {
        self.same(place, "name", &ours.name, text(kafkas, "name"));
        self.same(place, "type", &ours.ty, text(kafkas, "type"));
        // A field that only says where it is tagged exists there.
        let tagged =
            if kafkas.get("taggedVersions").is_some() { text(kafkas, "taggedVersions") } else { "none" };
        let versions = if kafkas.get("versions").is_some() { text(kafkas, "versions") } else { tagged };
        self.same(place, "versions", ours.versions, versions);
        let our_tagged = if ours.tag.is_some() { ours.versions } else { Versions::NONE };
        self.same(place, "tagged versions", our_tagged, tagged);
        let tag = ours.tag.map_or_else(String::new, |tag| tag.to_string());
        self.same(place, "tag", tag, plain(&kafkas["tag"]));
        let nullable =
            if kafkas.get("nullableVersions").is_some() { text(kafkas, "nullableVersions") } else { "none" };
        self.same(place, "nullable versions", ours.nullable, nullable);
        self.same(place, "default", ours.default.clone().unwrap_or_default(), plain(&kafkas["default"]));
        self.same(place, "ignorable", ours.ignorable, plain(&kafkas["ignorable"]) == "true");
        let flexible = ours.flexible.map_or_else(String::new, |versions| versions.to_string());
        self.same(place, "flexible versions", flexible, plain(&kafkas["flexibleVersions"]));
        self.fields(place, &ours.fields, &kafkas["fields"]);
    }

    /// Every definition in the jars is in a table, was retired by Kafka, or is left out for a reason.
    fn nothing_missing(&mut self, files: &[File], definitions: &BTreeMap<&str, &Value>) {
        let before = self.faults.len();
        let ours: Vec<&str> = files.iter().flat_map(|file| &file.messages).map(|m| m.name.as_str()).collect();
        for (name, definition) in definitions {
            self.facts += 1;
            let retired = text(definition, "validVersions") == "none";
            let left_out = LEFT_OUT.iter().any(|(left_out, _)| left_out == name);
            if !ours.contains(name) && !retired && !left_out {
                self.faults.push(format!("{name}: in Kafka's jars and in no table"));
            }
        }
        for (name, why) in LEFT_OUT {
            println!("left out: {name} ({why})");
        }
        self.close(before);
    }
}

/// Kafka's word for a kind of message.
fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Request => "request",
        Kind::Response => "response",
        Kind::Header => "header",
        Kind::Data => "data",
        Kind::Record(_) => "metadata",
        Kind::Key(_) => "coordinator-key",
        Kind::Value(_) => "coordinator-value",
    }
}

fn number(file: &File, kind: Kind) -> String {
    match kind {
        Kind::Request | Kind::Response => {
            file.api.as_ref().map_or_else(String::new, |api| api.key.to_string())
        }
        Kind::Record(id) | Kind::Key(id) | Kind::Value(id) => id.to_string(),
        Kind::Header | Kind::Data => String::new(),
    }
}

fn number_of(definition: &Value) -> String {
    plain(&definition["apiKey"])
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("")
}

fn list(value: &Value, key: &str) -> String {
    let items = value[key].as_array().map_or(&[][..], Vec::as_slice);
    items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
}

/// A value as Kafka's generator reads it: numbers and booleans may be quoted or not, and null is the same as nothing.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Compares [`ApiKey`] with the lines that Kafka's classes gave.
fn apis(lines: &str, check: &mut Check) {
    check.same("APIs", "number", ApiKey::ALL.len(), lines.lines().count());
    for (key, line) in ApiKey::ALL.iter().zip(lines.lines()) {
        let before = check.faults.len();
        check.same(key.name(), "row", row(*key), line);
        check.close(before);
    }
}

/// What `Wire apis` prints about an API, out of our table.
fn row(key: ApiKey) -> String {
    let versions = key.min_version()..=key.max_version();
    let headers = versions
        .map(|v| format!("{v}:{}:{}", key.request_header_version(v), key.response_header_version(v)))
        .collect::<Vec<_>>();
    let range = |versions: Option<(i16, i16)>| {
        versions.map_or_else(|| "none".to_owned(), |(min, max)| format!("{min}-{max}"))
    };
    [
        key.code().to_string(),
        key.name().to_owned(),
        key.min_version().to_string(),
        key.max_version().to_string(),
        key.latest_version(false).to_string(),
        key.latest_unstable().to_string(),
        key.on_broker_listener().to_string(),
        key.on_controller_listener().to_string(),
        key.forwardable().to_string(),
        key.cluster_action().to_string(),
        headers.join(" "),
        range(key.advertised_by_broker(false)),
        range(key.advertised_by_broker(true)),
        range(key.advertised_by_controller(false)),
    ]
    .join("\t")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "api 0 Produce broker\nrequest ProduceRequest 3-13 flexible 9+\n  Acks int16 0+ default -1 ignorable\n";

    fn faults(definition: &str) -> Vec<String> {
        let file = schema::parse(TABLE).unwrap();
        let definition = serde_json::from_str(definition).unwrap();
        let mut check = Check::default();
        check.message(&file, &file.messages[0], Some(&definition));
        check.faults
    }

    #[test]
    fn a_difference_is_told() {
        let same = r#"{"type":"request","apiKey":0,"listeners":["broker"],"name":"ProduceRequest","validVersions":"3-13",
            "flexibleVersions":"9+","fields":[
            {"name":"Acks","type":"int16","versions":"0+","default":"-1","ignorable":true}]}"#;
        assert_eq!(faults(same), Vec::<String>::new());
        for (kafkas, other) in [
            ("3-13", "3-14"),
            ("9+", "10+"),
            ("int16", "int32"),
            ("\"-1\"", "1"),
            ("true", "false"),
            ("\"broker\"", "\"controller\""),
            ("Acks", "acks"),
            ("\"default\"", "\"nullableVersions\":\"3+\",\"default\""),
            ("\"default\"", "\"tag\":0,\"taggedVersions\":\"9+\",\"default\""),
        ] {
            assert!(!faults(&same.replace(kafkas, other)).is_empty(), "{kafkas} against {other}");
        }
    }
}
