//! `report`: the whole of `docs/performance.md`, and the figures that the README quotes, from the raw samples. A test holds both to
//! what this makes of the samples that are committed.

#![allow(clippy::disallowed_methods)]

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use super::report::{Verdict, cell, median, table, values};
use super::results::{Results, Run, Sample};
use super::scenario::{self, Scenario};
use crate::Outcome;

/// The text around the figures; each name in double braces is a part that is made here.
const TEMPLATE: &str = include_str!("../../performance.template.md");
/// What the README quotes: scenario, figure, and how it is called there.
const QUOTED: &[(&str, &str, &str)] = &[
    ("throughput", "cpu_s_per_gb", "CPU seconds of the broker per GB, produced and consumed, 64 KiB batches"),
    ("throughput", "produce_mb_per_s", "MB/s produced, broker on one core"),
    ("zstd", "cpu_s_per_gb", "CPU seconds of the broker per GB before compression, zstd"),
    ("latency", "e2e_p99.99_ms", "end-to-end p99.99 at 100 MB/s, ms"),
    ("fsync", "produce_mb_per_s", "MB/s with fsync before the acknowledgement"),
    ("start", "start_ms", "start to the first acknowledged record, ms"),
    ("memory", "rss_mib", "resident memory after gigabytes in and out, MiB"),
];
const BEGIN: &str = "<!-- begin: written by dohle-bench report -->";
const END: &str = "<!-- end -->";

#[derive(Clone, Debug, Args)]
pub struct Options {
    /// The samples that `pair --json` has gathered.
    #[arg(long, default_value = "docs/performance.jsonl")]
    pub results: PathBuf,
    /// The document to write.
    #[arg(long, default_value = "docs/performance.md")]
    pub document: PathBuf,
    /// The page that quotes from it, between its markers.
    #[arg(long, default_value = "README.md")]
    pub readme: PathBuf,
}

/// Writes both.
pub fn run(options: &Options) -> Outcome<()> {
    let results = Results::read(&options.results)?;
    let name = options.results.file_name().unwrap_or_default().to_string_lossy();
    std::fs::write(&options.document, document(&results, &name)?)?;
    let readme = read(&options.readme)?;
    std::fs::write(&options.readme, quoted(&readme, &results)?)?;
    Ok(())
}

fn read(path: &Path) -> Outcome<String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// The document for these samples, kept in the file of this name beside it.
fn document(results: &Results, name: &str) -> Outcome<String> {
    let measured: Vec<&Scenario> =
        scenario::all().iter().filter(|scenario| !results.of(&scenario.name).is_empty()).collect();
    let unknown = results.samples.iter().find(|s| measured.iter().all(|known| *known.name != s.scenario));
    if let Some(sample) = unknown {
        return Err(format!("there are samples of {}, which is no scenario", sample.scenario).into());
    }
    let parts = [
        ("runs", runs(&results.runs, name)?),
        ("promises", promises(&measured, results)?),
        ("tables", tables(&measured, results)?),
        ("pairs", pairs(&measured, results)?),
    ];
    let mut text = TEMPLATE.to_owned();
    for (part, made) in parts {
        let marker = format!("{{{{{part}}}}}");
        if !text.contains(&marker) {
            return Err(format!("the template has no {marker}").into());
        }
        text = text.replace(&marker, made.trim_end());
    }
    Ok(text)
}

fn facts(machine: &Value) -> String {
    let facts = machine.as_object().into_iter().flatten();
    let facts = facts.map(|(name, value)| format!("{} {}", name.replace('_', " "), plain(value)));
    facts.collect::<Vec<_>>().join("; ")
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string().replace('"', ""), str::to_owned)
}

