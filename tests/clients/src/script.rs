//! Scripts of tool invocations with the answers they must get: data, rewritten by a flag.
//!
//! ```text
//! # a comment                          > name text   a line of the file {tmp}/name
//! $ Tool --flag {broker} "two words"   < text        a line on the tool's stdin
//! = 0             exit code            ~ a => b      a rule for what varies in this case
//! | a line of stdout                   ? mode        how stdout is compared, see `Mode`
//! ! a line of stderr                   @ command     for the Java client, before the tool runs (`docs/clients.md`)
//! ```
//! A line that a rule makes `{left out}` is not compared. A case is a `$` line and the lines that follow it. Answers (`=`, `|`, `!`) are Apache Kafka's; everything else is ours.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::normal::Rule;

/// A file of cases.
#[derive(Debug)]
pub struct Script {
    path: PathBuf,
    pub cases: Vec<Case>,
}

/// One invocation.
#[derive(Debug, Default)]
pub struct Case {
    /// The lines before the answers, as they stand in the file.
    head: Vec<String>,
    pub command: String,
    pub stdin: String,
    pub files: Vec<(String, String)>,
    /// What the Java client does first: members that come and go.
    pub before: Vec<String>,
    pub rules: Vec<Rule>,
    pub mode: Mode,
    pub answer: Answer,
}

/// How the two outputs on stdout are compared.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Exact,
    /// Order does not matter.
    Sorted,
    /// A line per API: those that either broker does not advertise (`UNSUPPORTED`) are left out on both sides.
    Advertised,
}

/// What a tool left behind, normalised.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Answer {
    pub exit: i32,
    pub out: Vec<String>,
    pub err: Vec<String>,
}

impl Script {
    pub fn read(path: &Path) -> Script {
        let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut cases: Vec<Case> = Vec::new();
        let mut comments = Vec::new();
        for line in text.lines() {
            match line.split_at_checked(2).map_or((line, ""), |(mark, rest)| (mark.trim_end(), rest)) {
                ("" | "#", _) => comments.push(line.to_owned()),
                ("$", command) => {
                    comments.push(line.to_owned());
                    let head = std::mem::take(&mut comments);
                    cases.push(Case { head, command: command.to_owned(), ..Case::default() });
                }
                (mark, rest) => {
                    let case = cases
                        .last_mut()
                        .unwrap_or_else(|| panic!("{}: '{line}' before a case", path.display()));
                    case.take(mark, rest, line);
                }
            }
        }
        Script { path: path.to_owned(), cases }
    }

    /// Writes the file anew, with these answers.
    pub fn bless(&self, answers: &[Answer]) {
        let mut text = String::new();
        for (case, answer) in self.cases.iter().zip(answers) {
            for line in &case.head {
                let _ = writeln!(text, "{line}");
            }
            text.push_str(&answer.to_string());
        }
        std::fs::write(&self.path, text).unwrap_or_else(|e| panic!("{}: {e}", self.path.display()));
    }
}

impl Case {
    fn take(&mut self, mark: &str, rest: &str, line: &str) {
        match mark {
            "=" => self.answer.exit = rest.parse().expect("an exit code"),
            "|" => self.answer.out.push(rest.to_owned()),
            "!" => self.answer.err.push(rest.to_owned()),
            _ => {
                self.head.push(line.to_owned());
                match mark {
                    "<" => self.stdin += &format!("{rest}\n"),
                    "~" => self.rules.push(Rule::parse(rest)),
                    "@" => self.before.push(rest.to_owned()),
                    ">" => {
                        let (name, text) = rest.split_once(' ').expect("a file's name and a line");
                        self.files.push((name.to_owned(), text.to_owned()));
                    }
                    "?" => self.mode = Mode::named(rest),
                    _ => panic!("'{line}' is no line of a script"),
                }
            }
        }
    }

    /// The words of the command; double quotes hold blanks together.
    pub fn words(command: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut quoted = false;
        for c in command.chars() {
            match c {
                '"' => quoted = !quoted,
                ' ' if !quoted => words.push(String::new()),
                c => words.last_mut().expect("a word is open").push(c),
            }
        }
        words
    }

