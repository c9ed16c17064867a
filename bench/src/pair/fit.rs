//! How a cost grows: the exponent that fits, and whether it may be the one that is right.

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
}
