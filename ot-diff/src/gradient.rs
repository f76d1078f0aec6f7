//! The common face of everything that is a gradient in the data of a problem.

use ot_core::{CostParameter, Device, Error, Scalar, Side};

use crate::{
    Tangent,
    algebra::{column_major, host, row_major, sum_of_blocks},
    frame::Frame,
};

/// A gradient in the data of a problem, read lazily: each block costs what it says when it is asked for.
///
/// Arrays have the layout of the data: points point by point, matrices row by row, weights column after column. What all
/// columns of a batch share (the cost, epsilon, penalties, a histogram that serves all of them) has the sum over the columns.
///
/// **Gauge.** Where both marginals are prescribed, a derivative in weights is known along tangents that give both sides the
/// same mass: numbers (c, -c) may be added to it. Read as potentials, it is in the gauge <a, f> = <b, g>.
/// [`zero_sum_weights`](Self::zero_sum_weights) has the mean taken off: the derivative along changes that keep the mass of the
/// side, which is what a descent over a simplex takes.
pub trait Gradient<D: Device> {
    /// The block in a parameter of the cost, row by row.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for a parameter that the kernel knows no derivative in; a failure of the device.
    fn cost(&mut self, parameter: CostParameter) -> Result<Vec<D::Elem>, Error>;

    /// The block in the weights of a side, column after column, of as many histograms as the side has.
    ///
    /// # Errors
    /// A failure of the device.
    fn weights(&mut self, side: Side) -> Result<Vec<D::Elem>, Error>;

    /// The derivative in epsilon.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for a kernel without the numbers that it needs; a failure of the device.
    fn epsilon(&mut self) -> Result<f64, Error>;

    /// The derivatives in the [parameters](ot_core::RecordedPenalty::parameters) of the penalty of a side; none if it has
    /// none.
    ///
    /// # Errors
    /// [`Error::Program`] for a derivative that cannot be recorded; a failure of the device.
    fn penalty(&mut self, side: Side) -> Result<Vec<f64>, Error>;

    /// Number of atoms of a side.
    fn atoms(&self, side: Side) -> usize;

    /// The block in the points of a side, point by point.
    ///
    /// # Errors
    /// Those of [`cost`](Self::cost).
    fn points(&mut self, side: Side) -> Result<Vec<D::Elem>, Error> {
        self.cost(CostParameter::Points(side))
    }

    /// The block in the entries of the cost, row by row.
    ///
    /// # Errors
    /// Those of [`cost`](Self::cost).
    fn matrix(&mut self) -> Result<Vec<D::Elem>, Error> {
        self.cost(CostParameter::Matrix)
    }

    /// The block in the parameters that the formula of the cost names.
    ///
    /// # Errors
    /// Those of [`cost`](Self::cost).
    fn parameters(&mut self) -> Result<Vec<D::Elem>, Error> {
        self.cost(CostParameter::Formula)
    }

    /// The block in the weights of the edges of a graph on which the kernel is a diffusion, in their order.
    ///
    /// # Errors
    /// Those of [`cost`](Self::cost).
    fn edge_weights(&mut self) -> Result<Vec<D::Elem>, Error> {
        self.cost(CostParameter::EdgeWeights)
    }

    /// [`weights`](Self::weights) less their mean, histogram by histogram.
    ///
    /// # Errors
    /// Those of [`weights`](Self::weights).
    fn zero_sum_weights(&mut self, side: Side) -> Result<Vec<D::Elem>, Error> {
        let (mut weights, atoms) = (self.weights(side)?, self.atoms(side));
        for histogram in weights.chunks_mut(atoms.max(1)) {
            let mean = histogram.iter().map(|weight| weight.to_f64()).sum::<f64>() / atoms as f64;
            histogram.iter_mut().for_each(|weight| *weight = D::Elem::from_f64(weight.to_f64() - mean));
        }
        Ok(weights)
    }

    /// Its product with a tangent: the derivative along it. Reads the blocks in which the tangent moves.
    ///
    /// # Errors
    /// [`Error::Length`] for a tangent of another problem; those of the blocks.
    fn along(&mut self, tangent: &Tangent<D::Elem>) -> Result<f64, Error> {
        let mut total = 0.0;
        for (parameter, direction) in &tangent.cost {
            total += product(&self.cost(*parameter)?, direction)?;
        }
        for side in Side::BOTH {
            if let Some(direction) = &tangent.weights[side.index()] {
                total += product(&self.weights(side)?, direction)?;
            }
            let direction = &tangent.penalties[side.index()];
            if !direction.is_empty() {
                total += product(&self.penalty(side)?, direction)?;
            }
        }
        if tangent.epsilon != 0.0 {
            total += tangent.epsilon * self.epsilon()?;
        }
        Ok(total)
    }
}

/// <x, y> in f64.
fn product<T: Scalar>(x: &[T], y: &[T]) -> Result<f64, Error> {
    match x.len() == y.len() {
        true => Ok(x.iter().zip(y).map(|(x, y)| x.to_f64() * y.to_f64()).sum()),
        false => Err(Error::Length { what: "a tangent", expected: x.len(), found: y.len() }),
    }
}

impl<D: Device> Frame<D> {
    /// Values of a parameter of the cost, point by point or row by row of a matrix, as a vector of its shape.
    pub(crate) fn on_device(
        &self,
        parameter: CostParameter,
        (rows, columns): (usize, usize),
        values: &[D::Elem],
    ) -> Result<D::Vector, Error> {
        match parameter {
            CostParameter::Matrix => self.backend().upload(values, columns),
            _ => self.backend().upload(&column_major(values, rows, columns), columns),
        }
    }

    /// What [`on_device`](Self::on_device) makes a vector of.
    pub(crate) fn on_host(&self, parameter: CostParameter, vector: D::Vector) -> Result<Vec<D::Elem>, Error> {
        let (rows, columns) = self.backend().shape(&vector);
        let values = self.backend().take(vector)?;
        Ok(match parameter {
            CostParameter::Matrix => values,
            _ => row_major(&values, rows, columns),
        })
    }

    /// Derivatives in the weights of a side, one for each column of the batch, summed over the columns that share a
    /// histogram.
    pub(crate) fn of_histograms(&self, side: Side, weights: D::Vector) -> Result<Vec<D::Elem>, Error> {
        let shared = self.histograms(side) < self.columns();
        let weights = match shared {
            true => sum_of_blocks(self.backend(), weights, self.columns())?,
            false => weights,
        };
        host(self.backend(), &weights)
    }

    /// What the penalty of a side tells at each of its parameters, as long as `of(index)` does.
    pub(crate) fn for_penalty_parameters(
        &self,
        side: Side,
        mut of: impl FnMut(usize) -> Result<f64, Error>,
    ) -> Result<Vec<f64>, Error> {
        (0..self.problem.marginal(side).penalty().parameters().len()).map(&mut of).collect()
    }
}
