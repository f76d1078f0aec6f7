//! From a tangent of the data of a barycenter to its change.

use ot_core::{Device, Error, Operand, PenaltyKind, Real, Scalar, Side};

use super::{Form, LinearisedBarycenter, sharpened::Moves};
use crate::{
    LinearSolve, Linearised, Tangent,
    algebra::{add, host, scaled, update, vector},
    tangent::check,
};

/// A direction in which the data of a barycenter move, on the host; nothing moves that is not named.
///
/// ```
/// use ot_core::Side;
/// use ot_diff::{BarycenterTangent, Tangent};
///
/// // The second of two inputs gains weight, and mass moves from its first atom to its second.
/// let input = Tangent::new().weights(Side::Source, vec![-0.1, 0.1, 0.0]);
/// let tangent = BarycenterTangent::new().lambda(vec![0.0, 1.0]).input(1, input);
/// # let _: BarycenterTangent<f64> = tangent;
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct BarycenterTangent<T> {
    pub(super) lambda: Option<Vec<f64>>,
    /// What moves of each input, by its index.
    pub(super) inputs: Vec<(usize, Tangent<T>)>,
    pub(super) reference: Option<Vec<T>>,
    pub(super) epsilon: f64,
    pub(super) entropy_bound: Option<Vec<f64>>,
    /// What moves of the transport of a debiased barycenter to itself.
    pub(super) own: Vec<Tangent<T>>,
}

impl<T: Scalar> Default for BarycenterTangent<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Scalar> BarycenterTangent<T> {
    /// Nothing moves.
    #[must_use]
    pub fn new() -> Self {
        Self { lambda: None, inputs: Vec::new(), reference: None, epsilon: 0.0, entropy_bound: None, own: Vec::new() }
    }

    /// The weights lambda move: a number for each input, or as many for each column of a batch, column after column, as
    /// [`Barycenter::inputs`](ot_solvers::Barycenter::inputs) takes them. They are those of the
    /// [terms](ot_core::JointTerm) of the problem, which a [`Barycenter`](ot_solvers::Barycenter) scales to a sum of one, and count
    /// relative to their sum.
    #[must_use]
    pub fn lambda(self, values: Vec<f64>) -> Self {
        Self { lambda: Some(values), ..self }
    }

    /// What moves of one input: its weights (`Side::Source`), its points, the points of the support (`Side::Target`) as this input
    /// sees them, its cost, its penalty. Points of a support that move for all inputs are named in each. What is named again adds
    /// up.
    #[must_use]
    pub fn input(mut self, index: usize, tangent: Tangent<T>) -> Self {
        self.inputs.push((index, tangent));
        self
    }

    /// The weights of the reference m move. Debiased barycenters do not depend on it.
    #[must_use]
    pub fn reference(self, values: Vec<T>) -> Self {
        Self { reference: Some(values), ..self }
    }

    /// epsilon moves.
    #[must_use]
    pub fn epsilon(self, epsilon: f64) -> Self {
        Self { epsilon, ..self }
    }

    /// The bound of the entropy of a sharpened barycenter moves: one number for all columns or one for each. Where it does not bind, and for
    /// barycenters without one, nothing follows.
    ///
    /// [`EntropyBound::OfInputs`](ot_solvers::EntropyBound::OfInputs) is the entropy of one input a of mass M, and moves by
    /// -sum_i da_i (log(a_i / M) + H) / M.
    #[must_use]
    pub fn entropy_bound(self, values: Vec<f64>) -> Self {
        Self { entropy_bound: Some(values), ..self }
    }

    /// What moves of the transport of a debiased barycenter to itself: the points of the support, of both sides, and its cost. What is
    /// named again adds up; other barycenters have none.
    #[must_use]
    pub fn own(mut self, tangent: Tangent<T>) -> Self {
        self.own.push(tangent);
        self
    }
}

/// How a barycenter changes along a tangent.
#[derive(Debug)]
pub struct BarycenterChange<'a, D: Device> {
    barycenter: &'a LinearisedBarycenter<D>,
    measure: D::Vector,
    solve: LinearSolve,
}

