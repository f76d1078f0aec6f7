//! Weights of atoms: one histogram, or a batch of them over one support.
//!
//! Masses are summed pairwise in f64, whatever the element type: the error of a sum of n positive
//! numbers stays below log2(n) units in the last place (Higham, *Accuracy and Stability of Numerical
//! Algorithms*, 2nd ed., section 4.2), so that masses of long histograms can be compared.

use std::{borrow::Cow, fmt};

use crate::{
    error::Error,
    host::try_zeros,
    power_of_two::{binary_exponent, times_power_of_two},
    scalar::Scalar,
};

/// Weights of n atoms in k columns, *column-major*: histogram j at `j * n..(j + 1) * n`.
///
/// ```
/// use ot_core::WeightsView;
///
/// let weights = WeightsView::new(&[0.5, 0.5, 1.0, 3.0], 2)?;
/// assert_eq!((weights.len(), weights.columns()), (2, 2));
/// assert_eq!(weights.column(1), [1.0, 3.0]);
/// assert_eq!(weights.mass(1), 4.0);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq)]
pub struct WeightsView<'a, T> {
    values: &'a [T],
    len: usize,
    columns: usize,
}

impl<'a, T: Scalar> WeightsView<'a, T> {
    /// Views `values` as `columns` histograms over one support.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyBatch`] without columns; [`Error::Length`] if the last column is incomplete.
    /// The weights themselves are not looked at: see [`validate`](Self::validate).
    pub fn new(values: &'a [T], columns: usize) -> Result<Self, Error> {
        if columns == 0 {
            return Err(Error::EmptyBatch);
        }
        if !values.len().is_multiple_of(columns) {
            return Err(Error::Length {
                what: "weights",
                expected: values.len().next_multiple_of(columns),
                found: values.len(),
            });
        }
        Ok(Self { values, len: values.len() / columns, columns })
    }

    /// The number of atoms of each histogram.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Is there no atom?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of histograms, at least one.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// All weights, histogram after histogram.
    #[must_use]
    pub fn values(&self) -> &'a [T] {
        self.values
    }

    /// Histogram `column`, which must be below [`columns`](Self::columns) as in any slice.
    #[must_use]
    pub fn column(&self, column: usize) -> &'a [T] {
        &self.values[column * self.len..][..self.len]
    }

    /// The histograms in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [T]> + use<'a, T> {
        let view = *self;
        (0..self.columns).map(move |column| view.column(column))
    }

    /// The total mass of histogram `column`, summed pairwise in f64.
    #[must_use]
    pub fn mass(&self, column: usize) -> f64 {
        pairwise_sum(self.column(column))
    }

    /// The share of each atom in all mass, summed over the columns; zero where there is none. Masses of any size have shares.
    ///
    /// ```
    /// use ot_core::WeightsView;
    ///
    /// assert_eq!(WeightsView::new(&[1e308, 1e308], 1)?.shares(), [0.5, 0.5]);
    /// assert_eq!(WeightsView::new(&[3e-320, 1e-320, 0.0, 0.0], 2)?.shares().iter().sum::<f64>(), 1.0);
    /// # Ok::<(), ot_core::Error>(())
    /// ```
    #[must_use]
    pub fn shares(&self) -> Vec<f64> {
        let largest = self.values.iter().fold(0.0, |largest: f64, weight| largest.max(weight.to_f64()));
        let to_unit = -binary_exponent(largest);
        let mut totals = vec![0.0; self.len];
        for column in self.iter() {
            for (total, weight) in totals.iter_mut().zip(column) {
                *total += times_power_of_two(weight.to_f64(), to_unit);
            }
        }
        let mass = pairwise_sum(&totals);
        if mass > 0.0 {
            totals.iter_mut().for_each(|total| *total /= mass);
        }
        totals
    }

    /// Checks what [`new`](Self::new) does not: that there is an atom, that all weights are finite and
    /// non-negative, and that every column has a positive mass that the element type can hold.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyMeasure`], [`Error::Weight`] for the first weight that is none, [`Error::Mass`]
    /// for the first column without a mass, whichever column comes first.
    pub fn validate(&self) -> Result<(), Error> {
        if self.is_empty() {
            return Err(Error::EmptyMeasure);
        }
        for (column, histogram) in self.iter().enumerate() {
            let zero = T::default();
            let is_weight = |value: &T| *value >= zero && value.is_finite();
            if let Some(index) = histogram.iter().position(|value| !is_weight(value)) {
                return Err(Error::Weight { index, column, value: histogram[index].to_f64() });
            }
            let mass = pairwise_sum(histogram);
            if !(mass > 0.0 && mass <= T::MAX) {
                return Err(Error::Mass { column, mass });
            }
        }
        Ok(())
    }
}

