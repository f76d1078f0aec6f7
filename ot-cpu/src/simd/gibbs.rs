//! The passes of a Gibbs kernel exp((f + g − C)/ε): distances, entries, weighted sums of rows and columns.
//!
//! Entries are not less than twice the smallest normal number, those of forbidden pairs among them, and infinite
//! where they overflow. So a sum that is not finite tells of one that did, or of a weight that is no match for it.
//!
//! The exponent is formed as `((f + g) − c)/ε`: on the support of a plan the sum cancels the cost, and what is left
//! carries the rounding of its terms only. Costs are overwritten by entries in the first-level
//! cache.

use std::f64::consts::LOG2_E;

use super::costs::{PointCost, PointPairs, ROWS, load_some, point_costs, store_some};
use super::element::Element;
use super::exp::power_of_two;
use super::reduce::sum_of_lanes;
use super::vector::{MOST_LANES, Vector, fetch};
use super::{Level, VectorMath};

/// Columns whose products are summed in the element type before they are added in `f64`.
pub(super) const RUN: usize = 256;

/// How many bytes ahead of an exponential its cost is asked for: what memory takes to answer, beyond the end of a row that of the next.
pub(super) const AHEAD: usize = 2048;

/// Vectors of a row that go side by side, to hide each other's latency.
const CHAINS: usize = 4;

/// `costs[j] ← exp(min(((f + g[j]) − costs[j])·inverse, limit))`.
#[inline(always)]
pub(super) fn gibbs<T: Element, const FUSED: bool>(f: T, inverse: T, limit: T, g: &[T], costs: &mut [T]) {
    for (cost, &g) in costs.iter_mut().zip(g) {
        let exponent = ((f + g) - *cost) * inverse;
        let bounded = if limit < exponent { limit } else { exponent };
        *cost = bounded.exponential::<FUSED>();
    }
}

/// `costs[j] ← exp(((f + g[j]) − costs[j])/ε)`, and the sum of `costs[j]·weights[j]`.
#[inline(always)]
pub(super) fn gibbs_sum<V: Vector>(
    f: V::Element,
    epsilon: f64,
    g: &[V::Element],
    weights: &[V::Element],
    costs: &mut [V::Element],
) -> f64 {
    gibbs_sum_by::<V>(f, epsilon, g, weights, costs, |rest, _| match rest.len() < V::LEN {
        true => load_some(rest),
        false => V::load(rest),
    })
}

/// `out[j] = exp(((f + g[j]) − costs[j])/ε)`, and the sum of `out[j]·weights[j]`.
///
/// Costs that come from far are read while the exponentials of those before them are computed.
#[inline(always)]
pub(super) fn gibbs_sum_into<V: Vector>(
    f: V::Element,
    epsilon: f64,
    g: &[V::Element],
    weights: &[V::Element],
    costs: &[V::Element],
    out: &mut [V::Element],
) -> f64 {
    let length = out.len().min(costs.len());
    gibbs_sum_by::<V>(f, epsilon, g, weights, &mut out[..length], |rest, at| {
        fetch(costs, at + AHEAD / size_of::<V::Element>());
        match rest.len() < V::LEN {
            true => load_some(&costs[at..at + rest.len()]),
            false => V::load(&costs[at..]),
        }
    })
}

