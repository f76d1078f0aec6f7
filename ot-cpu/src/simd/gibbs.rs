//! The passes of a Gibbs kernel exp((f + g − C)/ε): distances, entries, weighted sums of rows and columns.
//!
//! The exponent is formed as `((f + g) − c)/ε`: on the support of a plan the sum cancels the cost, and what is left
//! carries the rounding of its terms only. Costs are overwritten by entries in the first-level
//! cache.

use super::element::Element;

/// Elements to a chunk: two 512-bit registers of `f64`, one of `f32`.
const LANES: usize = 16;

/// Chunks summed in the element type before they are added in `f64`.
const RUN: usize = 16;

/// `out[j] = scale·Σ_k (x[k] − axes[k·stride + j])²`.
#[inline(always)]
pub(super) fn square_distances<T: Element, const FUSED: bool>(
    scale: T,
    x: &[T],
    axes: &[T],
    stride: usize,
    out: &mut [T],
) {
    match x.len() {
        0 => out.fill(T::NEUTRAL_OF_SUM),
        1 => square_distances_of::<T, FUSED, 1>(scale, x, axes, stride, out),
        2 => square_distances_of::<T, FUSED, 2>(scale, x, axes, stride, out),
        3 => square_distances_of::<T, FUSED, 3>(scale, x, axes, stride, out),
        4 => square_distances_of::<T, FUSED, 4>(scale, x, axes, stride, out),
        dimension => {
            let one_pass = dimension - dimension % 4;
            out.fill(T::NEUTRAL_OF_SUM);
            for first in (0..one_pass).step_by(4) {
                add_squares::<T, FUSED, 4>(&x[first..], &axes[first * stride..], stride, out);
            }
            for axis in one_pass..dimension {
                add_squares::<T, FUSED, 1>(&x[axis..], &axes[axis * stride..], stride, out);
            }
            for entry in out {
                *entry = *entry * scale;
            }
        }
    }
}

/// [`square_distances`] for `D` coordinates, in registers.
#[inline(always)]
fn square_distances_of<T: Element, const FUSED: bool, const D: usize>(
    scale: T,
    x: &[T],
    axes: &[T],
    stride: usize,
    out: &mut [T],
) {
    let length = out.len();
    let axes: [&[T]; D] = std::array::from_fn(|axis| &axes[axis * stride..][..length]);
    for (j, entry) in out.iter_mut().enumerate() {
        let first = x[0] - axes[0][j];
        let mut sum = first * first;
        for axis in 1..D {
            let difference = x[axis] - axes[axis][j];
            sum = difference.multiply_add::<FUSED>(difference, sum);
        }
        *entry = sum * scale;
    }
}

/// Adds the squares of `D` differences.
#[inline(always)]
fn add_squares<T: Element, const FUSED: bool, const D: usize>(x: &[T], axes: &[T], stride: usize, out: &mut [T]) {
    let length = out.len();
    let axes: [&[T]; D] = std::array::from_fn(|axis| &axes[axis * stride..][..length]);
    for (j, entry) in out.iter_mut().enumerate() {
        for axis in 0..D {
            let difference = x[axis] - axes[axis][j];
            *entry = difference.multiply_add::<FUSED>(difference, *entry);
        }
    }
}

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
///
/// Exponents are clamped from below, where entries would be subnormal, and watched from above: a row with one
/// that overflows is no number, and neither is its sum.
#[inline(always)]
pub(super) fn gibbs_sum<T: Element, const FUSED: bool>(
    f: T,
    epsilon: f64,
    g: &[T],
    weights: &[T],
    costs: &mut [T],
) -> f64 {
    let length = costs.len().min(g.len()).min(weights.len());
    let row = &mut costs[..length];
    let (costs, rest) = row.as_chunks_mut::<LANES>();
    let (g, g_rest) = g[..length].as_chunks::<LANES>();
    let (weights, weights_rest) = weights[..length].as_chunks::<LANES>();

    let scale = std::f64::consts::LOG2_E / epsilon;
    let entries = Entries { f, scale: T::of_double(scale), lowest: T::of_double(-T::EXPONENTS / scale) };
    let mut largest = [T::NEUTRAL_OF_MAXIMUM; LANES];
    let mut total = [0.0; LANES];
    for ((costs, g), weights) in costs.chunks_mut(RUN).zip(g.chunks(RUN)).zip(weights.chunks(RUN)) {
        let mut run = [T::NEUTRAL_OF_SUM; LANES];
        for ((costs, g), weights) in costs.iter_mut().zip(g).zip(weights) {
            entries.replace::<FUSED>(g, weights, costs, &mut largest, &mut run);
        }
        for lane in 0..LANES {
            total[lane] += run[lane].as_double();
        }
    }

    if !rest.is_empty() {
        let padded = |values: &[T], padding: T| {
            let mut chunk = [padding; LANES];
            chunk[..values.len()].copy_from_slice(values);
            chunk
        };
        let zero = T::NEUTRAL_OF_SUM;
        // Padded by an infinite cost, which no largest exponent is.
        let mut chunk = padded(rest, T::of_double(f64::INFINITY));
        let (g, weights, mut run) = (padded(g_rest, zero), padded(weights_rest, zero), [zero; LANES]);
        entries.replace::<FUSED>(&g, &weights, &mut chunk, &mut largest, &mut run);
        for lane in 0..LANES {
            total[lane] += run[lane].as_double();
        }
        rest.copy_from_slice(&chunk[..rest.len()]);
    }

    if largest.iter().any(|largest| largest.as_double() * scale > T::EXPONENTS) {
        row.fill(T::of_double(f64::NAN));
        return f64::NAN;
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            total[lane] += total[lane + half];
        }
        half /= 2;
    }
    total[0]
}

