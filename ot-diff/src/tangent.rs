//! Directions in which the data of a problem move.

use ot_core::{CostParameter, Device, Error, KernelOp, Scalar, Side};

use crate::{algebra::Sided, frame::Frame};

/// A direction in which the data of a problem move, on the host; nothing moves that is not named.
///
/// ```
/// use ot_core::Side;
/// use ot_diff::Tangent;
///
/// // Two source points in the plane move apart, and epsilon grows.
/// let tangent = Tangent::new().points(Side::Source, vec![-1.0, 0.0, 1.0, 0.0]).epsilon(1.0);
/// # let _: Tangent<f64> = tangent;
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Tangent<T> {
    pub(crate) cost: Vec<(CostParameter, Vec<T>)>,
    pub(crate) weights: [Option<Vec<T>>; 2],
    pub(crate) epsilon: f64,
    pub(crate) penalties: [Vec<f64>; 2],
}

impl<T> Default for Tangent<T> {
    fn default() -> Self {
        Self { cost: Vec::new(), weights: [None, None], epsilon: 0.0, penalties: [Vec::new(), Vec::new()] }
    }
}

impl<T: Scalar> Tangent<T> {
    /// Nothing moves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Points of one side move, point by point.
    #[must_use]
    pub fn points(self, side: Side, values: Vec<T>) -> Self {
        self.cost(CostParameter::Points(side), values)
    }

    /// The entries of the cost move, row by row.
    #[must_use]
    pub fn matrix(self, values: Vec<T>) -> Self {
        self.cost(CostParameter::Matrix, values)
    }

    /// The parameters that the formula of the cost names move.
    #[must_use]
    pub fn parameters(self, values: Vec<T>) -> Self {
        self.cost(CostParameter::Formula, values)
    }

    /// The weights of the edges of a graph move, on which the kernel is a diffusion.
    #[must_use]
    pub fn edge_weights(self, values: Vec<T>) -> Self {
        self.cost(CostParameter::EdgeWeights, values)
    }

    /// A parameter of the cost moves: the numbers of its [shape](ot_core::CostDerivative::shape), row by row. What is
    /// named again adds up.
    #[must_use]
    pub fn cost(mut self, parameter: CostParameter, values: Vec<T>) -> Self {
        self.cost.push((parameter, values));
        self
    }

    /// Weights of one side move, column after column, for as many histograms as the side has. Where both marginals are
    /// prescribed, sources and targets must gain the same mass.
    #[must_use]
    pub fn weights(mut self, side: Side, values: Vec<T>) -> Self {
        self.weights[side.index()] = Some(values);
        self
    }

    /// epsilon moves.
    #[must_use]
    pub fn epsilon(self, epsilon: f64) -> Self {
        Self { epsilon, ..self }
    }

    /// The [parameters](ot_core::RecordedPenalty::parameters) of the penalty of one side move: its strength rho.
    #[must_use]
    pub fn penalty(mut self, side: Side, values: Vec<f64>) -> Self {
        self.penalties[side.index()] = values;
        self
    }

    /// On the device, for a problem whose prescribed marginals stay marginals of one plan.
    pub(crate) fn upload<D: Device<Elem = T>>(
        &self,
        frame: &Frame<D>,
        kernel: &mut dyn KernelOp<D>,
    ) -> Result<DeviceTangent<D>, Error> {
        let tangent = self.upload_freely(frame, kernel)?;
        self.check_masses(frame)?;
        Ok(tangent)
    }

    /// On the device, whatever the masses do.
    pub(crate) fn upload_freely<D: Device<Elem = T>>(
        &self,
        frame: &Frame<D>,
        kernel: &mut dyn KernelOp<D>,
    ) -> Result<DeviceTangent<D>, Error> {
        let backend = frame.backend();
        let mut cost = Vec::with_capacity(self.cost.len());
        for (parameter, values) in &self.cost {
            let shape = frame.parameter_shape(kernel, *parameter)?;
            check("a tangent of the cost", values, shape.0 * shape.1)?;
            cost.push((*parameter, frame.on_device(*parameter, shape, values)?));
        }
        let weights = Sided::try_new(|side| {
            let Some(values) = &self.weights[side.index()] else { return Ok(None) };
            let what = side.of(["a tangent of the source weights", "a tangent of the target weights"]);
            let histograms = frame.histograms(side);
            check(what, values, frame.len(side) * histograms)?;
            Ok(Some(backend.upload(values, histograms)?))
        })?;
        check("epsilon of a tangent", &[self.epsilon], 1)?;
        for side in Side::BOTH {
            let (values, known) = (&self.penalties[side.index()], frame.problem.marginal(side).penalty().parameters());
            if !values.is_empty() {
                check("a tangent of the parameters of a penalty", values, known.len())?;
            }
        }
        let [source, target] = self.penalties.clone();
        Ok(DeviceTangent { cost, weights, epsilon: self.epsilon, penalties: Sided { source, target } })
    }

    /// Do prescribed marginals stay marginals of one plan?
    fn check_masses<D: Device<Elem = T>>(&self, frame: &Frame<D>) -> Result<(), Error> {
        if !frame.problem.is_balanced() {
            return Ok(());
        }
        for column in 0..frame.columns() {
            let [[source, source_size], [target, target_size]] = Side::BOTH.map(|side| {
                let Some(values) = &self.weights[side.index()] else { return [0.0, 0.0] };
                let (rows, histograms) = (frame.len(side), frame.histograms(side));
                let values = &values[column.min(histograms - 1) * rows..][..rows];
                values.iter().fold([0.0, 0.0], |[sum, size], value| [sum + value.to_f64(), size + value.to_f64().abs()])
            });
            let rows = (frame.len(Side::Source) + frame.len(Side::Target)) as f64;
            let slack = T::EPSILON * rows.sqrt() * 8.0 * (source_size + target_size);
            let difference = source - target;
            if difference.abs() > slack {
                let name = "the mass that a tangent gives to the source beyond that of the target";
                let expected = "zero, where both marginals are prescribed";
                return Err(Error::Parameter { name, value: difference, expected });
            }
        }
        Ok(())
    }
}

/// A [`Tangent`] on the device.
#[derive(Debug)]
pub(crate) struct DeviceTangent<D: Device> {
    /// Parameters of the cost and how each moves.
    pub(crate) cost: Vec<(CostParameter, D::Vector)>,
    /// da and db, of one column or of all.
    pub(crate) weights: Sided<Option<D::Vector>>,
    /// d epsilon.
    pub(crate) epsilon: f64,
    /// d rho.
    pub(crate) penalties: Sided<Vec<f64>>,
}

/// Refuses numbers that are too few, too many or not finite.
pub(crate) fn check<T: Scalar>(what: &'static str, values: &[T], expected: usize) -> Result<(), Error> {
    if values.len() != expected {
        return Err(Error::Length { what, expected, found: values.len() });
    }
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(Error::Parameter { name: what, value: value.to_f64(), expected: "finite numbers" }),
        None => Ok(()),
    }
}