/// [`gibbs_sum`] of the costs that `costs_at(rest, at)` gives at a place, from which on the rest of `out` is given.
#[inline(always)]
fn gibbs_sum_by<V: Vector>(
    f: V::Element,
    epsilon: f64,
    g: &[V::Element],
    weights: &[V::Element],
    out: &mut [V::Element],
    costs_at: impl Fn(&[V::Element], usize) -> V,
) -> f64 {
    let length = out.len().min(g.len()).min(weights.len());
    let (out, g, weights) = (&mut out[..length], &g[..length], &weights[..length]);
    let (f, scale) = (V::splat(f), V::splat(V::Element::of_double(LOG2_E / epsilon)));
    let whole = length - length % V::LEN;
    let mut total = [0.0; MOST_LANES];
    for start in (0..whole).step_by(RUN) {
        let end = whole.min(start + RUN);
        let mut run = [V::splat(V::Element::NEUTRAL_OF_SUM); CHAINS];
        let mut at = start;
        while at + CHAINS * V::LEN <= end {
            for (chain, run) in run.iter_mut().enumerate() {
                let at = at + chain * V::LEN;
                let exponents = f.plus(V::load(&g[at..])).minus(costs_at(&out[at..], at));
                let entries = power_of_two(exponents.times(scale));
                *run = entries.multiply_add(V::load(&weights[at..]), *run);
                entries.store(&mut out[at..]);
            }
            at += CHAINS * V::LEN;
        }
        while at < end {
            let exponents = f.plus(V::load(&g[at..])).minus(costs_at(&out[at..], at));
            let entries = power_of_two(exponents.times(scale));
            run[0] = entries.multiply_add(V::load(&weights[at..]), run[0]);
            entries.store(&mut out[at..]);
            at += V::LEN;
        }
        add_run(&mut total, run[0].plus(run[1]).plus(run[2].plus(run[3])));
    }
    if whole < length {
        // Columns that are not there have no weight; their entries need not be finite.
        let costs = costs_at(&out[whole..], whole);
        let exponents = f.plus(load_some(&g[whole..])).minus(costs);
        let entries = power_of_two(exponents.times(scale));
        add_run(&mut total, load_some::<V>(&weights[whole..]).times(without_absent(entries, length - whole)));
        store_some(entries, &mut out[whole..]);
    }
    sum_of_lanes(total)
}

/// `Σ costs[j]·weights[j]·exp(((f + g[j]) − costs[j])/ε)`, of which no entry is written.
#[inline(always)]
pub(super) fn gibbs_cost<V: Vector>(
    f: V::Element,
    epsilon: f64,
    g: &[V::Element],
    weights: &[V::Element],
    costs: &[V::Element],
) -> f64 {
    let length = costs.len().min(g.len()).min(weights.len());
    let (costs, g, weights) = (&costs[..length], &g[..length], &weights[..length]);
    let (f, scale) = (V::splat(f), V::splat(V::Element::of_double(LOG2_E / epsilon)));
    let zero = V::splat(V::Element::NEUTRAL_OF_SUM);
    let whole = length - length % V::LEN;
    let mut total = [0.0; MOST_LANES];
    for start in (0..whole).step_by(RUN) {
        let end = whole.min(start + RUN);
        let mut run = [zero; CHAINS];
        let mut at = start;
        while at + CHAINS * V::LEN <= end {
            for (chain, run) in run.iter_mut().enumerate() {
                let at = at + chain * V::LEN;
                fetch(costs, at + AHEAD / size_of::<V::Element>());
                let terms = [V::load(&g[at..]), V::load(&weights[at..]), V::load(&costs[at..])];
                *run = paid(f, scale, terms, *run);
            }
            at += CHAINS * V::LEN;
        }
        while at < end {
            let terms = [V::load(&g[at..]), V::load(&weights[at..]), V::load(&costs[at..])];
            run[0] = paid(f, scale, terms, run[0]);
            at += V::LEN;
        }
        add_run(&mut total, run[0].plus(run[1]).plus(run[2].plus(run[3])));
    }
    if whole < length {
        let terms = [load_some(&g[whole..]), load_some(&weights[whole..]), load_some(&costs[whole..])];
        add_run(&mut total, without_absent(paid(f, scale, terms, zero), length - whole));
    }
    sum_of_lanes(total)
}

/// A sum with the cost times the entry of some pairs. No closure: where one is not inlined, neither are the instructions of its level.
#[inline(always)]
fn paid<V: Vector>(f: V, scale: V, [g, weights, costs]: [V; 3], sum: V) -> V {
    let entries = power_of_two(f.plus(g).minus(costs).times(scale));
    // Mass first: an entry may be as large as its weight is small.
    entries.times(weights).multiply_add(costs, sum)
}

