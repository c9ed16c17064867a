//! What Apache Kafka answered, one file per script, and the comparison with it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use crate::differences::Listed;

/// One request's name and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    pub case: String,
    pub lines: Vec<String>,
}

fn path(script: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(format!("{script}.txt"))
}

pub fn write(script: &str, answers: &[Answered]) {
    let mut text = String::from(
        "# Answers of Apache Kafka 4.3.1, normalised; written by the test itself (DOHLE_BLESS=1).\n",
    );
    for answer in answers {
        let _ = write!(text, "\n## {}\n", answer.case);
        for line in &answer.lines {
            text.push_str(line);
            text.push('\n');
        }
    }
    std::fs::write(path(script), text).expect("a golden file");
}

pub fn read(script: &str) -> Vec<Answered> {
    let path = path(script);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut answers: Vec<Answered> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(case) = line.strip_prefix("## ") {
            answers.push(Answered { case: case.to_owned(), lines: Vec::new() });
        } else if let Some(last) = answers.last_mut() {
            last.lines.push(line.to_owned());
        }
    }
    answers
}

/// Every difference that is not one we mean, as lines for a human; the ones we mean are counted.
pub fn compare(script: &str, kafka: &Answered, dohle: &Answered, listed: &mut Listed) -> Vec<String> {
    let case = format!("{script}/{}", kafka.case);
    let (kafka, dohle) = (fields(&kafka.lines), fields(&dohle.lines));
    let mut found = Vec::new();
    let paths: std::collections::BTreeSet<&String> = kafka.keys().chain(dohle.keys()).collect();
    for path in paths {
        let (theirs, ours) = (kafka.get(path), dohle.get(path));
        let mut check = |field: &str, theirs: &str, ours: &str| {
            if theirs == ours {
                return;
            }
            if !listed.allow(&case, field, theirs, ours) {
                found.push(format!("{case}\n    {field}\n      kafka {theirs}\n      dohle {ours}"));
            }
        };
        match (theirs, ours) {
            (Some(theirs), Some(ours)) => {
                let names: std::collections::BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
                for name in names {
                    let value = |of: &BTreeMap<String, String>| {
                        of.get(name).cloned().unwrap_or_else(|| "-".to_owned())
                    };
                    check(&format!("{path}.{name}"), &value(theirs), &value(ours));
                }
            }
            (theirs, ours) => {
                let whole =
                    |of: Option<&BTreeMap<String, String>>| of.map_or("-".to_owned(), |of| format!("{of:?}"));
                check(path, &whole(theirs), &whole(ours));
            }
        }
    }
    found
}

type Fields = BTreeMap<String, BTreeMap<String, String>>;

fn fields(lines: &[String]) -> Fields {
    lines
        .iter()
        .map(|line| {
            let (path, values) = line.split_once(':').map_or((line.as_str(), ""), |(path, _)| {
                // A path may hold colons of its own: it ends at the first ": " or at the line's end.
                let end = line.find(": ").unwrap_or(line.len() - 1);
                if path.len() == end {
                    (path, &line[(end + 1).min(line.len())..])
                } else {
                    (&line[..end], &line[(end + 1).min(line.len())..])
                }
            });
            (path.to_owned(), values_of(values))
        })
        .collect()
}

fn values_of(mut text: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    while let Some((name, rest)) = text.trim_start().split_once('=') {
        let mut end = rest.len();
        let (mut in_quotes, mut escaped) = (false, false);
        for (at, c) in rest.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' if in_quotes => escaped = true,
                '"' => in_quotes = !in_quotes,
                ' ' if !in_quotes && is_next_field(&rest[at + 1..]) => {
                    end = at;
                    break;
                }
                _ => {}
            }
        }
        values.insert(name.to_owned(), rest[..end].to_owned());
        text = &rest[end..];
    }
    values
}

fn is_next_field(text: &str) -> bool {
    let end = text.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(text.len());
    end > 0 && text[end..].starts_with('=')
}
