//! Medians, ratios of pairs, promises kept or not: as a table, as JSON, and in the document.

#![allow(clippy::disallowed_methods)]

use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::broker::Contestant;
use super::scenario::{Bar, Bound, Scenario};
use super::{Lab, Options, Sample, kafka};
use crate::Outcome;

/// The document's generated part lies between these lines.
const BEGIN: &str = "<!-- begin: written by dohle-bench pair --report -->";
const END: &str = "<!-- end -->";
/// Resamples for a confidence interval.
const RESAMPLES: usize = 2000;

#[derive(Debug)]
pub struct Report {
    machine: Value,
    options: String,
    results: Vec<(&'static Scenario, Vec<Sample>)>,
}

impl Report {
    pub fn new(lab: &Lab) -> Self {
        let Options { rounds, volume_gb, memory_gb, warm_gb, idle_seconds, .. } = &lab.options;
        let options = format!(
            "--rounds {rounds} --volume-gb {volume_gb} --memory-gb {memory_gb} --warm-gb {warm_gb} --idle-seconds {idle_seconds}"
        );
        Self { machine: lab.machine.describe(), options, results: Vec::new() }
    }

    /// Adds a scenario's samples and prints its table.
    pub fn add(&mut self, scenario: &'static Scenario, samples: Vec<Sample>) {
        println!("\n{}", table(scenario, &samples));
        self.results.push((scenario, samples));
    }

    /// Writes what the options ask for.
    pub fn write(&self, options: &Options) -> Outcome<()> {
        if let Some(path) = &options.json {
            std::fs::write(path, format!("{:#}\n", self.to_json()))?;
        }
        if let Some(path) = &options.report {
            self.fill_document(path)?;
        }
        Ok(())
    }

    fn to_json(&self) -> Value {
        let scenarios = self.results.iter().map(|(scenario, samples)| {
            let samples: Vec<Value> = samples.iter().map(sample_json).collect();
            let bars: Vec<String> =
                scenario.bars.iter().filter_map(|bar| verdict(bar, &self.samples(scenario))).collect();
            json!({ "name": scenario.name, "about": scenario.about, "samples": samples, "promises": bars })
        });
        json!({
            "machine": self.machine, "options": self.options, "kafka": kafka::VERSION,
            "scenarios": scenarios.collect::<Vec<_>>(),
        })
    }

    fn samples(&self, scenario: &Scenario) -> Vec<Sample> {
        let found = self.results.iter().find(|(other, _)| other.name == scenario.name);
        found.map(|(_, samples)| samples.clone()).unwrap_or_default()
    }

