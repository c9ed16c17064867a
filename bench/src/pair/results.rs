//! The file of raw samples: JSON, one object a line, so that a long measurement can be made in pieces that are simply appended.
//!
//! A line with `run` begins a run and tells the machine and the command; the lines with `scenario` below it are its samples, also
//! those that were thrown away for noise.

#![allow(clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::machine::Noise;
use crate::Outcome;

/// One reading of one contestant.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sample {
    pub scenario: String,
    pub contestant: String,
    /// What was measured in the same round makes a pair.
    pub round: usize,
    /// In the order they are shown.
    pub metrics: Vec<(String, f64)>,
    #[serde(flatten)]
    pub noise: Noise,
    /// CPU by threads, stalls one by one.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub details: serde_json::Map<String, Value>,
    /// Why there are no metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

impl Sample {
    pub fn figure(&self, metric: &str) -> Option<f64> {
        self.metrics.iter().find(|(name, _)| name == metric).map(|(_, value)| *value)
    }
}

/// What a run was made on and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    pub machine: Value,
    /// The options that are not as they are by default.
    pub command: String,
    /// Name and version of every broker.
    pub brokers: Vec<(String, String)>,
    /// The day, as in 2026-11-28.
    pub day: String,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Run { run: Run },
    Sample(Sample),
}

/// Runs and their samples; the rounds of all runs are numbered through.
#[derive(Clone, Debug, Default)]
pub struct Results {
    pub runs: Vec<Run>,
    pub samples: Vec<Sample>,
}

impl Results {
    pub fn parse(text: &str) -> Outcome<Self> {
        let mut results = Self::default();
        let mut first_round = 0;
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            let line = serde_json::from_str(line).map_err(|error| format!("line {}: {error}", index + 1))?;
            match line {
                Line::Run { run } => {
                    first_round = results.samples.iter().map(|sample| sample.round + 1).max().unwrap_or(0);
                    results.runs.push(run);
                }
                Line::Sample(sample) => {
                    results.samples.push(Sample { round: first_round + sample.round, ..sample });
                }
            }
        }
        Ok(results)
    }

    pub fn read(path: &Path) -> Outcome<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Self::parse(&text).map_err(|error| format!("{}: {error}", path.display()).into())
    }

    /// Appends one run.
    pub fn append(&self, path: &Path) -> Outcome<()> {
        let mut text = String::new();
        for run in &self.runs {
            writeln!(text, "{}", serde_json::to_string(&Line::Run { run: run.clone() })?)?;
        }
        for sample in &self.samples {
            writeln!(text, "{}", serde_json::to_string(sample)?)?;
        }
        let file = std::fs::File::options().create(true).append(true).open(path);
        let mut file = file.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(file.write_all(text.as_bytes())?)
    }

    /// In how many rounds a scenario was measured.
    pub fn rounds_of(&self, scenario: &str) -> usize {
        let rounds =
            self.samples.iter().filter(|sample| sample.scenario == scenario).map(|sample| sample.round);
        rounds.collect::<BTreeSet<usize>>().len()
    }

    pub fn of(&self, scenario: &str) -> Vec<Sample> {
        self.samples.iter().filter(|sample| sample.scenario == scenario).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_are_appended_go_on_counting_rounds() {
        let run = Run {
            machine: Value::Null,
            command: "pair".into(),
            brokers: Vec::new(),
            day: "2026-11-28".into(),
        };
        let sample = |round| Sample {
            scenario: "x".into(),
            round,
            metrics: vec![("b".into(), 1.0), ("a".into(), 2.0)],
            ..Sample::default()
        };
        let once = Results { runs: vec![run], samples: vec![sample(0), sample(1)] };
        let path = std::env::temp_dir().join(format!("dohle-results-{}", std::process::id()));
        once.append(&path).unwrap();
        once.append(&path).unwrap();
        let both = Results::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(both.runs.len(), 2);
        assert_eq!(both.samples.iter().map(|sample| sample.round).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!([both.rounds_of("x"), both.rounds_of("y")], [4, 0]);
        assert_eq!(both.samples[3].metrics, sample(0).metrics);
        assert!(Results::parse("{}").unwrap_err().to_string().starts_with("line 1"));
    }
}
