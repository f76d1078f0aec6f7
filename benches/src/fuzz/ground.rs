//! Costs of points, and what they are by definition.

use ot_core::{
    Chebyshev, Cosine, Error, Euclidean, GroundCost, HalfSqEuclidean, Manhattan, PNorm, PowerOfDistance, SqEuclidean,
};

use super::generate::one_of;
use crate::seeded::Seeded;

/// A cost of points.
#[derive(Copy, Clone, Debug, PartialEq)]
pub enum Ground {
    /// |x - y|^2.
    SqEuclidean,
    /// |x - y|^2 / 2.
    HalfSqEuclidean,
    /// |x - y|.
    Euclidean,
    /// |x - y|^p.
    PowerOfDistance(f64),
    /// The sum of |x_k - y_k|.
    Manhattan,
    /// The largest |x_k - y_k|.
    Chebyshev,
    /// The p-th root of the sum of |x_k - y_k|^p.
    PNorm(f64),
    /// 1 - <x, y> / (|x| |y|).
    Cosine,
}

impl Ground {
    /// One of them.
    pub fn draw(random: &mut Seeded) -> Self {
        let power = one_of(random, &[0.5, 1.5, 3.0, 4.0]);
        let norm = one_of(random, &[1.5, 2.5, 3.0, 4.0]);
        one_of(
            random,
            &[
                Self::SqEuclidean,
                Self::SqEuclidean,
                Self::HalfSqEuclidean,
                Self::Euclidean,
                Self::PowerOfDistance(power),
                Self::Manhattan,
                Self::Chebyshev,
                Self::PNorm(norm),
                Self::Cosine,
            ],
        )
    }

    /// The cost of the framework.
    ///
    /// # Errors
    /// Those of the cost.
    pub fn cost(self) -> Result<Box<dyn GroundCost>, Error> {
        Ok(match self {
            Self::SqEuclidean => Box::new(SqEuclidean),
            Self::HalfSqEuclidean => Box::new(HalfSqEuclidean),
            Self::Euclidean => Box::new(Euclidean),
            Self::PowerOfDistance(p) => Box::new(PowerOfDistance::new(p)?),
            Self::Manhattan => Box::new(Manhattan),
            Self::Chebyshev => Box::new(Chebyshev),
            Self::PNorm(p) => Box::new(PNorm::new(p)?),
            Self::Cosine => Box::new(Cosine),
        })
    }

    /// c(x, y), in units in which no square overflows or vanishes.
    #[must_use]
    pub fn value(self, x: &[f64], y: &[f64]) -> f64 {
        if self == Self::Cosine {
            return cosine(x, y);
        }
        let differences: Vec<f64> = x.iter().zip(y).map(|(x, y)| (x - y).abs()).collect();
        let largest = differences.iter().copied().fold(0.0, f64::max);
        if largest == 0.0 || largest == f64::INFINITY {
            return largest;
        }
        let norm = |p: f64| largest * differences.iter().map(|d| (d / largest).powf(p)).sum::<f64>().powf(1.0 / p);
        match self {
            Self::SqEuclidean => norm(2.0) * norm(2.0),
            Self::HalfSqEuclidean => 0.5 * norm(2.0) * norm(2.0),
            Self::Euclidean => norm(2.0),
            Self::PowerOfDistance(p) => norm(2.0).powf(p),
            Self::Manhattan => norm(1.0),
            Self::Chebyshev => largest,
            Self::PNorm(p) => norm(p),
            Self::Cosine => f64::NAN,
        }
    }

    /// The costs of all pairs, row by row.
    #[must_use]
    pub fn table(self, x: &[f64], y: &[f64], dimension: usize) -> Vec<f64> {
        let rows = x.chunks_exact(dimension);
        rows.flat_map(|x| y.chunks_exact(dimension).map(move |y| self.value(x, y))).collect()
    }
}

/// Half the squared distance of the directions, in which nothing cancels; 1 from and to a zero.
fn cosine(x: &[f64], y: &[f64]) -> f64 {
    let direction = |x: &[f64]| -> Option<Vec<f64>> {
        let largest = x.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
        if largest == 0.0 {
            return None;
        }
        let scaled: Vec<f64> = x.iter().map(|x| x / largest).collect();
        let norm = scaled.iter().map(|x| x * x).sum::<f64>().sqrt();
        Some(scaled.iter().map(|x| x / norm).collect())
    };
    match (direction(x), direction(y)) {
        (Some(x), Some(y)) => 0.5 * x.iter().zip(&y).map(|(x, y)| (x - y) * (x - y)).sum::<f64>(),
        _ => 1.0,
    }
}
