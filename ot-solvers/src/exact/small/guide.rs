//! First potentials of a search over a table: a few of Sinkhorn's iterations, in single precision.
//!
//! ```text
//! K_ij = exp((f_i + g_j - C_ij) / epsilon)     x = 1 / (K (b y)),   y = 1 / (K^T (a x))     f += epsilon log x,   g += epsilon log y
//! ```
//!
//! at a few epsilons, down to a small part of the mean reduced cost. They need not converge, nor be accurate: they say where
//! an optimal plan is likely to lie, which saves more than half of the pivots.

use std::f32::consts::{LN_2, LOG2_E};

use ot_core::instructions::{Loops, run_widest};

use super::{
    scan::{LANES, least_cost, lower},
    table::Table,
};

/// The last epsilon over the mean of C_ij - f_i - g_j under the minima of rows and columns, and over the epsilon before it.
const LAST: f64 = 0.03;
const RATIO: f64 = 0.125;

/// Iterations at each epsilon, from the last to the first.
const SWEEPS: [usize; 2] = [4, 5];

/// Fewer pairs than this are solved before they are guided.
const FEWEST_PAIRS: usize = 400;

/// Potentials, and the memory of their iteration.
#[derive(Debug, Default)]
pub(super) struct FirstPotentials {
    f: Vec<f64>,
    /// Padded as the rows of the table are.
    g: Vec<f64>,
    kernel: Vec<f32>,
    /// Weights of mass one, those of the target padded by zeros.
    weights: [Vec<f32>; 2],
    /// x, and b y.
    scaling: [Vec<f32>; 2],
    sums: Vec<f32>,
}

impl FirstPotentials {
    /// The potential g of targets between these weights, padded; that of the minima alone, if nothing more is asked for.
    pub(super) fn potential(&mut self, table: &Table, [a, b]: [&[f64]; 2], minima_alone: bool) -> &[f64] {
        self.minima(table);
        let (rows, stride, columns) = (table.rows(), table.stride(), b.len());
        if minima_alone || rows * columns < FEWEST_PAIRS {
            return &self.g;
        }
        let mean = run_widest(MeanReduced { table, f: &self.f, g: &self.g, columns });
        for (weights, own) in self.weights.iter_mut().zip([a, b]) {
            let mass: f64 = own.iter().sum();
            weights.clear();
            weights.extend(own.iter().map(|weight| (weight / mass) as f32));
        }
        self.weights[1].resize(stride, 0.0);
        self.kernel.clear();
        self.kernel.resize(rows * stride, 0.0);
        self.scaling[0].clear();
        self.scaling[0].resize(rows, 1.0);
        for (stage, sweeps) in SWEEPS.into_iter().enumerate().rev() {
            let epsilon = LAST * mean / RATIO.powi(stage as i32);
            let is_in_range = epsilon >= f64::MIN_POSITIVE && epsilon.recip() >= f64::MIN_POSITIVE;
            if !(is_in_range && self.iterate(table, epsilon, sweeps)) {
                break;
            }
        }
        &self.g
    }

    /// f_i = min_j C_ij, g_j = min_i C_ij - f_i.
    fn minima(&mut self, table: &Table) {
        let Self { f, g, .. } = self;
        f.clear();
        f.extend((0..table.rows()).map(|i| least_cost(table.row(i))));
        g.clear();
        g.resize(table.stride(), f64::INFINITY);
        f.iter().enumerate().for_each(|(i, f)| lower(g, table.row(i), *f));
        // Places without an atom.
        g.iter_mut().for_each(|g| *g = if *g < f64::INFINITY { *g } else { 0.0 });
    }

    /// The iterations at one epsilon; false, and potentials as they were, where they leave the range.
    fn iterate(&mut self, table: &Table, epsilon: f64, sweeps: usize) -> bool {
        let Self { f, g, kernel, weights, scaling: [x, by], sums } = self;
        let stride = table.stride();
        let rows = table.entries().chunks_exact(stride).zip(kernel.chunks_exact_mut(stride));
        for ((row, kernel), f) in rows.zip(&*f) {
            run_widest(KernelRow { row, g, f: *f, per_epsilon: epsilon.recip(), kernel });
        }
        by.clear();
        by.extend_from_slice(&weights[1]);
        for _ in 0..sweeps {
            sums.clear();
            sums.resize(stride, 0.0);
            run_widest(Sweep { kernel, stride, by, a: &weights[0], x, sums });
            for ((by, b), sum) in by.iter_mut().zip(&weights[1]).zip(&*sums) {
                *by = if *b > 0.0 { b / sum } else { 0.0 };
            }
        }
        let is_scaling = |value: &f32| (f32::MIN_POSITIVE..=f32::MAX).contains(value);
        if !(x.iter().all(is_scaling) && by.iter().zip(&weights[1]).all(|(by, b)| *b == 0.0 || is_scaling(by))) {
            return false;
        }
        f.iter_mut().zip(&*x).for_each(|(f, x)| *f += epsilon * f64::from(x.ln()));
        for ((g, by), b) in g.iter_mut().zip(&*by).zip(&weights[1]).filter(|(_, b)| **b > 0.0) {
            *g += epsilon * f64::from((by / b).ln());
        }
        true
    }
}

