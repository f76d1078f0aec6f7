//! What is proven of potentials, from the problem and the potentials alone.
//!
//! The plan P of potentials (f, g) is rounded to a plan P' that both laws accept: rows and then
//! columns above their bounds are scaled down, and what is missing is added by a rank-one plan Q
//! (Altschuler, Weed, Rigollet 2017). Since
//!
//! ```text
//! primal(P') - dual(f, g) = sum_i a_i (phi(r'_i) + phi*(-f_i) + f_i r'_i)  +  the same for b, psi, g
//!                         + epsilon KL(P' | P)
//! ```
//!
//! where r' are the densities of the marginals of P', the gap is a sum of terms that cannot be
//! negative. The divergence is bounded without a pass over the entries: by convexity,
//!
//! ```text
//! KL(P' | P) <= mass(P) - mass(P_1) + <P_1, log(P_1 / P)> + <Q, log(P' / P)>
//! ```
//!
//! with P_1 the scaled plan, and log(P' / P) <= log(high / a_i) + (C_ij - f_i - g_j) / epsilon. So
//! four softmins and one pass over the cost prove a gap, on any backend, with one read.
//!
//! Where another function h than entropy regularises the plan, sum_ij a_i b_j (h(p') + h*(z) - z p') is in the
//! place of KL(P' | P), term by term no less than 0, and is summed by a pass over the pairs.

use crate::{
    backend::{Backend, Side},
    error::Error,
    kernel::{KernelOp, Potentials},
    problem::Problem,
    rounding::{RoundedColumn, RoundedPlan},
    scalar::Scalar,
};

/// What is proven of one column. Values are named; the objective is
///
/// ```text
/// <P, C> + epsilon KL(P | a b^T) + sum_i a_i phi((P 1)_i / a_i) + sum_j b_j psi((P^T 1)_j / b_j)
/// ```
///
/// with KL(P | R) = sum P log(P / R) - P + R, or what the problem has in its place.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Certificate {
    /// The epsilon of the problem.
    pub epsilon: f64,
    /// (|P 1 - a'|_1 + |P^T 1 - b'|_1) / mass, where a' is what the law demands (a itself if
    /// balanced) and mass the mean of the masses of a and b.
    pub marginal_error: f64,
    /// |P 1 - a'|_1.
    pub source_residual: f64,
    /// |P^T 1 - b'|_1.
    pub target_residual: f64,
    /// Mass of the plan P.
    pub mass: f64,
    /// <P, C>, if the kernel has a cost.
    pub transport_cost: Option<f64>,
    /// The objective at the rounded plan: an upper bound of the optimum.
    pub primal: f64,
    /// The dual objective at (f, g): a lower bound of the optimum; minus infinity at potentials that a
    /// law's conjugate does not allow.
    pub dual: f64,
    /// An upper bound of primal - dual, never negative; infinite where no rounding is known (a
    /// kernel without a cost, or a missing mass that would have to cross forbidden pairs).
    pub gap: f64,
    /// The marginal error that rounding to the element type may cause or hide at this epsilon.
    pub rounding: f64,
}

impl Certificate {
    /// Is the marginal error, rounding included, within a tolerance?
    #[must_use]
    pub fn meets(&self, tolerance: f64) -> bool {
        self.is_finite() && self.marginal_error + self.rounding <= tolerance
    }

    /// Are all the numbers finite, the primal and the gap possibly excepted?
    #[must_use]
    pub fn is_finite(&self) -> bool {
        [self.marginal_error, self.mass, self.dual].iter().all(|value| value.is_finite())
    }
}

