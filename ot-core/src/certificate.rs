//! What is proven of potentials, from the problem and the potentials alone.
//!
//! The plan P of potentials (f, g) is rounded to a plan P' that both penalties accept ([`RoundedPlan`]). Since
//!
//! ```text
//! primal(P') - dual(f, g) = sum_i a_i (phi(r'_i) + phi*(-f_i) + f_i r'_i)  +  the same for b, psi, g
//!                         + epsilon sum_ij a_i b_j (h(p'_ij) + h*(z_ij) - z_ij p'_ij)
//! ```
//!
//! where r' are the densities of the marginals of P', the gap is a sum of terms that cannot be negative. The last is the
//! [Fenchel gap](crate::KernelOp::fenchel_gap) of the rounded plan, epsilon KL(P' | P) for entropy, of which a Gibbs kernel
//! knows a bound without a pass over the entries. The primal is summed at the rounded plan by itself,
//!
//! ```text
//! primal(P') = sum_i a_i (phi(r'_i) + f_i r'_i)  +  the same for b, psi, g  +  epsilon sum_ij a_i b_j (h(p'_ij) - z_ij p'_ij)
//! ```
//!
//! so that a P of great mass, whose dual is a large number, takes no digits from it. Both bounds carry the rounding of their
//! terms, and the gap is the sum of the terms or the difference of the bounds, whichever is larger.
//!
//! Missing mass that would have to cross forbidden pairs leaves the scaled rounding without a bound. Of prescribed marginals and
//! entropy the plan is then rounded along itself, P'_ij = P_ij (1 + x_j - y_i), by a linear solve: see
//! [`certify_along_plan`].

mod marginals;
mod relative;
mod rounding;
mod shrinking;
mod side;

use std::fmt;

use self::{marginals::rounding_of_exponents, rounding::ColumnValues};
pub use self::{
    marginals::{MarginalError, marginal_errors_with},
    relative::RelativePlan,
    rounding::RoundedPlan,
};
use crate::{
    backend::Device,
    error::{Error, short},
    kernel::{KernelOp, Potentials, RoundedSide, RoundedValue},
    problem::Problem,
    scalar::Scalar,
    side::Side,
};

/// How the plan of a primal value was made from the plan of the potentials.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RoundingForm {
    /// Rows and columns scaled down, missing mass added as plans of rank one ([`RoundedPlan`]): the gap is linear in the
    /// residuals.
    #[default]
    Scaled,
    /// P (1 + x_j - y_i), without mass where P has none: the gap is quadratic in the residuals.
    Relative,
}

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
    /// (|P 1 - a'|_1 + |P^T 1 - b'|_1) / mass, where a' is the nearest mass
    /// whose density lies in the subdifferential of phi* at -f (a itself if balanced) and mass the mean of the masses of a and b.
    pub marginal_error: f64,
    /// |P 1 - a'|_1.
    pub source_residual: f64,
    /// |P^T 1 - b'|_1.
    pub target_residual: f64,
    /// Mass of the plan P.
    pub mass: f64,
    /// <P, C>, if the kernel has a cost.
    pub transport_cost: Option<f64>,
    /// The objective at the rounded plan, rounding included: an upper bound of the optimum.
    pub primal: f64,
    /// The dual objective at (f, g), less its rounding: a lower bound of the optimum; minus infinity at potentials that a
    /// penalty's conjugate does not allow.
    pub dual: f64,
    /// An upper bound of primal - dual, never negative; infinite where no rounding is known (a kernel without a cost; a missing
    /// mass that would have to cross forbidden pairs, and that rounding along the plan does not place either, since some
    /// |x_j - y_i| would have to be 1 or more).
    pub gap: f64,
    /// How the plan of the primal was made.
    pub form: RoundingForm,
    /// The marginal error that rounding to the element type may cause or hide at this epsilon: of the plan, whose entries
    /// move by the unit times (|f| + |g|) / epsilon (of the columns of a batch the largest, for they may share entries), of what the
    /// penalties accept at potentials known to a unit, and of pairs that the kernel
    /// [leaves out](crate::PlanOperator::left_out).
    pub rounding: f64,
}

