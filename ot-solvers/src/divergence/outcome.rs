//! What a divergence returns.

use std::cmp::Ordering;

use ot_core::{Device, Side, Solution, Status};

use super::{DivergenceForm, value::DivergenceValue};

/// A Sinkhorn divergence with the three solutions it is made of. Its numbers are as computed: where rounding or the
/// tolerance makes one negative, that is what is told.
#[derive(Debug)]
pub struct Divergence<D: Device> {
    form: DivergenceForm,
    values: Vec<DivergenceValue>,
    cross: Solution<D>,
    terms: [Solution<D>; 2],
}

impl<D: Device> Clone for Divergence<D> {
    fn clone(&self) -> Self {
        Self { form: self.form, values: self.values.clone(), cross: self.cross.clone(), terms: self.terms.clone() }
    }
}

impl<D: Device> Divergence<D> {
    pub(super) fn new(
        form: DivergenceForm,
        values: Vec<DivergenceValue>,
        cross: Solution<D>,
        terms: [Solution<D>; 2],
    ) -> Self {
        Self { form, values, cross, terms }
    }

    /// The form.
    #[must_use]
    pub fn form(&self) -> DivergenceForm {
        self.form
    }

    /// The divergence of the first column: of the problem, where it is no batch.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.values[0].value
    }

    /// The divergence of each column.
    #[must_use]
    pub fn values(&self) -> Vec<f64> {
        self.values.iter().map(|value| value.value).collect()
    }

    /// Two numbers between which the divergence of the exact solutions lies, as the three gaps prove it, rounding
    /// included: for each column. Of the sharp forms bounds are known for prescribed marginals alone.
    #[must_use]
    pub fn bounds(&self) -> Vec<[f64; 2]> {
        self.values.iter().map(|value| [value.lower, value.upper]).collect()
    }

    /// How far the first value may be from that of the exact solutions: max(gap_ab, (gap_aa + gap_bb) / 2) in the full
    /// form, and rounding.
    #[must_use]
    pub fn error_bound(&self) -> f64 {
        let DivergenceValue { value, lower, upper } = self.values[0];
        (value - lower).max(upper - value)
    }

    /// What the bounds prove of the sign of the first value; `None` if nothing: a sign within rounding is none. Measures
    /// that are identical are [`Equal`](Ordering::Equal).
    #[must_use]
    pub fn sign(&self) -> Option<Ordering> {
        let DivergenceValue { lower, upper, .. } = self.values[0];
        match (lower.partial_cmp(&0.0)?, upper.partial_cmp(&0.0)?) {
            (Ordering::Greater, _) => Some(Ordering::Greater),
            (_, Ordering::Less) => Some(Ordering::Less),
            (Ordering::Equal, Ordering::Equal) => Some(Ordering::Equal),
            _ => None,
        }
    }

    /// The solution between the two measures.
    #[must_use]
    pub fn cross(&self) -> &Solution<D> {
        &self.cross
    }

    /// The solution of one measure against itself, to be [frozen](super::SelfTerm::Frozen) for another call.
    #[must_use]
    pub fn self_term(&self, side: Side) -> &Solution<D> {
        &self.terms[side.index()]
    }

    /// The worst status of the three solves.
    #[must_use]
    pub fn status(&self) -> Status {
        let statuses = [&self.cross, &self.terms[0], &self.terms[1]].map(Solution::status);
        statuses.into_iter().find(|status| !status.is_converged()).unwrap_or(Status::Converged)
    }
}
