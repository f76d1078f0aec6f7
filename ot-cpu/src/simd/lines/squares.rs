//! Lines under c (x - j)^2: tilted blocks.
//!
//! In units of the spacing of the inputs, with the outputs of a block at x + xi around its centre x, and the inputs at
//! j* + t around the one whose term is largest there,
//!
//! ```text
//! h_j - c (x + xi - j)^2 = h_* - c (x + xi - j*)^2  +  (h_j - h_*) + t (2 c (x - j*) - c t)  +  2 c xi t
//!                          ------- reference -------    ----------- at most 0, log u ----------   - log K -
//! ```
//!
//! So the factor K is the same for all blocks of all lines: a few rows of a table that stays in the first-level cache.
//! The reference is all that a far displacement makes large, and it is added at the end: nothing underflows that
//! matters, however steep the potentials are. This is the discrete entropic Legendre transform, block by block. |log K|
//! stays below the exponents of the element type less those that matter, so that what u loses to underflow matters to no
//! output of the block.

use super::{
    LARGEST_BLOCK, LINE_PADDING, LineCounts, LineScratch, exponent_range, least_exponent, logarithms, number, product,
    side_by_side::Blocks,
    windows::{self, Line},
};
use crate::simd::element::Element;

/// The square of a difference times a curvature, between n outputs and m inputs, both evenly spaced.
#[derive(Clone, Debug)]
pub struct Squares<T> {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Outputs of a block: 8 or 16.
    pub(super) block: usize,
    /// The cost over epsilon at distance one.
    pub(super) curvature: f64,
    /// Place of the first output, and from one to the next.
    start: f64,
    pub(super) step: f64,
    /// The exponent below the largest at which inputs do not matter.
    pub(super) tau: f64,
    /// The largest |t| of a row of the factor.
    most: usize,
    /// exp(2 c xi t) for t = -most, ..., most, row after row, and rows of zero behind.
    factor: Vec<T>,
    /// Those of lines that go side by side, where they can.
    pub(super) blocks: Option<Blocks<T>>,
}

impl<T: Element> Squares<T> {
    /// Outputs at start, start + step, ..., in units of the spacing of the inputs at 0, 1, ..., under `curvature` times
    /// the squared difference.
    pub fn new(inputs: usize, outputs: usize, [start, step]: [f64; 2], curvature: f64) -> Self {
        let tau = least_exponent::<T>(inputs);
        // The inputs that matter to an output under a flat potential.
        let width = (tau / curvature).sqrt();
        let most = |block: usize| {
            let half = 0.5 * (block - 1) as f64 * step;
            ((exponent_range::<T>() - tau) / (2.0 * curvature * half), half + width + 1.0)
        };
        let (reach, needed) = most(LARGEST_BLOCK);
        let block = if reach >= needed { LARGEST_BLOCK } else { LARGEST_BLOCK / 2 };
        let most = most(block).0.min(inputs as f64) as usize;
        let rows = 2 * most + 1 + 2 * LINE_PADDING;
        let mut factor = vec![T::NEUTRAL_OF_SUM; rows * block];
        for (row, entries) in factor.chunks_exact_mut(block).take(2 * most + 1).enumerate() {
            let t = row as f64 - most as f64;
            for (k, entry) in entries.iter_mut().enumerate() {
                let xi = (k as f64 - 0.5 * (block - 1) as f64) * step;
                *entry = T::of_double((2.0 * curvature * xi * t).exp());
            }
        }
        let blocks = Blocks::new(inputs, outputs, step, curvature, tau);
        Self { inputs, outputs, block, curvature, start, step, tau, most, factor, blocks }
    }

    /// The place of an output.
    #[inline(always)]
    pub(super) fn place(&self, output: usize) -> f64 {
        self.start + self.step * f64::from(output as i32)
    }

    /// The cost at a distance, over epsilon.
    #[inline(always)]
    pub(super) fn cost(&self, distance: f64) -> T {
        T::of_double((self.curvature * distance * distance).min(-super::LOG_ZERO))
    }

    /// What rounding may take from a value near a maximum of this size, in windows.
    #[inline(always)]
    pub(super) fn slack(&self, maximum: f64) -> f64 {
        let [first, last] = [self.place(0), self.place(self.outputs - 1)];
        let reach =
            first.abs().max(last.abs()).max((self.inputs as f64 - first).abs()).max((self.inputs as f64 - last).abs());
        8.0 * T::GAP * (maximum.abs() + 2.0 * self.curvature * reach * reach)
    }
}

