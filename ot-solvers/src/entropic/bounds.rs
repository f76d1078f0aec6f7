//! What an entropic solution proves of transport without entropy.
//!
//! ```text
//! <a, f^cc> + <b, g^c>  <=  min_P <P, C>  <=  <P', C>
//! ```
//!
//! Above stands the plan rounded to the exact marginals (Altschuler, Weed, Rigollet 2017), below
//! the potentials made feasible by hard c-transforms. The entropic dual itself is no lower bound.

use ot_core::{Device, Error, RoundedColumn, RoundedPlan, RoundedSide, Scalar, Side, Solution};

/// Bounds of the optimal transport cost without regularisation, for one column.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct UnregularizedBounds {
    /// The dual value of feasible potentials, less its rounding.
    pub lower: f64,
    /// The cost of a feasible plan, and its rounding.
    pub upper: f64,
}

impl UnregularizedBounds {
    /// upper - lower.
    #[must_use]
    pub fn gap(&self) -> f64 {
        self.upper - self.lower
    }
}

/// Roundings of a term of a bound.
const UNITS: f64 = 4.0;

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
        let rounded = RoundedPlan::round(kernel.as_mut(), problem, solution.potentials())?;
        let upper = rounded.transport_cost(kernel.as_mut())?;

        let transform = kernel.hard_transform().ok_or(Error::MissingCapability("hard c-transform"))?;
        let alloc = |side| backend.alloc(problem.marginal(side).len(), problem.columns());
        let (mut f, mut g) = (alloc(Side::Source)?, alloc(Side::Target)?);
        let (a, b) = (problem.marginal(Side::Source), problem.marginal(Side::Target));
        transform.hard_c_transform(Side::Target, &solution.potentials().source, a.log_weights(), &mut g, None)?;
        transform.hard_c_transform(Side::Source, &g, b.log_weights(), &mut f, None)?;

        let vectors = backend.download(&[&f, &g, a.weights(), b.weights()])?;
        let bounds = |(column, upper): (usize, f64)| {
            let [source, source_size] = pairing(&vectors[2], &vectors[0], a.len(), column);
            let [target, target_size] = pairing(&vectors[3], &vectors[1], b.len(), column);
            // Potentials and costs are known to some units, masses of the rounded plan to the rounding of its entries.
            let (units, size) = (UNITS * backend.precision().unit, source_size + target_size);
            let rounding = solution.certificates()[column].rounding;
            // No mass pays more than the largest cost: what rounding hides of it may, what the rounded plan could not place, and
            // all of it where nothing is known.
            let largest = problem.geometry().cost_bound();
            let most = largest.map_or(f64::INFINITY, |largest| a.mass(column) * largest);
            let upper = match largest {
                _ if rounding >= 1.0 => most,
                Some(largest) => {
                    upper + units * upper.abs() + rounding * most + missed(&rounded.columns()[column]) * largest
                }
                None => upper + units * upper.abs() + rounding * (size + upper.abs()),
            };
            let upper = if upper < f64::INFINITY { upper.min(most) } else { upper };
            let lower = source + target - units * size;
            // What is no number is no bound.
            UnregularizedBounds {
                lower: if lower.is_nan() { f64::NEG_INFINITY } else { lower },
                upper: if upper.is_nan() { f64::INFINITY } else { upper },
            }
        };
        Ok(upper.into_iter().enumerate().map(bounds).collect())
    })
}

/// By how much mass a rounded plan misses its marginals, on both sides together.
fn missed(column: &RoundedColumn) -> f64 {
    let of_side = |side: Side| -> f64 {
        let RoundedSide { weights, scaled, .. } = column.side(side);
        let placed = scaled.iter().zip(column.added_marginal(side)).map(|(scaled, added)| scaled + added);
        weights.iter().zip(placed).map(|(weight, placed)| (weight - placed).abs()).sum()
    };
    Side::BOTH.into_iter().map(of_side).sum()
}

/// <a, f> and <a, |f|> of one column, in f64; the potential of an atom without weight means nothing.
fn pairing<T: Scalar>(weights: &[T], potential: &[T], len: usize, column: usize) -> [f64; 2] {
    let of_column = |values: &[T]| {
        let first = column.min(values.len() / len - 1) * len;
        first..first + len
    };
    let atoms = weights[of_column(weights)].iter().zip(&potential[of_column(potential)]);
    let terms = atoms.filter(|(weight, _)| weight.to_f64() > 0.0).map(|(a, f)| a.to_f64() * f.to_f64());
    terms.fold([0.0; 2], |[sum, size], term| [sum + term, size + term.abs()])
}