impl<T> fmt::Debug for WeightsView<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("WeightsView")
            .field("len", &self.len)
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

/// Validated weights, owned or borrowed: what [`PointCloud`](crate::PointCloud) and
/// [`Histogram`](crate::Histogram) hold.
#[derive(Clone, PartialEq)]
pub(super) struct Weights<'a, T: Scalar> {
    values: Cow<'a, [T]>,
    columns: usize,
}

impl<'a, T: Scalar> Weights<'a, T> {
    pub(super) fn new(values: Cow<'a, [T]>, columns: usize) -> Result<Self, Error> {
        WeightsView::new(&values, columns)?.validate()?;
        Ok(Self { values, columns })
    }

    /// 1/n everywhere.
    pub(super) fn uniform(len: usize) -> Result<Self, Error> {
        let mut values = try_zeros::<T>(len, "weights")?;
        values.fill(T::from_f64(1.0 / len as f64));
        Self::new(values.into(), 1)
    }

    /// 0 everywhere.
    pub(super) fn without_mass(len: usize) -> Result<Self, Error> {
        if len == 0 {
            return Err(Error::EmptyMeasure);
        }
        Ok(Self { values: try_zeros::<T>(len, "weights")?.into(), columns: 1 })
    }

    pub(super) fn view(&self) -> WeightsView<'_, T> {
        WeightsView { values: &self.values, len: self.values.len() / self.columns, columns: self.columns }
    }

    pub(super) fn into_owned(self) -> Weights<'static, T> {
        Weights { values: self.values.into_owned().into(), columns: self.columns }
    }

    /// Every column with mass divided by it, in f64.
    pub(super) fn normalized(mut self) -> Self {
        let masses: Vec<f64> = self.view().iter().map(pairwise_sum).collect();
        let len = self.view().len();
        let values = self.values.to_mut();
        for (histogram, mass) in values.chunks_exact_mut(len).zip(masses) {
            for value in histogram {
                *value = if mass > 0.0 { T::from_f64(value.to_f64() / mass) } else { *value };
            }
        }
        self
    }
}

