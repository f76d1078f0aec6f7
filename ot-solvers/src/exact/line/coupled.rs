//! Sorted atoms of two distributions, and sums along their monotone coupling.

use super::{staircase::staircase, weights::LineWeights};

/// Sorted atoms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Atoms<'a> {
    /// Where they lie, increasing.
    pub(crate) positions: &'a [f64],
    /// How heavy they are; one number for all if they are equal.
    pub(crate) weights: LineWeights<'a>,
}

/// Two distributions of one mass, once the weights of the target are taken `scale` times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coupled<'a> {
    pub(crate) source: Atoms<'a>,
    pub(crate) target: Atoms<'a>,
    pub(crate) scale: f64,
    /// The mass of the source.
    pub(crate) mass: f64,
    /// The difference up to which cumulative masses are one level.
    pub(crate) level_rounding: f64,
}

impl<'a> Coupled<'a> {
    /// A bound of all distances between an atom of the source and one of the target; infinite where it leaves the range.
    pub(crate) fn reach(&self) -> f64 {
        let ends = |atoms: Atoms<'a>| (atoms.positions[0], atoms.positions[atoms.positions.len() - 1]);
        let ((x_low, x_high), (y_low, y_high)) = (ends(self.source), ends(self.target));
        (x_high - y_low).max(y_high - x_low).max(0.0)
    }

    /// W_inf: the largest distance that mass is moved by.
    pub(crate) fn largest_distance(&self) -> f64 {
        let (x, y) = (self.source.positions, self.target.positions);
        let mut largest = 0.0_f64;
        self.visit(|i, j, mass| {
            if mass > 0.0 {
                largest = largest.max((x[i] - y[j]).abs());
            }
        });
        largest
    }

    /// sum of mass times `factor` times cost along the coupling; over pairs of the same rank where all weights are equal.
    pub(crate) fn total(&self, factor: f64, cost: impl Fn(f64, f64) -> f64 + Copy) -> f64 {
        let (x, y) = (self.source.positions, self.target.positions);
        match (self.source.weights, self.target.weights) {
            (LineWeights::Equal(weight), LineWeights::Equal(_)) if x.len() == y.len() => {
                weight * factor * paired(x, y, cost)
            }
            _ => {
                let mut sum = 0.0;
                self.visit(|i, j, mass| {
                    if mass > 0.0 {
                        sum += mass * factor * cost(x[i], y[j]);
                    }
                });
                sum
            }
        }
    }

    /// Visits the cells of the coupling.
    fn visit(&self, visit: impl FnMut(usize, usize, f64)) {
        let [source, target] = [self.source, self.target].map(|atoms| match atoms.weights {
            LineWeights::Equal(weight) => vec![weight; atoms.positions.len()].into(),
            LineWeights::Each(weights) => std::borrow::Cow::from(weights),
        });
        staircase(&source, &target, self.scale, self.level_rounding, visit);
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
