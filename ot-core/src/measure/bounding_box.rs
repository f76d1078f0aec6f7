//! The axis-parallel box around points: what bounds a cost without looking at pairs.

use super::PointsView;
use crate::scalar::Scalar;

/// The smallest axis-parallel box that holds some points, in f64 (exactly, for f32 too).
///
/// ```
/// use ot_core::{BoundingBox, PointsView};
///
/// let around = BoundingBox::of(PointsView::new(&[0.0, 5.0, 2.0, 3.0], 2)?);
/// assert_eq!((around.low(), around.high()), (&[0.0, 3.0][..], &[2.0, 5.0][..]));
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct BoundingBox {
    low: Vec<f64>,
    high: Vec<f64>,
}

impl BoundingBox {
    /// The box around `points`. Around no point it is inside out: low +inf, high -inf.
    #[must_use]
    pub fn of<T: Scalar>(points: PointsView<'_, T>) -> Self {
        Self::around(points.dimension(), points.iter())
    }

    /// The box around points of so many coordinates.
    pub(super) fn around<'a, T: Scalar>(dimension: usize, points: impl Iterator<Item = &'a [T]>) -> Self {
        let mut low = vec![f64::INFINITY; dimension];
        let mut high = vec![f64::NEG_INFINITY; dimension];
        for point in points {
            for ((low, high), value) in low.iter_mut().zip(&mut high).zip(point) {
                *low = low.min(value.to_f64());
                *high = high.max(value.to_f64());
            }
        }
        Self { low, high }
    }

    /// The box between two corners of as many coordinates.
    pub(crate) fn corners(low: Vec<f64>, high: Vec<f64>) -> Self {
        Self { low, high }
    }

    /// The interval that the box spans along an axis; `None` beyond the last.
    #[must_use]
    pub fn along(&self, axis: usize) -> Option<Self> {
        let (low, high) = (self.low.get(axis)?, self.high.get(axis)?);
        Some(Self { low: vec![*low], high: vec![*high] })
    }

    /// Coordinates per point.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.low.len()
    }

    /// The smallest coordinate on each axis.
    #[must_use]
    pub fn low(&self) -> &[f64] {
        &self.low
    }

    /// The largest coordinate on each axis.
    #[must_use]
    pub fn high(&self) -> &[f64] {
        &self.high
    }

    /// The axis along which the box is widest; the first of equals.
    #[must_use]
    pub fn widest_axis(&self) -> usize {
        let width = |axis: usize| self.high[axis] - self.low[axis];
        (1..self.dimension()).fold(0, |widest, axis| if width(axis) > width(widest) { axis } else { widest })
    }

    /// min |x_k - y_k| over x in this box and y in the other, axis by axis; zero where the boxes overlap.
    pub fn apart<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = f64> + 'a {
        let ours = self.low.iter().zip(&self.high);
        let theirs = other.low.iter().zip(&other.high);
        ours.zip(theirs).map(|((low, high), (other_low, other_high))| (low - other_high).max(other_low - high).max(0.0))
    }

    /// max |x_k - y_k| over x in this box and y in the other, axis by axis; zero where a box is empty.
    pub fn reach<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = f64> + 'a {
        let ours = self.low.iter().zip(&self.high);
        let theirs = other.low.iter().zip(&other.high);
        ours.zip(theirs).map(|((low, high), (other_low, other_high))| (high - other_low).max(other_high - low).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn reach_is_the_largest_difference_on_each_axis() -> Result<(), Error> {
        let source = [0.0, 1.0, -2.0, 1.0, 0.5, 0.0];
        let target = [3.0_f64, -4.0, -2.5, 8.0];
        let source = PointsView::new(&source, 2)?;
        let target = PointsView::new(&target, 2)?;
        let mut expected = [0.0_f64; 2];
        for x in source.iter() {
            for y in target.iter() {
                for axis in 0..2 {
                    expected[axis] = expected[axis].max((x[axis] - y[axis]).abs());
                }
            }
        }
        let (a, b) = (BoundingBox::of(source), BoundingBox::of(target));
        assert_eq!(a.reach(&b).collect::<Vec<_>>(), expected);
        assert_eq!(b.reach(&a).collect::<Vec<_>>(), expected);
        assert_eq!((a.widest_axis(), b.widest_axis()), (0, 1));
        // x spans [-2, 0.5] and y [-2.5, 3] on the first axis, [0, 1] and [-4, 8] on the second.
        assert_eq!(a.apart(&b).collect::<Vec<_>>(), [0.0, 0.0]);
        let far = BoundingBox::of(PointsView::new(&[4.0, -3.0, 5.0, -1.0], 2)?);
        assert_eq!((a.apart(&far).collect(), far.apart(&a).collect()), (vec![3.5, 1.0], vec![3.5, 1.0]));
        Ok(())
    }

    #[test]
    fn nothing_reaches_an_empty_box() -> Result<(), Error> {
        let none: [f32; 0] = [];
        let empty = BoundingBox::of(PointsView::new(&none, 2)?);
        let full = BoundingBox::of(PointsView::new(&[1.0_f32, 2.0], 2)?);
        assert_eq!(empty.dimension(), 2);
        assert_eq!(empty.reach(&full).collect::<Vec<_>>(), [0.0; 2]);
        Ok(())
    }
}
