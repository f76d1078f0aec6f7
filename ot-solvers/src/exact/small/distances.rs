//! Rows of Euclidean distances, and their squares, between points of many coordinates.
//!
//! The coordinates of the target are kept axis by axis, so that a row is a loop over axes of sums over points:
//! term by term what a cost sums in the order of its coordinates, to the same bits.

use ot_core::{
    CostForm,
    instructions::{Loops, run_widest},
};

/// Fewer coordinates than this are read as fast by the cost itself.
const FEWEST_COORDINATES: usize = 4;

/// Roots within these sizes are of squares in the range of numbers.
const SAFE: std::ops::RangeInclusive<f64> = 1e-140..=1e140;

/// What is made of a sum of squares.
#[derive(Clone, Copy, Debug)]
enum Finish {
    Scale(f64),
    Root,
}

/// Distances to the points of a target.
pub(super) struct Distances<'a> {
    finish: Finish,
    /// Coordinates, axis after axis.
    axes: &'a [f64],
    points: usize,
}

impl<'a> Distances<'a> {
    /// Those of a cost to these points, if it is one; `axes` is memory.
    pub(super) fn of(form: CostForm<'_>, dimension: usize, points: &[f64], axes: &'a mut Vec<f64>) -> Option<Self> {
        let finish = match form {
            CostForm::SqEuclidean { scale } => Finish::Scale(scale),
            CostForm::PowerOfNorm { norm: 2.0, exponent: 1.0 } => Finish::Root,
            _ => return None,
        };
        if dimension < FEWEST_COORDINATES {
            return None;
        }
        let len = points.len() / dimension;
        axes.clear();
        axes.resize(points.len(), 0.0);
        for (j, point) in points.chunks_exact(dimension).enumerate() {
            point.iter().enumerate().for_each(|(axis, coordinate)| axes[axis * len + j] = *coordinate);
        }
        Some(Self { finish, axes, points: len })
    }

    /// The row of a point; false where a square may have left the range, and the row means nothing.
    pub(super) fn row(&self, x: &[f64], out: &mut [f64]) -> bool {
        run_widest(Row { distances: self, x, out })
    }
}

struct Row<'a> {
    distances: &'a Distances<'a>,
    x: &'a [f64],
    out: &'a mut [f64],
}

impl Loops for Row<'_> {
    type Output = bool;

    #[inline(always)]
    fn run(self) -> bool {
        let Self { distances: Distances { finish, axes, points }, x, out } = self;
        out.fill(0.0);
        for (x, axis) in x.iter().zip(axes.chunks_exact(*points)) {
            for (sum, y) in out.iter_mut().zip(axis) {
                let difference = x - y;
                *sum += difference * difference;
            }
        }
        match finish {
            Finish::Scale(scale) => {
                out.iter_mut().for_each(|sum| *sum *= scale);
                true
            }
            Finish::Root => {
                out.iter_mut().for_each(|sum| *sum = sum.sqrt());
                out.iter().fold(true, |safe, root| safe & SAFE.contains(root))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ot_core::{Euclidean, GroundCost, HalfSqEuclidean, SqEuclidean};

    use super::*;

    #[test]
    fn rows_have_the_bits_of_the_cost() {
        for dimension in [4, 7, 50] {
            let points: Vec<f64> = (0..13 * dimension).map(|k| (f64::from(k as u32) * 0.7).sin()).collect();
            let x: Vec<f64> = (0..dimension).map(|k| (f64::from(k as u32) * 1.3).cos()).collect();
            for cost in [&SqEuclidean as &dyn GroundCost, &HalfSqEuclidean, &Euclidean] {
                let (mut axes, mut found, mut expected) = (Vec::new(), [0.0; 13], [0.0; 13]);
                let distances = Distances::of(cost.form(), dimension, &points, &mut axes).unwrap();
                assert!(distances.row(&x, &mut found));
                cost.costs_f64(&x, &points, &mut expected);
                assert_eq!(found, expected, "{cost:?}");
            }
        }
    }

    #[test]
    fn roots_of_vanished_squares_are_told() {
        let (points, mut axes, mut out) = ([1e-200; 4], Vec::new(), [0.0]);
        let distances = Distances::of(Euclidean.form(), 4, &points, &mut axes).unwrap();
        assert!(!distances.row(&[0.0; 4], &mut out));
    }
}
