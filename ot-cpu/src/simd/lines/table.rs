//! Lines under any cost: products that are stabilised block by block, from a table.
//!
//! With the middle output of a block for its reference, u_j = exp(h_j - C_0j / epsilon - top) and
//! K_ij = exp((C_0j - C_ij) / epsilon), kept for all pairs. An input matters to a block if its term can come within the
//! exponents that count of the largest term of any output; what bounds both are the extremes of log K over the outputs of
//! the block, kept for each input. Products are taken where all that matters has a log K in range.

use super::{
    LARGEST_BLOCK, LINE_PADDING, LineCounts, LineScratch, exponent_range, least_exponent, logarithms, product,
};
use crate::simd::element::Element;

/// Outputs of a block.
const BLOCK: usize = LARGEST_BLOCK;

/// A cost of n outputs and m inputs, all of its entries kept.
#[derive(Clone, Debug)]
pub struct Table<T> {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Inputs of a row, a multiple of [`LINE_PADDING`].
    stride: usize,
    tau: f64,
    /// The cost of each output over epsilon, row after row.
    costs: Vec<T>,
    /// The least of them.
    least: T,
    /// The cost of the reference of each block.
    references: Vec<T>,
    /// The largest log K of each input, and the largest -log K, block after block.
    extremes: [Vec<T>; 2],
    /// K, block after block, input after input; zero where it is out of range.
    factor: Vec<T>,
}

impl<T: Element> Table<T> {
    /// Of the costs over epsilon of each output, n rows of m.
    pub fn new(inputs: usize, outputs: usize, costs: &[f64]) -> Self {
        let (stride, blocks) = (inputs.next_multiple_of(LINE_PADDING), outputs.div_ceil(BLOCK));
        let tau = least_exponent::<T>(inputs);
        let range = 0.5 * (exponent_range::<T>() - tau);
        let zeros = |len: usize| vec![T::NEUTRAL_OF_SUM; len];
        let (mut rows, mut references) = (zeros(outputs * stride), zeros(blocks * stride));
        let mut extremes = [zeros(blocks * stride), zeros(blocks * stride)];
        let mut factor = zeros((blocks * stride + LINE_PADDING) * BLOCK);
        let cost = |i: usize, j: usize| costs[i * inputs + j];
        for (i, row) in rows.chunks_exact_mut(stride).enumerate() {
            for (j, entry) in row[..inputs].iter_mut().enumerate() {
                *entry = T::of_double(cost(i, j));
            }
        }
        for b in 0..blocks {
            let members = b * BLOCK..outputs.min((b + 1) * BLOCK);
            let reference = (b * BLOCK + BLOCK / 2).min(outputs - 1);
            for j in 0..inputs {
                references[b * stride + j] = T::of_double(cost(reference, j));
                let log = |i: usize| cost(reference, j) - cost(i, j);
                let most = members.clone().map(log).fold(0.0, f64::max);
                let fewest = members.clone().map(log).fold(0.0, f64::min);
                extremes[0][b * stride + j] = T::of_double(most);
                extremes[1][b * stride + j] = T::of_double(-fewest);
                if most <= range && -fewest <= range {
                    for i in members.clone() {
                        factor[(b * stride + j) * BLOCK + i - b * BLOCK] = T::of_double(log(i).exp());
                    }
                }
            }
        }
        let least = T::of_double(costs.iter().copied().fold(f64::INFINITY, f64::min));
        Self { inputs, outputs, stride, tau, costs: rows, least, references, extremes, factor }
    }

    /// The least cost over epsilon.
    pub fn least(&self) -> f64 {
        self.least.as_double()
    }
}

/// The sums along a line that has mass.
#[inline(always)]
pub(super) fn log_sums<T: Element, const TIMES_COST: bool, const FUSED: bool>(
    table: &Table<T>,
    line: &[T],
    out: &mut [T],
    scratch: &mut LineScratch<T>,
    counts: &mut LineCounts,
) {
    let (inputs, stride) = (table.inputs, table.stride);
    let range = T::of_double(0.5 * (exponent_range::<T>() - table.tau));
    let (rows, _) = table.factor.as_chunks::<BLOCK>();
    for (b, out) in out.chunks_mut(BLOCK).enumerate() {
        let block = b * stride..b * stride + inputs;
        let references = &table.references[block.clone()];
        let [most, fewest] = table.extremes.each_ref().map(|extremes| &extremes[block.clone()]);
        let factors = &mut scratch.factors[..];
        let (mut top, mut sure) = (T::NEUTRAL_OF_MAXIMUM, T::NEUTRAL_OF_MAXIMUM);
        for j in 0..inputs {
            factors[j] = line[j] - references[j];
            top = top.larger(factors[j]);
            sure = sure.larger(factors[j] - fewest[j]);
        }
        let size = sure.as_double().abs() + top.as_double().abs();
        let least = T::of_double(sure.as_double() - table.tau - 8.0 * T::GAP * size);
        let mut fits = true;
        for j in 0..inputs {
            let matters = factors[j] + most[j] >= least;
            fits &= !matters | ((most[j] <= range) & (fewest[j] <= range));
        }
        if fits && !TIMES_COST {
            counts.stabilised += 1;
            for factor in &mut factors[..inputs] {
                *factor = (*factor - top).exponential::<FUSED>();
            }
            factors[inputs..inputs + LINE_PADDING].fill(T::NEUTRAL_OF_SUM);
            let sums =
                product::<T, BLOCK, FUSED>(&factors[..inputs.next_multiple_of(LINE_PADDING)], &rows[b * stride..]);
            let logs = logarithms::<T, BLOCK, FUSED>(sums);
            for (out, log) in out.iter_mut().zip(logs) {
                *out = top + log;
            }
        } else {
            counts.direct += u64::from(!TIMES_COST);
            for (k, out) in out.iter_mut().enumerate() {
                let costs = &table.costs[(b * BLOCK + k) * stride..][..inputs];
                *out = direct::<T, TIMES_COST, FUSED>(&line[..inputs], costs, table.least);
            }
        }
    }
}

/// The logarithm of the sum of one output, from its largest term.
#[inline(always)]
fn direct<T: Element, const TIMES_COST: bool, const FUSED: bool>(line: &[T], costs: &[T], least: T) -> T {
    let mut top = T::NEUTRAL_OF_MAXIMUM;
    for (&input, &cost) in line.iter().zip(costs) {
        top = top.larger(input - cost);
    }
    let mut sums = [T::NEUTRAL_OF_SUM; LINE_PADDING];
    let term = |input: T, cost: T| {
        let entry = ((input - cost) - top).exponential::<FUSED>();
        if TIMES_COST { entry * (cost - least) } else { entry }
    };
    let (chunks, rest) = line.as_chunks::<LINE_PADDING>();
    let (cost_chunks, cost_rest) = costs.as_chunks::<LINE_PADDING>();
    for (inputs, costs) in chunks.iter().zip(cost_chunks) {
        for lane in 0..LINE_PADDING {
            sums[lane] = sums[lane] + term(inputs[lane], costs[lane]);
        }
    }
    for ((&input, &cost), sum) in rest.iter().zip(cost_rest).zip(&mut sums) {
        *sum = *sum + term(input, cost);
    }
    let sum = sums.into_iter().fold(T::NEUTRAL_OF_SUM, |total, sum| total + sum);
    if sum > T::NEUTRAL_OF_SUM { top + sum.logarithm::<FUSED>() } else { T::of_double(super::LOG_ZERO) }
}
