//! A row of the table: what grows, what is watched meanwhile, and how fast that may grow.

use super::super::Lab;
use super::super::fit::{Fit, off_the_line};
use super::super::report::rounded;
use crate::Outcome;

pub struct Row {
    pub name: &'static str,
    pub about: &'static str,
    /// What the cost is counted in.
    pub unit: &'static str,
    pub cost: fn(&Lab, u64) -> Outcome<f64>,
    /// Sizes that take seconds each and find what is quadratic.
    pub quick: &'static [u64],
    /// Sizes that users have.
    pub weekly: &'static [u64],
    /// A size that only shows that the row works.
    pub smoke: u64,
    pub bound: Bound,
    pub most: Option<Most>,
}

/// How fast a cost may grow.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    /// So many times at most from the smallest size to the largest.
    Within(f64),
    /// As this power of n.
    Power(f64),
    /// As the logarithm of n.
    Logarithm,
    /// As n times its logarithm.
    Linearithmic,
    /// As a line with a fixed part, from which the cost of a size may be off by this part of it.
    Line(f64),
}

/// In proportion, with a tenth more for memory that is taken in steps.
pub const LINEAR: Bound = Bound::Power(1.1);

/// The most that the largest size may cost, in the row's unit.
#[derive(Clone, Copy, Debug)]
pub enum Most {
    All(f64),
    /// For each of the n.
    Each(f64),
}

/// A row that is yet to be told what it is about, its sizes and its bound.
pub const fn row(name: &'static str, cost: fn(&Lab, u64) -> Outcome<f64>) -> Row {
    Row { name, about: "", unit: "", cost, quick: &[], weekly: &[], smoke: 1, bound: LINEAR, most: None }
}

impl Row {
    pub const fn about(self, about: &'static str, unit: &'static str) -> Self {
        Self { about, unit, ..self }
    }

    pub const fn sizes(self, quick: &'static [u64], weekly: &'static [u64], smoke: u64) -> Self {
        Self { quick, weekly, smoke, ..self }
    }

    pub const fn grows(self, bound: Bound) -> Self {
        Self { bound, ..self }
    }

    pub const fn most(self, most: Most) -> Self {
        Self { most: Some(most), ..self }
    }

    /// Whether what was measured may be right, and how that is said.
    pub fn judge(&self, points: &[(f64, f64)]) -> Outcome<(bool, String)> {
        let (grows, said) = self.bound.judge(points)?;
        let Some(most) = self.most else { return Ok((grows, said)) };
        let (n, cost) = largest(points).ok_or("nothing was measured")?;
        let (cost, most, each) = match most {
            Most::All(most) => (cost, most, ""),
            Most::Each(most) => (cost / n, most, " each"),
        };
        let unit = self.unit;
        let said = format!("{said}; {} {unit}{each} of {} at most", rounded(cost), rounded(most));
        Ok((grows && cost <= most, said))
    }
}

/// The largest size, and what it cost when it cost least: noise only adds.
fn largest(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let n = points.iter().map(|(n, _)| *n).reduce(f64::max)?;
    let costs = points.iter().filter(|(size, _)| *size == n).map(|(_, cost)| *cost);
    Some((n, costs.reduce(f64::min)?))
}

impl Bound {
    fn judge(self, points: &[(f64, f64)]) -> Outcome<(bool, String)> {
        const NOTHING: &str = "no cost could be measured";
        if let Self::Line(most) = self {
            let off = off_the_line(points).ok_or(NOTHING)?;
            let said = format!("off a line by {:.0} %; at most {:.0} % is right", 100.0 * off, 100.0 * most);
            return Ok((off <= most, said));
        }
        let fit = Fit::of(points).ok_or(NOTHING)?;
        let exponent = self.exponent(points);
        Ok((fit.within(exponent), format!("grows as {fit}; at most n^{exponent:.3} is right")))
    }

    /// The largest exponent that is right over these sizes.
    fn exponent(self, points: &[(f64, f64)]) -> f64 {
        let sizes = || points.iter().map(|(n, _)| *n);
        let (least, most) = (sizes().fold(f64::MAX, f64::min), sizes().fold(1.0, f64::max));
        let power = |times: f64| times.ln() / (most / least).ln();
        let logarithm = || power(most.ln() / least.max(2.0).ln());
        match self {
            Self::Within(times) => power(times),
            Self::Power(power) => power,
            Self::Logarithm => logarithm(),
            Self::Linearithmic => 1.0 + logarithm(),
            Self::Line(_) => 1.0,
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Within(times) => write!(f, "within {times} times"),
            Self::Power(power) => write!(f, "as n^{power}"),
            Self::Logarithm => write!(f, "as log n"),
            Self::Linearithmic => write!(f, "as n log n"),
            Self::Line(off) => write!(f, "as a line, within {:.0} %", 100.0 * off),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [f64; 3] = [10.0, 100.0, 1_000.0];

    fn points(cost: fn(f64) -> f64) -> Vec<(f64, f64)> {
        SIZES.iter().chain(&SIZES).map(|n| (*n, cost(*n))).collect()
    }

    fn flat(_: &Lab, _: u64) -> Outcome<f64> {
        Ok(1.0)
    }

    #[test]
    fn bounds_are_exponents_over_the_sizes() {
        let exponent = |bound: Bound| bound.exponent(&points(|n| n));
        assert!((exponent(Bound::Within(1.1)) - 0.0207).abs() < 1e-4);
        assert!((exponent(Bound::Within(100.0)) - 1.0).abs() < 1e-9);
        // log 1000 is three times log 10.
        assert!((exponent(Bound::Logarithm) - exponent(Bound::Within(3.0))).abs() < 1e-9);
        assert!((exponent(Bound::Linearithmic) - 1.2386).abs() < 1e-4);
    }

    #[test]
    fn costs_are_held_to_their_bounds() {
        let right = |bound: Bound, cost: fn(f64) -> f64| bound.judge(&points(cost)).unwrap().0;
        assert!(right(Bound::Logarithm, f64::ln) && !right(Bound::Logarithm, f64::sqrt));
        assert!(right(Bound::Linearithmic, |n| n * n.ln()) && !right(Bound::Linearithmic, |n| n * n));
        assert!(right(Bound::Line(0.2), |n| 50.0 + n) && !right(Bound::Line(0.2), |n| n * n));
        assert!(right(LINEAR, |n| 7.0 * n) && !right(LINEAR, |n| n * n));
        assert!(Bound::Line(0.2).judge(&points(|_| 0.0)).is_err());
    }

    #[test]
    fn the_largest_size_has_a_most() {
        let row = row("x", flat);
        let judged = |most: Most, points: &[(f64, f64)]| {
            Row { most: Some(most), ..Row { bound: LINEAR, ..row } }.judge(points).unwrap().0
        };
        let mut costs = points(|n| 3.0 * n);
        assert!(judged(Most::All(3_000.0), &costs) && !judged(Most::All(2_999.0), &costs));
        assert!(judged(Most::Each(3.0), &costs) && !judged(Most::Each(2.9), &costs));
        // A figure that was high once is noise.
        costs[5].1 *= 1.2;
        assert!(judged(Most::Each(3.0), &costs));
    }
}
