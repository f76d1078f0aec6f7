//! Entropy against the counting measure, as others write it.
//!
//! Values here are of epsilon KL(P | a b^T). With prescribed marginals of mass m the reference measure moves them by a constant and
//! the potentials by a function of their own atom, and the plan is the same:
//!
//! ```text
//! sum P log P = KL(P | a b^T) + sum_i a_i log a_i + sum_j b_j log b_j + m - m^2
//! P_ij = exp((u_i + v_j - C_ij) / epsilon),   u = f + epsilon log a,   v = g + epsilon log b
//! ```
//!
//! With penalised marginals the plan changes too: an entropy against the counting measure there is the cost
//! C_ij + epsilon log(a_i b_j) here.

use crate::{backend::Device, error::Error, problem::Problem, scalar::Scalar, side::Side, solution::Solution};

/// An entropy of plans against the counting measure.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum CountingEntropy {
    /// sum P log P (Cuturi 2013).
    Plain,
    /// sum P (log P - 1) (Peyre, Cuturi 2019).
    WithMassTerm,
}

impl CountingEntropy {
    /// What this entropy adds to `primal` and `dual` of each column of a problem with prescribed marginals:
    ///
    /// ```text
    /// epsilon (sum_i a_i log a_i + sum_j b_j log b_j + m - m^2),   less epsilon m with the mass term
    /// ```
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for penalised marginals, where no constant does; a failure of the device.
    pub fn offset<D: Device>(self, problem: &Problem<D>) -> Result<Vec<f64>, Error> {
        if !problem.is_balanced() {
            return Err(Error::MissingCapability("constant between entropies: a marginal is penalised"));
        }
        let [a, b] = [weights(problem, Side::Source)?, weights(problem, Side::Target)?];
        let of_column = |column: usize| {
            let entropy = |weights: &[Vec<f64>]| -> f64 {
                let weights = &weights[column.min(weights.len() - 1)];
                weights.iter().map(|&weight| if weight > 0.0 { weight * weight.ln() } else { 0.0 }).sum()
            };
            let mass = problem.marginal(Side::Source).mass(column);
            let of_mass = match self {
                CountingEntropy::Plain => mass - mass * mass,
                CountingEntropy::WithMassTerm => -mass * mass,
            };
            problem.epsilon() * (entropy(&a) + entropy(&b) + of_mass)
        };
        Ok((0..problem.columns()).map(of_column).collect())
    }
}

/// The potential u = f + epsilon log a of one side against the counting measure, column after column; minus infinity at
/// atoms without weight.
///
/// # Errors
/// A failure of the device.
pub fn counting_potential<D: Device>(solution: &Solution<D>, side: Side) -> Result<Vec<f64>, Error> {
    let weights = weights(solution.problem(), side)?;
    let epsilon = solution.potentials().epsilon;
    let potential = solution.potential(side)?;
    let columns = potential.chunks_exact(weights[0].len()).enumerate();
    let shifted = columns.flat_map(|(column, potential)| {
        let weights = &weights[column.min(weights.len() - 1)];
        potential.iter().zip(weights).map(|(potential, weight)| potential.to_f64() + epsilon * weight.ln())
    });
    Ok(shifted.collect())
}

/// The weights of one side, one histogram after the other.
fn weights<D: Device>(problem: &Problem<D>, side: Side) -> Result<Vec<Vec<f64>>, Error> {
    let marginal = problem.marginal(side);
    let values = problem.backend().download(&[marginal.weights()])?.swap_remove(0);
    let histogram = |weights: &[D::Elem]| weights.iter().map(|weight| weight.to_f64()).collect();
    Ok(values.chunks_exact(marginal.len()).map(histogram).collect())
}