impl<D: Device> BarycenterChange<'_, D> {
    /// The change of the masses of the barycenter, column after column.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn measure(&self) -> Result<Vec<D::Elem>, Error> {
        host(self.barycenter.backend(), &self.measure)
    }

    /// What is known of the linear solve.
    #[must_use]
    pub fn solve(&self) -> LinearSolve {
        self.solve
    }
}

impl<D: Device> LinearisedBarycenter<D> {
    /// The change of the barycenter along a tangent. Solves one linear system.
    ///
    /// # Errors
    /// [`Error::Length`] for a tangent of another problem, [`Error::Parameter`] for one that is not finite, gives prescribed inputs
    /// different masses, or moves weights, penalty or epsilon in the tangent of an input that are those of all;
    /// [`Error::MissingCapability`] for a parameter that a kernel knows no derivative in; a failure of the device.
    pub fn push_forward(&mut self, tangent: &BarycenterTangent<D::Elem>) -> Result<BarycenterChange<'_, D>, Error> {
        let tangents = self.tangents(tangent)?;
        let of_parts = self.change_of_parts(tangent.lambda.as_deref())?;
        let mut explicit = Vec::with_capacity(self.terms.len());
        for (term, tangents) in self.terms.iter_mut().zip(&tangents) {
            explicit.push(explicit_change(term, tangents)?);
        }
        let reference = self.change_of_reference(tangent)?;
        let mut form = std::mem::replace(&mut self.form, Form::Mean);
        let changed = match &mut form {
            Form::Mean => self.change_of_logarithm(&explicit, &of_parts),
            Form::Sharpened(sharpening) => self.change_of_bound(tangent).and_then(|bound| {
                let epsilon = tangent.epsilon;
                let moves = Moves { of_parts: &of_parts, reference: &reference, epsilon, bound: &bound };
                self.sharpened_change(sharpening, &explicit, &moves)
            }),
            Form::Debiased(own) => {
                change_of_own(own, tangent).and_then(|of_own| self.debiased_change(own, &explicit, &of_own, &of_parts))
            }
        };
        self.form = form;
        let (change, solve) = changed?;
        let measure = self.change_of_measure(&change, &reference, tangent.epsilon)?;
        Ok(BarycenterChange { barycenter: self, measure, solve })
    }

    /// dl of a barycenter without a bound.
    fn change_of_logarithm(
        &mut self,
        explicit: &[D::Vector],
        of_parts: &D::Vector,
    ) -> Result<(D::Vector, LinearSolve), Error> {
        // g_k moves by what the constraint asks, the same for all, and by h.
        let fixed = scaled(self.backend(), of_parts, -1.0)?;
        let fixed_by_term = self.terms.iter().map(|_| self.backend().copied(&fixed)).collect::<Result<Vec<_>, _>>()?;
        let mut residual = self.complements(&fixed_by_term)?;
        for (residual, explicit) in residual.iter_mut().zip(explicit) {
            update(self.backend(), residual, [Operand::Vector(explicit)], |image, [explicit]| explicit - image)?;
        }
        let (moved, solve) = self.solve(&residual)?;
        let images = self.complements(&moved)?;
        for (residual, image) in residual.iter_mut().zip(&images) {
            update(self.backend(), residual, [Operand::Vector(image)], |residual, [image]| residual - image)?;
        }
        let change_of_mean = self.sum_of_parts(&residual)?;
        Ok((scaled(self.backend(), &change_of_mean, -1.0)?, solve))
    }

    /// dp = p (dm / m + dl / epsilon - l depsilon / epsilon^2).
    fn change_of_measure(&self, change: &D::Vector, reference: &D::Vector, moved: f64) -> Result<D::Vector, Error> {
        let frame = &self.terms[0].optimum.frame;
        let [p, dl, l, dm] = [self.inner_weights(), change, &self.logarithm, reference].map(Operand::Vector);
        let [epsilon, moved] = [frame.epsilon(), moved].map(Operand::Constant);
        let operands = [p, dl, l, dm, epsilon, moved];
        vector(self.backend(), frame.shape(Side::Target), operands, |[p, dl, l, dm, epsilon, moved]| {
            p.select(p * (dm + (dl - moved / epsilon * l) / epsilon), 0.0)
        })
    }

    /// dm / m where p has mass.
    fn change_of_reference(&self, tangent: &BarycenterTangent<D::Elem>) -> Result<D::Vector, Error> {
        let (backend, frame) = (self.backend(), &self.terms[0].optimum.frame);
        match &tangent.reference {
            Some(reference) if !self.is_debiased() => {
                let reference = backend.upload(reference, frame.histograms(Side::Target))?;
                let operands = [self.inner_weights(), frame.weights(Side::Target), &reference].map(Operand::Vector);
                vector(backend, frame.shape(Side::Target), operands, |[p, m, dm]| p.select(dm / m, 0.0))
            }
            _ => frame.filled(Side::Target, 0.0),
        }
    }

    /// dH of each column.
    fn change_of_bound(&self, tangent: &BarycenterTangent<D::Elem>) -> Result<D::Reduced, Error> {
        let columns = self.problem.columns();
        let bound = |column: usize| match &tangent.entropy_bound {
            Some(values) => values[column.min(values.len() - 1)],
            None => 0.0,
        };
        self.backend().upload_reduced(&(0..columns).map(bound).collect::<Vec<_>>())
    }

    /// sum_k dlambda_k g_k, of lambda relative to their sum.
    fn change_of_parts(&self, lambda: Option<&[f64]>) -> Result<D::Vector, Error> {
        let (backend, frame) = (self.backend(), &self.terms[0].optimum.frame);
        let mut change = frame.filled(Side::Target, 0.0)?;
        let Some(lambda) = lambda else { return Ok(change) };
        let (count, columns) = (self.terms.len(), frame.columns());
        let histograms = if lambda.len() == count { 1 } else { columns };
        check("a tangent of the weights of the inputs", lambda, count * histograms)?;
        let of = |column: usize, term: usize| lambda[column.min(histograms - 1) * count + term];
        for (index, (term, part)) in self.terms.iter().zip(&self.parts).enumerate() {
            // d(lambda_k / sum) = (dlambda_k - part_k dsum) / sum.
            let moved = |column: usize| {
                let gained: f64 = (0..count).map(|other| of(column, other)).sum();
                (of(column, index) - part[column] * gained) / self.totals[column]
            };
            let moved = backend.upload_reduced(&(0..columns).map(moved).collect::<Vec<_>>())?;
            let operands = [Operand::Vector(term.optimum.potential(Side::Target)), Operand::Reduced(&moved)];
            update(backend, &mut change, operands, |sum, [g, moved]| sum + moved * g)?;
        }
        Ok(change)
    }

    /// The tangents of each term.
    fn tangents(&self, tangent: &BarycenterTangent<D::Elem>) -> Result<Vec<Vec<Tangent<D::Elem>>>, Error> {
        check("epsilon of a tangent", &[tangent.epsilon], 1)?;
        let mut common = Tangent::new().epsilon(tangent.epsilon);
        if let Some(reference) = &tangent.reference {
            let of_reference = self.problem.terms()[0].problem.marginal(Side::Target).weights();
            let (rows, histograms) = self.backend().shape(of_reference);
            check("a tangent of the reference", reference, rows * histograms)?;
            if !self.is_debiased() {
                common = common.weights(Side::Target, reference.clone());
            }
        }
        if let Some(bounds) = &tangent.entropy_bound {
            let columns = self.problem.columns();
            check("a tangent of the bound of entropy", bounds, if bounds.len() == 1 { 1 } else { columns })?;
        }
        if !tangent.own.is_empty() && !self.is_debiased() {
            return Err(Error::MissingCapability("the own transport of a barycenter that is not debiased"));
        }
        let rests = common == Tangent::new();
        let mut tangents: Vec<_> =
            self.terms.iter().map(|_| if rests { Vec::new() } else { vec![common.clone()] }).collect();
        for (index, of_input) in &tangent.inputs {
            let is_own = of_input.weights[1].is_none() && of_input.penalties[1].is_empty() && of_input.epsilon == 0.0;
            let refuse = |name, value, expected| Err(Error::Parameter { name, value, expected });
            match tangents.get_mut(*index) {
                None => return refuse("the index of an input", *index as f64, "less than the number of inputs"),
                Some(_) if !is_own => {
                    let expected = "neither epsilon nor anything of the target but its points";
                    return refuse("the tangent of an input", *index as f64, expected);
                }
                Some(tangents) => tangents.push(of_input.clone()),
            }
        }
        self.check_masses(tangent)?;
        Ok(tangents)
    }

    /// Do prescribed inputs keep one mass?
    fn check_masses(&self, tangent: &BarycenterTangent<D::Elem>) -> Result<(), Error> {
        for column in 0..self.terms[0].optimum.frame.columns() {
            let mut first: Option<[f64; 2]> = None;
            for (index, term) in self.terms.iter().enumerate() {
                let frame = &term.optimum.frame;
                if frame.problem.marginal(Side::Source).penalty().kind() != PenaltyKind::Balanced {
                    continue;
                }
                let (rows, histograms) = (frame.len(Side::Source), frame.histograms(Side::Source));
                let mut gain = [0.0, 0.0];
                for (_, of_input) in tangent.inputs.iter().filter(|(input, _)| *input == index) {
                    let Some(values) = &of_input.weights[0] else { continue };
                    check("a tangent of the weights of an input", values, rows * histograms)?;
                    for value in &values[column.min(histograms - 1) * rows..][..rows] {
                        gain = [gain[0] + value.to_f64(), gain[1] + value.to_f64().abs()];
                    }
                }
                let [known, size] = *first.get_or_insert(gain);
                let slack = D::Elem::EPSILON * (rows as f64).sqrt() * 8.0 * (size + gain[1]);
                if (gain[0] - known).abs() > slack {
                    let name = "the mass that a tangent gives to an input beyond that of the first";
                    let expected = "zero, where inputs are prescribed";
                    return Err(Error::Parameter { name, value: gain[0] - known, expected });
                }
            }
        }
        Ok(())
    }
}

