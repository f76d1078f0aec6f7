//! What samples that no solver has seen tell of potentials.
//!
//! ```text
//! F(g) = E f(x) + <b, g>                                            its mean, and the error of a mean
//! chi^2 = sum_j b_j (E r_j - 1)^2 = E <r, r'>_b - 1                  over independent groups of samples
//! ```
//!
//! F(g) is a lower bound of the optimum. The second is the chi-squared divergence of the plan's marginal from b: a product of
//! independent groups has no bias where the square of a mean would have that of its noise. Its square root bounds the marginal
//! error sum_j |E p_j - b_j| (Cauchy, Schwarz). Its standard error is that of the jackknife over groups.

use ot_core::{Device, Error, PointsView, Scalar, host::try_zeros};

use super::{
    block::{Atoms, Grade},
    sampler::Samples,
};

/// Independent groups of samples.
const GROUPS: usize = 32;

/// An unbiased estimate.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// Its standard deviation over draws of the samples.
    pub standard_error: f64,
}

/// Estimates of a potential on the target from samples that it does not depend on.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct HeldOutEstimate {
    /// Samples drawn.
    pub samples: usize,
    /// F(g): in expectation a lower bound of the optimal value.
    pub semi_dual: Estimate,
    /// The chi-squared divergence of the plan's marginal on the target from the weights; below zero by chance where it is
    /// small.
    pub chi_squared: Estimate,
}

impl HeldOutEstimate {
    /// The square root of the divergence, or 0 where it was estimated below that: a bound of the two-sided marginal error,
    /// up to what [`chi_squared`](Self::chi_squared) says of its own error.
    #[must_use]
    pub fn marginal_error(&self) -> f64 {
        self.chi_squared.value.max(0.0).sqrt()
    }

    /// From the next samples of a stream, at least `samples` of them, in blocks of at most `batch` points.
    pub(super) fn draw<D: Device>(
        atoms: &Atoms<'_, D>,
        stream: &mut Samples<'_, D::Elem>,
        dimension: usize,
        potential: &[f64],
        samples: usize,
        batch: usize,
    ) -> Result<Self, Error> {
        let of_group = samples.div_ceil(GROUPS).max(1);
        let blocks = of_group.div_ceil(batch);
        let of_block = of_group.div_ceil(blocks);
        let count = GROUPS.saturating_mul(blocks.saturating_mul(of_block));
        let mut weights: Vec<f64> = try_zeros(of_block, "a batch of samples")?;
        weights.fill(1.0 / (blocks * of_block) as f64);
        let mut groups = vec![vec![0.0; potential.len()]; GROUPS];
        let (mut mean, mut squares, mut met) = (0.0, 0.0, 0.0);
        for group in &mut groups {
            for _ in 0..blocks {
                let points = stream.next(of_block)?;
                let block =
                    atoms.meet_points(PointsView::new(&points, dimension)?, &weights, potential, Grade::Exact)?;
                group.iter_mut().zip(&block.densities).for_each(|(sum, density)| *sum += density);
                // Welford 1962.
                for transform in block.transforms {
                    met += 1.0;
                    let change = transform - mean;
                    mean += change / met;
                    squares += change * (transform - mean);
                }
            }
        }
        // Transforms are those of the potential in the element type.
        let rounded = potential.iter().map(|&potential| D::Elem::from_f64(potential).to_f64());
        let gain: f64 = atoms.weights().iter().zip(rounded).map(|(weight, potential)| weight * potential).sum();
        Ok(Self {
            samples: count,
            semi_dual: Estimate { value: mean + gain, standard_error: (squares / (met * (met - 1.0).max(1.0))).sqrt() },
            chi_squared: chi_squared(&groups, atoms.weights()),
        })
    }
}

/// sum_{k != l} <r^k, r^l>_b / (K (K - 1)) - 1, and its jackknife.
fn chi_squared(groups: &[Vec<f64>], weights: &[f64]) -> Estimate {
    let dot = |one: &[f64], other: &[f64]| -> f64 {
        one.iter().zip(other).zip(weights).map(|((one, other), weight)| weight * one * other).sum()
    };
    let mut total = vec![0.0; weights.len()];
    for group in groups {
        total.iter_mut().zip(group).for_each(|(total, density)| *total += density);
    }
    let own: Vec<f64> = groups.iter().map(|group| dot(group, group)).collect();
    let (all, diagonal) = (dot(&total, &total), own.iter().sum::<f64>());
    let count = groups.len() as f64;
    let value = (all - diagonal) / (count * (count - 1.0)) - 1.0;
    let without = |(group, own): (&Vec<f64>, &f64)| {
        let rest = all - 2.0 * dot(&total, group) + own - (diagonal - own);
        rest / ((count - 1.0) * (count - 2.0)) - 1.0
    };
    let spread: f64 = groups.iter().zip(&own).map(without).map(|one| (one - value).powi(2)).sum();
    Estimate { value, standard_error: ((count - 1.0) / count * spread).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_agree_have_no_error() {
        let weights = [0.5, 0.5];
        let Estimate { value, standard_error } = chi_squared(&vec![vec![1.2, 0.8]; 8], &weights);
        assert!((value - 0.04).abs() < 1e-14 && standard_error < 1e-14, "{value} {standard_error}");
        // Groups on either side of b, <r^k, r^l> = 1 + 0.16 on one side and 1 - 0.16 across, say how little they know.
        let groups: Vec<_> = (0..8).map(|k| if k % 4 == 0 { vec![0.6, 1.4] } else { vec![1.4, 0.6] }).collect();
        let Estimate { value, standard_error } = chi_squared(&groups, &weights);
        assert!((value - 0.16 * (32.0 - 24.0) / 56.0).abs() < 1e-14, "{value}");
        assert!(standard_error > 0.01, "{standard_error}");
    }
}
