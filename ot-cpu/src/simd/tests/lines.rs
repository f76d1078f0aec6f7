//! Sums along lines: every level against sums of exponentials in `f64`, term by term, and the levels against each other.

use super::super::{
    Distances, LINE_PADDING, Level, LineCost, LineCounts, LineScratch, Squares, Table, VectorMath, element::Element,
    lines_of_tile,
};
use super::uniform;

const LOG_ZERO: f64 = -1e30;

/// A line, what it should give, and how far off a result in units of its size may be.
struct Case<T> {
    cost: LineCost<T>,
    line: Vec<T>,
    plain: Vec<f64>,
    times_cost: Vec<f64>,
    size: f64,
}

/// Inputs that follow a displacement with a fold, and a few without mass.
fn inputs(count: usize, size: f64, state: &mut u64) -> Vec<f64> {
    let fold = uniform(state, 0.2, 0.8);
    let of_place = |j: usize| {
        let x = j as f64 / count as f64;
        if j % 11 == 5 { LOG_ZERO } else { size * (x - fold).abs() + 3.0 * uniform(state, -1.0, 1.0) }
    };
    (0..count).map(of_place).collect()
}

fn case<T: Element>(cost: LineCost<T>, costs: &[f64], least: f64, inputs: &[f64]) -> Case<T> {
    let line: Vec<T> = inputs.iter().map(|&input| T::of_double(input)).collect();
    let rounded: Vec<f64> = line.iter().map(|input| input.as_double()).collect();
    let sum = |row: &[f64], weight: &dyn Fn(f64) -> f64| {
        let terms = || rounded.iter().zip(row).filter(|(input, _)| **input > 0.5 * LOG_ZERO);
        let top = terms().map(|(input, cost)| input - cost).fold(f64::NEG_INFINITY, f64::max);
        top + terms().map(|(input, cost)| (input - cost - top).exp() * weight(*cost)).sum::<f64>().ln()
    };
    let rows = || costs.chunks_exact(inputs.len());
    let plain: Vec<f64> = rows().map(|row| sum(row, &|_| 1.0)).collect();
    let times_cost = rows().map(|row| sum(row, &|cost| cost - least)).collect();
    let lit = rounded.iter().filter(|input| **input > 0.5 * LOG_ZERO);
    let largest = lit.chain(&plain).chain(costs).fold(1.0_f64, |most, value| most.max(value.abs()));
    let dark = [T::of_double(LOG_ZERO); LINE_PADDING];
    Case { cost, line: line.into_iter().chain(dark).collect(), plain, times_cost, size: largest }
}

/// Squares of every size, with products and without.
fn squares<T: Element>() -> Vec<Case<T>> {
    let mut state = 11;
    let mut cases = Vec::new();
    for (m, n, start, step) in
        [(64, 64, 0.0, 1.0), (50, 37, -3.3, 1.7), (1, 5, 0.5, 1.0), (2, 1, 0.0, 1.0), (131, 90, 4.0, 0.4)]
    {
        for curvature in [400.0, 20.0, 1.0, 0.2, 0.01, 1e-5] {
            for size in [0.0, 600.0] {
                let costs: Vec<f64> = (0..n * m)
                    .map(|index| curvature * (start + step * (index / m) as f64 - (index % m) as f64).powi(2))
                    .collect();
                let cost = LineCost::Squares(Squares::new(m, n, [start, step], curvature));
                cases.push(case(cost, &costs, 0.0, &inputs(m, size, &mut state)));
            }
        }
    }
    cases
}

/// Distances on a line and on a circle, less a constant.
fn tables<T: Element>() -> Vec<Case<T>> {
    let mut state = 12;
    let mut cases = Vec::new();
    for (m, n) in [(64, 64), (50, 37), (1, 3), (2, 1)] {
        for scale in [0.001, 1.0, 40.0] {
            for size in [0.0, 300.0] {
                let distance = |i: usize, j: usize| (1.3 * i as f64 - j as f64).rem_euclid(40.0);
                let cost = |index: usize| scale * (distance(index / m, index % m).min(20.0) - 4.0);
                let costs: Vec<f64> = (0..n * m).map(cost).collect();
                let least = costs.iter().copied().fold(f64::INFINITY, f64::min);
                let cost = LineCost::Table(Table::new(m, n, &costs));
                cases.push(case(cost, &costs, least, &inputs(m, size, &mut state)));
            }
        }
    }
    cases
}

