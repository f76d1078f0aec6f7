//! A cost, and where it is tried.

use std::sync::Arc;

use ot_core::GroundCost;

use crate::seeded::{Seeded, elements, numbers};

/// Points of either side.
pub(crate) const POINTS: usize = 37;

/// A cost between points, and the interval that their coordinates are drawn from.
///
/// Away from zero and of the size of one unless the author says more: a cost that has branches at other distances, or that
/// lives on other numbers, is tried where they are.
///
/// ```
/// use ot_conformance::{CostCase, properties::cost::bounds_are_bounds};
/// use ot_core::SqEuclidean;
///
/// bounds_are_bounds(&CostCase::new(SqEuclidean).within(-50.0, 50.0))?;
/// # Ok::<(), ot_conformance::PropertyFailure>(())
/// ```
#[derive(Clone, Debug)]
pub struct CostCase {
    cost: Arc<dyn GroundCost>,
    low: f64,
    high: f64,
}

impl CostCase {
    /// A cost between points with coordinates within [0.1, 1.3].
    pub fn new(cost: impl GroundCost + 'static) -> Self {
        Self { cost: Arc::new(cost), low: 0.1, high: 1.3 }
    }

    /// The same cost between points with coordinates within [low, high], where `low` is below `high`.
    #[must_use]
    pub fn within(self, low: f64, high: f64) -> Self {
        Self { low, high, ..self }
    }

    /// The cost.
    pub(crate) fn cost(&self) -> &dyn GroundCost {
        self.cost.as_ref()
    }

    /// The cost and the interval, in words.
    pub(crate) fn name(&self) -> String {
        format!("{:?} within [{}, {}]", self.cost, self.low, self.high)
    }

    /// The number of coordinates of a point.
    pub(crate) fn dimension(&self) -> usize {
        self.cost.dimension().unwrap_or(3)
    }

    /// The step of central differences.
    pub(crate) fn step(&self) -> f64 {
        1e-5 * (self.high - self.low)
    }

    /// c(x, y).
    pub(crate) fn value(&self, x: &[f64], y: &[f64]) -> f64 {
        let mut out = [f64::NAN];
        self.cost.costs_f64(x, y, &mut out);
        out[0]
    }

    /// The points of both sides, point-major: numbers of f32, so that both element types see the same. Those of the
    /// source keep away from the ends of the interval.
    pub(crate) fn clouds(&self) -> [Vec<f64>; 2] {
        let (mut seeded, len) = (Seeded::new(self.dimension() as u64), POINTS * self.dimension());
        let width = self.high - self.low;
        let inner = seeded.vector::<f32>(len, self.low + width / 12.0, self.high - width / 4.0);
        [inner, seeded.vector::<f32>(len, self.low, self.high)]
    }

    /// Corners of the box, by the bits of a number: one corner of each side.
    pub(crate) fn corners(&self, bits: u64) -> [Vec<f64>; 2] {
        let dimension = self.dimension();
        let ends = numbers(&elements::<f32>(&[self.low, self.high]));
        let corner = |first: usize| (first..first + dimension).map(|axis| ends[(bits >> (axis % 64) & 1) as usize]);
        [corner(0).collect(), corner(dimension).collect()]
    }
}
