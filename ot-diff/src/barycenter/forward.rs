//! From a tangent of the data of a barycenter to its change.

use ot_core::{Device, Error, Operand, PenaltyKind, Real, Scalar, Side};

use super::LinearisedBarycenter;
use crate::{
    LinearSolve, Tangent,
    algebra::{host, update, vector},
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
        Self { lambda: None, inputs: Vec::new(), reference: None, epsilon: 0.0 }
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

    /// The weights of the reference m move.
    #[must_use]
    pub fn reference(self, values: Vec<T>) -> Self {
        Self { reference: Some(values), ..self }
    }

    /// epsilon moves.
    #[must_use]
    pub fn epsilon(self, epsilon: f64) -> Self {
        Self { epsilon, ..self }
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
        let fixed = self.constraint(tangent.lambda.as_deref())?;
        let mut explicit = Vec::with_capacity(self.terms.len());
        for (term, tangents) in self.terms.iter_mut().zip(&tangents) {
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
            explicit.push(change);
        }
        // g_k moves by what the constraint asks, the same for all, and by h.
        let fixed_by_term = self.terms.iter().map(|_| self.backend().copied(&fixed)).collect::<Result<Vec<_>, _>>()?;
        let mut residual = self.complements(&fixed_by_term)?;
        for (residual, explicit) in residual.iter_mut().zip(&explicit) {
            update(self.backend(), residual, [Operand::Vector(explicit)], |image, [explicit]| explicit - image)?;
        }
        let (moved, solve) = self.solve(&residual)?;
        let images = self.complements(&moved)?;
        for (residual, image) in residual.iter_mut().zip(&images) {
            update(self.backend(), residual, [Operand::Vector(image)], |residual, [image]| residual - image)?;
        }
        let change_of_mean = self.sum_of_parts(&residual)?;
        let measure = self.change_of_measure(&change_of_mean, tangent)?;
        Ok(BarycenterChange { barycenter: self, measure, solve })
    }

    /// dp = p (dm / m - ds / epsilon + s depsilon / epsilon^2).
    fn change_of_measure(
        &self,
        change_of_mean: &D::Vector,
        tangent: &BarycenterTangent<D::Elem>,
    ) -> Result<D::Vector, Error> {
        let (backend, frame) = (self.backend(), &self.terms[0].optimum.frame);
        let [p, ds, s] = [self.inner_weights(), change_of_mean, &self.mean].map(Operand::Vector);
        let [epsilon, moved] = [frame.epsilon(), tangent.epsilon].map(Operand::Constant);
        let shape = frame.shape(Side::Target);
        let mut change = vector(backend, shape, [p, ds, s, epsilon, moved], |[p, ds, s, epsilon, moved]| {
            p.select(p * ((moved / epsilon * s - ds) / epsilon), 0.0)
        })?;
        if let Some(reference) = &tangent.reference {
            let reference = backend.upload(reference, frame.histograms(Side::Target))?;
            let operands = [p, Operand::Vector(frame.weights(Side::Target)), Operand::Vector(&reference)];
            update(backend, &mut change, operands, |change, [p, m, dm]| change + p.select(p / m * dm, 0.0))?;
        }
        Ok(change)
    }

    /// -sum_k dlambda_k g_k, of lambda relative to their sum.
    fn constraint(&self, lambda: Option<&[f64]>) -> Result<D::Vector, Error> {
        let (backend, frame) = (self.backend(), &self.terms[0].optimum.frame);
        let mut constraint = frame.filled(Side::Target, 0.0)?;
        let Some(lambda) = lambda else { return Ok(constraint) };
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
            update(backend, &mut constraint, operands, |sum, [g, moved]| sum - moved * g)?;
        }
        Ok(constraint)
    }

    /// The tangents of each term.
    fn tangents(&self, tangent: &BarycenterTangent<D::Elem>) -> Result<Vec<Vec<Tangent<D::Elem>>>, Error> {
        check("epsilon of a tangent", &[tangent.epsilon], 1)?;
        let mut common = Tangent::new().epsilon(tangent.epsilon);
        if let Some(reference) = &tangent.reference {
            common = common.weights(Side::Target, reference.clone());
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