/// Distances of every size.
fn distances<T: Element>() -> Vec<Case<T>> {
    let mut state = 13;
    let mut cases = Vec::new();
    for (m, n, start, step) in
        [(64, 64, 0.0, 1.0), (50, 37, -3.3, 1.7), (1, 5, 0.5, 1.0), (2, 1, 0.0, 1.0), (131, 90, 4.0, 0.4)]
    {
        for slope in [40.0, 1.0, 1e-3] {
            for size in [0.0, 300.0] {
                let cost = |index: usize| slope * (start + step * (index / m) as f64 - (index % m) as f64).abs();
                let costs: Vec<f64> = (0..n * m).map(cost).collect();
                let cost = LineCost::Distances(Distances::new(m, n, [start, step], slope));
                cases.push(case(cost, &costs, 0.0, &inputs(m, size, &mut state)));
            }
        }
    }
    cases
}

/// The sums of a tile, line by line: the same line in some lanes, shifted by a number of each, and lines without mass.
fn sums_of_tile<T: VectorMath>(level: Level, case: &Case<T>, times_cost: bool, counts: &mut LineCounts) -> Vec<Vec<T>> {
    let (m, n, width) = (case.cost.inputs(), case.cost.outputs(), lines_of_tile::<T>());
    let lines = width - 1;
    let mut tile = vec![T::of_double(LOG_ZERO); (m + LINE_PADDING) * width];
    for (input, row) in tile.chunks_exact_mut(width).take(m).enumerate() {
        for (line, entry) in row[..lines].iter_mut().enumerate().filter(|(line, _)| line % 3 != 2) {
            // The line and its mirror image, so that windows differ.
            let input = if line % 3 == 0 { input } else { m - 1 - input };
            *entry = case.line[input];
        }
    }
    let (mut out, mut scratch) = (vec![T::NEUTRAL_OF_SUM; lines * n], LineScratch::new(m, n));
    match &case.cost {
        LineCost::Squares(squares) => {
            T::log_sums_side_by_side_at(level, squares, &tile, times_cost, &mut out, &mut scratch, counts);
        }
        LineCost::Distances(distances) => {
            T::log_sums_of_distances_at(level, distances, &tile, times_cost, &mut out, &mut scratch, counts);
        }
        LineCost::Table(_) => {}
    }
    out.chunks_exact(n).map(<[T]>::to_vec).collect()
}

/// Every third line is that of the case, every third without mass, and what is in between does not disturb them.
fn tiles_are_the_sums<T: VectorMath + PartialEq + std::fmt::Debug>(cases: &[Case<T>]) -> LineCounts {
    let mut counts = LineCounts::default();
    for case in cases {
        let mut fused: Option<Vec<Vec<T>>> = None;
        for level in Level::available() {
            let plain = sums_of_tile(level, case, false, &mut counts);
            for (line, found) in plain.iter().enumerate() {
                match line % 3 {
                    0 => {
                        for (found, expected) in found.iter().zip(&case.plain) {
                            let error = (found.as_double() - expected).abs();
                            let what = &case.cost;
                            assert!(
                                error <= 8.0 * T::GAP * case.size,
                                "{level:?}: {found:?} is not {expected}: {what:?}"
                            );
                        }
                    }
                    1 => assert!(found.iter().all(|sum| sum.as_double().is_finite())),
                    _ => assert!(found.iter().all(|sum| sum.as_double() <= 0.5 * LOG_ZERO), "{found:?}"),
                }
            }
            if matches!(case.cost, LineCost::Distances(_)) || case.cost.goes_side_by_side(true) {
                let times_cost = sums_of_tile(level, case, true, &mut counts);
                for ((found, expected), plain) in times_cost[0].iter().zip(&case.times_cost).zip(&case.plain) {
                    let [found, expected] = [found.as_double() - plain, expected - plain].map(|log| log.max(-30.0));
                    let error = (found - expected).abs();
                    assert!(error <= 64.0 * T::GAP * case.size, "{level:?}: {found} is not {expected}");
                }
            }
            if level.is_fused() {
                assert_eq!(*fused.get_or_insert_with(|| plain.clone()), plain, "{level:?}");
            }
        }
    }
    counts
}

