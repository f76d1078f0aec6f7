//! Every vector loop against the formula of its cost, read in `f64` through [`GroundCost`].

use ot_core::{Chebyshev, Euclidean, GroundCost, HalfSqEuclidean, Manhattan, PNorm, PowerOfDistance, SqEuclidean};

use super::{next, uniform};
use crate::simd::{GibbsTerms, Level, PointCost, PointPairs, VectorMath};

/// Costs with a loop.
fn costs() -> Vec<Box<dyn GroundCost>> {
    let mut costs: Vec<Box<dyn GroundCost>> =
        vec![Box::new(SqEuclidean), Box::new(HalfSqEuclidean), Box::new(Euclidean)];
    for exponent in [0.5, 0.7, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0] {
        costs.push(PowerOfDistance::new(exponent).map(Box::new).expect("a positive exponent"));
    }
    costs.extend([Box::new(Manhattan) as Box<dyn GroundCost>, Box::new(Chebyshev)]);
    for norm in [1.0, 1.5, 2.0, 2.7, 3.0, 4.0, 5.0, 30.0, f64::INFINITY] {
        costs.push(PNorm::new(norm).map(Box::new).expect("a norm"));
    }
    costs
}

fn loop_of(cost: &dyn GroundCost) -> PointCost {
    PointCost::of(cost.form()).expect("a shipped cost has a loop")
}

/// Points, and others axis after axis with a gap between the axes; the other `j` is a copy of point 0 where
/// `j % 7 == 3`.
struct Case {
    rows: usize,
    columns: usize,
    dimension: usize,
    stride: usize,
    points: Vec<f64>,
    axes: Vec<f64>,
}

impl Case {
    fn new(rows: usize, columns: usize, dimension: usize, scale: f64) -> Self {
        let mut state = (rows * 31 + columns * 7 + dimension) as u64;
        // Numbers that f32 holds, so that both types see the same points.
        let mut draw = || f64::from((uniform(&mut state, -1.0, 1.0) * scale) as f32);
        let stride = columns + 3;
        let points: Vec<f64> = (0..rows * dimension).map(|_| draw()).collect();
        let mut axes: Vec<f64> = (0..stride * dimension).map(|_| draw()).collect();
        for axis in 0..dimension {
            (0..columns).filter(|j| j % 7 == 3).for_each(|j| axes[axis * stride + j] = points[axis]);
        }
        Self { rows, columns, dimension, stride, points, axes }
    }

    /// The costs by the formula.
    fn expected(&self, cost: &dyn GroundCost) -> Vec<f64> {
        let others: Vec<f64> = (0..self.columns)
            .flat_map(|j| (0..self.dimension).map(move |axis| self.axes[axis * self.stride + j]))
            .collect();
        let mut costs = vec![0.0; self.rows * self.columns];
        for (point, row) in self.points.chunks(self.dimension).zip(costs.chunks_mut(self.columns)) {
            cost.costs_f64(point, &others, row);
        }
        costs
    }

    /// The costs by the loop.
    fn found<T: VectorMath>(&self, level: Level, cost: PointCost) -> Vec<T> {
        let of = |numbers: &[f64]| -> Vec<T> { numbers.iter().map(|&x| T::of_double(x)).collect() };
        let (points, axes) = (of(&self.points), of(&self.axes));
        let pairs = PointPairs { points: &points, dimension: self.dimension, axes: &axes, stride: self.stride };
        let mut found = vec![T::of_double(-7.0); self.rows * (self.columns + 1)];
        T::point_costs_at(level, cost, pairs, self.columns, self.columns + 1, &mut found);
        for row in found.chunks(self.columns + 1) {
            assert_eq!(row[self.columns].as_double(), -7.0, "nothing is written beyond a row");
        }
        found.chunks(self.columns + 1).flat_map(|row| row[..self.columns].to_vec()).collect()
    }
}

/// Largest error in units of the gap at 1, relative to `4 + d/4 + 3/2·|ln c|`: a sum rounds each
/// term, a power, here and in the formula, loses about |ln c|.
fn worst<T: VectorMath>(found: &[T], expected: &[f64], dimension: usize) -> f64 {
    let error = |(found, &expected): (&T, &f64)| {
        if expected == 0.0 {
            return if found.as_double() == 0.0 { 0.0 } else { f64::INFINITY };
        }
        let allowed = 4.0 + dimension as f64 / 4.0 + 1.5 * expected.ln().abs();
        (found.as_double() / expected - 1.0).abs() / (T::GAP * allowed)
    };
    found.iter().zip(expected).map(error).fold(0.0, f64::max)
}

