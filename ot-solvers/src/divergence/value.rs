//! The number, and what the certificates of three solves prove of it.
//!
//! The products of masses in the three duals and in the last term cancel: epsilon (m_a m_b - m_a^2 / 2 - m_b^2 / 2 +
//! (m_a - m_b)^2 / 2) is zero. So they are left out, and a value is a difference of
//!
//! ```text
//! -sum_i a_i phi*(-f_i) - sum_j b_j phi*(-g_j) - epsilon mass(P)
//! ```
//!
//! which grow no faster than the masses. An optimal value lies between the dual and the primal of its certificate, which differ by the gap. So the full form is
//! known to the gap of the cross term above, and to half of those of the self terms below. A transport cost is known
//! less well: by strong convexity epsilon KL(P' | P*) is at most the gap of the rounded plan P', so that by Pinsker's
//! inequality
//!
//! ```text
//! |<P, C> - <P*, C>| <= max |C| (|P - P'|_1 + |P' - P*|_1) <= max |C| (2 residual + sqrt(2 mass gap / epsilon))
//! ```
//!
//! for plans of equal mass, that is for prescribed marginals (residual of rounding: Altschuler, Weed, Rigollet 2017). Bounds
//! are wider by the rounding of the sums and of the plan.

use ot_core::{
    Certificate, Device, Error, Scalar, Side, Solution,
    power_of_two::product,
    program::{BlockInput, LibraryMath, Registers},
};

use super::DivergenceForm;

/// A divergence between its bounds.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(super) struct DivergenceValue {
    pub(super) value: f64,
    pub(super) lower: f64,
    pub(super) upper: f64,
}

impl DivergenceValue {
    /// That of a measure and itself.
    pub(super) const ZERO: Self = Self { value: 0.0, lower: 0.0, upper: 0.0 };

    /// The divergence of each column of the cross problem.
    pub(super) fn of_columns<D: Device>(
        form: DivergenceForm,
        cross: &Solution<D>,
        terms: [&Solution<D>; 2],
    ) -> Result<Vec<Self>, Error> {
        let [cross_terms, source, target] =
            [cross, terms[0], terms[1]].map(|solution| Term::of_columns(form, solution));
        let (cross_terms, source, target) = (cross_terms?, source?, target?);
        let combine = |one: f64, other: f64, another: f64| form.factor() * (one - 0.5 * (other + another));
        let value = |(column, cross): (usize, &Term)| {
            let of = |own: &[Term]| own[column.min(own.len() - 1)];
            let (source, target) = (of(&source), of(&target));
            Self {
                value: combine(cross.value, source.value, target.value),
                lower: combine(cross.lower, source.upper, target.upper),
                upper: combine(cross.upper, source.lower, target.lower),
            }
        };
        Ok(cross_terms.iter().enumerate().map(value).collect())
    }
}

/// One of the three numbers, between its bounds.
#[derive(Copy, Clone, Debug)]
struct Term {
    value: f64,
    lower: f64,
    upper: f64,
}

impl Term {
    /// The number of each column of a solution.
    fn of_columns<D: Device>(form: DivergenceForm, solution: &Solution<D>) -> Result<Vec<Self>, Error> {
        let columns = 0..solution.problem().columns();
        match form {
            DivergenceForm::Full => {
                let [source, target] = [Side::Source, Side::Target].map(|side| penalties(solution, side));
                let (source, target) = (source?, target?);
                Ok(columns.map(|column| Self::optimum(solution, column, [source[column], target[column]])).collect())
            }
            DivergenceForm::Sharp | DivergenceForm::Genevay => {
                columns.map(|column| Self::transport_cost(solution, column)).collect()
            }
        }
    }

