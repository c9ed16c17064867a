//! `cargo xtask assignors`: the assignments that the tests of `crates/coordinator` expect, against Kafka's own assignors.
//!
//! Every case under `crates/coordinator/tests/assignors/` is given to Kafka's classes, which have to answer what is written there.
//! With `--bless` the file of random cases is made anew.

#![allow(clippy::disallowed_methods)]

use std::path::Path;

use dohle_wire::arbitrary::SplitMix;

use crate::jars::JavaProgram;
use crate::test::Counts;

const JAVA: &str = "xtask/java/Assignors.java";
const FOLDER: &str = "crates/coordinator/tests/assignors";
/// The cases of Kafka's own tests, and random ones.
const FILES: [&str; 2] = ["kafka.tsv", "random.tsv"];
const RANDOM: &str = FILES[1];

/// New random cases.
#[derive(Clone, Copy, Debug)]
pub struct Bless {
    pub cases: u32,
    pub seed: u64,
}

/// One count per case.
pub fn run(root: &Path, bless: Option<Bless>) -> Result<Counts, String> {
    let java = JavaProgram::new(root, JAVA)?;
    if let Some(bless) = bless {
        let path = root.join(FOLDER).join(RANDOM);
        let made = random_cases(bless);
        write(&path, &made)?;
        let cases = made.lines().zip(answers(&java, &path)?);
        let head = "# Random cases with the answers of Kafka's assignors, made by `cargo xtask assignors --bless`.\n";
        write(
            &path,
            &cases.fold(head.to_owned(), |text, (case, answer)| text + case + "\t" + &answer + "\n"),
        )?;
    }
    let mut counts = Counts::default();
    for file in FILES {
        counts.add(check(&java, &root.join(FOLDER).join(file))?);
    }
    println!("assignors: {counts}");
    Ok(counts)
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// What Kafka's assignors make of a file's cases, in their order.
fn answers(java: &JavaProgram, path: &Path) -> Result<Vec<String>, String> {
    let printed = java.run(&[path.to_str().ok_or("the repository's path is not UTF-8")?])?;
    Ok(printed.lines().map(str::to_owned).collect())
}

fn check(java: &JavaProgram, path: &Path) -> Result<Counts, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let cases: Vec<&str> = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let answers = answers(java, path)?;
    if answers.len() != cases.len() {
        return Err(format!("{}: {} cases, {} answers", path.display(), cases.len(), answers.len()));
    }
    let mut counts = Counts::default();
    for (case, answer) in cases.iter().zip(answers) {
        let (name, expected) = (case.split('\t').next(), case.rsplit('\t').next());
        if expected == Some(&answer) {
            counts.passed += 1;
        } else {
            counts.failed += 1;
            println!(
                "{}: Kafka says {answer}, not {}",
                name.unwrap_or_default(),
                expected.unwrap_or_default()
            );
        }
    }
    Ok(counts)
}

/// The first five columns of as many cases as asked for.
fn random_cases(bless: Bless) -> String {
    let mut chance = Chance(SplitMix(bless.seed));
    (0..bless.cases).fold(String::new(), |text, number| text + &random_case(number, &mut chance) + "\n")
}

struct Chance(SplitMix);

impl Chance {
    /// A number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.0.next() % bound
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

struct Member {
    name: String,
    topics: Vec<u64>,
    target: Vec<(u64, Vec<u64>)>,
}

fn random_case(number: u32, chance: &mut Chance) -> String {
    let same = chance.percent(40);
    let large = chance.percent(5);
    let topics: Vec<(u64, u64)> = (1..=1 + chance.below(if large { 12 } else { 5 }))
        .map(|topic| (topic, chance.below(if large { 60 } else { 9 })))
        .collect();
    let mut members: Vec<Member> = (0..1 + chance.below(if large { 30 } else { 6 }))
        .map(|member| random_member(member, &topics, chance))
        .collect();
    if same {
        let shared = members[0].topics.clone();
        members.iter_mut().for_each(|member| member.topics.clone_from(&shared));
    }
    own(&topics, &mut members, chance);
    if chance.percent(2) {
        members[0].topics.push(13); // which does not exist
    }
    let assignor = if chance.percent(20) { "range" } else { "uniform" };
    let kind = if same { "same" } else { "different" };
    let topics = joined(topics.iter().map(|(topic, partitions)| format!("{topic}:{partitions}")), " ");
    let members = joined(members.iter().map(Member::text), ";");
    format!("{number}\t{assignor}\t{kind}\t{topics}\t{members}")
}

fn random_member(number: u64, topics: &[(u64, u64)], chance: &mut Chance) -> Member {
    let instance = if chance.percent(20) { format!("@i{:02}", 30 - number) } else { String::new() };
    let topics = topics.iter().filter(|_| chance.percent(70)).map(|(topic, _)| *topic).collect();
    Member { name: format!("m{number:02}{instance}"), topics, target: Vec::new() }
}

/// Gives partitions to members, as assignments before this one may have: mostly to subscribers, more to some than to others.
fn own(topics: &[(u64, u64)], members: &mut [Member], chance: &mut Chance) {
    let all = members.len() as u64;
    let held = chance.below(101);
    for &(topic, partitions) in topics {
        let known = chance.below(partitions + 1).max(chance.below(partitions + 1));
        for partition in 0..known {
            let member = &mut members[chance.below(all).min(chance.below(all)) as usize];
            let wanted = member.topics.contains(&topic) || chance.percent(10);
            if !wanted || !chance.percent(held) {
                continue;
            }
            match member.target.last_mut() {
                Some((last, partitions)) if *last == topic => partitions.push(partition),
                _ => member.target.push((topic, vec![partition])),
            }
        }
    }
}

impl Member {
    fn text(&self) -> String {
        let target = self.target.iter().map(|(topic, partitions)| {
            format!("{topic}:{}", joined(partitions.iter().map(u64::to_string), "."))
        });
        let topics = joined(self.topics.iter().map(u64::to_string), ",");
        format!("{} {topics} {}", self.name, joined(target, "/"))
    }
}

/// Nothing is a dash.
fn joined(words: impl Iterator<Item = String>, separator: &str) -> String {
    let text = words.collect::<Vec<_>>().join(separator);
    if text.is_empty() { "-".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_cases() {
        let cases = random_cases(Bless { cases: 20, seed: 3 });
        assert_eq!(cases, random_cases(Bless { cases: 20, seed: 3 }));
        assert!(cases.lines().all(|case| case.split('\t').count() == 5), "{cases}");
        assert_eq!(cases.lines().count(), 20);
    }
}
