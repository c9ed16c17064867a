//! Patterns that groups subscribe by: RE2's syntax, matched with whole names of topics.
//!
//! A pattern comes from a client and may be hostile. Matching is linear in the name whatever the pattern; its text, its depth and
//! its compiled program have limits. Names of topics are ASCII, so classes of characters are read as what they hold of ASCII, and no
//! table of Unicode is ever compiled in.

mod syntax;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dohle_types::ErrorCode;
use dohle_wire::Text;
use regex::bytes::{Regex, RegexBuilder};

use super::denied::Denied;
use crate::topics::Topics;

/// The longest pattern.
pub const MAX_PATTERN_BYTES: usize = 4096;
/// How deep groups may nest.
const MAX_NESTING: u32 = 100;
/// The largest compiled program.
const MAX_PROGRAM_BYTES: usize = 256 * 1024;

/// What a pattern matched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    pub topics: Arc<BTreeSet<Text>>,
    /// Of the cluster's metadata.
    pub version: i64,
    /// Wall clock, milliseconds.
    pub timestamp: i64,
}

/// Refuses what is not a pattern, in Kafka's words.
pub fn validate(pattern: &str) -> Result<(), Denied> {
    compile(pattern).map(drop).map_err(|reason| {
        Denied::new(
            ErrorCode::InvalidRegularExpression,
            format!("SubscribedTopicRegex `{pattern}` is not a valid regular expression: {reason}."),
        )
    })
}

/// The names that each pattern matches. A pattern that does not compile (older software may have let it in) matches none.
pub fn resolve(patterns: &BTreeSet<Text>, topics: &Topics) -> BTreeMap<Text, BTreeSet<Text>> {
    let matching = |pattern: &Text| -> BTreeSet<Text> {
        let Ok(compiled) = compile(pattern) else { return BTreeSet::new() };
        let names = topics.iter().map(|topic| &topic.name);
        names.filter(|name| compiled.is_match(name.as_bytes())).cloned().collect()
    };
    patterns.iter().map(|pattern| (pattern.clone(), matching(pattern))).collect()
}

/// A matcher of whole names.
fn compile(pattern: &str) -> Result<Regex, &'static str> {
    if pattern.len() > MAX_PATTERN_BYTES {
        return Err("expression too long");
    }
    let translated = syntax::translate(pattern)?;
    // Alone first: a pattern may not close what stands around it.
    build(&translated)?;
    build(&format!(r"\A(?:{translated})\z"))
}

fn build(pattern: &str) -> Result<Regex, &'static str> {
    RegexBuilder::new(pattern)
        .unicode(false)
        .nest_limit(MAX_NESTING)
        .size_limit(MAX_PROGRAM_BYTES)
        .build()
        .map_err(|error| in_kafkas_words(&error))
}