/// Recomputes what is proven of potentials, for each column of a problem, from scratch: the
/// problem and the potentials are all it looks at, not what a solver claimed.
///
/// Costs four softmins and two passes over the cost.
///
/// # Errors
/// [`Error::Length`] for potentials that do not fit; those of
/// [`Geometry::bind`](crate::Geometry::bind); a failure of the device.
pub fn certify<B: Backend>(problem: &Problem<B>, potentials: &Potentials<B>) -> Result<Vec<Certificate>, Error> {
    let problem = problem.with_epsilon(potentials.epsilon)?;
    let backend = problem.backend().clone();
    for (side, what) in [(Side::Source, "source potential"), (Side::Target, "target potential")] {
        let expected = (problem.marginal(side).len(), problem.columns());
        let found = backend.shape(potentials.side(side));
        if found != expected {
            return Err(Error::Length { what, expected: expected.0 * expected.1, found: found.0 * found.1 });
        }
    }
    let mut kernel = problem.bind()?;
    backend.scope(|| certify_with(kernel.as_mut(), &problem, potentials))
}

/// [`certify`] with a kernel already bound to the epsilon of the potentials.
///
/// # Errors
/// A failure of the device.
pub fn certify_with<B: Backend, K: KernelOp<B> + ?Sized>(
    kernel: &mut K,
    problem: &Problem<B>,
    potentials: &Potentials<B>,
) -> Result<Vec<Certificate>, Error> {
    let rounded = RoundedPlan::round(kernel, problem, potentials)?;
    let machine_epsilon = <B::Elem as Scalar>::EPSILON;
    let empty = match kernel.family() {
        Some(family) => family.programs().empty(),
        None => 1.0,
    };
    let excesses = match kernel.family() {
        Some(_) => Some(rounded.excess(kernel, potentials)?),
        None => None,
    };
    let (plan_costs, added_costs) = if excesses.is_some() {
        (plan_costs(kernel, problem, potentials)?, vec![0.0; problem.columns()])
    } else if kernel.transport_cost().is_some() {
        let [plan, added] = rounded.costs(kernel, potentials)?;
        (Some(plan), added)
    } else {
        // Without a cost of its own, the mass that rounding adds is priced at a bound.
        let bound = problem.geometry().cost_bound().unwrap_or(f64::INFINITY);
        let price = |mass: f64| if mass > 0.0 { mass * bound } else { 0.0 };
        (None, rounded.added_mass().into_iter().map(price).collect())
    };
    let certificate = |(index, column): (usize, &RoundedColumn)| {
        let RoundedColumn { source, target, conjugate, divergence, fenchel_young, feasible, .. } = column;
        let epsilon = potentials.epsilon;
        let dual = source.dual + target.dual - epsilon * (conjugate - empty * source.weight * target.weight);
        let excess = match &excesses {
            Some(excesses) => excesses[index],
            None => (divergence + added_costs[index] / epsilon).max(0.0),
        };
        let gap = match fenchel_young + epsilon * excess {
            gap if gap.is_finite() && *feasible && dual.is_finite() => gap,
            _ => f64::INFINITY,
        };
        Certificate {
            epsilon,
            marginal_error: (source.residual + target.residual)
                / ((source.weight + target.weight) / 2.0).max(f64::MIN_POSITIVE),
            source_residual: source.residual,
            target_residual: target.residual,
            mass: source.mass,
            transport_cost: plan_costs.as_ref().map(|costs| costs[index]).filter(|cost| !cost.is_nan()),
            primal: if gap.is_finite() { dual + gap } else { f64::INFINITY },
            dual,
            gap,
            rounding: machine_epsilon * ((source.largest_potential + target.largest_potential) / epsilon + 8.0),
        }
    };
    Ok(rounded.columns.iter().enumerate().map(certificate).collect())
}

/// <P, C> of each column, if the kernel has a cost.
fn plan_costs<B: Backend, K: KernelOp<B> + ?Sized>(
    kernel: &mut K,
    problem: &Problem<B>,
    potentials: &Potentials<B>,
) -> Result<Option<Vec<f64>>, Error> {
    let backend = problem.backend();
    let Some(cost) = kernel.transport_cost() else { return Ok(None) };
    let mut costs = backend.alloc_reduced(problem.columns())?;
    cost.plan_cost(problem.view(potentials), &mut costs)?;
    Ok(Some(backend.read(&[&costs])?.swap_remove(0)))
}