/// What turns the costs of some rows into entries and their sums.
#[derive(Clone, Copy, Debug)]
pub struct GibbsTerms<'a, T> {
    /// The potential of each row.
    pub f: &'a [T],
    /// The potential of each column.
    pub g: &'a [T],
    /// The weight of each column.
    pub weights: &'a [T],
    /// The temperature.
    pub epsilon: f64,
}

/// `out[r·width + j] = exp((f_r + g_j − c(points_r, other_j))/ε)`, and their sums over j times weights, added to
/// `sums[r]`.
///
/// Squared distances in up to four dimensions never leave the registers; other costs are written, a strip
/// at a time, and met again in the first-level cache.
pub(super) fn point_entries<T: VectorMath>(
    level: Level,
    cost: PointCost,
    pairs: PointPairs<'_, T>,
    terms: GibbsTerms<'_, T>,
    width: usize,
    out: &mut [T],
    sums: &mut [f64],
) {
    let columns = terms.g.len();
    if let (PointCost::Square { scale }, 1..=4) = (cost, pairs.dimension) {
        T::square_entries_at(level, scale, pairs, terms, width, out, sums);
        return;
    }
    let strip = pairs.strip();
    for start in (0..columns).step_by(strip) {
        let range = start..columns.min(start + strip);
        let (g, weights) = (&terms.g[range.clone()], &terms.weights[range.clone()]);
        point_costs(level, cost, pairs.from(start), range.len(), width, &mut out[start..]);
        for ((row, sum), &f) in sums.iter_mut().enumerate().zip(terms.f) {
            let costs = &mut out[row * width..][range.clone()];
            *sum += T::gibbs_sum_at(level, f, terms.epsilon, g, weights, costs);
        }
    }
}

/// [`point_entries`] of squared distances in one to four dimensions.
#[inline(always)]
pub(super) fn square_entries<V: Vector>(
    scale: f64,
    pairs: PointPairs<'_, V::Element>,
    terms: GibbsTerms<'_, V::Element>,
    width: usize,
    out: &mut [V::Element],
    sums: &mut [f64],
) {
    match pairs.dimension {
        1 => square_entries_of::<V, 1>(scale, pairs, terms, width, out, sums),
        2 => square_entries_of::<V, 2>(scale, pairs, terms, width, out, sums),
        3 => square_entries_of::<V, 3>(scale, pairs, terms, width, out, sums),
        _ => square_entries_of::<V, 4>(scale, pairs, terms, width, out, sums),
    }
}

/// [`square_entries`] in `D` dimensions.
#[inline(always)]
fn square_entries_of<V: Vector, const D: usize>(
    scale: f64,
    pairs: PointPairs<'_, V::Element>,
    terms: GibbsTerms<'_, V::Element>,
    width: usize,
    out: &mut [V::Element],
    sums: &mut [f64],
) {
    let (points, _) = pairs.points.as_chunks::<D>();
    let rows = points.len().min(terms.f.len()).min(sums.len());
    let together = rows - rows % ROWS;
    for first in (0..together).step_by(ROWS) {
        let rows = SquareRows::<V, D, ROWS>::new(&points[first..], &terms.f[first..], scale, terms.epsilon);
        rows.run(pairs, terms, width, &mut out[first * width..], &mut sums[first..]);
    }
    for first in together..rows {
        let row = SquareRows::<V, D, 1>::new(&points[first..], &terms.f[first..], scale, terms.epsilon);
        row.run(pairs, terms, width, &mut out[first * width..], &mut sums[first..]);
    }
}

/// `R` rows of squared distances, and what makes entries of them.
struct SquareRows<V, const D: usize, const R: usize> {
    points: [[V; D]; R],
    f: [V; R],
    minus_scale: V,
    /// log₂(e)/ε.
    log2: V,
}

