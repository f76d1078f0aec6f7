//! Costs on circles and tori: the cost of the nearest images.

use std::sync::Arc;

use super::{CostForm, GroundCost};
use crate::{error::Error, measure::BoundingBox};

/// The cost between the nearest images of two points, where coordinate k repeats itself after the period L_k:
///
/// ```text
/// c(x, y) = min over integers m of c(x, y + (m_1 L_1, ..., m_d L_d))
/// ```
///
/// for a cost that does not fall where a difference |x_k - y_k| grows: squared distances, and powers of norms. A
/// coordinate without a period does not repeat.
///
/// ```
/// use std::sync::Arc;
///
/// use ot_core::{GroundCost, Manhattan, Periodic};
///
/// let clock = Periodic::new(Arc::new(Manhattan), vec![Some(12.0)])?;
/// let mut row = [0.0; 3];
/// clock.costs_f64(&[11.0], &[1.0, 5.0, 9.0], &mut row);
/// assert_eq!(row, [2.0, 6.0, 2.0]);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Periodic {
    cost: Arc<dyn GroundCost>,
    periods: Vec<Option<f64>>,
}

impl Periodic {
    /// The cost on a torus of these periods, one for each coordinate.
    ///
    /// # Errors
    /// [`Error::ZeroDimension`] without periods; [`Error::Parameter`] for a period that is not finite and positive;
    /// [`Error::Length`] for a cost of another dimension; [`Error::MissingCapability`] for a cost that is neither a
    /// multiple of the squared distance nor a power of a norm, nor a sum of such over the axes.
    pub fn new(cost: Arc<dyn GroundCost>, periods: Vec<Option<f64>>) -> Result<Self, Error> {
        if periods.is_empty() {
            return Err(Error::ZeroDimension);
        }
        for value in periods.iter().copied().flatten() {
            if !(value > 0.0 && value.is_finite()) {
                let expected = "a finite number > 0";
                return Err(Error::Parameter { name: "the period of a coordinate", value, expected });
            }
        }
        if let Some(expected) = cost.dimension().filter(|&dimension| dimension != periods.len()) {
            return Err(Error::Length { what: "periods, as many as coordinates", expected, found: periods.len() });
        }
        let grows = |form: CostForm<'_>| matches!(form, CostForm::SqEuclidean { .. } | CostForm::PowerOfNorm { .. });
        let along = |k: usize| periods[k].is_none() || cost.axis_cost(k).is_some_and(|cost| grows(cost.form()));
        if !grows(cost.form()) && !(0..periods.len()).all(along) {
            return Err(Error::MissingCapability("periodic form: it is no power of a distance"));
        }
        Ok(Self { cost, periods })
    }

    /// The period of each coordinate.
    #[must_use]
    pub fn periods(&self) -> &[Option<f64>] {
        &self.periods
    }

    fn fits(&self, dimension: usize) -> bool {
        dimension == self.periods.len()
    }

    /// The image of coordinate k of y that is nearest to x.
    fn image(&self, k: usize, x: f64, y: f64) -> f64 {
        match self.periods[k] {
            Some(period) => y + period * ((x - y) / period).round(),
            None => y,
        }
    }

    /// The image of y that is nearest to x.
    fn nearest(&self, x: &[f64], y: &[f64]) -> Vec<f64> {
        x.iter().zip(y).enumerate().map(|(k, (&x, &y))| self.image(k, x, y)).collect()
    }
}

