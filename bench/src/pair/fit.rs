//! How a cost grows: the exponent that fits, and whether it may be the one that is right; or how far it is from a line.

/// How far below its bound an exponent has to be seen to be trusted, in standard errors.
const ERRORS: f64 = 2.0;

/// `cost = a * n^exponent`, and how sure that is.
#[derive(Clone, Copy, Debug)]
pub struct Fit {
    exponent: f64,
    error: f64,
}

impl Fit {
    /// Least squares over logarithms. `None` without three points, or with costs that have none.
    pub fn of(points: &[(f64, f64)]) -> Option<Self> {
        let logs: Vec<(f64, f64)> = points
            .iter()
            .filter(|(n, cost)| *n > 0.0 && *cost > 0.0)
            .map(|(n, cost)| (n.ln(), cost.ln()))
            .collect();
        if logs.len() < 3 || logs.len() < points.len() {
            return None;
        }
        let count = logs.len() as f64;
        let mean_x = logs.iter().map(|(x, _)| x).sum::<f64>() / count;
        let mean_y = logs.iter().map(|(_, y)| y).sum::<f64>() / count;
        let spread = logs.iter().map(|(x, _)| (x - mean_x).powi(2)).sum::<f64>();
        if spread == 0.0 {
            return None;
        }
        let exponent = logs.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>() / spread;
        let residual = logs.iter().map(|(x, y)| (y - mean_y - exponent * (x - mean_x)).powi(2)).sum::<f64>();
        Some(Self { exponent, error: (residual / (count - 2.0) / spread).sqrt() })
    }

    /// Whether the exponent may still be the bound or less.
    pub fn within(self, bound: f64) -> bool {
        self.exponent - ERRORS * self.error <= bound
    }
}

impl std::fmt::Display for Fit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "n^{:.2} (error {:.2})", self.exponent, self.error)
    }
}

/// The line `cost = a + b * n` that is nearest when distances are parts of the cost, and how far from it the mean cost of a size is at
/// most, as a part of what the line says. `None` without three sizes, or with costs that are not positive.
pub fn off_the_line(points: &[(f64, f64)]) -> Option<f64> {
    if points.iter().any(|(n, cost)| *n <= 0.0 || *cost <= 0.0) {
        return None;
    }
    let means = means(points);
    if means.len() < 3 {
        return None;
    }
    // Least squares with a weight of 1 / cost^2 for each size.
    let sum = |term: fn(f64, f64) -> f64| {
        means.iter().map(|(n, cost)| term(*n, *cost) / (cost * cost)).sum::<f64>()
    };
    let (ones, n, nn, cost, n_cost) =
        (sum(|_, _| 1.0), sum(|n, _| n), sum(|n, _| n * n), sum(|_, cost| cost), sum(|n, cost| n * cost));
    let slope = (ones * n_cost - n * cost) / (ones * nn - n * n);
    let start = (cost - slope * n) / ones;
    means.iter().map(|(n, cost)| (cost / (start + slope * n) - 1.0).abs()).reduce(f64::max)
}

/// Each size with the mean of its costs.
fn means(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut sizes: Vec<f64> = points.iter().map(|(n, _)| *n).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    let mean = |size: f64| {
        let costs: Vec<f64> = points.iter().filter(|(n, _)| *n == size).map(|(_, cost)| *cost).collect();
        (size, costs.iter().sum::<f64>() / costs.len() as f64)
    };
    sizes.into_iter().map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Costs of `n^exponent`, each off by up to so much.
    fn points(exponent: f64, noise: f64) -> Vec<(f64, f64)> {
        let sizes = [10.0_f64, 100.0, 1000.0];
        let off = [1.0 + noise, 1.0 - noise, 1.0, 1.0 - noise, 1.0, 1.0 + noise];
        sizes.iter().chain(&sizes).zip(off).map(|(n, off)| (*n, 3.0 * n.powf(exponent) * off)).collect()
    }

    #[test]
    fn the_exponent_is_found() {
        for exponent in [0.0, 0.5, 1.0, 2.0] {
            let fit = Fit::of(&points(exponent, 0.0)).unwrap();
            assert!((fit.exponent - exponent).abs() < 1e-9 && fit.error < 1e-6, "{fit}");
        }
    }

    #[test]
    fn noise_is_no_growth_and_growth_is_no_noise() {
        assert!(Fit::of(&points(0.0, 0.2)).unwrap().within(0.05));
        assert!(!Fit::of(&points(0.5, 0.2)).unwrap().within(0.1));
        assert!(!Fit::of(&points(2.0, 0.1)).unwrap().within(1.1));
        assert!(Fit::of(&points(1.0, 0.1)).unwrap().within(1.1));
        assert!(Fit::of(&[(1.0, 2.0), (2.0, 2.0)]).is_none() && Fit::of(&[(1.0, 0.0); 4]).is_none());
    }

    #[test]
    fn a_line_with_a_fixed_part_is_one_and_a_square_is_none() {
        let costs = |cost: fn(f64) -> f64| [10.0, 100.0, 1_000.0, 10_000.0].map(|n| (n, cost(n)));
        assert!(off_the_line(&costs(|n| 30.0 + 0.02 * n)).unwrap() < 1e-6);
        assert!(off_the_line(&costs(|n| 30.0 + 0.0001 * n * n)).unwrap() > 0.2);
        assert!(off_the_line(&costs(|n| n.sqrt())).unwrap() > 0.2);
        // Noise of a tenth is less than a fifth.
        assert!(off_the_line(&points(1.0, 0.1)).unwrap() < 0.2);
        assert!(
            off_the_line(&[(1.0, 1.0), (2.0, 1.0)]).is_none() && off_the_line(&[(1.0, 0.0); 4]).is_none()
        );
    }
}