impl<V: Vector, const D: usize, const R: usize> SquareRows<V, D, R> {
    /// The first rows of some.
    #[inline(always)]
    fn new(points: &[[V::Element; D]], f: &[V::Element], scale: f64, epsilon: f64) -> Self {
        let mut rows = Self {
            points: [[V::splat(V::Element::NEUTRAL_OF_SUM); D]; R],
            f: [V::splat(V::Element::NEUTRAL_OF_SUM); R],
            minus_scale: V::splat(V::Element::of_double(-scale)),
            log2: V::splat(V::Element::of_double(LOG2_E / epsilon)),
        };
        for row in 0..R {
            for (x, &coordinate) in rows.points[row].iter_mut().zip(&points[row]) {
                *x = V::splat(coordinate);
            }
            rows.f[row] = V::splat(f[row]);
        }
        rows
    }

    /// Writes the entries of the rows, and adds their sums.
    #[inline(always)]
    fn run(
        &self,
        pairs: PointPairs<'_, V::Element>,
        terms: GibbsTerms<'_, V::Element>,
        width: usize,
        out: &mut [V::Element],
        sums: &mut [f64],
    ) {
        let zero = V::splat(V::Element::NEUTRAL_OF_SUM);
        let columns = terms.g.len();
        let (g, weights) = (terms.g, &terms.weights[..columns]);
        let axes: [&[V::Element]; D] = std::array::from_fn(|axis| &pairs.axes[axis * pairs.stride..][..columns]);
        let mut rows = out.chunks_mut(width);
        let out: [&mut [V::Element]; R] = std::array::from_fn(|_| match rows.next() {
            Some(row) => &mut row[..columns],
            None => &mut [],
        });
        let whole = columns - columns % V::LEN;
        let mut total = [[0.0; MOST_LANES]; R];
        for start in (0..whole).step_by(RUN) {
            let mut run = [zero; R];
            for start in (start..whole.min(start + RUN)).step_by(V::LEN) {
                let mut y = [zero; D];
                for (y, axis) in y.iter_mut().zip(axes) {
                    *y = V::load(&axis[start..]);
                }
                let (g, weights) = (V::load(&g[start..]), V::load(&weights[start..]));
                for row in 0..R {
                    let entries = self.entries(row, y, g);
                    run[row] = entries.multiply_add(weights, run[row]);
                    entries.store(&mut out[row][start..]);
                }
            }
            for (total, run) in total.iter_mut().zip(run) {
                add_run(total, run);
            }
        }
        if whole < columns {
            let mut y = [zero; D];
            for (y, axis) in y.iter_mut().zip(axes) {
                *y = load_some(&axis[whole..]);
            }
            let (g, weights): (V, V) = (load_some(&g[whole..]), load_some(&weights[whole..]));
            for row in 0..R {
                // Columns that are not there have no weight; their entries need not be finite.
                let entries = self.entries(row, y, g);
                add_run(&mut total[row], weights.times(without_absent(entries, columns - whole)));
                store_some(entries, &mut out[row][whole..]);
            }
        }
        for (sum, total) in sums.iter_mut().zip(total) {
            *sum += sum_of_lanes(total);
        }
    }

    /// The entries of one row in one vector of columns.
    #[inline(always)]
    fn entries(&self, row: usize, y: [V; D], g: V) -> V {
        let difference = self.points[row][0].minus(y[0]);
        let mut square = difference.times(difference);
        #[expect(clippy::needless_range_loop, reason = "an iterator that is not inlined puts vectors into memory")]
        for axis in 1..D {
            let difference = self.points[row][axis].minus(y[axis]);
            square = difference.multiply_add(difference, square);
        }
        power_of_two(square.multiply_add(self.minus_scale, self.f[row].plus(g)).times(self.log2))
    }
}

/// The entries of the first columns, and zero for those that are not there.
#[inline(always)]
fn without_absent<V: Vector>(entries: V, columns: usize) -> V {
    let mut lanes = [V::Element::NEUTRAL_OF_SUM; MOST_LANES];
    entries.store(&mut lanes);
    load_some(&lanes[..columns])
}