fn loops_are_those_of_the_formula<T: VectorMath>() {
    for dimension in [1, 2, 3, 4, 5, 6, 7, 16, 33, 64, 1000] {
        for (rows, columns) in if dimension > 100 { [(5, 21), (1, 3)] } else { [(7, 300), (4, 13)] } {
            let case = Case::new(rows, columns, dimension, 2.0);
            for cost in costs() {
                let expected = case.expected(cost.as_ref());
                for level in Level::available() {
                    let found = case.found::<T>(level, loop_of(cost.as_ref()));
                    let worst = worst(&found, &expected, dimension);
                    assert!(worst <= 1.0, "{cost:?}, d = {dimension}, {level:?}: {worst}");
                }
            }
        }
    }
}

#[test]
fn loops_are_those_of_the_formula_f32() {
    loops_are_those_of_the_formula::<f32>();
}

#[test]
fn loops_are_those_of_the_formula_f64() {
    loops_are_those_of_the_formula::<f64>();
}

/// Where the formula neither overflows nor vanishes, the loop does not. (The norm 2 asks for coordinates in units.)
#[test]
fn the_ends_of_the_range_are_those_of_the_formula() {
    for scale in [1e-300, 1e-200, 1e-80, 1e80, 1e150, 1e300] {
        let (mut state, mut case) = (5, Case::new(3, 50, 3, 1.0));
        let points = case.points.iter_mut().chain(&mut case.axes);
        points.for_each(|x| *x *= scale * uniform(&mut state, 0.5, 1.0));
        for cost in costs() {
            let expected = case.expected(cost.as_ref());
            let asks_for_units = matches!(loop_of(cost.as_ref()), PointCost::Power { norm: 2.0, .. });
            if asks_for_units || expected.iter().any(|cost| !cost.is_normal()) {
                continue;
            }
            for level in Level::available() {
                let worst = worst(&case.found::<f64>(level, loop_of(cost.as_ref())), &expected, 3);
                assert!(worst <= 1.0, "{cost:?} at {scale:e}, {level:?}: {worst}");
            }
        }
    }
    // Differences below the normal range.
    let axes: Vec<f64> = (1..=40).map(f64::from_bits).collect();
    let pairs = PointPairs { points: &[0.0], dimension: 1, axes: &axes, stride: 40 };
    for norm in [1.0, 2.7, 3.0, 4.0, f64::INFINITY] {
        for level in Level::available() {
            let mut found = vec![0.0; 40];
            f64::point_costs_at(level, PointCost::Power { norm, exponent: 1.0 }, pairs, 40, 40, &mut found);
            assert_eq!(found, axes, "{norm}, {level:?}");
        }
    }
}

fn bits_are_those_of_the_pair_alone<T: VectorMath>() {
    for dimension in [1, 3, 6, 33] {
        let case = Case::new(9, 530, dimension, 1.0);
        for cost in costs() {
            let cost = loop_of(cost.as_ref());
            let mut fused: Option<Vec<f64>> = None;
            for level in Level::available() {
                let all: Vec<f64> = case.found::<T>(level, cost).into_iter().map(T::as_double).collect();
                for (row, column) in [(0, 0), (0, 3), (3, 15), (4, 16), (8, 255), (5, 256), (8, 529), (2, 520)] {
                    let points = case.points[row * dimension..][..dimension].to_vec();
                    let axes: Vec<f64> = (0..dimension).map(|axis| case.axes[axis * case.stride + column]).collect();
                    let alone = Case { rows: 1, columns: 1, dimension, stride: 1, points, axes };
                    let alone = alone.found::<T>(level, cost)[0].as_double();
                    assert_eq!(all[row * 530 + column], alone, "{cost:?}, {level:?}");
                }
                if level.is_fused() {
                    assert!(*fused.get_or_insert_with(|| all.clone()) == all, "{cost:?}: fused levels differ");
                }
            }
        }
    }
}

#[test]
fn bits_are_those_of_the_pair_alone_f32() {
    bits_are_those_of_the_pair_alone::<f32>();
}

#[test]
fn bits_are_those_of_the_pair_alone_f64() {
    bits_are_those_of_the_pair_alone::<f64>();
}

