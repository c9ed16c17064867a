//! An answer as text: one line per struct, whatever differs from run to run replaced by a name.
//!
//! Elements of a list are named by what identifies them (a topic's name, a partition's index) and not by their place, so that a
//! list whose order means nothing compares equal in any order.

use std::collections::HashMap;
use std::fmt::{Debug, Write as _};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use regex::{Captures, Regex};

/// A timestamp this near to the present was taken from a clock.
const NEAR_MS: i64 = 3 * 3600 * 1000;
/// The fields that name an element of a list, the first that is there.
const IDENTITIES: &[&str] = &[
    "name",
    "topic_name",
    "resource_name",
    "topic",
    "topic_id",
    "api_key",
    "partition_index",
    "partition",
    "index",
    "feature",
    "node_id",
    "broker_id",
    "replica_id",
    "config_name",
    "listener",
    "log_dir",
    "group_id",
    "member_id",
    "key",
];

#[derive(Debug)]
enum Node {
    Scalar(String),
    List(Vec<Node>),
    Struct(Vec<(String, Node)>),
}

/// What differs from run to run, and the names it is given.
#[derive(Debug, Default)]
pub struct Names {
    /// Pieces of text, as ports and folders.
    pub texts: Vec<(String, String)>,
    ids: HashMap<String, String>,
    producers: Vec<String>,
    members: Vec<String>,
    pub controller_port: u16,
    pub port: u16,
}

impl Names {
    pub fn id(&mut self, id: impl Debug, name: &str) {
        self.ids.insert(format!("{id:?}"), format!("id({name})"));
    }

    fn producer(&mut self, id: &str) -> String {
        let at = self.producers.iter().position(|known| known == id).unwrap_or_else(|| {
            self.producers.push(id.to_owned());
            self.producers.len() - 1
        });
        format!("<producer-{at}>")
    }

    /// A broker gives members ids at random: they are numbered as they appear.
    fn member(&mut self, id: &str) -> String {
        let at = self.members.iter().position(|known| known == id).unwrap_or_else(|| {
            self.members.push(id.to_owned());
            self.members.len() - 1
        });
        format!("<{at}>")
    }

