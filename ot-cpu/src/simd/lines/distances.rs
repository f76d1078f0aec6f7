//! Lines under c |x - j|: running sums from both ends, in linear time.
//!
//! With the inputs tilted, h_j + c j from the left and h_j - c j from the right,
//!
//! ```text
//! sum over j of exp(h_j - c |x - j|)  =  exp(-c x) sum over j <= x of exp(h_j + c j)  +  exp(c x) sum over j > x of exp(h_j - c j)
//! ```
//!
//! so that the outputs, in order, take one running sum from each side, whatever epsilon is. A sum is kept as exp(top) s with
//! the largest exponent that it has met, and never falls: no rounding piles up over gaps without mass. Terms times their
//! cost need one more sum, of which a step of length d adds c d s. Lines go side by side, one for each lane.

use std::f64::consts::LOG2_E;

use ot_core::LOG_ZERO;

use super::{LineCounts, LineScratch, side_by_side::splat};
use crate::simd::{element::Element, exp::power_of_two, vector::Vector};

/// A multiple of the distance between n outputs and m inputs, both evenly spaced.
#[derive(Clone, Debug)]
pub struct Distances {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// The cost over epsilon at distance one.
    slope: f64,
    /// Place of the first output, and from one to the next.
    start: f64,
    step: f64,
}

impl Distances {
    /// Outputs at start, start + step, ..., in units of the spacing of the inputs at 0, 1, ..., under `slope` times the
    /// distance.
    pub fn new(inputs: usize, outputs: usize, [start, step]: [f64; 2], slope: f64) -> Self {
        Self { inputs, outputs, slope, start, step }
    }

    /// The place of an output.
    #[inline(always)]
    fn place(&self, output: usize) -> f64 {
        self.start + self.step * f64::from(output as i32)
    }
}

/// The sums along the lines of a tile, plain or each term times its cost: laid out as those of lines under squares.
#[inline(always)]
pub(in crate::simd) fn log_sums_of_distances<V: Vector>(
    distances: &Distances,
    tile: &[V::Element],
    times_cost: bool,
    out: &mut [V::Element],
    scratch: &mut LineScratch<V::Element>,
    counts: &mut LineCounts,
) {
    let lines = out.len() / distances.outputs;
    counts.recursive += lines as u64;
    let sums = scratch.tiles.running(3 * distances.outputs * V::LEN);
    from_left::<V>(distances, tile, sums);
    from_right::<V>(distances, tile, times_cost, sums);
    for (line, out) in out.chunks_exact_mut(distances.outputs).enumerate() {
        for (out, sums) in out.iter_mut().zip(sums.chunks_exact(3 * V::LEN)) {
            *out = sums[line];
        }
    }
}

/// A running sum: exp(top) s, and exp(top) t of terms times their cost.
#[derive(Clone, Copy)]
struct Running<V> {
    top: V,
    sum: V,
    times_cost: V,
}

impl<V: Vector> Running<V> {
    #[inline(always)]
    fn new() -> Self {
        let zero = V::splat(V::Element::NEUTRAL_OF_SUM);
        Self { top: splat(LOG_ZERO), sum: zero, times_cost: zero }
    }

    /// What is there costs more by that of a step.
    #[inline(always)]
    fn step(self, cost: f64) -> Self {
        Self { times_cost: self.sum.multiply_add(splat(cost), self.times_cost), ..self }
    }

    /// With one more term, at no cost.
    #[inline(always)]
    fn with(self, exponent: V) -> Self {
        let top = self.top.larger(exponent);
        let (kept, added) = (exponential(self.top.minus(top)), exponential(exponent.minus(top)));
        Self { top, sum: self.sum.multiply_add(kept, added), times_cost: self.times_cost.times(kept) }
    }
}

/// exp(x) for x that is not positive.
#[inline(always)]
fn exponential<V: Vector>(x: V) -> V {
    power_of_two(x.times(splat(LOG2_E)))
}

/// Writes the running sums of the inputs on the left of each output, or at it.
#[inline(always)]
fn from_left<V: Vector>(distances: &Distances, tile: &[V::Element], out: &mut [V::Element]) {
    let (mut running, mut next, mut at) = (Running::<V>::new(), 0, 0.0);
    for (output, out) in out.chunks_exact_mut(3 * V::LEN).enumerate() {
        let x = distances.place(output);
        while next < distances.inputs && f64::from(next as i32) <= x {
            let j = f64::from(next as i32);
            let exponent = V::load(&tile[next * V::LEN..]).plus(splat(distances.slope * j));
            running = running.step(distances.slope * (j - at)).with(exponent);
            (next, at) = (next + 1, j);
        }
        let here = running.step(distances.slope * (x - at).max(0.0));
        here.top.minus(splat(distances.slope * x)).store(out);
        here.sum.store(&mut out[V::LEN..]);
        here.times_cost.store(&mut out[2 * V::LEN..]);
    }
}

/// Adds those of the inputs on the right, and leaves the logarithm of the sum that is asked for.
#[inline(always)]
fn from_right<V: Vector>(distances: &Distances, tile: &[V::Element], times_cost: bool, out: &mut [V::Element]) {
    let last = f64::from(distances.inputs as i32 - 1);
    let (mut running, mut left, mut at) = (Running::<V>::new(), distances.inputs, last);
    for (output, out) in out.chunks_exact_mut(3 * V::LEN).enumerate().rev() {
        let x = distances.place(output);
        while left > 0 && f64::from(left as i32 - 1) > x {
            let j = f64::from(left as i32 - 1);
            let exponent = V::load(&tile[(left - 1) * V::LEN..]).minus(splat(distances.slope * j));
            running = running.step(distances.slope * (at - j)).with(exponent);
            (left, at) = (left - 1, j);
        }
        let here = running.step(distances.slope * (at - x).max(0.0));
        let [from_left, from_right] = [V::load(out), here.top.plus(splat(distances.slope * x))];
        let top = from_left.larger(from_right);
        let factors = [exponential(from_left.minus(top)), exponential(from_right.minus(top))];
        let own = if times_cost { here.times_cost } else { here.sum };
        let other = V::load(&out[if times_cost { 2 } else { 1 } * V::LEN..]);
        let sum = own.times(factors[1]).plus(other.times(factors[0]));
        top.plus(sum.logarithm()).larger(splat(LOG_ZERO)).store(out);
    }
}