/// Entries and sums against the formula, with weights of zero, a forbidden column (a potential of minus infinity) and
/// exponents below the range.
fn entries_are_those_of_the_formula<T: VectorMath>() {
    let mut state = 11;
    for dimension in [1, 2, 3, 4, 5, 16] {
        for (rows, columns) in [(1, 1), (3, 15), (8, 16), (8, 257), (5, 600)] {
            let case = Case::new(rows, columns, dimension, 1.0);
            let mut draw =
                |len: usize| -> Vec<T> { (0..len).map(|_| T::of_double(uniform(&mut state, -0.5, 0.0))).collect() };
            let (f, mut g, mut weights) = (draw(rows), draw(columns), draw(columns));
            for (j, weight) in weights.iter_mut().enumerate() {
                *weight = T::of_double(if j % 5 == 4 { 0.0 } else { weight.as_double().abs() });
            }
            if columns > 10 {
                g[9] = T::NEUTRAL_OF_MAXIMUM;
            }
            let of = |numbers: &[f64]| -> Vec<T> { numbers.iter().map(|&x| T::of_double(x)).collect() };
            let (points, axes) = (of(&case.points), of(&case.axes));
            let pairs = PointPairs { points: &points, dimension, axes: &axes, stride: case.stride };
            for cost in [&SqEuclidean as &dyn GroundCost, &HalfSqEuclidean, &Euclidean, &Manhattan] {
                let costs = case.expected(cost);
                for epsilon in [2.0, 0.1, 1e-3] {
                    let mut fused: Option<(Vec<f64>, Vec<f64>)> = None;
                    for level in Level::available() {
                        let (mut found, mut sums) = (vec![T::NEUTRAL_OF_SUM; rows * columns], vec![0.25; rows]);
                        let terms = GibbsTerms { f: &f, g: &g, weights: &weights, epsilon };
                        T::point_entries_at(level, loop_of(cost), pairs, terms, columns, &mut found, &mut sums);
                        for row in 0..rows {
                            let mut expected_sum = 0.25;
                            for j in 0..columns {
                                let at = row * columns + j;
                                let exponent = (f[row].as_double() + g[j].as_double() - costs[at]) / epsilon;
                                let (entry, lowest) = (found[at].as_double(), 2.0 * T::SMALLEST_NORMAL);
                                let expected = exponent.exp();
                                // Terms of the exponent are rounded, each to half a gap of its own size.
                                let size = (1.0 + costs[at] * (1.0 + dimension as f64 / 4.0)) / epsilon;
                                let close = (entry / expected).ln().abs() <= T::GAP * (4.0 + 2.0 * size);
                                let is_low = expected < 4.0 * lowest && entry < 8.0 * lowest;
                                assert!(close || is_low, "{cost:?} {level:?}: {entry:e} for {expected:e}");
                                assert!(entry >= lowest);
                                expected_sum += entry * weights[j].as_double();
                            }
                            let error = (sums[row] / expected_sum - 1.0).abs();
                            assert!(error <= 20.0 * T::GAP, "{cost:?} {level:?} {columns}: {error:e}");
                        }
                        if level.is_fused() {
                            let these = (found.into_iter().map(T::as_double).collect(), sums);
                            assert!(*fused.get_or_insert_with(|| these.clone()) == these, "fused levels differ");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn entries_are_those_of_the_formula_f32() {
    entries_are_those_of_the_formula::<f32>();
}

#[test]
fn entries_are_those_of_the_formula_f64() {
    entries_are_those_of_the_formula::<f64>();
}

/// An entry that overflows is infinite, alone, and so is the sum of its row.
#[test]
fn an_overflow_is_told_by_its_row_and_column() {
    let mut state = 3;
    for dimension in [1, 2, 3, 4, 5] {
        let axes: Vec<f32> = (0..40 * dimension).map(|_| (next(&mut state) % 7) as f32).collect();
        for at in [0, 17, 39] {
            let mut g = vec![0.0; 40];
            g[at] = 1e6;
            for level in Level::available() {
                let points = vec![0.0; 2 * dimension];
                let pairs = PointPairs { points: &points, dimension, axes: &axes, stride: 40 };
                let terms = GibbsTerms { f: &[0.0, -2e6], g: &g, weights: &[1.0; 40], epsilon: 1.0 };
                let (mut found, mut sums) = (vec![0.0; 80], [0.0; 2]);
                f32::point_entries_at(level, PointCost::Square { scale: 1.0 }, pairs, terms, 40, &mut found, &mut sums);
                let infinite: Vec<usize> = (0..80).filter(|&j| found[j] == f32::INFINITY).collect();
                assert_eq!((infinite, sums[0]), (vec![at], f64::INFINITY), "{level:?}");
                assert!(sums[1] > 0.0 && sums[1] < 1e-30 && found.iter().all(|entry| !entry.is_nan()));
            }
        }
    }
}