/// Every machine, and what was run on it.
fn runs(runs: &[Run], name: &str) -> Outcome<String> {
    let mut machines: Vec<&Value> = Vec::new();
    for run in runs {
        if !machines.contains(&&run.machine) {
            machines.push(&run.machine);
        }
    }
    let mut text = String::new();
    for machine in machines {
        writeln!(text, "{}:\n", facts(machine))?;
        for run in runs.iter().filter(|run| run.machine == *machine) {
            let brokers = run.brokers.iter().map(|(broker, version)| format!("{broker} {version}"));
            let brokers = brokers.collect::<Vec<_>>().join(", ");
            writeln!(text, "- {}, {brokers}: `dohle-bench {} --json docs/{name}`", run.day, run.command)?;
        }
        writeln!(text)?;
    }
    Ok(text)
}

/// Every promise in one table.
fn promises(measured: &[&Scenario], results: &Results) -> Outcome<String> {
    let mut text = String::from(
        "| scenario, figure | compared | the other | Dohle | so it is | promised | kept? | aim | reached? |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for scenario in measured {
        let samples = results.of(&scenario.name);
        for verdict in scenario.bars.iter().filter_map(|bar| Verdict::of(bar, &samples)) {
            let figure = |contestant: String| rounded_median(&samples, &contestant, verdict.metric);
            let compared = match verdict.to {
                Some(to) => format!("{} : {to}", verdict.of),
                None => verdict.of.to_string(),
            };
            writeln!(
                text,
                "| {}, `{}` | {compared} | {} | {} | {} | {} | {} | {} | {} |",
                scenario.name,
                verdict.metric,
                verdict.to.map_or("-".to_owned(), |to| figure(to.to_string())),
                figure(verdict.of.to_string()),
                verdict.measured_text(),
                verdict.bound_text(verdict.promised),
                if verdict.kept() { "kept" } else { "**NOT KEPT**" },
                verdict.bound_text(verdict.aim),
                if verdict.reaches(verdict.aim) { "yes" } else { "no" },
            )?;
        }
    }
    for scenario in scenario::all().iter().filter(|one| one.promised && results.of(&one.name).is_empty()) {
        for bar in &scenario.bars {
            writeln!(
                text,
                "| {}, `{}` | {} | - | - | not measured | - | - | - | - |",
                scenario.name, bar.metric, bar.of
            )?;
        }
    }
    Ok(text)
}

fn rounded_median(samples: &[Sample], contestant: &str, metric: &str) -> String {
    super::report::rounded(median(&values(samples, contestant, metric)))
}

fn tables(measured: &[&Scenario], results: &Results) -> Outcome<String> {
    let mut text = String::new();
    for scenario in measured {
        writeln!(text, "### {}\n\n{}.\n", scenario.name, scenario.about)?;
        writeln!(text, "{}", table(scenario, &results.of(&scenario.name)))?;
    }
    Ok(text)
}

/// Every sample of every figure that something is promised about, round by round.
fn pairs(measured: &[&Scenario], results: &Results) -> Outcome<String> {
    let mut text = String::new();
    for scenario in measured {
        let samples = results.of(&scenario.name);
        let mut lines: Vec<(String, &str)> = Vec::new();
        for bar in &scenario.bars {
            let of = samples.iter().map(|sample| (sample.contestant.clone(), bar.metric));
            for line in of {
                if !lines.contains(&line) {
                    lines.push(line);
                }
            }
        }
        for (contestant, metric) in lines {
            let mine = samples.iter().filter(|sample| sample.contestant == contestant);
            let figures = mine.filter_map(|sample| {
                let noisy = if sample.noise.too_much() { "?" } else { "" };
                Some(format!("{}{noisy}", super::report::rounded(sample.figure(metric)?)))
            });
            writeln!(
                text,
                "{} {metric} {contestant}: {}",
                scenario.name,
                figures.collect::<Vec<_>>().join(" ")
            )?;
        }
    }
    Ok(text)
}

