//! What potentials prove of one side of one column: residual, dual, and the Fenchel gap of its penalty.

use crate::{
    backend::Precision,
    dual::Dual,
    error::Error,
    kernel::RoundedSide,
    penalty::{PenaltyKind, RecordedPenalty, saturates},
    program::{BlockInput, LibraryMath, Program, Registers},
};

/// The values of one side.
#[derive(Debug)]
pub(super) struct SideValues {
    /// The distance in L1 of the marginal from the subdifferential of phi*.
    pub(super) residual: f64,
    /// Mass of the plan, as this side sums it.
    pub(super) mass: f64,
    /// Mass of the weights.
    pub(super) weight: f64,
    /// -sum_i a_i phi*(-f_i).
    pub(super) dual: f64,
    /// sum_i a_i |phi*(-f_i)|.
    pub(super) size: f64,
    /// By how much the masses that the penalty accepts move with a unit of the potential, where they move smoothly.
    pub(super) accepted_rounding: f64,
    /// The largest |f_i| of an atom to which the plan gives mass.
    pub(super) largest_potential: f64,
}

impl SideValues {
    /// The size of this side's terms in the exponents of entries: the potential over epsilon, and the logarithm of the mass.
    pub(super) fn exponent(&self, epsilon: f64) -> f64 {
        let of_mass = if self.weight > 0.0 { self.weight.ln().abs() } else { 0.0 };
        self.largest_potential / epsilon + of_mass
    }
}

/// The values of a side at its potential.
pub(super) fn side_values(
    penalty: &RecordedPenalty,
    side: &RoundedSide,
    epsilon: f64,
    precision: Precision,
) -> Result<SideValues, Error> {
    let RoundedSide { weights, potential, marginal, .. } = side;
    let len = weights.len();
    if penalty.kind() == PenaltyKind::Balanced {
        return Ok(prescribed_values(side));
    }

    // The subdifferential falls with the potential, which is known to a rounding: a kink may be within it.
    let subdifferential = |direction: f64| -> Result<[Vec<f64>; 2], Error> {
        let rounding = direction * precision.unit;
        let moved: Vec<f64> = potential.iter().map(|f| f + rounding * f.abs()).collect();
        run(penalty.conjugate_subdifferential(), [&moved, &vec![epsilon; len]])
    };
    let [low, _] = subdifferential(1.0)?;
    let [_, high] = subdifferential(-1.0)?;
    let slopes: Vec<f64> = potential.iter().map(|f| -f).collect();
    let [conjugate] = run(penalty.conjugate(), [&slopes])?;

    let atoms = || (0..len).filter(|&i| weights[i] > 0.0);
    // Of potentials that are no numbers nothing is claimed: no dual, and an infinite error.
    let broken = atoms().any(|i| !potential[i].is_finite());
    let outside = atoms().any(|i| is_outside(potential[i], penalty.potential_bounds(), precision));
    // A conjugate beyond f64, which would say less than it is.
    let unknown = |i: usize| matches!(penalty.kind(), PenaltyKind::Kl { rho } if saturates(slopes[i] / rho));
    // What a unit of the potential makes of the mass that is accepted. At a kink it jumps, and is accepted on both sides.
    let accepted_rounding = |i: usize| {
        let duals = [Dual::variable(potential[i]), Dual::constant(epsilon)];
        let slope = penalty
            .conjugate_subdifferential()
            .call::<_, 2, 2>(duals)
            .map_or(f64::NAN, |[low, high]| low.derivative.abs().max(high.derivative.abs()));
        weights[i] * slope * precision.unit * potential[i].abs()
    };
    let residual = |i: usize| (weights[i] * low[i] - marginal[i]).max(marginal[i] - weights[i] * high[i]).max(0.0);
    Ok(SideValues {
        residual: if broken { f64::INFINITY } else { (0..len).map(residual).sum() },
        mass: marginal.iter().sum(),
        weight: weights.iter().sum(),
        dual: match broken || outside || atoms().any(unknown) {
            true => f64::NEG_INFINITY,
            false => atoms().map(|i| -weights[i] * conjugate[i]).sum(),
        },
        size: atoms().map(|i| weights[i] * conjugate[i].abs()).sum(),
        accepted_rounding: atoms().map(accepted_rounding).sum(),
        largest_potential: largest_potential(side),
    })
}

/// [`side_values`] of a marginal that is prescribed: phi*(q) = q, and the weights are what is asked for.
fn prescribed_values(side: &RoundedSide) -> SideValues {
    let RoundedSide { weights, potential, marginal, .. } = side;
    let atoms = || weights.iter().zip(potential).filter(|(weight, _)| **weight > 0.0);
    let broken = atoms().any(|(_, potential)| !potential.is_finite());
    SideValues {
        residual: match broken {
            true => f64::INFINITY,
            false => weights.iter().zip(marginal).map(|(weight, mass)| (weight - mass).abs()).sum(),
        },
        mass: marginal.iter().sum(),
        weight: weights.iter().sum(),
        dual: match broken {
            true => f64::NEG_INFINITY,
            false => atoms().map(|(weight, potential)| weight * potential).sum(),
        },
        size: atoms().map(|(weight, potential)| weight * potential.abs()).sum(),
        accepted_rounding: 0.0,
        largest_potential: largest_potential(side),
    }
}

