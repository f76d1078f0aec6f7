//! Which inputs matter to which outputs, where the cost is the square of a difference.
//!
//! With phi(x, j) = h_j - c (x - j)^2 and its maximum S(x) at j*(x), for x' > x and j < j*(x)
//!
//! ```text
//! phi(x', j) - phi(x', j*(x)) = phi(x, j) - phi(x, j*(x)) - 2 c (x' - x) (j*(x) - j)  <=  phi(x, j) - phi(x, j*(x))
//! ```
//!
//! So j* does not fall, whatever h is, and an input on its left that is below the maximum by tau at x is so at all
//! x' > x: the first input within tau of the maximum does not fall either, and on the other side nor does the last. The
//! maxima at the borders of blocks are found by halving (Aggarwal et al. 1987 search monotone matrices in this way), the
//! first and last inputs by two pointers that never turn back, in steps of a few inputs.

use super::{LINE_PADDING, LineScratch, number};
use crate::simd::element::Element;

/// Inputs that are compared at once.
const LANES: usize = LINE_PADDING;

/// A line of inputs under a curvature.
pub(super) struct Line<'a, T> {
    pub(super) inputs: &'a [T],
    pub(super) curvature: T,
}

/// Fills the borders and the windows of all blocks. `border(b)` is the place of the first output of block b, in units of
/// the inputs, and that of the last output for b = blocks; `least(maximum)` what an input must reach to matter beside a
/// maximum.
#[inline(always)]
pub(super) fn find<T: Element, const FUSED: bool>(
    line: &Line<'_, T>,
    blocks: usize,
    border: impl Fn(usize) -> T,
    least: impl Fn(T) -> T,
    scratch: &mut LineScratch<T>,
) {
    let last = line.inputs.len() - LANES - 1;
    let (borders, windows) = (&mut scratch.borders[..=blocks], &mut scratch.windows[..blocks]);
    borders[0] = line.maximum::<FUSED>(border(0), 0, last);
    borders[blocks] = line.maximum::<FUSED>(border(blocks), borders[0].1, last);
    let mut stride = blocks.next_power_of_two() / 2;
    while stride > 0 {
        let mut b = stride;
        while b < blocks {
            let (left, right) = (borders[b - stride].1, borders[blocks.min(b + stride)].1);
            borders[b] = line.maximum::<FUSED>(border(b), left, right);
            b += 2 * stride;
        }
        stride /= 2;
    }
    let mut first = 0;
    for b in 0..blocks {
        let (x, least) = (border(b), least(borders[b].0));
        while first + LANES <= last && !line.matters::<FUSED>(x, first, least) {
            first += LANES;
        }
        windows[b].0 = first;
    }
    let mut behind = last + 1;
    for b in (0..blocks).rev() {
        let (x, least) = (border(b + 1), least(borders[b + 1].0));
        while behind > LANES && !line.matters::<FUSED>(x, behind - LANES, least) {
            behind -= LANES;
        }
        windows[b].1 = behind;
    }
}

impl<T: Element> Line<'_, T> {
    /// The values of some neighbours.
    #[inline(always)]
    fn values<const FUSED: bool>(&self, x: T, first: usize) -> [T; LANES] {
        let mut out = [T::NEUTRAL_OF_SUM; LANES];
        let inputs = &self.inputs[first..first + LANES];
        let start = x - number(first);
        for lane in 0..LANES {
            let distance = start - number(lane);
            out[lane] = (T::NEUTRAL_OF_SUM - self.curvature * distance).multiply_add::<FUSED>(distance, inputs[lane]);
        }
        out
    }

    /// Is any of some neighbours at least this much?
    #[inline(always)]
    fn matters<const FUSED: bool>(&self, x: T, first: usize, least: T) -> bool {
        let values = self.values::<FUSED>(x, first);
        let mut any = false;
        for value in values {
            any |= value >= least;
        }
        any
    }

    /// The part of a window whose inputs are at least `low` at x on its left side, and at least `high` at y on its right.
    #[inline(always)]
    pub(super) fn narrowed<const FUSED: bool>(
        &self,
        (mut first, mut behind): (usize, usize),
        [x, y]: [T; 2],
        [low, high]: [T; 2],
    ) -> (usize, usize) {
        while first + 1 < behind && self.values::<FUSED>(x, first)[0] < low {
            first += 1;
        }
        while behind > first + 1 && self.values::<FUSED>(y, behind - 1)[0] < high {
            behind -= 1;
        }
        (first, behind)
    }

    /// The largest value of the inputs from `first` to `last`, and a place where it is.
    #[inline(always)]
    pub(super) fn maximum<const FUSED: bool>(&self, x: T, first: usize, last: usize) -> (T, usize) {
        let mut best = [T::NEUTRAL_OF_MAXIMUM; LANES];
        let mut place = [T::NEUTRAL_OF_SUM; LANES];
        let mut start = first;
        while start <= last {
            let values = self.values::<FUSED>(x, start);
            let here = number(start);
            for lane in 0..LANES {
                let is_better = values[lane] > best[lane];
                best[lane] = if is_better { values[lane] } else { best[lane] };
                place[lane] = if is_better { here } else { place[lane] };
            }
            start += LANES;
        }
        for (lane, place) in place.iter_mut().enumerate() {
            *place = *place + number(lane);
        }
        let mut width = LANES / 2;
        while width > 0 {
            for lane in 0..width {
                let is_better = best[lane + width] > best[lane];
                best[lane] = if is_better { best[lane + width] } else { best[lane] };
                place[lane] = if is_better { place[lane + width] } else { place[lane] };
            }
            width /= 2;
        }
        (best[0], (place[0].as_double() as i32 as usize).min(last))
    }
}