impl Certificate {
    /// What is known where nothing was computed: no bound is finite, and there is no transport cost. That of a solve that was
    /// cancelled: see [`Solution::is_certified`](crate::Solution::is_certified).
    #[must_use]
    pub fn unproven(epsilon: f64) -> Self {
        Self {
            epsilon,
            marginal_error: f64::INFINITY,
            source_residual: f64::INFINITY,
            target_residual: f64::INFINITY,
            mass: f64::INFINITY,
            transport_cost: None,
            primal: f64::INFINITY,
            dual: f64::NEG_INFINITY,
            gap: f64::INFINITY,
            form: RoundingForm::Scaled,
            rounding: f64::INFINITY,
        }
    }

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

impl fmt::Display for Certificate {
    /// One line for a log.
    ///
    /// ```
    /// # use ot_core::Certificate;
    /// # let certificate = Certificate { epsilon: 0.1, marginal_error: 2e-7, source_residual: 1e-7, target_residual: 1e-7,
    /// #     mass: 1.0, transport_cost: Some(0.25), primal: 0.3, dual: 0.299, gap: 1e-3, form: Default::default(), rounding: 1e-15 };
    /// let line = "<P, C> 0.25, primal 0.3, dual 0.299 (gap 1.0e-3), marginal error 2.0e-7 (rounding 1.0e-15), epsilon 0.1";
    /// assert_eq!(certificate.to_string(), line);
    /// assert_eq!(Certificate::unproven(0.1).to_string(), "not certified, epsilon 0.1");
    /// ```
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epsilon, marginal_error, transport_cost, primal, dual, gap, rounding, .. } = self;
        if *self == Self::unproven(*epsilon) {
            return write!(formatter, "not certified, epsilon {epsilon}");
        }
        if let Some(cost) = transport_cost {
            write!(formatter, "<P, C> {}, ", short(*cost))?;
        }
        write!(
            formatter,
            "primal {}, dual {} (gap {gap:.1e}), marginal error {marginal_error:.1e} (rounding {rounding:.1e}), epsilon {}",
            short(*primal),
            short(*dual),
            short(*epsilon)
        )
    }
}

/// Recomputes what is proven of potentials, for each column of a problem, from scratch: the
/// problem and the potentials are all it looks at, not what a solver claimed.
///
/// Costs the densities of both sides with capped rows, one more of the rows, and two passes over the cost. Two waits.
///
/// # Errors
/// [`Error::Length`] for potentials that do not fit; those of
/// [`Geometry::bind`](crate::Geometry::bind); a failure of the device.
pub fn certify<D: Device>(problem: &Problem<D>, potentials: &Potentials<D>) -> Result<Vec<Certificate>, Error> {
    certify_where(problem, potentials, Along::Unbounded)
}

/// [`certify`] with the plan rounded along itself, P'_ij = P_ij (1 + x_j - y_i), wherever this gives the smaller gap: quadratic in
/// the residuals, so that a loose solve, of an error of 1e-4, carries a tight bound.
///
/// For prescribed marginals and entropy; elsewhere it is [`certify`]. Costs a linear solve by conjugate gradients beyond that: two
/// products with the plan a step, about as many steps as an over-relaxed iteration takes, at most 200.
///
/// ```
/// use ot_conformance::ReferenceBackend;
/// use ot_core::{
///     CostMatrix, Epsilon, GeometryBuilder, Histogram, Measure, Potentials, Problem, RoundingForm, certify, certify_along_plan,
/// };
///
/// let half = Histogram::new(vec![0.5, 0.5])?;
/// let cost = CostMatrix::new(vec![0.0, 1.0, 1.0, 0.0], 2, 2)?;
/// let backend = ReferenceBackend::<f64>::default();
/// let geometry = backend.geometry(half.support(), half.support(), &cost)?;
/// let problem = Problem::new(geometry, &half, &half, Epsilon::Absolute(0.5))?;
/// // The solution is f = g = epsilon / 2 log(2 / (1 + e^-2)); here f is off.
/// let optimum = 0.25 * (2.0 / (1.0 + (-2.0_f64).exp())).ln();
/// let source = problem.backend().upload(&[optimum + 1e-4, optimum - 1e-4], 1)?;
/// let target = problem.backend().upload(&[optimum, optimum], 1)?;
/// let potentials = Potentials { source, target, epsilon: 0.5 };
///
/// let (linear, quadratic) = (certify(&problem, &potentials)?[0], certify_along_plan(&problem, &potentials)?[0]);
/// assert_eq!((linear.form, quadratic.form), (RoundingForm::Scaled, RoundingForm::Relative));
/// assert!(quadratic.gap < 1e-7 && linear.gap > 1e-6);
/// # Ok::<(), ot_core::Error>(())
/// ```
///
/// # Errors
/// Those of [`certify`].
pub fn certify_along_plan<D: Device>(
    problem: &Problem<D>,
    potentials: &Potentials<D>,
) -> Result<Vec<Certificate>, Error> {
    certify_where(problem, potentials, Along::Everywhere)
}

