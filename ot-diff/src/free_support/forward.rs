//! From a tangent of the data to the change of the points.

use std::collections::BTreeMap;

use ot_core::{Device, Error, Scalar, Side};

use super::{LinearisedFreeSupport, accumulate};
use crate::{Gradient, LinearSolve, Tangent, tangent::check};

/// A direction in which the data of a barycenter with free support move, on the host; nothing moves that is not named.
///
/// ```
/// use ot_core::Side;
/// use ot_diff::{FreeSupportTangent, Tangent};
///
/// // The second of two inputs gains weight, and its two points in the plane move up.
/// let input = Tangent::new().points(Side::Target, vec![0.0, 1.0, 0.0, 1.0]);
/// let tangent = FreeSupportTangent::new().lambda(vec![0.0, 1.0]).input(1, input);
/// # let _: FreeSupportTangent<f64> = tangent;
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct FreeSupportTangent<T> {
    pub(super) lambda: Option<Vec<f64>>,
    pub(super) inputs: BTreeMap<usize, Tangent<T>>,
    pub(super) weights: Option<Vec<T>>,
    pub(super) epsilon: f64,
}

impl<T: Scalar> Default for FreeSupportTangent<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Scalar> FreeSupportTangent<T> {
    /// Nothing moves.
    #[must_use]
    pub fn new() -> Self {
        Self { lambda: None, inputs: BTreeMap::new(), weights: None, epsilon: 0.0 }
    }

    /// The weights lambda move, a number for each input; they count relative to their sum.
    #[must_use]
    pub fn lambda(self, values: Vec<f64>) -> Self {
        Self { lambda: Some(values), ..self }
    }

    /// What moves of one input, the target of its transport: its points, its weights, its cost. What is named again replaces.
    #[must_use]
    pub fn input(mut self, index: usize, tangent: Tangent<T>) -> Self {
        self.inputs.insert(index, tangent);
        self
    }

    /// The weights b of the barycenter move. All inputs must gain the same mass.
    #[must_use]
    pub fn weights(self, values: Vec<T>) -> Self {
        Self { weights: Some(values), ..self }
    }

    /// epsilon moves.
    #[must_use]
    pub fn epsilon(self, epsilon: f64) -> Self {
        Self { epsilon, ..self }
    }
}

/// How the points of a barycenter change along a tangent.
#[derive(Clone, Debug, PartialEq)]
pub struct FreeSupportChange {
    points: Vec<f64>,
    solve: LinearSolve,
}

impl FreeSupportChange {
    /// The change of the points, point by point.
    #[must_use]
    pub fn points(&self) -> &[f64] {
        &self.points
    }

    /// What is known of the linear solve.
    #[must_use]
    pub fn solve(&self) -> LinearSolve {
        self.solve
    }
}

impl<D: Device> LinearisedFreeSupport<D> {
    /// The change of the points along a tangent. Solves one linear system, and one for each transport that moves.
    ///
    /// # Errors
    /// [`Error::Length`] for a tangent of another problem, [`Error::Parameter`] for one that is not finite, gives the barycenter and an input
    /// different masses, or moves anything of the source or epsilon in the tangent of an input; [`Error::MissingCapability`] for a parameter that
    /// a kernel knows no derivative in; a failure of the device.
    pub fn push_forward(&mut self, tangent: &FreeSupportTangent<D::Elem>) -> Result<FreeSupportChange, Error> {
        check("epsilon of a tangent", &[tangent.epsilon], 1)?;
        for (index, of_input) in &tangent.inputs {
            self.check_input(*index, of_input)?;
        }
        let mut change = vec![0.0; self.len()];
        for (slope, part) in self.slopes.iter().zip(self.relative(tangent.lambda.as_deref())?) {
            accumulate(&mut change, -part, slope);
        }
        for (index, (term, part)) in self.terms.iter_mut().zip(&self.parts).enumerate() {
            let mut moves = tangent.inputs.get(&index).cloned().unwrap_or_default().epsilon(tangent.epsilon);
            if let Some(weights) = &tangent.weights {
                moves = moves.weights(Side::Source, weights.clone());
            }
            if moves != Tangent::new() {
                accumulate(&mut change, -part, &term.hessian_vector(&moves)?.points(Side::Source)?);
            }
        }
        let (points, solve) = self.solve(&change)?;
        Ok(FreeSupportChange { points, solve })
    }

    /// d(lambda_k / sum) of each input.
    pub(super) fn relative(&self, lambda: Option<&[f64]>) -> Result<Vec<f64>, Error> {
        let Some(lambda) = lambda else { return Ok(vec![0.0; self.parts.len()]) };
        check("a tangent of the weights of the inputs", lambda, self.parts.len())?;
        let gained: f64 = lambda.iter().sum();
        Ok(lambda.iter().zip(&self.parts).map(|(moved, part)| (moved - part * gained) / self.total).collect())
    }
}