/// What turns the costs of a row into entries.
#[derive(Clone, Copy)]
struct Entries<T> {
    f: T,
    /// log2(e)/ε.
    scale: T,
    /// The lowest exponent, times ε.
    lowest: T,
}

impl<T: Element> Entries<T> {
    /// One whole chunk: its entries, the largest exponents so far, times ε, and the sums of entries times weights.
    #[inline(always)]
    fn replace<const FUSED: bool>(
        self,
        g: &[T; LANES],
        weights: &[T; LANES],
        costs: &mut [T; LANES],
        largest: &mut [T; LANES],
        sums: &mut [T; LANES],
    ) {
        for lane in 0..LANES {
            let exponent = (self.f + g[lane]) - costs[lane];
            let bounded = if exponent < self.lowest { self.lowest } else { exponent };
            let entry = bounded.power_of_two::<FUSED>(self.scale);
            largest[lane] = if exponent > largest[lane] { exponent } else { largest[lane] };
            sums[lane] = entry.multiply_add::<FUSED>(weights[lane], sums[lane]);
            costs[lane] = entry;
        }
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
                fn forbidden_pairs_are_negligible_and_overflow_is_told() {
                    for level in Level::available() {
                        for at in [0, 5, 16, 18] {
                            let mut costs = vec![$type::INFINITY; 19];
                            let weights = [1.0; 19];
                            let sum = $type::gibbs_sum_at(level, 0.5, 1e-3, &[0.5; 19], &weights, &mut costs);
                            assert!(sum > 0.0 && sum < 100.0 * f64::from($type::MIN_POSITIVE));
                            costs[at] = -$overflow;
                            let sum = $type::gibbs_sum_at(level, 0.0, 1.0, &[0.0; 19], &weights, &mut costs);
                            assert!(sum.is_nan() && costs.iter().all(|entry| entry.is_nan()), "{level:?} {at}");
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
                fn distances_and_column_sums_are_those_of_the_formula() {
                    for level in Level::available() {
                        for (dimension, len) in [(1, 5), (2, 33), (3, 64), (4, 7), (5, 20), (11, 16)] {
                            let (x, axes) = (row(dimension, 5), row(dimension * 70, 6));
                            let mut found = vec![7.0; len];
                            $type::square_distances_at(level, 0.5, &x, &axes[2..], 70, &mut found[..len - 1]);
                            for (j, found) in found[..len - 1].iter().enumerate() {
                                let square = |k: usize| f64::from(x[k] - axes[k * 70 + 2 + j]).powi(2);
                                let expected = 0.5 * (0..dimension).map(square).sum::<f64>();
                                assert!(
                                    (f64::from(*found) - expected).abs() < 8.0 * f64::from($type::EPSILON) * expected
                                );
                            }
                            assert_eq!(found[len - 1], 7.0);
                        }
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