fn sums<T: VectorMath>(level: Level, case: &Case<T>, times_cost: bool, counts: &mut LineCounts) -> Vec<T> {
    let (m, n) = (case.cost.inputs(), case.cost.outputs());
    let (mut out, mut scratch) = (vec![T::NEUTRAL_OF_SUM; n], LineScratch::new(m, n));
    T::log_sums_at(level, &case.cost, &case.line, times_cost, &mut out, &mut scratch, counts);
    out
}

fn are_the_sums<T: VectorMath + PartialEq + std::fmt::Debug>(cases: &[Case<T>]) -> LineCounts {
    let mut counts = LineCounts::default();
    for case in cases {
        let mut fused: Option<Vec<T>> = None;
        for level in Level::available() {
            let plain = sums(level, case, false, &mut counts);
            for (found, expected) in plain.iter().zip(&case.plain) {
                let error = (found.as_double() - expected).abs();
                assert!(error <= 8.0 * T::GAP * case.size, "{level:?}: {found:?} is not {expected}: {:?}", case.cost);
            }
            let times_cost = sums(level, case, true, &mut counts);
            for ((found, expected), plain) in times_cost.iter().zip(&case.times_cost).zip(&case.plain) {
                // Beside the sum of the terms that cost nothing: these have no logarithm.
                let [found, expected] = [found.as_double() - plain, expected - plain].map(|log| log.max(-30.0));
                // A small cost is a difference of large places.
                let error = (found - expected).abs();
                assert!(error <= 64.0 * T::GAP * case.size, "{level:?}: {found} is not {expected}");
            }
            if level.is_fused() {
                assert_eq!(*fused.get_or_insert_with(|| plain.clone()), plain, "{level:?}");
            }
        }
    }
    counts
}

#[test]
fn lines_are_sums_of_exponentials() {
    for counts in [are_the_sums(&squares::<f64>()), are_the_sums(&squares::<f32>())] {
        assert!(counts.tilted > 0 && counts.direct > 0 && counts.stabilised == 0, "{counts:?}");
    }
    for counts in [are_the_sums(&tables::<f64>()), are_the_sums(&tables::<f32>())] {
        assert!(counts.stabilised > 0 && counts.direct > 0 && counts.tilted == 0, "{counts:?}");
    }
}

#[test]
fn tiles_are_sums_of_exponentials() {
    fn side_by_side<T: Element>() -> Vec<Case<T>> {
        squares::<T>().into_iter().filter(|case| case.cost.goes_side_by_side(false)).collect()
    }
    for counts in [tiles_are_the_sums(&side_by_side::<f64>()), tiles_are_the_sums(&side_by_side::<f32>())] {
        assert!(counts.tilted > 0 && counts.joined > 0 && counts.unlit > 0 && counts.direct == 0, "{counts:?}");
    }
    for counts in [tiles_are_the_sums(&distances::<f64>()), tiles_are_the_sums(&distances::<f32>())] {
        assert!(counts.recursive > 0 && counts.tilted == 0, "{counts:?}");
    }
}

#[test]
fn lines_without_mass_stay_dark() {
    let cost = LineCost::Squares(Squares::<f64>::new(9, 5, [0.0, 1.0], 1.0));
    let (mut out, mut counts) = ([0.0; 5], LineCounts::default());
    let line = [LOG_ZERO; 9 + LINE_PADDING];
    f64::log_sums(&cost, &line, false, &mut out, &mut LineScratch::new(9, 5), &mut counts);
    assert_eq!((out, counts.unlit), ([LOG_ZERO; 5], 1));
}
