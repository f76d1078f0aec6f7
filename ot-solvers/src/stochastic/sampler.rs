//! A source that is known by its samples.

use std::{fmt, marker::PhantomData};

use ot_core::{Error, Scalar, host::try_zeros};

use super::Random;

/// A probability on points, met by drawing from it.
pub trait Sampler<T: Scalar>: Sync {
    /// Coordinates of a point.
    fn dimension(&self) -> usize;

    /// Draws one point. All randomness is to come from `random`, so that the same seed gives the same points.
    fn draw(&self, random: &mut Random, point: &mut [T]);
}

/// A [`Sampler`] from a closure.
///
/// ```
/// use ot_solvers::{PointSampler, Random, Sampler};
///
/// let square = PointSampler::new(2, |random: &mut Random, point: &mut [f64]| {
///     point.iter_mut().for_each(|coordinate| *coordinate = random.uniform());
/// });
/// let mut point = [2.0; 2];
/// square.draw(&mut Random::new(1, 0, 0), &mut point);
/// assert!(point.iter().all(|coordinate| *coordinate < 1.0));
/// ```
pub struct PointSampler<T, F> {
    dimension: usize,
    draw: F,
    element: PhantomData<fn(T)>,
}

impl<T: Scalar, F: Fn(&mut Random, &mut [T]) + Sync> PointSampler<T, F> {
    /// Points of `dimension` coordinates, each filled in by `draw`.
    pub fn new(dimension: usize, draw: F) -> Self {
        Self { dimension, draw, element: PhantomData }
    }
}

impl<T, F> fmt::Debug for PointSampler<T, F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PointSampler").field("dimension", &self.dimension).finish_non_exhaustive()
    }
}

impl<T: Scalar, F: Fn(&mut Random, &mut [T]) + Sync> Sampler<T> for PointSampler<T, F> {
    fn dimension(&self) -> usize {
        self.dimension
    }

    fn draw(&self, random: &mut Random, point: &mut [T]) {
        (self.draw)(random, point);
    }
}

/// A stream of samples, in order.
pub(super) struct Samples<'a, T: Scalar> {
    sampler: &'a dyn Sampler<T>,
    seed: u64,
    stream: u32,
    drawn: usize,
}

impl<'a, T: Scalar> Samples<'a, T> {
    pub(super) fn new(sampler: &'a dyn Sampler<T>, seed: u64, stream: u32) -> Self {
        Self { sampler, seed, stream, drawn: 0 }
    }

    /// Samples drawn so far.
    pub(super) fn drawn(&self) -> usize {
        self.drawn
    }

    /// The next samples, point by point.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(super) fn next(&mut self, count: usize) -> Result<Vec<T>, Error> {
        let dimension = self.sampler.dimension();
        let mut points: Vec<T> = try_zeros(count.saturating_mul(dimension), "samples")?;
        for (offset, point) in points.chunks_exact_mut(dimension.max(1)).enumerate() {
            let mut random = Random::new(self.seed, self.stream, (self.drawn + offset) as u64);
            self.sampler.draw(&mut random, point);
        }
        self.drawn += count;
        Ok(points)
    }
}