    /// The value of a field, or nothing when it is never compared.
    fn value(&mut self, field: &str, value: &str) -> Option<String> {
        let number = value.parse::<i64>().ok();
        let replaced = match (field, number) {
            ("unknown_tagged_fields", _) if value == "UnknownTags(None)" => return None,
            ("throttle_time_ms", _) => return None,
            ("cluster_id", _) if value.len() > 6 => "<cluster>".to_owned(),
            ("client_instance_id", _) => return None,
            ("port", Some(port)) if port == i64::from(self.port) => "<port>".to_owned(),
            ("port", Some(port)) if port == i64::from(self.controller_port) => "<controller-port>".to_owned(),
            ("producer_id" | "producer_id_start", Some(0..)) => self.producer(value),
            ("session_id", Some(1..)) => "<session>".to_owned(),
            ("finalized_features_epoch" | "log_end_offset", Some(1..)) => "<offset>".to_owned(),
            ("total_bytes" | "usable_bytes", Some(1..)) => "<bytes>".to_owned(),
            ("subscription_id", Some(_)) => "<subscription>".to_owned(),
            (_, Some(number)) if (number - now()).abs() < NEAR_MS => "<now>".to_owned(),
            (_, Some(_)) => value.to_owned(),
            _ if value.starts_with("RecordBytes(0") => "no records".to_owned(),
            _ if value.starts_with("RecordBytes(") => "records".to_owned(),
            _ if value == "AAAAAAAAAAAAAAAAAAAAAA" => "no id".to_owned(),
            _ if value.len() == 22 && !value.contains('"') => {
                self.ids.get(value).cloned().unwrap_or_else(|| "an unnamed id".to_owned())
            }
            _ => value.to_owned(),
        };
        // A clock's reading inside of a sentence.
        static INSIDE: OnceLock<Regex> = OnceLock::new();
        let inside = INSIDE.get_or_init(|| Regex::new(r"\b1[0-9]{12}\b").expect("thirteen digits"));
        let near = |text: &str| text.parse::<i64>().is_ok_and(|time| (time - now()).abs() < NEAR_MS);
        let named =
            |found: &Captures<'_>| if near(&found[0]) { "<now>".to_owned() } else { found[0].to_owned() };
        let mut replaced = inside.replace_all(&replaced, named).into_owned();
        // The present less the largest number of milliseconds.
        static FAR_PAST: OnceLock<Regex> = OnceLock::new();
        let far_past = FAR_PAST.get_or_init(|| Regex::new("-92233702[0-9]{11}").expect("nineteen digits"));
        replaced = far_past.replace_all(&replaced, "<far past>").into_owned();
        static GIVEN: OnceLock<Regex> = OnceLock::new();
        let given = GIVEN.get_or_init(|| {
            Regex::new(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").expect("an id in hexadecimal")
        });
        let is_id =
            |id: &str| id.len() == 22 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        if matches!(field, "member_id" | "leader") && is_id(replaced.trim_matches('"')) {
            replaced = self.member(replaced.trim_matches('"'));
        }
        replaced = given.replace_all(&replaced, |found: &Captures<'_>| self.member(&found[0])).into_owned();
        for (text, name) in &self.texts {
            replaced = replaced.replace(text, name);
        }
        for (id, name) in &self.ids {
            replaced = replaced.replace(id, name);
        }
        Some(replaced)
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970");
    i64::try_from(since.as_millis()).expect("a time")
}

/// The lines of an answer.
pub fn lines(answer: &impl Debug, names: &mut Names) -> Vec<String> {
    let text = format!("{answer:?}");
    let mut rest = text.as_str();
    let tree = parse(&mut rest);
    assert!(rest.is_empty(), "the form of an answer: {rest}");
    let mut lines = Vec::new();
    walk(&tree, "", names, &mut lines);
    lines
}

fn walk(node: &Node, path: &str, names: &mut Names, lines: &mut Vec<String>) {
    let Node::Struct(fields) = node else { panic!("an answer is a struct") };
    let mut line = format!("{path}:");
    for (name, value) in fields {
        if let Some(value) = flat(name, value, names) {
            let _ = write!(line, " {name}={value}");
        }
    }
    lines.push(line);
    for (name, value) in fields {
        match value {
            Node::Struct(_) => walk(value, &format!("{path}.{name}"), names, lines),
            Node::List(elements) if matches!(elements.first(), Some(Node::Struct(_))) => {
                let mut seen: HashMap<String, usize> = HashMap::new();
                let mut of_elements = Vec::new();
                for element in elements {
                    let identity = identity(element, names);
                    let times = seen.entry(identity.clone()).and_modify(|n| *n += 1).or_insert(1);
                    let again = if *times > 1 { format!("#{times}") } else { String::new() };
                    let mut lines = Vec::new();
                    walk(element, &format!("{path}.{name}[{identity}{again}]"), names, &mut lines);
                    of_elements.push((identity, *times, lines));
                }
                of_elements.sort_by(|a, b| (natural(&a.0), &a.0, a.1).cmp(&(natural(&b.0), &b.0, b.1)));
                lines.extend(of_elements.into_iter().flat_map(|(_, _, lines)| lines));
            }
            _ => {}
        }
    }
}

fn natural(identity: &str) -> i64 {
    identity.parse().unwrap_or(i64::MAX)
}

/// A value that fits in its struct's line.
fn flat(field: &str, node: &Node, names: &mut Names) -> Option<String> {
    match node {
        Node::Scalar(value) => names.value(field, value),
        Node::Struct(_) => None,
        Node::List(elements) if matches!(elements.first(), Some(Node::Struct(_))) => None,
        Node::List(elements) => {
            let values: Vec<_> = elements.iter().filter_map(|element| flat(field, element, names)).collect();
            Some(format!("[{}]", values.join(",")))
        }
    }
}

fn identity(element: &Node, names: &mut Names) -> String {
    let Node::Struct(fields) = element else { panic!("an element with fields") };
    let mut parts = Vec::new();
    for wanted in IDENTITIES {
        let found = fields.iter().find(|(name, _)| name == wanted);
        if let Some((name, Node::Scalar(value))) = found
            && let Some(value) = names.value(name, value)
            && !matches!(value.as_str(), "None" | "no id" | "\"\"")
        {
            parts.push(value.trim_matches('"').to_owned());
            break;
        }
    }
    for (name, value) in fields {
        if let ("resource_type" | "acl_operation", Node::Scalar(value)) = (name.as_str(), value) {
            parts.insert(0, value.clone());
        }
    }
    parts.join("/")
}

/// Reads what `#[derive(Debug)]` wrote.
fn parse(rest: &mut &str) -> Node {
    if let Some(after) = rest.strip_prefix('[') {
        *rest = after;
        let mut elements = Vec::new();
        while !eat(rest, "]") {
            elements.push(parse(rest));
            eat(rest, ", ");
        }
        return Node::List(elements);
    }
    if rest.starts_with('"') || rest.starts_with("b\"") {
        return Node::Scalar(quoted(rest));
    }
    if eat(rest, "Some(") {
        let inner = parse(rest);
        assert!(eat(rest, ")"), "the end of Some: {rest}");
        return inner;
    }
    let end = rest.find([',', ']', '}', ')', '(', '{']).unwrap_or(rest.len());
    let word = &rest[..end];
    if rest[end..].starts_with('{') {
        *rest = &rest[end + 1..];
        let mut fields = Vec::new();
        eat(rest, " ");
        while !eat(rest, " }") && !eat(rest, "}") {
            let colon = rest.find(": ").expect("a field's name");
            let name = rest[..colon].to_owned();
            *rest = &rest[colon + 2..];
            fields.push((name, parse(rest)));
            eat(rest, ", ");
        }
        return Node::Struct(fields);
    }
    if rest[end..].starts_with('(') {
        let close = closing(&rest[end..]) + end;
        let whole = rest[..=close].to_owned();
        *rest = &rest[close + 1..];
        return Node::Scalar(whole);
    }
    *rest = &rest[end..];
    // The last field of a struct is followed by " }".
    Node::Scalar(word.trim_end().to_owned())
}

fn closing(text: &str) -> usize {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 1 => return at,
            ')' => depth -= 1,
            _ => {}
        }
    }
    panic!("a parenthesis that is not closed: {text}")
}

fn quoted(rest: &mut &str) -> String {
    let start = rest.find('"').expect("a quote");
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(start + 1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => {
                let text = rest[..=at].to_owned();
                *rest = &rest[at + 1..];
                return text;
            }
            _ => {}
        }
    }
    panic!("a text without an end: {rest}")
}

fn eat(rest: &mut &str, token: &str) -> bool {
    let Some(after) = rest.strip_prefix(token) else { return false };
    *rest = after;
    true
}