impl GroundCost for Periodic {
    fn form(&self) -> CostForm<'_> {
        CostForm::Generic
    }

    fn dimension(&self) -> Option<usize> {
        Some(self.periods.len())
    }

    fn costs_f64(&self, x: &[f64], points: &[f64], out: &mut [f64]) {
        if self.fits(x.len()) {
            let images: Vec<f64> = points.chunks_exact(x.len()).flat_map(|y| self.nearest(x, y)).collect();
            self.cost.costs_f64(x, &images, out);
        }
    }

    /// Images are found in f64, as differences to x near zero.
    fn costs_f32(&self, x: &[f32], points: &[f32], out: &mut [f32]) {
        if self.fits(x.len()) {
            let x: Vec<f64> = x.iter().copied().map(f64::from).collect();
            let points: Vec<f64> = points.iter().copied().map(f64::from).collect();
            let mut wide = vec![0.0; out.len().min(points.len() / x.len())];
            self.costs_f64(&x, &points, &mut wide);
            out.iter_mut().zip(wide).for_each(|(out, wide)| *out = wide as f32);
        }
    }

    fn gradient(&self, x: &[f64], y: &[f64], out: &mut [f64]) -> bool {
        self.fits(x.len()) && y.len() == x.len() && self.cost.gradient(x, &self.nearest(x, y), out)
    }

    fn second_derivative(&self, x: &[f64], y: &[f64], direction: &[f64], out: &mut [f64]) -> bool {
        let fits = self.fits(x.len()) && y.len() == x.len();
        fits && self.cost.second_derivative(x, &self.nearest(x, y), direction, out)
    }

    fn may_forbid(&self) -> bool {
        self.cost.may_forbid()
    }

    /// That of the boxes, or that of differences of half a period.
    fn bound(&self, source: &BoundingBox, target: &BoundingBox) -> Option<f64> {
        if !(self.fits(source.dimension()) && self.fits(target.dimension())) {
            return None;
        }
        let reach = source.reach(target).zip(&self.periods);
        let farthest = reach.enumerate().map(|(k, (reach, period))| match *period {
            Some(period) => reach.min(0.5 * period) + image_rounding(k, source, target, period),
            None => reach,
        });
        let origin = || vec![0.0; self.periods.len()];
        self.cost.bound(&point(origin()), &BoundingBox::corners(origin(), farthest.collect()))
    }

    /// That of the least differences between images, since the cost does not fall where they grow.
    fn least(&self, source: &BoundingBox, target: &BoundingBox) -> Option<f64> {
        if !(self.fits(source.dimension()) && self.fits(target.dimension())) {
            return None;
        }
        let apart = source.apart(target).zip(&self.periods).enumerate().map(|(k, (apart, period))| match *period {
            Some(period) => {
                let width = (target.high()[k] - target.low()[k]) + (source.high()[k] - source.low()[k]);
                let first = (target.low()[k] - source.high()[k]).rem_euclid(period);
                let nearest = if first + width < period { first.min(period - first - width) } else { 0.0 };
                (nearest - image_rounding(k, source, target, period)).max(0.0)
            }
            None => apart,
        });
        self.cost.least(&point(vec![0.0; self.periods.len()]), &point(apart.collect()))
    }

    fn shared(&self) -> Option<Arc<dyn GroundCost>> {
        Some(Arc::new(self.clone()))
    }

    fn axis_cost(&self, axis: usize) -> Option<Arc<dyn GroundCost>> {
        let cost = self.cost.axis_cost(axis)?;
        match *self.periods.get(axis)? {
            Some(period) => Self::new(cost, vec![Some(period)]).ok().map(|cost| Arc::new(cost) as Arc<dyn GroundCost>),
            None => Some(cost),
        }
    }
}

/// A box around one point.
fn point(coordinates: Vec<f64>) -> BoundingBox {
    BoundingBox::corners(coordinates.clone(), coordinates)
}

/// What rounding may take from a difference of images on axis k.
fn image_rounding(k: usize, source: &BoundingBox, target: &BoundingBox, period: f64) -> f64 {
    let ends = [source.low()[k], source.high()[k], target.low()[k], target.high()[k]];
    4.0 * f64::EPSILON * (ends.iter().fold(0.0, |most: f64, x| most.max(x.abs())) + period)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::{Chebyshev, Cosine, Euclidean, PNorm, SqEuclidean};

    #[test]
    fn the_nearest_image_is_the_cheapest() -> Result<(), Error> {
        let periods = [3.0, 7.0];
        let costs: [Arc<dyn GroundCost>; 4] =
            [Arc::new(SqEuclidean), Arc::new(Euclidean), Arc::new(Chebyshev), Arc::new(PNorm::new(3.0)?)];
        for cost in costs {
            let torus = Periodic::new(Arc::clone(&cost), periods.map(Some).to_vec())?;
            for pair in 0..100 {
                let coordinate = |k: u32| (f64::from(5 * pair + k) * 0.618_034).fract() * 30.0 - 12.0;
                let (x, y) = ([0, 1].map(coordinate), [2, 3].map(coordinate));
                let mut found = [0.0];
                torus.costs_f64(&x, &y, &mut found);
                let mut least = f64::INFINITY;
                for (m, n) in (-12..=12).flat_map(|m| (-6..=6).map(move |n| (f64::from(m), f64::from(n)))) {
                    let mut image = [0.0];
                    cost.costs_f64(&x, &[y[0] + m * periods[0], y[1] + n * periods[1]], &mut image);
                    least = least.min(image[0]);
                }
                assert!((found[0] - least).abs() < 1e-13 * (1.0 + least), "{cost:?}: {found:?} above {least}");
            }
        }
        Ok(())
    }

    #[test]
    fn costs_that_may_fall_with_distance_are_refused() {
        let refused = |cost: Arc<dyn GroundCost>, periods: &[f64]| {
            Periodic::new(cost, periods.iter().copied().map(Some).collect()).err()
        };
        assert!(matches!(refused(Arc::new(Cosine), &[1.0]), Some(Error::MissingCapability(_))));
        assert!(matches!(refused(Arc::new(SqEuclidean), &[-1.0]), Some(Error::Parameter { .. })));
        assert_eq!(refused(Arc::new(SqEuclidean), &[]), Some(Error::ZeroDimension));
    }
}