/// Where a plan is rounded along itself too.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Along {
    /// Where the scaled rounding has no bound.
    Unbounded,
    Everywhere,
}

fn certify_where<D: Device>(
    problem: &Problem<D>,
    potentials: &Potentials<D>,
    along: Along,
) -> Result<Vec<Certificate>, Error> {
    let problem = problem.with_epsilon(potentials.epsilon)?;
    for (side, what) in Side::BOTH.into_iter().zip(["source potential", "target potential"]) {
        let expected = (problem.marginal(side).len(), problem.columns());
        let found = problem.backend().shape(potentials.side(side));
        if found != expected {
            return Err(Error::Length { what, expected: expected.0 * expected.1, found: found.0 * found.1 });
        }
    }
    let mut kernel = problem.bind()?;
    problem.backend().scope(|| certify_on(kernel.as_mut(), &problem, potentials, along))
}

/// [`certify`] with a kernel already bound to the epsilon of the potentials.
///
/// # Errors
/// A failure of the device.
pub fn certify_with<D: Device, K: KernelOp<D> + ?Sized>(
    kernel: &mut K,
    problem: &Problem<D>,
    potentials: &Potentials<D>,
) -> Result<Vec<Certificate>, Error> {
    certify_on(kernel, problem, potentials, Along::Unbounded)
}

fn certify_on<D: Device, K: KernelOp<D> + ?Sized>(
    kernel: &mut K,
    problem: &Problem<D>,
    potentials: &Potentials<D>,
    along: Along,
) -> Result<Vec<Certificate>, Error> {
    let (backend, columns) = (problem.backend(), problem.columns());
    let rounded = RoundedPlan::round(kernel, problem, potentials)?;
    let plan = problem.view(potentials);
    let (mut gaps, mut values) = (backend.alloc_reduced(columns)?, backend.alloc_reduced(columns)?);
    kernel.fenchel_gap(backend, plan, rounded.rounding(), RoundedValue { gap: &mut gaps, value: &mut values })?;
    let mut numbers = vec![rounded.conjugate(), &gaps, &values];
    let mut costs = backend.alloc_reduced(columns)?;
    if let Some(cost) = kernel.transport_cost() {
        cost.plan_cost(plan, &mut costs)?;
        numbers.push(&costs);
    }
    let read = backend.read(&numbers)?;
    let scaled = |column: usize| RoundedNumbers {
        gap: read[1][column],
        value: read[2][column],
        feasible: rounded.values()[column].feasible,
        form: RoundingForm::Scaled,
    };
    let mut of_plan: Vec<RoundedNumbers> = (0..columns).map(scaled).collect();
    round_along_plan(kernel, problem, potentials, &rounded, along, &mut of_plan)?;

    let (epsilon, precision) = (potentials.epsilon, backend.precision());
    let roundings =
        rounding_of_exponents(kernel, problem, rounded.values().iter().map(|values| &values.sides), epsilon);
    let certificate = |(column, values): (usize, &ColumnValues)| {
        let ColumnValues { sides, rounded: [of_source, of_target], energy, .. } = values;
        let RoundedNumbers { gap: gap_of_plan, value: value_of_plan, feasible, form } = of_plan[column];
        let conjugate = read[0][column];
        let conjugate = problem.regularizer().conjugate_of_plan(*energy, epsilon * conjugate);
        let [source, target] = sides;
        let rounding = roundings[column];
        let marginals = MarginalError::of_sides(problem, sides, rounding);
        // Of a mass whose exponents are known to this.
        let of_mass = rounding.exp_m1();

        // Without epsilon h(0) mass(a) mass(b), which both bounds have. Entries of the plan, and masses of the rounded one, are
        // known to their rounding.
        let at_zero = problem.regularizer().value_of_nothing(epsilon, [source.weight, target.weight]);
        // Terms below the normal numbers are known to the smallest one, masses of the rounded plan too, which potentials multiply;
        // and densities to the smallest normal number of the element type.
        let atoms: usize = Side::BOTH.iter().map(|&side| problem.marginal(side).len()).sum();
        let size = source.size + target.size + at_zero.abs() + conjugate.abs();
        let of_terms = if size > 0.0 && is_denormal(size) { 1.0 } else { 0.0 };
        let of_masses = match is_denormal(source.weight.max(target.weight)) {
            true => epsilon + source.largest_potential + target.largest_potential,
            false => 0.0,
        };
        let denormal = f64::from_bits(1) * (4 * atoms) as f64 * (of_terms + of_masses);
        let vanished = D::Elem::TINY * epsilon * without_digits::<D::Elem>(&rounded.columns()[column].source);
        let smallest = denormal + vanished;
        let below = source.dual + target.dual
            - conjugate
            - precision.unit * (source.size + target.size)
            - of_mass * conjugate.abs();
        let above = of_source.primal
            + of_target.primal
            + epsilon * value_of_plan
            + precision.unit * (of_source.size + of_target.size)
            + of_mass * (of_source.sensitivity + of_target.sensitivity + epsilon * value_of_plan.abs());
        // Of potentials that are no numbers no dual is claimed.
        let dual = match below + at_zero - precision.unit * at_zero.abs() - smallest {
            dual if dual.is_nan() => f64::NEG_INFINITY,
            dual => dual,
        };
        let primal = match above + at_zero + precision.unit * at_zero.abs() + smallest {
            primal if primal.is_finite() && feasible => primal,
            _ => f64::INFINITY,
        };
        let terms = of_source.fenchel_gap + of_target.fenchel_gap + epsilon * gap_of_plan;
        let gap = match terms.max(above - below) {
            gap if gap.is_finite() && terms.is_finite() && feasible && dual.is_finite() => gap,
            _ => f64::INFINITY,
        };
        Certificate {
            epsilon,
            marginal_error: marginals.error,
            source_residual: source.residual,
            target_residual: target.residual,
            mass: source.mass,
            transport_cost: read.get(3).map(|costs| costs[column]).filter(|cost| !cost.is_nan()),
            primal,
            dual,
            gap,
            form,
            rounding: marginals.rounding,
        }
    };
    Ok(rounded.values().iter().enumerate().map(certificate).collect())
}

