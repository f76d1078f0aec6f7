//! How far potentials are from their marginals: what a solver asks before it asks for a certificate.

use super::side::{SideValues, side_values};
use crate::{
    backend::Device,
    error::Error,
    kernel::{ActiveColumns, KernelOp, Potentials, RoundedSide},
    problem::Problem,
    scalar::Scalar,
    side::Side,
};

/// The marginal error of one column, and what rounding may hide of it: those of a [`Certificate`](crate::Certificate).
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct MarginalError {
    /// (|P 1 - a'|_1 + |P^T 1 - b'|_1) / mass.
    pub error: f64,
    /// The error that rounding to the element type may cause or hide.
    pub rounding: f64,
}

impl MarginalError {
    /// Is the error, rounding included, within a tolerance?
    #[must_use]
    pub fn meets(&self, tolerance: f64) -> bool {
        self.error.is_finite() && self.error + self.rounding <= tolerance
    }

    /// From the values of both sides. `rounding` is that of the exponents of entries.
    pub(super) fn of_sides<D: Device>(problem: &Problem<D>, [source, target]: &[SideValues; 2], rounding: f64) -> Self {
        let mean_mass = mean_mass(source, target);
        let mass = problem.regularizer().mass_per_exponent(source.mass, source.weight * target.weight);
        Self {
            error: (source.residual + target.residual) / mean_mass,
            rounding: rounding * (mass / mean_mass).max(1.0)
                + (source.accepted_rounding + target.accepted_rounding) / mean_mass,
        }
    }
}

/// The mean of the masses of both sides, never zero.
fn mean_mass(source: &SideValues, target: &SideValues) -> f64 {
    (source.weight / 2.0 + target.weight / 2.0).max(f64::MIN_POSITIVE)
}

/// What rounding makes of the exponents of entries of each column, and what the kernel leaves out.
///
/// Columns of a batch may share entries, around potentials of one of them: then those of another are products of an entry and a
/// number of the element type, and its exponents are sums of larger terms than its own.
pub(super) fn rounding_of_exponents<'a, D: Device, K: KernelOp<D> + ?Sized>(
    kernel: &K,
    problem: &Problem<D>,
    columns: impl Iterator<Item = &'a [SideValues; 2]>,
    epsilon: f64,
) -> Vec<f64> {
    let own: Vec<f64> = columns.map(|[source, target]| source.exponent(epsilon) + target.exponent(epsilon)).collect();
    let largest = own.iter().copied().filter(|exponent| exponent.is_finite()).fold(0.0, f64::max);
    let exponent = |own: &f64| own.max(largest.min(own + D::Elem::MAX.ln()));
    let rounding = |exponent: f64| problem.backend().precision().marginal_rounding(exponent) + kernel.left_out();
    own.iter().map(exponent).map(rounding).collect()
}

/// The marginal errors of potentials, for each column of a problem, with a kernel bound to their epsilon: what
/// [`certify_with`](super::certify_with) says of them, without a plan that is rounded or a bound. One pass for the densities of
/// both sides, and one wait.
///
/// # Errors
/// [`Error::OutOfMemory`], a failure of the device.
pub fn marginal_errors_with<D: Device, K: KernelOp<D> + ?Sized>(
    kernel: &mut K,
    problem: &Problem<D>,
    potentials: &Potentials<D>,
) -> Result<Vec<MarginalError>, Error> {
    let (backend, columns, epsilon) = (problem.backend(), problem.columns(), potentials.epsilon);
    let density = |side: Side| backend.alloc(problem.marginal(side).len(), columns);
    let (mut densities, mut conjugate) =
        ([density(Side::Source)?, density(Side::Target)?], backend.alloc_reduced(columns)?);
    let active = ActiveColumns::all(columns);
    kernel.densities(backend, problem.view(potentials), &active, densities.each_mut(), &mut conjugate)?;
    let vectors =
        Side::BOTH.map(|side| [problem.marginal(side).weights(), potentials.side(side), &densities[side.index()]]);
    let read = backend.download(&vectors.concat())?;
    let of_column = |column: usize| -> Result<[SideValues; 2], Error> {
        let values = |side: Side| -> Result<SideValues, Error> {
            let [weights, potential, density] =
                [0, 1, 2].map(|index| of_column(&read[3 * side.index() + index], problem.marginal(side).len(), column));
            let marginal = weights.iter().zip(&density).map(|(&weight, &density)| mass(weight, density)).collect();
            let side_of_plan = RoundedSide { weights, potential, marginal, ..RoundedSide::default() };
            side_values(problem.marginal(side).penalty(), &side_of_plan, epsilon, backend.precision())
        };
        Ok([values(Side::Source)?, values(Side::Target)?])
    };
    let values = (0..columns).map(of_column).collect::<Result<Vec<[SideValues; 2]>, Error>>()?;
    let rounding = rounding_of_exponents(kernel, problem, values.iter(), epsilon);
    Ok(values.iter().zip(rounding).map(|(sides, rounding)| MarginalError::of_sides(problem, sides, rounding)).collect())
}

/// One column of a vector of so many rows, in f64. One column may serve all.
pub(super) fn of_column<T: Scalar>(values: &[T], rows: usize, column: usize) -> Vec<f64> {
    let first = column.min(values.len() / rows - 1) * rows;
    values[first..first + rows].iter().map(|value| value.to_f64()).collect()
}

/// The mass of an atom. A density that is no number counts as none: what is then missing shows in the residual.
pub(super) fn mass(weight: f64, density: f64) -> f64 {
    if weight > 0.0 && !density.is_nan() { weight * density } else { 0.0 }
}
