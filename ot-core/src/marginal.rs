//! One side of a problem as a backend sees it: weights, their logarithms and a law.

use std::sync::Arc;

use crate::{
    backend::Backend,
    error::Error,
    measure::WeightsView,
    regularizer::{LawPrograms, Regularizer},
    scalar::{LOG_ZERO, Scalar},
};

/// Weights a (n x columns, or n x 1 shared by all columns), log a, and the law that the plan's
/// marginal obeys.
#[derive(Debug)]
pub struct Marginal<B: Backend> {
    len: usize,
    weights: Arc<B::Vector>,
    log_weights: Arc<B::Vector>,
    masses: Arc<[f64]>,
    regularizer: Arc<dyn Regularizer>,
    law: LawPrograms,
}

impl<B: Backend> Marginal<B> {
    /// Uploads weights that a measure has validated. The logarithm of zero is
    /// [`LOG_ZERO`], a finite constant that kernels read as "leave this atom out".
    ///
    /// # Errors
    /// A law that cannot be recorded, or a failure of the device.
    pub fn new(
        backend: &B,
        weights: WeightsView<'_, B::Elem>,
        regularizer: Arc<dyn Regularizer>,
    ) -> Result<Self, Error> {
        let columns = weights.columns();
        let log_weights: Vec<B::Elem> = weights.values().iter().map(|&weight| log_weight(weight)).collect();
        Ok(Self {
            len: weights.len(),
            weights: Arc::new(backend.upload(weights.values(), columns)?),
            log_weights: Arc::new(backend.upload(&log_weights, columns)?),
            masses: (0..columns).map(|column| weights.mass(column)).collect(),
            law: LawPrograms::record(regularizer.as_ref())?,
            regularizer,
        })
    }

    /// The same marginal for a backend with the same vectors (one that wraps the other, say).
    /// Copies no weights.
    #[must_use]
    pub fn shared_with<C: Backend<Elem = B::Elem, Vector = B::Vector>>(&self) -> Marginal<C> {
        Marginal {
            len: self.len,
            weights: Arc::clone(&self.weights),
            log_weights: Arc::clone(&self.log_weights),
            masses: Arc::clone(&self.masses),
            regularizer: Arc::clone(&self.regularizer),
            law: self.law.clone(),
        }
    }

    /// Number of atoms.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// A marginal has at least one atom.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Weights.
    #[must_use]
    pub fn weights(&self) -> &B::Vector {
        &self.weights
    }

    /// Logarithms of the weights.
    #[must_use]
    pub fn log_weights(&self) -> &B::Vector {
        &self.log_weights
    }

    /// Mass of the histogram that a column of the batch uses.
    #[must_use]
    pub fn mass(&self, column: usize) -> f64 {
        self.masses[column.min(self.masses.len() - 1)]
    }

    /// The law.
    #[must_use]
    pub fn regularizer(&self) -> &Arc<dyn Regularizer> {
        &self.regularizer
    }

    /// The programs of the law.
    #[must_use]
    pub fn law(&self) -> &LawPrograms {
        &self.law
    }
}

/// log of a weight, finite.
fn log_weight<T: Scalar>(weight: T) -> T {
    T::from_f64(if weight.to_f64() > 0.0 { weight.to_f64().ln() } else { LOG_ZERO })
}