/// Is a number so small that a few of its digits may be missing?
fn is_denormal(size: f64) -> bool {
    size < f64::MIN_POSITIVE / f64::EPSILON
}

/// The mass of atoms whose densities are below the numbers with all digits: they are known to the smallest normal number.
fn without_digits<T: Scalar>(side: &RoundedSide) -> f64 {
    let atoms = side.weights.iter().zip(&side.marginal).filter(|(weight, _)| **weight > 0.0);
    atoms.filter(|(weight, marginal)| **marginal < **weight * (T::TINY / T::EPSILON)).map(|(weight, _)| weight).sum()
}

/// What a kernel tells of the rounded plan of one column.
#[derive(Copy, Clone, Debug)]
struct RoundedNumbers {
    /// The Fenchel gap.
    gap: f64,
    /// The gap less the conjugate of the plan.
    value: f64,
    feasible: bool,
    form: RoundingForm,
}

/// Rounds columns along their plans, and takes what is then known of those that have the smaller gap.
fn round_along_plan<D: Device, K: KernelOp<D> + ?Sized>(
    kernel: &mut K,
    problem: &Problem<D>,
    potentials: &Potentials<D>,
    rounded: &RoundedPlan<'_, D>,
    along: Along,
    of_plan: &mut [RoundedNumbers],
) -> Result<(), Error> {
    if !problem.is_balanced() || problem.require_entropy().is_err() {
        return Ok(());
    }
    // Where half of the mass is missing no small change places it.
    let is_near = |values: &ColumnValues| {
        let [source, target] = &values.sides;
        source.residual + target.residual < (source.weight + target.weight) / 4.0
    };
    let is_wanted = |(numbers, values): (&RoundedNumbers, &ColumnValues)| {
        is_near(values) && (along == Along::Everywhere || !(numbers.gap.is_finite() && numbers.feasible))
    };
    let wanted: Vec<bool> = of_plan.iter().zip(rounded.values()).map(is_wanted).collect();
    if !wanted.contains(&true) {
        return Ok(());
    }
    let backend = problem.backend();
    let relative = RelativePlan::solve(kernel, problem, potentials, rounded, &wanted)?;
    let (mut gaps, mut values) = (backend.alloc_reduced(of_plan.len())?, backend.alloc_reduced(of_plan.len())?);
    let out = RoundedValue { gap: &mut gaps, value: &mut values };
    kernel.fenchel_gap(backend, problem.view(potentials), relative.rounding(), out)?;
    let read = backend.read(&[&gaps, &values])?;
    for (column, numbers) in of_plan.iter_mut().enumerate().filter(|(column, _)| relative.is_rounded(*column)) {
        let found = RoundedNumbers {
            gap: read[0][column],
            value: read[1][column],
            feasible: true,
            form: RoundingForm::Relative,
        };
        if found.gap.is_finite() && !(numbers.feasible && numbers.gap <= found.gap) {
            *numbers = found;
        }
    }
    Ok(())
}
