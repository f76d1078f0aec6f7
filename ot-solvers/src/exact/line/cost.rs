//! Costs on the line, and what they come to along a coupling.

use ot_core::{BoundingBox, CostForm, Error, GroundCost, PointsView, cost::check_bound};

use super::{staircase::staircase, weights::LineWeights};

/// A cost of two numbers, by its form.
#[derive(Clone, Copy, Debug)]
pub(super) enum LineCost<'a> {
    /// |x - y|.
    Distance,
    /// scale (x - y)^2.
    Square { scale: f64 },
    /// |x - y|^p.
    Power(f64),
    /// Any other.
    Generic(&'a dyn GroundCost),
}

impl<'a> LineCost<'a> {
    /// The cost, unless it is known to be none for which the monotone coupling is optimal.
    pub(super) fn new(cost: &'a dyn GroundCost) -> Result<Self, Error> {
        if let Some(dimension) = cost.dimension()
            && dimension != 1
        {
            return Err(Error::DimensionMismatch { source_dimension: 1, target_dimension: dimension });
        }
        match cost.form() {
            CostForm::SqEuclidean { scale } => Ok(Self::Square { scale }),
            CostForm::PowerOfNorm { exponent: 1.0, .. } => Ok(Self::Distance),
            CostForm::PowerOfNorm { exponent, .. } if exponent > 1.0 => Ok(Self::Power(exponent)),
            CostForm::PowerOfNorm { exponent, .. } => Err(Error::Parameter {
                name: "the exponent of a cost on the line",
                value: exponent,
                expected: "a number >= 1: other powers are not convex",
            }),
            CostForm::Generic => Ok(Self::Generic(cost)),
            CostForm::Matrix(_) => Err(Error::UnsupportedSupport { what: "a cost matrix", found: "points" }),
            _ => Err(Error::MissingCapability("convexity in the difference of two numbers")),
        }
    }

    /// c(x, y).
    pub(super) fn at(self, x: f64, y: f64) -> f64 {
        match self {
            Self::Distance => (x - y).abs(),
            Self::Square { scale } => scale * ((x - y) * (x - y)),
            Self::Power(exponent) => (x - y).abs().powf(exponent),
            Self::Generic(cost) => {
                let mut value = [0.0];
                cost.costs_f64(&[x], &[y], &mut value);
                value[0]
            }
        }
    }

    /// Refuses supports across which a known cost overflows.
    pub(super) fn check_range(self, source: &[f64], target: &[f64]) -> Result<(), Error> {
        let ends = |sorted: &[f64]| -> Result<BoundingBox, Error> {
            Ok(BoundingBox::of(PointsView::new(&[sorted[0], sorted[sorted.len() - 1]], 1)?))
        };
        let reach = ends(source)?.reach(&ends(target)?).fold(0.0, f64::max);
        match self {
            Self::Generic(_) => Ok(()),
            _ => check_bound::<f64>(self.at(reach, 0.0)),
        }
    }

    /// The cost of the monotone coupling between sorted atoms; the weights of the target are taken `scale` times.
    pub(super) fn total(self, source: Atoms<'_>, target: Atoms<'_>, scale: f64) -> f64 {
        match self {
            Self::Distance => total(source, target, scale, |x, y| (x - y).abs()),
            Self::Square { scale: factor } => factor * total(source, target, scale, |x, y| (x - y) * (x - y)),
            Self::Power(exponent) => total(source, target, scale, |x, y| (x - y).abs().powf(exponent)),
            Self::Generic(_) => total(source, target, scale, |x, y| self.at(x, y)),
        }
    }
}

/// Sorted atoms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Atoms<'a> {
    /// Where they lie, increasing.
    pub(crate) positions: &'a [f64],
    /// How heavy they are; one number for all if they are equal.
    pub(crate) weights: LineWeights<'a>,
}

/// sum of mass times cost along the staircase; over pairs of the same rank where all weights are equal.
pub(crate) fn total(source: Atoms<'_>, target: Atoms<'_>, scale: f64, cost: impl Fn(f64, f64) -> f64 + Copy) -> f64 {
    let (x, y) = (source.positions, target.positions);
    match (source.weights, target.weights) {
        (LineWeights::Equal(weight), LineWeights::Equal(_)) if x.len() == y.len() => weight * paired(x, y, cost),
        (LineWeights::Equal(weight), _) => {
            total(Atoms { weights: LineWeights::Each(&vec![weight; x.len()]), ..source }, target, scale, cost)
        }
        (_, LineWeights::Equal(weight)) => {
            total(source, Atoms { weights: LineWeights::Each(&vec![weight; y.len()]), ..target }, scale, cost)
        }
        (LineWeights::Each(source), LineWeights::Each(target)) => {
            let mut sum = 0.0;
            staircase(source, target, scale, |i, j, mass| {
                if mass > 0.0 {
                    sum += mass * cost(x[i], y[j]);
                }
            });
            sum
        }
    }
}

/// sum_k c(x_k, y_k), in eight lanes.
fn paired(x: &[f64], y: &[f64], cost: impl Fn(f64, f64) -> f64 + Copy) -> f64 {
    const LANES: usize = 8;
    let (x_blocks, y_blocks) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let rest: f64 = x_blocks.remainder().iter().zip(y_blocks.remainder()).map(|(&x, &y)| cost(x, y)).sum();
    let mut lanes = [0.0; LANES];
    for (x, y) in x_blocks.zip(y_blocks) {
        for ((lane, &x), &y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += cost(x, y);
        }
    }
    lanes.iter().sum::<f64>() + rest
}