/// The largest potential of an atom to which the plan gives mass.
fn largest_potential(RoundedSide { weights, potential, marginal, .. }: &RoundedSide) -> f64 {
    let atoms = weights.iter().zip(marginal).zip(potential);
    let reached = atoms.filter(|((weight, mass), _)| **weight > 0.0 && **mass > 0.0);
    reached.map(|(_, potential)| potential.abs()).fold(0.0, f64::max)
}

/// The values of a side at the densities r of the rounded plan.
#[derive(Debug)]
pub(super) struct RoundedSideValues {
    /// sum_i a_i (phi(r_i) + phi*(-f_i) + f_i r_i), no term of which is negative.
    pub(super) fenchel_gap: f64,
    /// sum_i a_i (phi(r_i) + f_i r_i).
    pub(super) primal: f64,
    /// The same, of absolute values.
    pub(super) size: f64,
    /// sum_i a_i r_i |phi'(r_i) + f_i|: what relative errors of the masses make of the primal. Nothing near the optimum, but for
    /// masses that are prescribed.
    pub(super) sensitivity: f64,
}

/// The values of a side at its potential and the rounded plan.
pub(super) fn rounded_side_values(
    penalty: &RecordedPenalty,
    side: &RoundedSide,
    added: &[f64],
) -> Result<RoundedSideValues, Error> {
    if penalty.kind() == PenaltyKind::Balanced {
        // The rounded plan has the weights for its marginal.
        let atoms = || side.weights.iter().zip(&side.potential).filter(|(weight, _)| **weight > 0.0);
        let size = atoms().map(|(weight, potential)| weight * potential.abs()).sum();
        let primal = atoms().map(|(weight, potential)| weight * potential).sum();
        return Ok(RoundedSideValues { fenchel_gap: 0.0, primal, size, sensitivity: size });
    }
    let [low, high] = penalty.density_bounds();
    let density = |i: usize| match side.weights[i] {
        weight if weight > 0.0 => ((side.scaled[i] + added[i]) / weight).clamp(low, high),
        _ => low.max(0.0),
    };
    let densities: Vec<f64> = (0..side.weights.len()).map(density).collect();
    let slopes: Vec<f64> = side.potential.iter().map(|f| -f).collect();
    let [value] = run(penalty.value(), [&densities])?;
    let [conjugate] = run(penalty.conjugate(), [&slopes])?;
    let slope = |density: f64| {
        let value = penalty.value().call::<_, 1, 1>([Dual::variable(density)]);
        value.map_or(f64::NAN, |[value]| value.derivative)
    };
    let mut sums = RoundedSideValues { fenchel_gap: 0.0, primal: 0.0, size: 0.0, sensitivity: 0.0 };
    for i in (0..side.weights.len()).filter(|&i| side.weights[i] > 0.0) {
        let (weight, pairing) = (side.weights[i], side.potential[i] * densities[i]);
        sums.fenchel_gap += weight * (value[i] + conjugate[i] + pairing).max(0.0);
        sums.primal += weight * (value[i] + pairing);
        sums.size += weight * (value[i].abs() + pairing.abs());
        let change = densities[i] * (slope(densities[i]) + side.potential[i]).abs();
        sums.sensitivity += weight * if change.is_finite() { change } else { pairing.abs() };
    }
    Ok(sums)
}

/// Is phi* infinite at this potential, beyond what rounding of a bound to the element type explains?
fn is_outside(potential: f64, [low, high]: [f64; 2], precision: Precision) -> bool {
    let slack = |bound: f64| precision.unit * bound.abs();
    (low.is_finite() && potential < low - slack(low)) || (high.is_finite() && potential > high + slack(high))
}

/// A program over whole host slices, in f64.
fn run<const INPUTS: usize, const OUTPUTS: usize>(
    program: &Program,
    inputs: [&[f64]; INPUTS],
) -> Result<[Vec<f64>; OUTPUTS], Error> {
    let len = inputs.first().map_or(0, |input| input.len());
    let mut outputs: [Vec<f64>; OUTPUTS] = std::array::from_fn(|_| vec![0.0; len]);
    let lanes = inputs.map(BlockInput::Lanes);
    let mut slices = outputs.each_mut().map(Vec::as_mut_slice);
    program.run_block::<f64, LibraryMath>(&lanes, &mut Registers::new(), &mut slices)?;
    Ok(outputs)
}