/// The sums along a line that has mass.
#[inline(always)]
pub(super) fn log_sums<T: Element, const B: usize, const TIMES_COST: bool, const FUSED: bool>(
    squares: &Squares<T>,
    line: &[T],
    out: &mut [T],
    scratch: &mut LineScratch<T>,
    counts: &mut LineCounts,
) {
    let (outputs, blocks) = (squares.outputs, squares.outputs.div_ceil(B));
    let seen = Line { inputs: line, curvature: T::of_double(squares.curvature) };
    let border = |b: usize| T::of_double(squares.place((b * B).min(outputs - 1)));
    // The largest term may cost nothing, and what is far below it be all that does.
    let tau = if TIMES_COST { 2.0 * squares.tau } else { squares.tau };
    let least = |top: T| {
        let top = top.as_double();
        T::of_double(top - tau - squares.slack(top))
    };
    windows::find::<T, FUSED>(&seen, blocks, border, least, scratch);
    let (rows, _) = squares.factor.as_chunks::<B>();
    for (b, out) in out.chunks_mut(B).enumerate() {
        let mut window = scratch.windows[b];
        let [(top, left), (next_top, right)] = [scratch.borders[b], scratch.borders[b + 1]];
        let centre = squares.place(b * B) + 0.5 * (B - 1) as f64 * squares.step;
        // The centre of a block that is cut short may lie beyond its last output.
        let within = T::of_double(centre.min(squares.place(outputs - 1)));
        let (_, peak) = seen.maximum::<FUSED>(within, left, right);
        let fits = |(first, behind): (usize, usize)| peak - first <= squares.most && behind - 1 - peak <= squares.most;
        if !fits(window) {
            window = seen.narrowed::<FUSED>(window, [border(b), border(b + 1)], [least(top), least(next_top)]);
        }
        let (first, behind) = window;
        let tilt = Tilt { squares, peak, first, behind, centre };
        let logs = if fits(window) && !TIMES_COST {
            counts.tilted += 1;
            let factors = tilt.factors::<FUSED>(line, &mut scratch.factors);
            let sums = product::<T, B, FUSED>(factors, &rows[squares.most + first - peak..]);
            logarithms::<T, B, FUSED>(sums)
        } else {
            counts.direct += u64::from(!TIMES_COST);
            tilt.direct::<B, TIMES_COST, FUSED>(line)
        };
        let mut values = [T::NEUTRAL_OF_SUM; B];
        let highest = line[peak].as_double();
        for k in 0..B {
            let distance = squares.start + squares.step * (b * B + k) as f64 - peak as f64;
            values[k] = T::of_double((highest - squares.curvature * distance * distance) + logs[k].as_double());
        }
        out.copy_from_slice(&values[..out.len()]);
    }
}

/// The terms of a block, seen from the largest at its centre.
struct Tilt<'a, T> {
    squares: &'a Squares<T>,
    peak: usize,
    first: usize,
    behind: usize,
    centre: f64,
}

impl<T: Element> Tilt<'_, T> {
    /// log u at the first input that matters, and what a step changes: the terms of a block in t.
    #[inline(always)]
    fn exponents<const FUSED: bool>(&self, line: &[T], slope: T, start: usize) -> [T; LINE_PADDING] {
        let (curvature, highest) = (T::of_double(self.squares.curvature), line[self.peak]);
        let first = T::of_double(f64::from(start as i32 - self.peak as i32));
        let inputs = &line[start..start + LINE_PADDING];
        let mut out = [T::NEUTRAL_OF_SUM; LINE_PADDING];
        for lane in 0..LINE_PADDING {
            let t = first + number(lane);
            let tilted = (T::NEUTRAL_OF_SUM - curvature).multiply_add::<FUSED>(t, slope);
            out[lane] = tilted.multiply_add::<FUSED>(t, inputs[lane] - highest);
        }
        out
    }

    /// u, for the inputs that matter, and zeros up to a multiple of eight.
    #[inline(always)]
    fn factors<'b, const FUSED: bool>(&self, line: &[T], factors: &'b mut [T]) -> &'b [T] {
        let slope = T::of_double(2.0 * self.squares.curvature * (self.centre - self.peak as f64));
        let len = self.behind - self.first;
        let mut offset = 0;
        while offset < len {
            let exponents = self.exponents::<FUSED>(line, slope, self.first + offset);
            let out = &mut factors[offset..offset + LINE_PADDING];
            for lane in 0..LINE_PADDING {
                out[lane] = exponents[lane].exponential::<FUSED>();
            }
            offset += LINE_PADDING;
        }
        factors[len..len + LINE_PADDING].fill(T::NEUTRAL_OF_SUM);
        &factors[..len.next_multiple_of(LINE_PADDING)]
    }

    /// Logarithms of the sums of a block, relative to the reference, each from its own largest term.
    #[inline(always)]
    fn direct<const B: usize, const TIMES_COST: bool, const FUSED: bool>(&self, line: &[T]) -> [T; B] {
        let (squares, curvature) = (self.squares, self.squares.curvature);
        let highest = line[self.peak];
        let (mut slopes, mut tops, mut sums) =
            ([T::NEUTRAL_OF_SUM; B], [T::NEUTRAL_OF_MAXIMUM; B], [T::NEUTRAL_OF_SUM; B]);
        let mut distances = [T::NEUTRAL_OF_SUM; B];
        for k in 0..B {
            let place = self.centre + (k as f64 - 0.5 * (B - 1) as f64) * squares.step;
            distances[k] = T::of_double(place - self.peak as f64);
            slopes[k] = T::of_double(2.0 * curvature * (place - self.peak as f64));
        }
        let curvature = T::of_double(curvature);
        let term = |j: usize| (T::of_double(f64::from(j as i32 - self.peak as i32)), line[j] - highest);
        for j in self.first..self.behind {
            let (t, input) = term(j);
            for k in 0..B {
                let tilted = (T::NEUTRAL_OF_SUM - curvature).multiply_add::<FUSED>(t, slopes[k]);
                tops[k] = tops[k].larger(tilted.multiply_add::<FUSED>(t, input));
            }
        }
        for j in self.first..self.behind {
            let (t, input) = term(j);
            for k in 0..B {
                let tilted = (T::NEUTRAL_OF_SUM - curvature).multiply_add::<FUSED>(t, slopes[k]);
                let entry = (tilted.multiply_add::<FUSED>(t, input) - tops[k]).exponential::<FUSED>();
                let distance = distances[k] - t;
                sums[k] = sums[k] + if TIMES_COST { entry * (curvature * distance * distance) } else { entry };
            }
        }
        let mut out = [T::NEUTRAL_OF_SUM; B];
        for k in 0..B {
            let log = sums[k].logarithm::<FUSED>();
            out[k] = if sums[k] > T::NEUTRAL_OF_SUM { log + tops[k] } else { T::of_double(super::LOG_ZERO) };
        }
        out
    }
}
