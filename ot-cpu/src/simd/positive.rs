//! Positive parts t = max(f + d, 0) of differences d = g − c: the entries of a plan regularised by its squares.
//!
//! Sums go over lanes of `f64`: element `i` goes to lane `i mod LANES`. Nothing is fused, so the bits are the same at
//! every level. A difference of minus infinity, a forbidden pair, has no positive part.

use super::element::Element;
use super::reduce::{LANES, sum_of_lanes};

/// `costs[j] ← g[j] − costs[j]`.
#[inline(always)]
pub(super) fn differences_from<T: Element, const FUSED: bool>(g: &[T], costs: &mut [T]) {
    for (cost, &g) in costs.iter_mut().zip(g) {
        *cost = g - *cost;
    }
}

/// `Σ w[j]·t[j]` and `Σ w[j]` over `t[j] > 0`.
#[inline(always)]
pub(super) fn positive_sums<T: Element, const FUSED: bool>(f: T, d: &[T], weights: &[T]) -> [f64; 2] {
    let length = d.len().min(weights.len());
    let ((chunks, rest), (weight_chunks, weight_rest)) =
        (d[..length].as_chunks::<LANES>(), weights[..length].as_chunks::<LANES>());
    let (mut sums, mut counts) = ([0.0; LANES], [0.0; LANES]);
    let mut add = |lane: usize, d: T, weight: T| {
        let part = f + d;
        let is_positive = part > T::NEUTRAL_OF_SUM;
        let part = if is_positive { part } else { T::NEUTRAL_OF_SUM };
        let counted = if is_positive { weight } else { T::NEUTRAL_OF_SUM };
        sums[lane] += part.as_double() * weight.as_double();
        counts[lane] += counted.as_double();
    };
    for (chunk, weights) in chunks.iter().zip(weight_chunks) {
        for lane in 0..LANES {
            add(lane, chunk[lane], weights[lane]);
        }
    }
    for (lane, (&d, &weight)) in rest.iter().zip(weight_rest).enumerate() {
        add(lane, d, weight);
    }
    [sum_of_lanes(sums), sum_of_lanes(counts)]
}

/// `d[j] ← t[j]`, and `Σ w[j]·t[j]` and `Σ w[j]·t[j]²`.
#[inline(always)]
pub(super) fn positive_parts<T: Element, const FUSED: bool>(f: T, d: &mut [T], weights: &[T]) -> [f64; 2] {
    let length = d.len().min(weights.len());
    let ((chunks, rest), (weight_chunks, weight_rest)) =
        (d[..length].as_chunks_mut::<LANES>(), weights[..length].as_chunks::<LANES>());
    let (mut sums, mut squares) = ([0.0; LANES], [0.0; LANES]);
    let mut add = |lane: usize, d: &mut T, weight: T| {
        let part = f + *d;
        *d = if part > T::NEUTRAL_OF_SUM { part } else { T::NEUTRAL_OF_SUM };
        let weighted = d.as_double() * weight.as_double();
        sums[lane] += weighted;
        squares[lane] += weighted * d.as_double();
    };
    for (chunk, weights) in chunks.iter_mut().zip(weight_chunks) {
        for lane in 0..LANES {
            add(lane, &mut chunk[lane], weights[lane]);
        }
    }
    for (lane, (d, &weight)) in rest.iter_mut().zip(weight_rest).enumerate() {
        add(lane, d, weight);
    }
    [sum_of_lanes(sums), sum_of_lanes(squares)]
}

/// How the densities p = t/ε of a row are changed: `p'[j] = x·p[j]·y[j] + u·v[j] + s·t[j]`.
#[derive(Clone, Copy, Debug)]
pub struct SquareChange<'a, T> {
    /// x, u and s.
    pub factors: [f64; 3],
    /// y, v and t.
    pub columns: [&'a [T]; 3],
    /// The strength ε.
    pub epsilon: f64,
}

/// `Σ w[j]·((p' − p)²/2 + p'·(p − z))` with `z = (f + d[j])/ε` and `p = max(z, 0)`; NaN where a pair is forbidden.
#[inline(always)]
pub(super) fn square_fenchel_gap<T: Element, const FUSED: bool>(
    f: T,
    d: &[T],
    weights: &[T],
    change: SquareChange<'_, T>,
) -> f64 {
    let SquareChange { factors: [x, u, s], columns: [y, v, t], epsilon } = change;
    let length = d.len();
    let (f, inverse) = (f.as_double(), 1.0 / epsilon);
    let term = |[d, weight, y, v, t]: [T; 5]| {
        let exponent = (f + d.as_double()) * inverse;
        let density = if exponent > 0.0 { exponent } else { 0.0 };
        let changed = x * density * y.as_double() + u * v.as_double() + s * t.as_double();
        let difference = changed - density;
        weight.as_double() * (0.5 * difference * difference + changed * (density - exponent))
    };
    let slices = [d, weights, y, v, t].map(|slice| slice[..length].as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for chunk in 0..length / LANES {
        let chunks = slices.map(|(chunks, _)| &chunks[chunk]);
        for lane in 0..LANES {
            lanes[lane] += term(chunks.map(|chunk| chunk[lane]));
        }
    }
    for lane in 0..length % LANES {
        lanes[lane] += term(slices.map(|(_, rest)| rest[lane]));
    }
    sum_of_lanes(lanes)
}
