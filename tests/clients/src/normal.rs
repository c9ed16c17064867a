//! What a tool printed, freed of what differs from run to run: ports, ids, paths, times.
//!
//! Never: hides a difference that a script did not name. Beyond the names of this run and the fixed rules below, each case
//! says itself what varies.

use regex::Regex;

/// The names of one run and the rules that hold for all scripts.
#[derive(Debug)]
pub struct Normal {
    names: Vec<(String, String)>,
    rules: Vec<Rule>,
}

/// Replaces what a pattern matches, line by line.
#[derive(Debug, Clone)]
pub struct Rule {
    pattern: Regex,
    replacement: String,
}

impl Rule {
    /// From `pattern => replacement`.
    pub fn parse(text: &str) -> Rule {
        let (pattern, replacement) =
            text.split_once(" => ").unwrap_or_else(|| panic!("'{text}' is not a rule"));
        let pattern = Regex::new(pattern).unwrap_or_else(|e| panic!("'{text}': {e}"));
        Rule { pattern, replacement: replacement.to_owned() }
    }
}

/// In every script: the ids of topics, the number that the tools' JVM gives to each admin client, and sets that Java prints in an
/// order which each JVM draws anew.
const RULES: [&str; 4] = [
    r"\bTopicId: \S{22}\b => TopicId: {topic-id}",
    r"\badminclient-\d+\b => adminclient-{n}",
    r"( options| scenarios): \[.*\]$ => $1: {a set}",
    r"(Valid states are): .*$ => $1: {a set}",
];

/// What a rule makes of a line that is there or not, as it happens.
const LEFT_OUT: &str = "{left out}";

impl Normal {
    /// `names` are pairs of what stands in this run and what stands in a script; `rules` hold beside the fixed ones.
    pub fn of(names: Vec<(String, String)>, rules: &[String]) -> Normal {
        let fixed = RULES.into_iter().chain(rules.iter().map(String::as_str));
        Normal { names, rules: fixed.map(Rule::parse).collect() }
    }

    /// The words of a script's command, as this run needs them.
    pub fn expand(&self, command: &str) -> String {
        self.names.iter().fold(command.to_owned(), |text, (real, name)| text.replace(name, real))
    }

    /// The lines of an output as a script has them: names put in, rules applied; gone are trailing blanks, the frames of
    /// Java's stack traces, the table of a tool's options, and among settings those of our own, which Kafka cannot have.
    pub fn lines(&self, output: &str, of_the_case: &[Rule]) -> Vec<String> {
        let named = self.names.iter().fold(output.to_owned(), |text, (real, name)| text.replace(real, name));
        let frame = |line: &&str| line.starts_with("\tat ") || line.starts_with("\t... ");
        let own_key = |line: &&str| line.starts_with("  dohle.");
        let ruled = |line: &str| {
            let rules = self.rules.iter().chain(of_the_case);
            rules.fold(line.to_owned(), |text, r| {
                r.pattern.replace_all(&text, r.replacement.as_str()).into_owned()
            })
        };
        let mut lines: Vec<String> = named
            .lines()
            .filter(|l| !frame(l) && !own_key(l))
            .map(|l| ruled(l).trim_end().to_owned())
            .filter(|l| l != LEFT_OUT)
            .collect();
        without_options(&mut lines);
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines
    }
}

/// The table of options that a tool prints behind a mistake is its own text, whatever broker it speaks to: one line stands for it.
fn without_options(lines: &mut Vec<String>) {
    let head = |line: &String| line.split_whitespace().eq(["Option", "Description"]);
    let row = |line: &&String| line.is_empty() || line.starts_with(['-', ' ', '\t', '*']);
    while let Some(at) = lines.iter().position(head) {
        let rows = lines[at + 1..].iter().take_while(row).count();
        lines.splice(at..=at + rows, ["{options}".to_owned()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_rules_are_applied_to_every_line() {
        let normal = Normal::of(vec![("127.0.0.1:20001".to_owned(), "{broker}".to_owned())], &[]);
        let output = "at 127.0.0.1:20001 TopicId: psYswXSQRdyf9hpJKNrgBg \nfailed\n\tat some.Class\n3 ms\n\n";
        let lines = normal.lines(output, &[Rule::parse(r"\d+ ms => {n} ms")]);
        assert_eq!(lines, ["at {broker} TopicId: {topic-id}", "failed", "{n} ms"]);
        assert_eq!(normal.expand("--to {broker}"), "--to 127.0.0.1:20001");
    }

    #[test]
    fn a_table_of_options_is_one_line() {
        let output = "wrong\nOption      Description\n------      -----------\n--list      Lists\n              all.\n* --to      Needed\n\nMore\n";
        assert_eq!(Normal::of(vec![], &[]).lines(output, &[]), ["wrong", "{options}", "More"]);
    }
}
