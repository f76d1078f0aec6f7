//! One side of a problem as a backend sees it: weights, their logarithms and a penalty.

use crate::{
    backend::{Backend, Device},
    error::Error,
    kernel::DeviceWeights,
    measure::WeightsView,
    penalty::RecordedPenalty,
};

/// Weights a (n x columns, or n x 1 shared by all columns) with their logarithms, and the penalty of the plan's marginal.
#[derive(Debug)]
pub struct Marginal<D: Device> {
    weights: DeviceWeights<D>,
    penalty: RecordedPenalty,
}

impl<D: Device> Marginal<D> {
    /// Uploads weights that a measure has validated.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], or a failure of the device.
    pub fn new(
        backend: &dyn Backend<D>,
        weights: WeightsView<'_, D::Elem>,
        penalty: RecordedPenalty,
    ) -> Result<Self, Error> {
        Ok(Self { weights: DeviceWeights::new(backend, weights)?, penalty })
    }

    /// Number of atoms.
    #[must_use]
    pub fn len(&self) -> usize {
        self.weights.len()
    }

    /// A marginal has at least one atom.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.weights.is_empty()
    }

    /// Weights.
    #[must_use]
    pub fn weights(&self) -> &D::Vector {
        self.weights.weights()
    }

    /// Logarithms of the weights.
    #[must_use]
    pub fn log_weights(&self) -> &D::Vector {
        self.weights.log_weights()
    }

    /// Weights and their logarithms.
    #[must_use]
    pub fn device_weights(&self) -> &DeviceWeights<D> {
        &self.weights
    }

    /// Mass of the histogram that a column of the batch uses.
    #[must_use]
    pub fn mass(&self, column: usize) -> f64 {
        self.weights.mass(column)
    }

    /// The penalty.
    #[must_use]
    pub fn penalty(&self) -> &RecordedPenalty {
        &self.penalty
    }
}