/// Adds the sums of a run, in `f64`.
#[inline(always)]
pub(super) fn add_run<V: Vector>(total: &mut [f64; MOST_LANES], run: V) {
    let mut lanes = [V::Element::NEUTRAL_OF_SUM; MOST_LANES];
    run.store(&mut lanes);
    for (total, run) in total.iter_mut().zip(lanes) {
        *total += run.as_double();
    }
}

/// `out[j] ← out[j] + Σ_r factors[r]·rows[r·stride + j]`.
#[inline(always)]
pub(super) fn accumulate<T: Element, const FUSED: bool>(factors: &[T], rows: &[T], stride: usize, out: &mut [f64]) {
    let (eights, rest) = factors.as_chunks::<8>();
    for (group, factors) in eights.iter().enumerate() {
        accumulate_rows::<T, FUSED, 8>(factors, &rows[8 * group * stride..], stride, out);
    }
    for (offset, &factor) in rest.iter().enumerate() {
        accumulate_rows::<T, FUSED, 1>(&[factor], &rows[(8 * eights.len() + offset) * stride..], stride, out);
    }
}

/// [`accumulate`] for `R` rows.
#[inline(always)]
fn accumulate_rows<T: Element, const FUSED: bool, const R: usize>(
    factors: &[T; R],
    rows: &[T],
    stride: usize,
    out: &mut [f64],
) {
    let length = out.len();
    let rows: [&[T]; R] = std::array::from_fn(|row| &rows[row * stride..][..length]);
    for (j, sum) in out.iter_mut().enumerate() {
        let mut term = factors[0] * rows[0][j];
        for row in 1..R {
            term = factors[row].multiply_add::<FUSED>(rows[row][j], term);
        }
        *sum += term.as_double();
    }
}

#[cfg(test)]
mod tests {
    use crate::simd::{Level, VectorMath};