/// RE2/J's description of an error; clients see it.
fn in_kafkas_words(error: &regex::Error) -> &'static str {
    let regex::Error::Syntax(text) = error else { return "expression too large" };
    let words = [
        ("unclosed group", "missing closing )"),
        ("unopened group", "regexp/syntax: internal error"),
        ("unclosed character class", "missing closing ]"),
        ("invalid character class range", "invalid character class range"),
        ("repetition operator missing expression", "missing argument to repetition operator"),
        ("repetition", "invalid repeat count"),
        ("incomplete escape", "trailing backslash at end of expression"),
        ("escape", "invalid escape sequence"),
        ("nest", "expression nests too deeply"),
        ("duplicate", "duplicate capture group name"),
        ("capture", "invalid named capture"),
    ];
    words
        .iter()
        .find(|(ours, _)| text.contains(ours))
        .map_or("invalid or unsupported Perl syntax", |(_, kafkas)| kafkas)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn topics(names: &[&str]) -> Topics {
        let mut topics = Topics::default();
        for (at, name) in (1..).zip(names) {
            let id = dohle_types::TopicId::from_u128(at);
            topics.insert(crate::topics::Topic {
                id,
                name: (*name).into(),
                partitions: 1,
                racks: Vec::new(),
            });
        }
        topics
    }

    #[test]
    fn patterns_match_whole_names() {
        let topics = topics(&["foo", "foobar", "bar", "a.b", "a-b", "A1", "x_y"]);
        let cases: &[(&str, &[&str])] = &[
            ("foo", &["foo"]),
            ("foo.*", &["foo", "foobar"]),
            ("foo|bar", &["bar", "foo"]),
            (".*", &["A1", "a-b", "a.b", "bar", "foo", "foobar", "x_y"]),
            (r"\Qa.b\E", &["a.b"]),
            (r"a.b", &["a-b", "a.b"]),
            (r"\w+", &["A1", "bar", "foo", "foobar", "x_y"]),
            (r"[\w-]+", &["A1", "a-b", "bar", "foo", "foobar", "x_y"]),
            (r"[^\d]+", &["a-b", "a.b", "bar", "foo", "foobar", "x_y"]),
            (r"\D\d", &["A1"]),
            (r"(?i)FOO", &["foo"]),
            (r"\p{Lu}\p{N}", &["A1"]),
            (r"\PLb|\pL\PLb", &["a-b", "a.b"]),
            (r"[[:alpha:]]+", &["bar", "foo", "foobar"]),
            (r"[a[]\-b", &["a-b"]),
            (r"x\_y", &["x_y"]),
            (r"(?P<name>foo)(bar)?", &["foo", "foobar"]),
            ("ä*foo", &["foo"]),
            ("^foo$", &["foo"]),
            ("fo??o*?(bar)??", &["foo", "foobar"]),
            ("fo{,2}|fo{2}", &["foo"]),
            (r"[+--]|a[]a.]b", &["a.b"]),
            (r"[[:^alpha:]]|\101\x31", &["A1"]),
            (r"[a&&b]\W[a~~b]|\p{Greek}|\p{^Lu}+\d", &["a-b", "a.b"]),
            ("", &[]),
        ];
        for (pattern, expected) in cases {
            let found = resolve(&[Text::from(*pattern)].into(), &topics);
            let found: Vec<&str> = found.values().flatten().map(Text::as_str).collect();
            assert_eq!(&found, expected, "{pattern}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_in_kafkas_words() {
        let cases = [
            ("[", "missing closing ]"),
            ("(a", "missing closing )"),
            ("a)|(b", "regexp/syntax: internal error"),
            ("*a", "missing argument to repetition operator"),
            (r"a\", "trailing backslash at end of expression"),
            (r"\y", "invalid escape sequence"),
            ("a{1001}", "invalid repeat count"),
            ("(?=a)", "invalid or unsupported Perl syntax"),
            ("(?x)a", "invalid or unsupported Perl syntax"),
            (r"\p{Nonsense1}", "invalid character class range"),
            ("[z-a]", "invalid character class range"),
            ("[[:foo:]]", "invalid character class range"),
            ("a**", "invalid nested repetition operator"),
            ("a+*", "invalid nested repetition operator"),
            ("x{2}{3}", "invalid nested repetition operator"),
            ("a{2,1}", "invalid repeat count"),
            (r"\1", "invalid escape sequence"),
            (r"\x{110000}", "invalid escape sequence"),
            (r"[\Qa\E]", "invalid escape sequence"),
            ("(?i", "invalid or unsupported Perl syntax"),
            ("(?P<n", "invalid named capture"),
            ("(?P<n>a)(?P<n>b)", "duplicate capture group name"),
            ("a|*", "missing argument to repetition operator"),
        ];
        for (pattern, reason) in cases {
            let denied = validate(pattern).unwrap_err();
            let message =
                format!("SubscribedTopicRegex `{pattern}` is not a valid regular expression: {reason}.");
            assert_eq!(denied, Denied::new(ErrorCode::InvalidRegularExpression, message), "{pattern}");
        }
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn a_hostile_pattern_costs_nothing() {
        let nested = format!("{}a{}", "(".repeat(2000), ")*".repeat(2000));
        let long = "a".repeat(MAX_PATTERN_BYTES + 1);
        let squares = "((a{100}){100}){100}".to_owned();
        let begun = std::time::Instant::now();
        for pattern in [nested, long, squares] {
            assert_eq!(validate(&pattern).unwrap_err().code, ErrorCode::InvalidRegularExpression);
        }
        let name = "a".repeat(249);
        let topics = topics(&[&name]);
        let exponential = Text::from("(a*)*(a*)*(a|a|aa)+b");
        assert!(validate(&exponential).is_ok());
        assert!(resolve(&[exponential.clone()].into(), &topics)[&exponential].is_empty());
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
}