/// The mean of C_ij - f_i - g_j.
struct MeanReduced<'a> {
    table: &'a Table,
    f: &'a [f64],
    g: &'a [f64],
    columns: usize,
}

impl Loops for MeanReduced<'_> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let mut sums = [0.0; LANES];
        for (i, f) in self.f.iter().enumerate() {
            let (chunks, rest) = self.table.row(i)[..self.columns].as_chunks::<LANES>();
            let (potentials, others) = self.g[..self.columns].as_chunks::<LANES>();
            for (costs, g) in chunks.iter().zip(potentials) {
                for lane in 0..LANES {
                    sums[lane] += costs[lane] - f - g[lane];
                }
            }
            for (cost, g) in rest.iter().zip(others) {
                sums[0] += cost - f - g;
            }
        }
        sums.iter().sum::<f64>() / (self.f.len() * self.columns) as f64
    }
}

/// K_j = exp((f + g_j - C_j) / epsilon).
struct KernelRow<'a> {
    row: &'a [f64],
    g: &'a [f64],
    f: f64,
    per_epsilon: f64,
    kernel: &'a mut [f32],
}

impl Loops for KernelRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { row, g, f, per_epsilon, kernel } = self;
        let ((costs, _), (potentials, _)) = (row.as_chunks::<LANES>(), g.as_chunks::<LANES>());
        let (kernel, _) = kernel.as_chunks_mut::<LANES>();
        for ((costs, g), kernel) in costs.iter().zip(potentials).zip(kernel) {
            let mut exponents = [0.0_f32; LANES];
            for lane in 0..LANES {
                exponents[lane] = ((f + g[lane] - costs[lane]) * per_epsilon) as f32;
            }
            for lane in 0..LANES {
                kernel[lane] = exp(exponents[lane]);
            }
        }
    }
}

/// e^x to four digits, of x brought into [-80, 80].
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// Added to a number, it leaves the nearest integer in the last bits.
    const ROUND: f32 = 12_582_912.0;
    let x = if x > -80.0 { x } else { -80.0 };
    let power = (if x < 80.0 { x } else { 80.0 }) * LOG2_E;
    let shifted = power + ROUND;
    let part = power - (shifted - ROUND);
    // 2^part on [-1/2, 1/2], by Taylor's series.
    let value = 1.0 + part * (LN_2 + part * (0.240_226_5 + part * (0.055_504_1 + part * 0.009_618_1)));
    f32::from_bits(value.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// x = 1 / (K (b y)) row by row, and the sums K^T (a x).
struct Sweep<'a> {
    kernel: &'a [f32],
    stride: usize,
    by: &'a [f32],
    a: &'a [f32],
    x: &'a mut [f32],
    sums: &'a mut [f32],
}

impl Loops for Sweep<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { kernel, stride, by, a, x, sums } = self;
        let ((by, _), (sums, _)) = (by.as_chunks::<LANES>(), sums.as_chunks_mut::<LANES>());
        for ((row, a), x) in kernel.chunks_exact(stride).zip(a).zip(x) {
            let (row, _) = row.as_chunks::<LANES>();
            let mut lanes = [0.0_f32; LANES];
            for (row, by) in row.iter().zip(by) {
                for lane in 0..LANES {
                    lanes[lane] += row[lane] * by[lane];
                }
            }
            *x = lanes.iter().sum::<f32>().recip();
            let scaled = a * *x;
            for (sums, row) in sums.iter_mut().zip(row) {
                for lane in 0..LANES {
                    sums[lane] += scaled * row[lane];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_have_four_digits() {
        for k in -800..=800 {
            let x = k as f32 / 10.0;
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-4, "{x}");
        }
        assert!(exp(f32::NEG_INFINITY) > 0.0 && exp(f32::INFINITY).is_finite() && exp(f32::NAN).is_finite());
    }
}