    /// Numbers in [0, 1), reproducible.
    fn numbers(len: usize, seed: u64) -> Vec<f64> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        (0..len).map(|_| next()).collect()
    }

    macro_rules! tests_of_type {
        ($module:ident, $type:ident, $spread:literal, $overflow:literal) => {
            mod $module {
                use super::*;

                fn row(len: usize, seed: u64) -> Vec<$type> {
                    numbers(len, seed).into_iter().map(|x| x as $type).collect()
                }

                #[test]
                fn entries_and_sums_are_those_of_the_formula() {
                    for len in [1, 2, 15, 16, 17, 100, 255, 256, 257, 1000] {
                        let (g, weights, costs) = (row(len, 1), row(len, 2), row(len, 3));
                        for epsilon in [1.0 / $spread, 1e-2, 1.0, 100.0] {
                            for level in Level::available() {
                                let (f, mut found): ($type, _) = (-0.25, costs.clone());
                                let sum = $type::gibbs_sum_at(level, f, epsilon, &g, &weights, &mut found);
                                let mut expected_sum = 0.0;
                                for j in 0..len {
                                    let exponent = f64::from((f + g[j]) - costs[j]) / epsilon;
                                    let expected = exponent.exp().max(f64::from($type::MIN_POSITIVE));
                                    let ratio = (f64::from(found[j]) / expected).ln().abs();
                                    let tolerance = f64::from($type::EPSILON) * (4.0 + 2.0 * exponent.abs());
                                    let is_tiny = expected < 4.0 * f64::from($type::MIN_POSITIVE);
                                    assert!(
                                        ratio < if is_tiny { 1.5 } else { tolerance },
                                        "{level:?} {exponent}: {ratio:e}"
                                    );
                                    expected_sum += f64::from(found[j]) * f64::from(weights[j]);
                                }
                                assert!((sum / expected_sum - 1.0).abs() < 40.0 * f64::from($type::EPSILON));
                            }
                        }
                    }
                }

                #[test]
                fn costs_that_are_kept_give_the_same_bits() {
                    for len in [1, 7, 16, 17, 100, 256, 300, 1000] {
                        let (g, weights, costs) = (row(len, 1), row(len, 2), row(len, 3));
                        for level in Level::available() {
                            let (mut in_place, mut out) = (costs.clone(), vec![0.0; len]);
                            let expected = $type::gibbs_sum_at(level, 0.5, 0.1, &g, &weights, &mut in_place);
                            let found = $type::gibbs_sum_into_at(level, 0.5, 0.1, &g, &weights, &costs, &mut out);
                            assert!(found == expected && out == in_place, "{level:?} {len}");
                        }
                    }
                }

                #[test]
                fn rows_of_plans_pay_what_their_entries_say() {
                    for len in [1, 7, 16, 17, 100, 256, 300, 1000] {
                        let (g, weights, costs) = (row(len, 1), row(len, 2), row(len, 3));
                        for level in Level::available() {
                            let mut entries = costs.clone();
                            $type::gibbs_sum_at(level, 0.5, 0.1, &g, &weights, &mut entries);
                            let paid =
                                |j: usize| [entries[j], weights[j], costs[j]].map(f64::from).iter().product::<f64>();
                            let expected: f64 = (0..len).map(paid).sum();
                            let size: f64 = (0..len).map(|j| paid(j).abs()).sum();
                            let found = $type::gibbs_cost_at(level, 0.5, 0.1, &g, &weights, &costs);
                            assert!((found - expected).abs() <= 40.0 * f64::from($type::EPSILON) * size);
                        }
                    }
                }

                #[test]
                fn forbidden_pairs_are_negligible_and_overflow_is_told() {
                    for level in Level::available() {
                        for at in [0, 5, 16, 18] {
                            let mut costs = vec![$type::INFINITY; 19];
                            let weights = [1.0; 19];
                            let sum = $type::gibbs_sum_at(level, 0.5, 1e-3, &[0.5; 19], &weights, &mut costs);
                            assert!(sum > 0.0 && sum < 100.0 * f64::from($type::MIN_POSITIVE));
                            costs[at] = -$overflow;
                            let sum = $type::gibbs_sum_at(level, 0.0, 1.0, &[0.0; 19], &weights, &mut costs);
                            assert!(sum == f64::INFINITY && costs[at] == $type::INFINITY, "{level:?} {at}");
                            assert!(costs.iter().enumerate().all(|(j, entry)| j == at || entry.is_finite()));
                        }
                    }
                }

                #[test]
                fn bounded_entries_keep_zeros_and_the_limit() {
                    for level in Level::available() {
                        let mut costs = row(40, 4);
                        (costs[3], costs[39]) = ($type::INFINITY, -1e6);
                        let expected: Vec<f64> =
                            costs.iter().map(|c| (2.0 * f64::from(1.5 - c)).min(80.0).exp()).collect();
                        $type::gibbs_at(level, 1.0, 2.0, 80.0, &[0.5; 40], &mut costs);
                        assert!(costs[3] == 0.0 && expected[39] == 80_f64.exp());
                        for (found, expected) in costs.iter().zip(&expected) {
                            assert!(
                                (f64::from(*found) - expected).abs() <= 50.0 * f64::from($type::EPSILON) * expected
                            );
                        }
                    }
                }

                #[test]
                fn column_sums_are_those_of_the_formula() {
                    for level in Level::available() {
                        for rows in [0, 1, 3, 8, 13, 16] {
                            let (factors, entries) = (row(rows, 7), row(rows * 50, 8));
                            let mut out = vec![1.0; 45];
                            $type::accumulate_at(level, &factors, &entries, 50, &mut out);
                            for (j, out) in out.iter().enumerate() {
                                let term = |r: usize| f64::from(factors[r]) * f64::from(entries[r * 50 + j]);
                                let expected = 1.0 + (0..rows).map(term).sum::<f64>();
                                assert!((out - expected).abs() < 8.0 * f64::from($type::EPSILON) * expected);
                            }
                        }
                    }
                }
            }
        };
    }

    tests_of_type!(type_f32, f32, 80.0, 90.0);
    tests_of_type!(type_f64, f64, 700.0, 720.0);
}