    /// The dual, without the product of the masses.
    fn optimum<D: Device>(solution: &Solution<D>, column: usize, penalties: [Penalties; 2]) -> Self {
        let Certificate { epsilon, mass, dual, gap, rounding, .. } = solution.certificates()[column];
        let masses = Side::BOTH.map(|side| solution.problem().marginal(side).mass(column));
        let value = match mass < f64::MIN_POSITIVE {
            // Of a mass below all numbers, the dual without the product of the masses.
            true => dual - product([epsilon, masses[0], masses[1]]),
            false => penalties.iter().map(|side| side.dual).sum::<f64>() - epsilon * mass,
        };
        let sizes: f64 = penalties.iter().map(|side| side.size).sum();
        // The mass is a sum of exponentials in the element type, the rest is summed in f64.
        let rounding = 4.0 * f64::EPSILON * (sizes + epsilon * mass) + rounding.exp_m1() * epsilon * mass;
        match dual.is_finite() {
            true => Self { value, lower: value - rounding, upper: value + gap + rounding },
            false => Self { value, lower: f64::NEG_INFINITY, upper: f64::INFINITY },
        }
    }

    fn transport_cost<D: Device>(solution: &Solution<D>, column: usize) -> Result<Self, Error> {
        let certificate = &solution.certificates()[column];
        let value = certificate.transport_cost.ok_or(Error::MissingCapability("transport cost"))?;
        let error = cost_error(solution, certificate, column);
        Ok(Self { value, lower: value - error, upper: value + error })
    }
}

/// What the penalties of one side give to the dual.
#[derive(Copy, Clone, Debug)]
struct Penalties {
    /// -sum_i a_i phi*(-f_i).
    dual: f64,
    /// The sum of the sizes of its terms.
    size: f64,
}

/// The penalties of one side in each column, in f64. O(n).
fn penalties<D: Device>(solution: &Solution<D>, side: Side) -> Result<Vec<Penalties>, Error> {
    let (problem, marginal) = (solution.problem(), solution.problem().marginal(side));
    let downloaded = problem.backend().download(&[solution.potentials().side(side), marginal.weights()])?;
    let (len, [potentials, weights]) = (marginal.len(), [0, 1].map(|index| &downloaded[index]));
    let of_column = |column: usize| {
        let wide = |values: &[D::Elem]| -> Vec<f64> {
            let first = column.min(values.len() / len - 1) * len;
            values[first..first + len].iter().map(|value| value.to_f64()).collect()
        };
        let (potentials, weights) = (wide(potentials), wide(weights));
        let slopes: Vec<f64> = potentials.iter().map(|f| -f).collect();
        let mut conjugates = vec![0.0; len];
        let (conjugate, mut registers) = (marginal.penalty().conjugate(), Registers::new());
        conjugate.run_block::<f64, LibraryMath>(
            &[BlockInput::Lanes(&slopes)],
            &mut registers,
            &mut [&mut conjugates],
        )?;
        let terms = || weights.iter().zip(&conjugates).filter(|(weight, _)| **weight > 0.0).map(|(a, phi)| -a * phi);
        Ok(Penalties { dual: terms().sum(), size: terms().map(f64::abs).sum() })
    };
    (0..problem.columns()).map(of_column).collect()
}

/// How far <P, C> may be from that of the optimal plan; infinite where no bound is known.
fn cost_error<D: Device>(solution: &Solution<D>, certificate: &Certificate, column: usize) -> f64 {
    let problem = solution.problem();
    let Some(bound) = problem.geometry().cost_bound().filter(|_| problem.is_balanced()) else { return f64::INFINITY };
    let Certificate { source_residual, target_residual, gap, epsilon, rounding, .. } = *certificate;
    if bound == 0.0 {
        return 0.0;
    }
    let mass = problem.marginal(Side::Source).mass(column);
    // sqrt(2 mass gap / epsilon), no part of which leaves the range alone.
    let of_gap = mass.sqrt() * (2.0 * gap).sqrt() / epsilon.sqrt();
    bound * (2.0 * (source_residual + target_residual) + of_gap + mass * rounding)
}
