//! The epsilon that a blur of given width stands for.

use super::CostForm;

/// How the width sigma of a blur, in the units of the points, becomes an epsilon: a constant times a power of sigma.
///
/// | cost | epsilon | kernel exp(-c / epsilon) |
/// |---|---|---|
/// | `scale` times the squared distance | 2 `scale` sigma^2 | exp(-d^2 / (2 sigma^2)) |
/// | a distance d to another power p | sigma^p | exp(-(d / sigma)^p) |
///
/// ```
/// use ot_core::{CostForm, GroundCost, HalfSqEuclidean, Manhattan, cost::Blur};
///
/// let epsilon = |form: CostForm<'_>| Blur::of(form).map(|blur| blur.epsilon(0.5));
/// assert_eq!(epsilon(HalfSqEuclidean.form()), Some(0.25));
/// assert_eq!(epsilon(Manhattan.form()), Some(0.5));
/// assert_eq!(epsilon(CostForm::Generic), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Blur {
    factor: f64,
    exponent: f64,
}

impl Blur {
    /// That of a cost; `None` unless it is a power of a distance.
    #[must_use]
    pub fn of(form: CostForm<'_>) -> Option<Self> {
        match form {
            CostForm::SqEuclidean { scale } => Some(Self { factor: 2.0 * scale, exponent: 2.0 }),
            CostForm::PowerOfNorm { norm: 2.0, exponent: 2.0 } => Some(Self { factor: 2.0, exponent: 2.0 }),
            CostForm::PowerOfNorm { exponent, .. } => Some(Self { factor: 1.0, exponent }),
            CostForm::Cosine | CostForm::Matrix(_) | CostForm::Implied | CostForm::Generic => None,
        }
    }

    /// The epsilon of width `sigma`.
    #[must_use]
    pub fn epsilon(self, sigma: f64) -> f64 {
        if self.exponent == 2.0 { self.factor * sigma * sigma } else { self.factor * sigma.powf(self.exponent) }
    }
}
