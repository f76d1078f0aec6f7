//! Reductions along a slice, in a fixed order.
//!
//! Element `i` of the whole chunks goes to lane `i mod LANES`, each lane sums in the order of the
//! slice; what is left over, `t` elements, goes to the last `t` lanes, each lane at most one; and
//! the lanes are folded by halves. The order depends on the length alone and is the same at every
//! level, so the bits of a sum are those of its terms.
//!
//! The left-over elements are read as the last `LANES` of the slice, those already counted being
//! replaced by a neutral value.

use super::element::Element;

/// Lanes of a reduction: enough independent sums to hide the latency of an addition.
pub(super) const LANES: usize = 16;

/// `Σ x[i]·y[i]` over the common length, summed in `f64`.
///
/// Not fused at any level, for the sake of equal bits: the loads are the limit here.
#[inline(always)]
pub(super) fn dot<T: Element, const FUSED: bool>(x: &[T], y: &[T]) -> f64 {
    let length = x.len().min(y.len());
    let (x, y) = (&x[..length], &y[..length]);
    let (x_chunks, tail) = x.as_chunks::<LANES>();
    let (y_chunks, _) = y.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for (x_chunk, y_chunk) in x_chunks.iter().zip(y_chunks) {
        for lane in 0..LANES {
            lanes[lane] += x_chunk[lane].as_double() * y_chunk[lane].as_double();
        }
    }
    if !tail.is_empty() {
        let x_end = left_over(x, tail.len(), T::NEUTRAL_OF_SUM);
        let y_end = left_over(y, tail.len(), T::NEUTRAL_OF_SUM);
        for lane in 0..LANES {
            lanes[lane] += x_end[lane].as_double() * y_end[lane].as_double();
        }
    }
    sum_of_lanes(lanes)
}

/// `x[i] ← exp(x[i])`, and the sum of the results in `f64`.
#[inline(always)]
pub(super) fn exp_sum<T: Element, const FUSED: bool>(x: &mut [T]) -> f64 {
    let tail = x.len() % LANES;
    // exp(−∞) = 0 adds nothing to a lane.
    let mut end = left_over(x, tail, T::NEUTRAL_OF_MAXIMUM);
    let (chunks, rest) = x.as_chunks_mut::<LANES>();
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        exp_sum_chunk::<T, FUSED>(chunk, &mut lanes);
    }
    if !rest.is_empty() {
        exp_sum_chunk::<T, FUSED>(&mut end, &mut lanes);
        for (entry, &result) in rest.iter_mut().rev().zip(end.iter().rev()) {
            *entry = result;
        }
    }
    sum_of_lanes(lanes)
}

/// One whole chunk of [`exp_sum`].
#[inline(always)]
fn exp_sum_chunk<T: Element, const FUSED: bool>(chunk: &mut [T; LANES], lanes: &mut [f64; LANES]) {
    for entry in chunk.iter_mut() {
        *entry = entry.exponential::<FUSED>();
    }
    for (lane, entry) in lanes.iter_mut().zip(chunk) {
        *lane += entry.as_double();
    }
}

/// The largest entry; `−∞` for an empty slice. NaN entries are passed over.
#[inline(always)]
pub(super) fn max<T: Element, const FUSED: bool>(x: &[T]) -> T {
    let (chunks, tail) = x.as_chunks::<LANES>();
    let mut lanes = [T::NEUTRAL_OF_MAXIMUM; LANES];
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = larger(lanes[lane], chunk[lane]);
        }
    }
    if !tail.is_empty() {
        let end = left_over(x, tail.len(), T::NEUTRAL_OF_MAXIMUM);
        for lane in 0..LANES {
            lanes[lane] = larger(lanes[lane], end[lane]);
        }
    }
    fold(lanes, larger)
}

/// The largest `x[i] − y[i]` over the common length; `−∞` if there is none. NaN differences are passed over.
#[inline(always)]
pub(super) fn largest_difference<T: Element, const FUSED: bool>(x: &[T], y: &[T]) -> T {
    let length = x.len().min(y.len());
    let (x, y) = (&x[..length], &y[..length]);
    let (x_chunks, x_tail) = x.as_chunks::<LANES>();
    let (y_chunks, y_tail) = y.as_chunks::<LANES>();
    let mut lanes = [T::NEUTRAL_OF_MAXIMUM; LANES];
    for (x_chunk, y_chunk) in x_chunks.iter().zip(y_chunks) {
        for lane in 0..LANES {
            lanes[lane] = larger(lanes[lane], x_chunk[lane] - y_chunk[lane]);
        }
    }
    for ((lane, &x), &y) in lanes.iter_mut().zip(x_tail).zip(y_tail) {
        *lane = larger(*lane, x - y);
    }
    fold(lanes, larger)
}

/// The larger of two, the first where they are equal or the second is NaN.
#[inline(always)]
fn larger<T: Element>(a: T, b: T) -> T {
    if b > a { b } else { a }
}

/// The last `tail` entries in the last `tail` lanes, the lanes before them neutral.
#[inline(always)]
fn left_over<T: Element>(x: &[T], tail: usize, neutral: T) -> [T; LANES] {
    let mut end = [neutral; LANES];
    if let Some(last) = x.last_chunk::<LANES>() {
        for lane in 0..LANES {
            end[lane] = if lane + tail >= LANES { last[lane] } else { neutral };
        }
    } else {
        for (slot, &entry) in end.iter_mut().rev().zip(x.iter().rev()) {
            *slot = entry;
        }
    }
    end
}

/// The sum of the lanes, folded by halves.
#[inline(always)]
pub(super) fn sum_of_lanes(lanes: [f64; LANES]) -> f64 {
    fold(lanes, |a, b| a + b)
}

/// Folds the lanes by halves: lane `i` with lane `i + n/2`, then the rest likewise.
#[inline(always)]
fn fold<T: Copy>(mut lanes: [T; LANES], combine: impl Fn(T, T) -> T) -> T {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = combine(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    lanes[0]
}