    /// Replaces what is between the document's markers.
    fn fill_document(&self, path: &Path) -> Outcome<()> {
        let document = std::fs::read_to_string(path)?;
        let (before, rest) =
            document.split_once(BEGIN).ok_or("the document has no marker for the beginning")?;
        let (_, after) = rest.split_once(END).ok_or("the document has no marker for the end")?;
        let mut text = format!("{before}{BEGIN}\n\nMeasured on: ");
        let facts = self.machine.as_object().into_iter().flatten();
        let facts = facts.map(|(name, value)| format!("{} {}", name.replace('_', " "), plain(value)));
        writeln!(text, "{}.", facts.collect::<Vec<_>>().join("; "))?;
        writeln!(
            text,
            "Apache Kafka {}. Command: `cargo run --release -p dohle-bench -- pair {}`.\n",
            kafka::VERSION,
            self.options
        )?;
        for (scenario, samples) in &self.results {
            writeln!(text, "### {}\n\n{}.\n\n{}", scenario.name, scenario.about, table(scenario, samples))?;
        }
        write!(text, "{END}{after}")?;
        std::fs::write(path, text)?;
        Ok(())
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string().replace('"', ""), str::to_owned)
}

fn sample_json(sample: &Sample) -> Value {
    let metrics: serde_json::Map<String, Value> =
        sample.metrics.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    json!({
        "contestant": sample.contestant.to_string(), "round": sample.round, "metrics": metrics,
        "pressure_percent": sample.noise.pressure_percent, "steal_percent": sample.noise.steal_percent,
        "noisy": sample.noise.too_much(),
    })
}

/// The scenario's figures as a Markdown table, its promises below.
fn table(scenario: &Scenario, samples: &[Sample]) -> String {
    let mut contestants: Vec<Contestant> = scenario.contestants.to_vec();
    contestants.retain(|contestant| samples.iter().any(|sample| sample.contestant == *contestant));
    let Some(first) = samples.first() else { return "nobody took part\n".to_owned() };
    let mut text = String::from("| median (least to most) |");
    contestants.iter().for_each(|contestant| text.push_str(&format!(" {contestant} |")));
    text.push_str(&format!("\n|---{}|\n", "|---".repeat(contestants.len())));
    for (metric, _) in &first.metrics {
        text.push_str(&format!("| `{metric}` |"));
        for contestant in &contestants {
            text.push_str(&format!(" {} |", cell(&values(samples, *contestant, metric))));
        }
        text.push('\n');
    }
    for bar in scenario.bars {
        if let Some(verdict) = verdict(bar, samples) {
            text.push_str(&format!("\n{verdict}\n"));
        }
    }
    let noisy = samples.iter().filter(|sample| sample.noise.too_much()).count();
    if noisy > 0 {
        text.push_str(&format!("\n{noisy} of {} samples were taken on a noisy machine.\n", samples.len()));
    }
    text
}

fn cell(values: &[f64]) -> String {
    let (Some(least), Some(most)) = (values.first(), values.last()) else { return "-".to_owned() };
    let middle = rounded(median(values));
    if values.len() < 2 { middle } else { format!("{middle} ({} to {})", rounded(*least), rounded(*most)) }
}

/// The quiet samples of a figure in ascending order; all of them when none was quiet.
fn values(samples: &[Sample], contestant: Contestant, metric: &str) -> Vec<f64> {
    let of = |quiet: bool| {
        let mine = samples.iter().filter(|s| s.contestant == contestant && !(quiet && s.noise.too_much()));
        let mut values: Vec<f64> = mine.filter_map(|sample| figure(sample, metric)).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let quiet = of(true);
    if quiet.is_empty() { of(false) } else { quiet }
}

fn figure(sample: &Sample, metric: &str) -> Option<f64> {
    sample.metrics.iter().find(|(name, _)| *name == metric).map(|(_, value)| *value)
}

/// One sentence about a promise. `None` when a contestant that it is about did not take part.
fn verdict(bar: &Bar, samples: &[Sample]) -> Option<String> {
    let mine = values(samples, bar.of, bar.metric);
    let (value, kept, bound) = match bar.bound {
        _ if mine.is_empty() => return None,
        Bound::Most(most) => {
            let value = median(&mine);
            (rounded(value), value <= most, format!("at most {most}"))
        }
        Bound::MostTimes(most, other) => {
            let ratios = ratios(samples, bar.of, other, bar.metric)?;
            (ratio_text(&ratios), median(&ratios) <= most, format!("at most {most} times that of {other}"))
        }
        Bound::LeastTimes(least, other) => {
            let ratios = ratios(samples, bar.of, other, bar.metric)?;
            (ratio_text(&ratios), median(&ratios) >= least, format!("at least {least} times that of {other}"))
        }
    };
    let word = if kept { "kept" } else { "NOT KEPT" };
    Some(format!("Promise {word}: `{}` of {} is {value}; promised is {bound}.", bar.metric, bar.of))
}

fn ratio_text(ratios: &[f64]) -> String {
    let (low, high) = interval(ratios);
    format!("{} times (95 %: {} to {})", rounded(median(ratios)), rounded(low), rounded(high))
}

/// The ratio of each round's pair, ascending. Pairs with a noisy half are left out while others are there.
fn ratios(samples: &[Sample], of: Contestant, to: Contestant, metric: &str) -> Option<Vec<f64>> {
    let pairs = |quiet: bool| {
        let find = |contestant: Contestant, round: usize| {
            samples
                .iter()
                .find(|s| s.contestant == contestant && s.round == round && !(quiet && s.noise.too_much()))
        };
        let rounds = samples.iter().map(|sample| sample.round).max().map_or(0, |last| last + 1);
        let mut ratios: Vec<f64> = (0..rounds)
            .filter_map(|round| {
                let (a, b) = (figure(find(of, round)?, metric)?, figure(find(to, round)?, metric)?);
                (b != 0.0).then(|| a / b)
            })
            .collect();
        ratios.sort_by(f64::total_cmp);
        ratios
    };
    let quiet = pairs(true);
    let ratios = if quiet.is_empty() { pairs(false) } else { quiet };
    (!ratios.is_empty()).then_some(ratios)
}

/// Of values in ascending order.
fn median(values: &[f64]) -> f64 {
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// The middle 95 % of the medians of resamples. The generator is fixed: the same samples give the same interval.
fn interval(values: &[f64]) -> (f64, f64) {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        values[(state % values.len() as u64) as usize]
    };
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let mut resample: Vec<f64> = values.iter().map(|_| draw()).collect();
            resample.sort_by(f64::total_cmp);
            median(&resample)
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    (medians[RESAMPLES / 40], medians[RESAMPLES - 1 - RESAMPLES / 40])
}

/// Three digits that matter.
pub fn rounded(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::broker::Durability;
    use super::super::machine::Noise;
    use super::*;

    const KAFKA: Contestant = Contestant::Kafka(Durability::PageCache);
    const DOHLE: Contestant = Contestant::Dohle(Durability::PageCache);

    fn sample(contestant: Contestant, round: usize, value: f64, pressure_percent: f64) -> Sample {
        let noise = Noise { pressure_percent, steal_percent: 0.0 };
        Sample { contestant, round, metrics: vec![("x", value)], noise }
    }

    fn samples() -> Vec<Sample> {
        let pairs = [(2.0, 1.0), (2.2, 1.0), (1.8, 1.0), (9.0, 1.0)].into_iter().enumerate();
        pairs
            .flat_map(|(round, (kafka, dohle))| {
                let pressure = if kafka == 9.0 { 50.0 } else { 0.0 };
                [sample(KAFKA, round, kafka, pressure), sample(DOHLE, round, dohle, 0.0)]
            })
            .collect()
    }

    #[test]
    fn noisy_samples_are_left_out() {
        assert_eq!(values(&samples(), KAFKA, "x"), [1.8, 2.0, 2.2]);
        assert_eq!(ratios(&samples(), DOHLE, KAFKA, "x").unwrap().len(), 3);
    }

    #[test]
    fn promises_are_judged_by_the_median_of_pairs() {
        let bar = |bound| Bar { metric: "x", of: DOHLE, bound };
        let kept = verdict(&bar(Bound::MostTimes(0.5, KAFKA)), &samples()).unwrap();
        assert!(kept.starts_with("Promise kept: `x` of Dohle, page cache is 0.500 times"), "{kept}");
        let broken = verdict(&bar(Bound::MostTimes(0.4, KAFKA)), &samples()).unwrap();
        assert!(broken.starts_with("Promise NOT KEPT"), "{broken}");
        let nobody = Bar { metric: "x", of: Contestant::Dohle(Durability::Synced), bound: Bound::Most(1.0) };
        assert!(verdict(&nobody, &samples()).is_none());
    }

    #[test]
    fn medians_and_intervals() {
        assert_eq!(median(&[1.0, 2.0, 10.0]), 2.0);
        assert_eq!(median(&[1.0, 2.0, 3.0, 10.0]), 2.5);
        let (low, high) = interval(&[1.0, 1.1, 1.2, 1.3, 1.4]);
        assert!((1.0..1.2).contains(&low) && (1.21..=1.4).contains(&high));
        assert_eq!(
            [rounded(1234.5), rounded(12.34), rounded(1.234), rounded(0.0123)],
            ["1234", "12.3", "1.23", "0.012"]
        );
    }
}