/// The sum in f64, by halves down to blocks that are summed in eight interleaved accumulators.
fn pairwise_sum<T: Scalar>(values: &[T]) -> f64 {
    const BLOCK: usize = 256;
    const LANES: usize = 8;
    if values.len() > BLOCK {
        // Halves on multiples of the block, so that the tree depends on the length alone.
        let half = (values.len() / 2).next_multiple_of(BLOCK);
        let (left, right) = values.split_at(half);
        return pairwise_sum(left) + pairwise_sum(right);
    }
    let mut sums = [0.0; LANES];
    let (groups, rest) = values.as_chunks::<LANES>();
    for group in groups {
        for (sum, value) in sums.iter_mut().zip(group) {
            *sum += value.to_f64();
        }
    }
    for (sum, value) in sums.iter_mut().zip(rest) {
        *sum += value.to_f64();
    }
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_follow_each_other() -> Result<(), Error> {
        let weights = WeightsView::new(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3)?;
        assert_eq!((weights.len(), weights.columns()), (2, 3));
        assert_eq!(weights.column(2), [5.0, 6.0]);
        assert_eq!(weights.iter().map(pairwise_sum).sum::<f64>(), 21.0);
        assert_eq!(weights.mass(1), 7.0);
        Ok(())
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        assert_eq!(WeightsView::new(&[1.0], 0).err(), Some(Error::EmptyBatch));
        assert_eq!(
            WeightsView::new(&[1.0; 7], 2).err(),
            Some(Error::Length { what: "weights", expected: 8, found: 7 })
        );
    }

    #[test]
    fn a_view_without_atoms_is_legal_until_validated() -> Result<(), Error> {
        let empty: [f32; 0] = [];
        let weights = WeightsView::new(&empty, 3)?;
        assert!(weights.is_empty());
        assert_eq!(weights.iter().map(<[f32]>::len).collect::<Vec<_>>(), [0; 3]);
        assert_eq!(weights.validate(), Err(Error::EmptyMeasure));
        Ok(())
    }

    #[test]
    fn validation_names_the_first_bad_weight() -> Result<(), Error> {
        for bad in [-1.0, f64::INFINITY, -f64::MIN_POSITIVE] {
            assert_eq!(
                WeightsView::new(&[0.0, 1.0, 2.0, bad, f64::NAN, 1.0], 2)?.validate(),
                Err(Error::Weight { index: 0, column: 1, value: bad })
            );
        }
        let Err(Error::Weight { index, value, .. }) = WeightsView::new(&[1.0, f64::NAN], 1)?.validate() else {
            panic!("NaN is no weight");
        };
        assert!(index == 1 && value.is_nan());
        Ok(())
    }

    #[test]
    fn mass_is_positive_and_fits_the_element_type() -> Result<(), Error> {
        assert_eq!(WeightsView::new(&[1.0, 0.0, 0.0, 0.0], 2)?.validate(), Err(Error::Mass { column: 1, mass: 0.0 }));
        assert_eq!(
            WeightsView::new(&[f64::MAX, f64::MAX], 1)?.validate(),
            Err(Error::Mass { column: 0, mass: f64::INFINITY })
        );
        assert_eq!(
            WeightsView::new(&[f32::MAX, f32::MAX], 1)?.validate(),
            Err(Error::Mass { column: 0, mass: 2.0 * f64::from(f32::MAX) })
        );
        // Zero weights, subnormal masses and minus zero are legal.
        assert_eq!(WeightsView::new(&[0.0, -0.0, 5e-324], 1)?.validate(), Ok(()));
        assert_eq!(WeightsView::new(&[f32::MAX], 1)?.validate(), Ok(()));
        Ok(())
    }

    #[test]
    fn sums_are_accurate_at_any_length() {
        for len in (0..40_usize).chain([255, 256, 257, 511, 513, 1023, 4097, 100_003]) {
            // Every partial sum of these is exact, so nothing may be lost or counted twice.
            let values: Vec<f64> = (0..len).map(|index| index as f64).collect();
            let expected = (len * len.saturating_sub(1) / 2) as f64;
            assert_eq!(pairwise_sum(&values), expected, "{len}");
        }
        // A million tenths: a running sum is off by 1e-6 in f64 and by more than 800 in f32.
        let tenths = vec![0.1_f64; 1_000_000];
        assert!((pairwise_sum(&tenths) - 1e5).abs() < 2e-10);
        let tenths = vec![0.1_f32; 1_000_000];
        assert!((pairwise_sum(&tenths) - 1e6 * f64::from(0.1_f32)).abs() < 2e-10);
    }

    #[test]
    fn normalization_gives_every_column_mass_one() -> Result<(), Error> {
        let weights = Weights::new(vec![1.0, 3.0, 5e-324, 0.0, 1e308, 0.5e308].into(), 3)?;
        let weights = weights.normalized();
        assert_eq!(weights.view().column(0), [0.25, 0.75]);
        assert_eq!(weights.view().column(1), [1.0, 0.0]);
        assert!((weights.view().mass(2) - 1.0).abs() < 1e-15);
        Ok(())
    }

    #[test]
    fn uniform_weights_share_one() -> Result<(), Error> {
        let weights = Weights::<f64>::uniform(4)?;
        assert_eq!(weights.view().values(), [0.25; 4]);
        assert_eq!(Weights::<f64>::uniform(0).err(), Some(Error::EmptyMeasure));
        Ok(())
    }
}
