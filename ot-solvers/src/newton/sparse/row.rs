//! One atom and its listed partners, as its c-transform asks for them.

use ot_core::{
    RecordedRegularizer, RegularizerKind,
    instructions::{Loops, run_widest},
    regularizer::RowDensity,
};

/// The partners of one atom: differences g_j - C_j, and weights.
pub(super) struct Partners<'a> {
    pub(super) regularizer: &'a RecordedRegularizer,
    pub(super) epsilon: f64,
    pub(super) differences: &'a [f64],
    pub(super) weights: &'a [f64],
}

impl Partners<'_> {
    /// The potential at which one partner, with all the weight there is, would give this density.
    fn reaching(&self, density: f64, choose: impl Fn(f64, f64) -> f64) -> Option<f64> {
        let partner = self.differences.iter().map(|difference| -difference).reduce(choose)?;
        Some(partner + self.epsilon * self.regularizer.slope_at(density / self.weights.iter().sum::<f64>()))
    }
}

impl RowDensity for Partners<'_> {
    fn at(&mut self, potential: f64) -> [f64; 2] {
        let Self { regularizer, epsilon, differences, weights } = *self;
        if regularizer.kind() == RegularizerKind::SquaredL2 {
            return run_widest(PositiveParts { potential, differences, weights }).map(|sum| sum / epsilon);
        }
        let mut sums = [0.0; 2];
        for (difference, weight) in differences.iter().zip(weights) {
            let [density, slope] = regularizer.density_and_slope_at((potential + difference) / epsilon);
            sums[0] += weight * density;
            sums[1] += weight * slope / epsilon;
        }
        sums
    }

    fn reach(&mut self, density: f64) -> Option<f64> {
        self.reaching(density, f64::min)
    }

    fn saturation(&mut self, density: f64) -> Option<f64> {
        self.reaching(density, f64::max)
    }
}

/// sum_j b_j max(f + d_j, 0), and the sum of the weights that are counted.
struct PositiveParts<'a> {
    potential: f64,
    differences: &'a [f64],
    weights: &'a [f64],
}

/// Terms that are summed side by side.
const LANES: usize = 8;

impl Loops for PositiveParts<'_> {
    type Output = [f64; 2];

    #[inline(always)]
    fn run(self) -> [f64; 2] {
        let (differences, rest) = self.differences.as_chunks::<LANES>();
        let (weights, weights_of_rest) = self.weights.as_chunks::<LANES>();
        let (mut sums, mut counted) = ([0.0; LANES], [0.0; LANES]);
        let mut add = |lane: usize, difference: f64, weight: f64| {
            let part = self.potential + difference;
            sums[lane] += if part > 0.0 { weight * part } else { 0.0 };
            counted[lane] += if part > 0.0 { weight } else { 0.0 };
        };
        for (differences, weights) in differences.iter().zip(weights) {
            for lane in 0..LANES {
                add(lane, differences[lane], weights[lane]);
            }
        }
        for (lane, (difference, weight)) in rest.iter().zip(weights_of_rest).enumerate() {
            add(lane, *difference, *weight);
        }
        [sums.iter().sum(), counted.iter().sum()]
    }
}

impl Partners<'_> {
    /// b_j h*'(z_j) of each partner, and sum_j b_j (h*(z_j) + h(0)).
    pub(super) fn masses(&self, potential: f64, out: &mut Vec<f64>) -> f64 {
        let Self { regularizer, epsilon, differences, weights } = *self;
        out.clear();
        if regularizer.kind() == RegularizerKind::SquaredL2 {
            out.resize(differences.len(), 0.0);
            let squares = run_widest(PositiveMasses { potential, epsilon, differences, weights, out });
            return 0.5 * squares;
        }
        let mut conjugate = 0.0;
        out.extend(differences.iter().zip(weights).map(|(difference, weight)| {
            let exponent = (potential + difference) / epsilon;
            match exponent > regularizer.slope_at_zero() {
                true => {
                    conjugate += weight * regularizer.conjugate_at(exponent);
                    weight * regularizer.density_at(exponent)
                }
                false => 0.0,
            }
        }));
        conjugate
    }
}

/// b_j max(z_j, 0), and sum_j b_j max(z_j, 0)^2.
struct PositiveMasses<'a> {
    potential: f64,
    epsilon: f64,
    differences: &'a [f64],
    weights: &'a [f64],
    out: &'a mut [f64],
}

impl Loops for PositiveMasses<'_> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let (differences, rest) = self.differences.as_chunks::<LANES>();
        let (weights, weights_of_rest) = self.weights.as_chunks::<LANES>();
        let (out, out_of_rest) = self.out.as_chunks_mut::<LANES>();
        let mut squares = [0.0; LANES];
        let mut write = |lane: usize, difference: f64, weight: f64, out: &mut f64| {
            let part = self.potential + difference;
            let density = if part > 0.0 { part / self.epsilon } else { 0.0 };
            *out = weight * density;
            squares[lane] += *out * density;
        };
        for ((differences, weights), out) in differences.iter().zip(weights).zip(out) {
            for lane in 0..LANES {
                write(lane, differences[lane], weights[lane], &mut out[lane]);
            }
        }
        for (lane, ((difference, weight), out)) in rest.iter().zip(weights_of_rest).zip(out_of_rest).enumerate() {
            write(lane, *difference, *weight, out);
        }
        squares.iter().sum()
    }
}

/// h*''(z) of a pair for (f + d) / epsilon, zero where it carries nothing.
#[inline]
pub(super) fn second_slope(regularizer: &RecordedRegularizer, part: f64, epsilon: f64) -> f64 {
    match regularizer.kind() {
        RegularizerKind::SquaredL2 => f64::from(part > 0.0),
        _ if part / epsilon > regularizer.slope_at_zero() => regularizer.density_and_slope_at(part / epsilon)[1],
        _ => 0.0,
    }
}
