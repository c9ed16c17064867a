//! From samples to sentences: medians, ratios of pairs, promises kept or not. Pure: the same samples give the same text.

use super::contestant::Contestant;
use super::results::Sample;
use super::scenario::{Bar, Bound, Scenario};

/// Resamples for a confidence interval.
const RESAMPLES: usize = 2000;

/// The scenario's figures as a Markdown table, its promises below.
pub fn table(scenario: &Scenario, samples: &[Sample]) -> String {
    let contestants = contestants(samples);
    let with_figures = samples.iter().filter(|sample| sample.failed.is_none());
    let mut metrics: Vec<&str> = Vec::new();
    for (metric, _) in with_figures.flat_map(|sample| &sample.metrics) {
        if !metrics.contains(&metric.as_str()) {
            metrics.push(metric);
        }
    }
    let mut text = String::from("| median (least to most) |");
    contestants.iter().for_each(|contestant| text.push_str(&format!(" {contestant} |")));
    text.push_str(&format!("\n|---{}|\n", "|---".repeat(contestants.len())));
    for metric in metrics {
        text.push_str(&format!("| `{metric}` |"));
        for contestant in &contestants {
            text.push_str(&format!(" {} |", cell(&values(samples, contestant, metric))));
        }
        text.push('\n');
    }
    for bar in &scenario.bars {
        if let Some(verdict) = Verdict::of(bar, samples) {
            text.push_str(&format!("\n{verdict}\n"));
        }
    }
    for failed in samples.iter().filter(|sample| sample.failed.is_some()) {
        let why = failed.failed.as_deref().unwrap_or_default().lines().next().unwrap_or_default();
        text.push_str(&format!("\n{} failed in round {}: {why}\n", failed.contestant, failed.round + 1));
    }
    let noisy = samples.iter().filter(|sample| sample.noise.too_much()).count();
    if noisy > 0 {
        text.push_str(&format!("\n{noisy} of {} samples were taken on a noisy machine.\n", samples.len()));
    }
    text
}

/// In the order of their first samples.
fn contestants(samples: &[Sample]) -> Vec<String> {
    let mut contestants: Vec<String> = Vec::new();
    for sample in samples {
        if !contestants.contains(&sample.contestant) {
            contestants.push(sample.contestant.clone());
        }
    }
    contestants.sort_by_key(|name| (!name.starts_with("Kafka"), name.starts_with("Dohle")));
    contestants
}

pub fn cell(values: &[f64]) -> String {
    let (Some(least), Some(most)) = (values.first(), values.last()) else { return "-".to_owned() };
    let middle = rounded(median(values));
    if values.len() < 2 { middle } else { format!("{middle} ({} to {})", rounded(*least), rounded(*most)) }
}

