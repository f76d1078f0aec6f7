//! The number, and what the certificates of three solves prove of it.
//!
//! An optimal value lies between the dual and the primal of its certificate, which differ by the gap. So the full form is
//! known to the gap of the cross term above, and to half of those of the self terms below. A transport cost is known
//! less well: by strong convexity epsilon KL(P' | P*) is at most the gap of the rounded plan P', so that by Pinsker's
//! inequality
//!
//! ```text
//! |<P, C> - <P*, C>| <= max |C| (|P - P'|_1 + |P' - P*|_1) <= max |C| (2 residual + sqrt(2 mass gap / epsilon))
//! ```
//!
//! for plans of equal mass, that is for prescribed marginals (residual of rounding: Altschuler, Weed, Rigollet 2017).

use ot_core::{Certificate, Device, Error, Side, Solution};

use super::{DivergenceForm, column_of};

/// A divergence between its bounds.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(super) struct DivergenceValue {
    pub(super) value: f64,
    pub(super) lower: f64,
    pub(super) upper: f64,
}

impl DivergenceValue {
    /// The divergence of one column of the cross problem.
    pub(super) fn new<D: Device>(
        form: DivergenceForm,
        cross: &Solution<D>,
        terms: [&Solution<D>; 2],
        column: usize,
    ) -> Result<Self, Error> {
        let of = |solution| Term::new(form, solution, column);
        let (cross_term, [source, target]) = (of(cross)?, terms.map(of));
        let (source, target) = (source?, target?);
        let [a, b] = Side::BOTH.map(|side| cross.problem().marginal(side).mass(column));
        let offset = match form {
            DivergenceForm::Full => 0.5 * cross.problem().epsilon() * (a - b) * (a - b),
            DivergenceForm::Sharp | DivergenceForm::Genevay => 0.0,
        };
        let combine = |one: f64, other: f64, another: f64| form.factor() * (one - 0.5 * (other + another) + offset);
        Ok(Self {
            value: combine(cross_term.value, source.value, target.value),
            lower: combine(cross_term.lower, source.upper, target.upper),
            upper: combine(cross_term.upper, source.lower, target.lower),
        })
    }
}

/// One of the three numbers, between its bounds.
struct Term {
    value: f64,
    lower: f64,
    upper: f64,
}

impl Term {
    fn new<D: Device>(form: DivergenceForm, solution: &Solution<D>, column: usize) -> Result<Self, Error> {
        let column = column_of(solution.problem(), column);
        let certificate = &solution.certificates()[column];
        let Certificate { dual, gap, .. } = *certificate;
        match form {
            DivergenceForm::Full => Ok(Self { value: dual, lower: dual, upper: dual + gap }),
            DivergenceForm::Sharp | DivergenceForm::Genevay => {
                let value = certificate.transport_cost.ok_or(Error::MissingCapability("transport cost"))?;
                let error = cost_error(solution, certificate, column);
                Ok(Self { value, lower: value - error, upper: value + error })
            }
        }
    }
}

/// How far <P, C> may be from that of the optimal plan; infinite where no bound is known.
fn cost_error<D: Device>(solution: &Solution<D>, certificate: &Certificate, column: usize) -> f64 {
    let problem = solution.problem();
    let Some(bound) = problem.geometry().cost_bound().filter(|_| problem.is_balanced()) else { return f64::INFINITY };
    let Certificate { source_residual, target_residual, gap, epsilon, .. } = *certificate;
    let mass = problem.marginal(Side::Source).mass(column);
    bound * (2.0 * (source_residual + target_residual) + (2.0 * mass * gap / epsilon).sqrt())
}