/// The page with its quotations made anew.
fn quoted(page: &str, results: &Results) -> Outcome<String> {
    let (before, rest) = page.split_once(BEGIN).ok_or("the page has no marker for the beginning")?;
    let (_, after) = rest.split_once(END).ok_or("the page has no marker for the end")?;
    let mut text =
        format!("{before}{BEGIN}\n\n| median (least to most) | Kafka 4.3 | Dohle |\n|---|---|---|\n");
    for (name, metric, called) in QUOTED {
        let samples = results.of(name);
        let scenario = &scenario::named(name)?[0];
        let bar = scenario.bars.iter().find(|bar| bar.metric == *metric);
        let bar = bar.ok_or_else(|| format!("nothing is promised about {metric} of {name}"))?;
        let of = bar.of.to_string();
        let kafka = scenario.contestants.iter().filter(|c| c.broker == "Kafka");
        let same = kafka.clone().find(|c| c.durability == bar.of.durability).or_else(|| kafka.clone().next());
        let same = same.ok_or("Kafka does not take part")?;
        let (theirs, ours) = (values(&samples, &same.to_string(), metric), values(&samples, &of, metric));
        if !theirs.is_empty() && !ours.is_empty() {
            writeln!(text, "| {called} | {} | {} |", cell(&theirs), cell(&ours))?;
        }
    }
    write!(text, "\n{END}{after}")?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page and the README say what the committed samples say: `dohle-bench report` makes them anew.
    #[test]
    fn the_documents_are_what_the_samples_make() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the folder of the project");
        let results = Results::read(&root.join("docs/performance.jsonl")).unwrap();
        let page = read(&root.join("docs/performance.md")).unwrap();
        assert!(page == document(&results, "performance.jsonl").unwrap(), "docs/performance.md is stale");
        let readme = read(&root.join("README.md")).unwrap();
        assert!(readme == quoted(&readme, &results).unwrap(), "the README quotes other figures");
    }

    #[test]
    fn runs_stand_below_their_machine() {
        let run = |cpu: &str, day: &str| Run {
            machine: serde_json::json!({ "cpu": cpu }),
            command: "pair".into(),
            brokers: vec![("Kafka".into(), "4.3.1".into())],
            day: day.into(),
        };
        let text =
            runs(&[run("old", "Monday"), run("new", "Tuesday"), run("old", "Friday")], "r.jsonl").unwrap();
        let told = |day| format!("- {day}, Kafka 4.3.1: `dohle-bench pair --json docs/r.jsonl`\n");
        assert_eq!(
            text,
            format!("cpu old:\n\n{}{}\ncpu new:\n\n{}\n", told("Monday"), told("Friday"), told("Tuesday"))
        );
    }

    #[test]
    fn a_document_has_every_part_and_a_page_quotes() {
        let sample = |contestant: &str, value: f64| Sample {
            scenario: "start".into(),
            contestant: contestant.into(),
            metrics: vec![("start_ms".into(), value)],
            ..Sample::default()
        };
        let samples = vec![sample("Kafka, page cache", 2500.0), sample("Dohle, fsync", 12.5)];
        let results = Results { runs: Vec::new(), samples };
        let text = document(&results, "r.jsonl").unwrap();
        assert!(!text.contains("{{"), "{text}");
        assert!(text.contains("| start, `start_ms` | Dohle, fsync | - | 12.5 | 12.5 | at most 50.0 | kept | at most 25.0 | yes |"), "{text}");
        assert!(text.contains("start start_ms Kafka, page cache: 2500"), "{text}");
        assert!(
            text.contains("| idle, `rss_mib` | Dohle, fsync | - | - | not measured | - | - | - | - |"),
            "{text}"
        );
        let page = quoted(&format!("a\n{BEGIN}\nold\n{END}\nz"), &results).unwrap();
        assert!(page.starts_with("a\n") && page.ends_with("\nz") && !page.contains("old"));
        assert!(page.contains("| start to the first acknowledged record, ms | 2500 | 12.5 |"), "{page}");
        let strange = Sample { scenario: "nothing".into(), ..Sample::default() };
        assert!(document(&Results { runs: Vec::new(), samples: vec![strange] }, "r").is_err());
    }
}