/// The quiet samples of a figure in ascending order; all of them when none was quiet.
pub fn values(samples: &[Sample], contestant: &str, metric: &str) -> Vec<f64> {
    let of = |quiet: bool| {
        let mine = samples.iter().filter(|s| s.contestant == contestant && !(quiet && s.noise.too_much()));
        let mut values: Vec<f64> = mine.filter_map(|sample| sample.figure(metric)).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let quiet = of(true);
    if quiet.is_empty() { of(false) } else { quiet }
}

/// What became of a promise.
#[derive(Clone, Debug)]
pub struct Verdict {
    pub metric: &'static str,
    pub of: Contestant,
    /// Against whom, when it is a ratio.
    pub to: Option<Contestant>,
    /// The figure, or the ratios of the pairs, ascending.
    pub measured: Vec<f64>,
    pub promised: f64,
    pub aim: f64,
    /// Whether more is better.
    pub at_least: bool,
}

impl Verdict {
    /// `None` when a contestant that it is about did not take part.
    pub fn of(bar: &Bar, samples: &[Sample]) -> Option<Self> {
        let (measured, to, promised, at_least) = match bar.bound {
            Bound::Most(most) => (values(samples, &bar.of.to_string(), bar.metric), None, most, false),
            Bound::MostTimes(times, to) => (ratios(samples, bar.of, to, bar.metric)?, Some(to), times, false),
            Bound::LeastTimes(times, to) => (ratios(samples, bar.of, to, bar.metric)?, Some(to), times, true),
        };
        let verdict = Self { metric: bar.metric, of: bar.of, to, measured, promised, aim: bar.aim, at_least };
        (!verdict.measured.is_empty()).then_some(verdict)
    }

    pub fn kept(&self) -> bool {
        self.reaches(self.promised)
    }

    pub fn reaches(&self, bound: f64) -> bool {
        let middle = median(&self.measured);
        if self.at_least { middle >= bound } else { middle <= bound }
    }

    /// The median and its interval. What is to be less is told as "so many times less".
    pub fn measured_text(&self) -> String {
        let (low, high) = interval(&self.measured);
        match self.to {
            None => rounded(median(&self.measured)),
            Some(_) if self.at_least => {
                format!(
                    "{} times (95 %: {} to {})",
                    rounded(median(&self.measured)),
                    rounded(low),
                    rounded(high)
                )
            }
            Some(_) => format!(
                "{} times less (95 %: {} to {})",
                rounded(1.0 / median(&self.measured)),
                rounded(1.0 / high),
                rounded(1.0 / low)
            ),
        }
    }

    pub fn bound_text(&self, bound: f64) -> String {
        match self.to {
            None => format!("at most {}", rounded(bound)),
            Some(_) if self.at_least => format!("{} times", rounded(bound)),
            Some(_) => format!("{} times less", rounded(1.0 / bound)),
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = if self.kept() { "kept" } else { "NOT KEPT" };
        let than = self.to.map(|to| format!(" against {to}")).unwrap_or_default();
        let (measured, promised) = (self.measured_text(), self.bound_text(self.promised));
        write!(
            f,
            "Promise {word}: `{}` of {}{than} is {measured}; promised is {promised}.",
            self.metric, self.of
        )
    }
}

/// The ratio of each round's pair, ascending. Pairs with a noisy half are left out while others are there.
fn ratios(samples: &[Sample], of: Contestant, to: Contestant, metric: &str) -> Option<Vec<f64>> {
    let (of, to) = (of.to_string(), to.to_string());
    let pairs = |quiet: bool| {
        let find = |contestant: &str, round: usize| {
            samples
                .iter()
                .find(|s| s.contestant == contestant && s.round == round && !(quiet && s.noise.too_much()))
        };
        let rounds = samples.iter().map(|sample| sample.round).max().map_or(0, |last| last + 1);
        let mut ratios: Vec<f64> = (0..rounds)
            .filter_map(|round| {
                let (a, b) = (find(&of, round)?.figure(metric)?, find(&to, round)?.figure(metric)?);
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
pub fn median(values: &[f64]) -> f64 {
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
    use super::super::contestant::{DOHLE, DOHLE_SYNCED, KAFKA};
    use super::super::machine::Noise;
    use super::*;

    fn sample(contestant: Contestant, round: usize, value: f64, pressure_percent: f64) -> Sample {
        let noise = Noise { pressure_percent, steal_percent: 0.0 };
        let metrics = vec![("x".to_owned(), value)];
        Sample { contestant: contestant.to_string(), round, metrics, noise, ..Sample::default() }
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
        assert_eq!(values(&samples(), &KAFKA.to_string(), "x"), [1.8, 2.0, 2.2]);
        assert_eq!(ratios(&samples(), DOHLE, KAFKA, "x").unwrap().len(), 3);
    }

    #[test]
    fn promises_are_judged_by_the_median_of_pairs() {
        let bar = |bound, aim| Bar { metric: "x", of: DOHLE, bound, aim };
        let kept = Verdict::of(&bar(Bound::MostTimes(0.5, KAFKA), 0.1), &samples()).unwrap();
        assert!(kept.kept() && !kept.reaches(kept.aim));
        let text = kept.to_string();
        assert!(
            text.contains("kept: `x` of Dohle, page cache against Kafka, page cache is 2.00 times less"),
            "{text}"
        );
        let broken = Verdict::of(&bar(Bound::MostTimes(0.4, KAFKA), 0.1), &samples()).unwrap();
        assert!(broken.to_string().starts_with("Promise NOT KEPT"), "{broken}");
        let more = Verdict::of(&bar(Bound::LeastTimes(0.4, KAFKA), 0.1), &samples()).unwrap();
        assert!(more.kept() && more.to_string().contains("is 0.500 times"), "{more}");
        let nobody = Bar { metric: "x", of: DOHLE_SYNCED, bound: Bound::Most(1.0), aim: 1.0 };
        assert!(Verdict::of(&nobody, &samples()).is_none());
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