/// The change of the softmin of p under itself while its potential rests.
fn change_of_own<D: Device>(own: &mut Linearised<D>, tangent: &BarycenterTangent<D::Elem>) -> Result<D::Vector, Error> {
    let mut change = own.optimum.frame.filled(Side::Target, 0.0)?;
    let common = Tangent::new().epsilon(tangent.epsilon);
    for tangent in tangent.own.iter().chain((tangent.epsilon != 0.0).then_some(&common)) {
        let tangent = tangent.upload_freely(&own.optimum.frame, own.kernel.as_mut())?;
        let drift = own.drift(&tangent)?;
        let moved = own.explicit(&tangent, &drift)?;
        add(own.optimum.frame.backend(), &mut change, &moved.target)?;
    }
    Ok(change)
}

/// The change of the softmin of the target along tangents while its potential rests, and that of the other side does not.
fn explicit_change<D: Device>(term: &mut Linearised<D>, tangents: &[Tangent<D::Elem>]) -> Result<D::Vector, Error> {
    let mut change = term.optimum.frame.filled(Side::Target, 0.0)?;
    for tangent in tangents {
        let tangent = tangent.upload_freely(&term.optimum.frame, term.kernel.as_mut())?;
        let drift = term.drift(&tangent)?;
        let moved = term.explicit(&tangent, &drift)?;
        let mut response = term.optimum.frame.unwritten(Side::Target)?;
        term.coupling()?.respond(Side::Target, &moved.source, &mut response)?;
        let operands = [Operand::Vector(&moved.target), Operand::Vector(&response)];
        update(term.optimum.frame.backend(), &mut change, operands, |change, [tau, response]| {
            change + (tau - response)
        })?;
    }
    Ok(change)
}