    /// How `got` differs from what stands in the script, `-` for Kafka's lines and `+` for those here; `None` when it does not.
    pub fn difference(&self, got: &Answer) -> Option<String> {
        let (wanted, got) = self.mode.compared(&self.answer, got);
        let (wanted, got) = (wanted.to_string(), got.to_string());
        let (wanted, got): (Vec<&str>, Vec<&str>) = (wanted.lines().collect(), got.lines().collect());
        (wanted != got).then(|| format!("$ {}\n{}", self.command, changes(&wanted, &got)))
    }
}

/// The lines that are only in one of two texts, in order, by their longest common subsequence.
fn changes(wanted: &[&str], got: &[&str]) -> String {
    let mut common = vec![vec![0usize; got.len() + 1]; wanted.len() + 1];
    for (i, w) in wanted.iter().enumerate().rev() {
        for (j, g) in got.iter().enumerate().rev() {
            let longer = common[i + 1][j].max(common[i][j + 1]);
            common[i][j] = if w == g { common[i + 1][j + 1] + 1 } else { longer };
        }
    }
    let (mut i, mut j, mut text) = (0, 0, String::new());
    while i < wanted.len() || j < got.len() {
        if i < wanted.len() && j < got.len() && wanted[i] == got[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == got.len() || (i < wanted.len() && common[i + 1][j] >= common[i][j + 1]) {
            let _ = writeln!(text, "- {}", wanted[i]);
            i += 1;
        } else {
            let _ = writeln!(text, "+ {}", got[j]);
            j += 1;
        }
    }
    text
}

impl Mode {
    fn named(name: &str) -> Mode {
        match name {
            "sorted" => Mode::Sorted,
            "advertised" => Mode::Advertised,
            other => panic!("'{other}' is no way to compare"),
        }
    }

    fn compared(self, wanted: &Answer, got: &Answer) -> (Answer, Answer) {
        let (mut wanted, mut got) = (wanted.clone(), got.clone());
        match self {
            Mode::Exact => {}
            Mode::Sorted => [&mut wanted, &mut got].into_iter().for_each(|a| a.out.sort()),
            Mode::Advertised => {
                // The last API of the list has no comma behind it; which one that is depends on what is left out.
                let plain = |line: &String| line.trim_end_matches(',').to_owned();
                let name = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
                let both = wanted.out.iter().chain(&got.out);
                let missing: Vec<String> =
                    both.filter(|l| l.contains("UNSUPPORTED")).map(|l| name(l)).collect();
                for answer in [&mut wanted, &mut got] {
                    answer.out =
                        answer.out.iter().filter(|l| !missing.contains(&name(l))).map(plain).collect();
                }
            }
        }
        (wanted, got)
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut line = |mark: char, text: &str| match text {
            "" => writeln!(f, "{mark}"),
            text => writeln!(f, "{mark} {text}"),
        };
        line('=', &self.exit.to_string())?;
        self.out.iter().try_for_each(|l| line('|', l))?;
        self.err.iter().try_for_each(|l| line('!', l))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_reads_back_what_it_wrote() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("script.txt");
        std::fs::write(&path, "# about\n$ Tool --a \"b c\"\n< in\n~ x => y\n= 0\n\n$ Other\n")
            .expect("a script");
        let script = Script::read(&path);
        assert_eq!(Case::words(&script.cases[0].command), ["Tool", "--a", "b c"]);
        let answer = Answer { exit: 3, out: vec!["o".into(), String::new()], err: vec!["e".into()] };
        script.bless(&[answer.clone(), Answer::default()]);
        let again = Script::read(&path);
        assert_eq!(again.cases[0].answer, answer);
        assert_eq!(
            std::fs::read_to_string(&path).expect("a script"),
            "# about\n$ Tool --a \"b c\"\n< in\n~ x => y\n= 3\n| o\n|\n! e\n\n$ Other\n= 0\n"
        );
        assert!(again.cases[0].difference(&answer).is_none());
        let other = Answer { out: vec!["p".into(), String::new()], ..answer };
        assert_eq!(again.cases[0].difference(&other).as_deref(), Some("$ Tool --a \"b c\"\n- | o\n+ | p\n"));
    }
}
