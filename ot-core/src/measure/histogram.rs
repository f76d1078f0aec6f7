//! A measure on indices.

use std::{borrow::Cow, fmt};

use super::{Measure, Support, WeightsView, weights::Weights};
use crate::{error::Error, scalar::Scalar};

/// Weights of atoms that are known by their index alone, owned or borrowed, valid by construction:
/// the marginal of a problem whose cost is a matrix.
///
/// ```
/// use ot_core::{Histogram, Measure};
///
/// let histogram = Histogram::new(vec![1.0, 3.0])?.normalized();
/// assert_eq!(histogram.weights_view().values(), [0.25, 0.75]);
/// assert_eq!(histogram.support().len(), Some(2));
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Histogram<'a, T: Scalar> {
    weights: Weights<'a, T>,
}

impl<'a, T: Scalar> Histogram<'a, T> {
    /// One histogram.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyMeasure`]; [`Error::Weight`] for a weight that is negative or not finite;
    /// [`Error::Mass`] for a mass that is not positive, or beyond the element type.
    pub fn new(weights: impl Into<Cow<'a, [T]>>) -> Result<Self, Error> {
        Self::batch(weights, 1)
    }

    /// Weights 1/n on n atoms.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyMeasure`] if n is zero; [`Error::OutOfMemory`].
    pub fn uniform(len: usize) -> Result<Self, Error> {
        Weights::uniform(len).map(|weights| Self { weights })
    }

    /// The measure of mass zero on n atoms, which only penalties that let all mass go take for a partner.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyMeasure`] if n is zero; [`Error::OutOfMemory`].
    pub fn without_mass(len: usize) -> Result<Self, Error> {
        Weights::without_mass(len).map(|weights| Self { weights })
    }

    /// Several histograms over the same atoms, one after the other.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); [`Error::EmptyBatch`] without columns, [`Error::Length`] if the last
    /// column is incomplete.
    pub fn batch(weights: impl Into<Cow<'a, [T]>>, columns: usize) -> Result<Self, Error> {
        Weights::new(weights.into(), columns).map(|weights| Self { weights })
    }

    /// The weights.
    #[must_use]
    pub fn weights_view(&self) -> WeightsView<'_, T> {
        self.weights.view()
    }

    /// The same histogram, owning what it borrowed.
    #[must_use]
    pub fn into_owned(self) -> Histogram<'static, T> {
        Histogram { weights: self.weights.into_owned() }
    }

    /// The same histogram with mass one in every column.
    #[must_use]
    pub fn normalized(self) -> Self {
        Self { weights: self.weights.normalized() }
    }
}

impl<T: Scalar> Measure<T> for Histogram<'_, T> {
    fn support(&self) -> Support<'_, T> {
        Support::Indices(self.weights_view().len())
    }

    fn weights(&self) -> Option<WeightsView<'_, T>> {
        Some(self.weights_view())
    }
}

impl<T: Scalar> fmt::Debug for Histogram<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Histogram").field("weights", &self.weights_view()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_knows_its_indices() -> Result<(), Error> {
        let weights = [1.0, 0.0, 2.0, 0.5, 0.5, 0.0];
        let histogram = Histogram::batch(&weights, 2)?;
        assert_eq!(histogram.support().len(), Some(3));
        assert_eq!(histogram.support().kind(), "indices");
        assert_eq!(histogram.weights_view().values().as_ptr(), weights.as_ptr());
        assert_eq!(histogram.clone().into_owned(), histogram);
        assert_eq!(Histogram::uniform(2)?, Histogram::new(vec![0.5_f32; 2])?);
        let normalized = histogram.normalized();
        assert_eq!(normalized.weights_view().column(1), [0.5, 0.5, 0.0]);
        assert_eq!(normalized.weights_view().mass(0), 1.0);
        Ok(())
    }

    #[test]
    fn what_was_asked_wrongly_is_refused() {
        let empty: [f64; 0] = [];
        assert_eq!(Histogram::new(&empty).err(), Some(Error::EmptyMeasure));
        assert_eq!(Histogram::<f64>::uniform(0).err(), Some(Error::EmptyMeasure));
        assert_eq!(Histogram::batch(&[1.0], 0).err(), Some(Error::EmptyBatch));
        assert_eq!(
            Histogram::batch(&[1.0; 3], 2).err(),
            Some(Error::Length { what: "weights", expected: 4, found: 3 })
        );
        assert_eq!(Histogram::new(&[1.0, -1.0]).err(), Some(Error::Weight { index: 1, column: 0, value: -1.0 }));
        assert_eq!(Histogram::new(&[0.0_f32]).err(), Some(Error::Mass { column: 0, mass: 0.0 }));
    }
}
