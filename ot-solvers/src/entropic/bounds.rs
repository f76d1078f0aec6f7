//! What an entropic solution proves of transport without entropy.
//!
//! ```text
//! <a, f^cc> + <b, g^c>  <=  min_P <P, C>  <=  <P', C>
//! ```
//!
//! Above stands the plan rounded to the exact marginals (Altschuler, Weed, Rigollet 2017), below
//! the potentials made feasible by hard c-transforms. The entropic dual itself is no lower bound.

use ot_core::{Device, Error, Fold, Operand, Program, RoundedPlan, Side, Solution};

/// Bounds of the optimal transport cost without regularisation, for one column.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct UnregularizedBounds {
    /// The dual value of feasible potentials.
    pub lower: f64,
    /// The cost of a feasible plan.
    pub upper: f64,
}

impl UnregularizedBounds {
    /// upper - lower.
    #[must_use]
    pub fn gap(&self) -> f64 {
        self.upper - self.lower
    }
}

/// Bounds of min <P, C> over the plans with marginals a and b, for each column of a balanced
/// problem. They close as epsilon falls, at the rate of the entropic bias.
///
/// Costs four densities, two c-transforms and two passes over the cost.
///
/// # Errors
/// [`Error::MissingCapability`] for a kernel without a cost or c-transform, or a problem whose
/// marginals are not prescribed; a failure of the device.
pub fn unregularized_bounds<D: Device>(solution: &Solution<D>) -> Result<Vec<UnregularizedBounds>, Error> {
    let problem = solution.problem();
    if !problem.is_balanced() {
        return Err(Error::MissingCapability("bound of unregularised transport: a marginal is relaxed"));
    }
    let backend = problem.backend();
    let mut kernel = problem.bind()?;
    backend.scope(|| {
        let upper =
            RoundedPlan::round(kernel.as_mut(), problem, solution.potentials())?.transport_cost(kernel.as_mut())?;

        let transform = kernel.hard_transform().ok_or(Error::MissingCapability("hard c-transform"))?;
        let alloc = |side| backend.alloc(problem.marginal(side).len(), problem.columns());
        let (mut f, mut g) = (alloc(Side::Source)?, alloc(Side::Target)?);
        let (a, b) = (problem.marginal(Side::Source), problem.marginal(Side::Target));
        transform.hard_c_transform(Side::Target, &solution.potentials().source, a.log_weights(), &mut g, None)?;
        transform.hard_c_transform(Side::Source, &g, b.log_weights(), &mut f, None)?;

        let pairing = Program::record(|[weight, potential]| [weight * potential])?;
        let mut pairings = [backend.alloc_reduced(problem.columns())?, backend.alloc_reduced(problem.columns())?];
        for ((marginal, potential), out) in [(a, &f), (b, &g)].into_iter().zip(&mut pairings) {
            let operands = [Operand::Vector(marginal.weights()), Operand::Vector(potential)];
            backend.reduce(&pairing, Fold::Sum, marginal.len(), &operands, &mut [out])?;
        }
        let [source, target] = &pairings;
        let read = backend.read(&[source, target])?;
        let lower = read[0].iter().zip(&read[1]).map(|(source, target)| source + target);
        Ok(lower.zip(upper).map(|(lower, upper)| UnregularizedBounds { lower, upper }).collect())
    })
}
