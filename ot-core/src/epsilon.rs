//! The strength of the entropy, as a rule resolved against a cost.

use crate::{
    backend::Device,
    error::Error,
    kernel::{CostStatistics, Geometry},
    scalar::Scalar,
};

/// How epsilon is chosen. All rules resolve to one positive number in the units of the cost.
///
/// ```
/// use ot_core::Epsilon;
///
/// assert_eq!(Epsilon::default(), Epsilon::RelativeToDeviation(0.05));
/// ```
#[derive(Copy, Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Epsilon {
    /// The number itself, in the units of the cost.
    Absolute(f64),
    /// A multiple of the mean cost <a x b, C> / (mass(a) mass(b)).
    RelativeToMean(f64),
    /// A multiple of the standard deviation of the cost under a x b.
    RelativeToDeviation(f64),
    /// The width of a Gaussian blur, in the units of the points: sigma^2 for
    /// [`HalfSqEuclidean`](crate::HalfSqEuclidean), 2 sigma^2 for
    /// [`SqEuclidean`](crate::SqEuclidean), sigma^p for a distance to the power p.
    Blur(f64),
}

impl Default for Epsilon {
    /// 0.05 of the standard deviation of the cost.
    fn default() -> Self {
        Epsilon::RelativeToDeviation(0.05)
    }
}

impl Epsilon {
    /// Does the rule need statistics of the cost?
    #[must_use]
    pub fn needs_statistics(&self) -> bool {
        matches!(self, Epsilon::RelativeToMean(_) | Epsilon::RelativeToDeviation(_))
    }

    /// The epsilon of this rule for a geometry. A relative rule on a cost that is zero or
    /// constant has no scale to refer to, and any epsilon gives the same plan: it resolves to the
    /// multiple itself (of the mean, where there is one).
    ///
    /// # Errors
    /// [`Error::Epsilon`] for a number that is not finite and positive, [`Error::EpsilonRule`]
    /// for a blur of a cost that has none, or a rule whose statistics are missing.
    pub fn resolve<D: Device>(
        &self,
        geometry: &dyn Geometry<D>,
        statistics: Option<&CostStatistics>,
    ) -> Result<f64, Error> {
        let no_statistics =
            Error::EpsilonRule { rule: "relative epsilon", reason: "there are no statistics of the cost" };
        let epsilon = match *self {
            Epsilon::Absolute(epsilon) => epsilon,
            Epsilon::RelativeToMean(multiple) => multiple * or_one(statistics.ok_or(no_statistics)?.mean.abs()),
            Epsilon::RelativeToDeviation(multiple) => {
                let statistics = statistics.ok_or(no_statistics)?;
                let constant = statistics.deviation <= 1e-12 * statistics.mean.abs();
                multiple * or_one(if constant { statistics.mean.abs() } else { statistics.deviation })
            }
            Epsilon::Blur(sigma) if sigma.is_finite() && sigma > 0.0 => geometry
                .epsilon_of_blur(sigma)
                .ok_or(Error::EpsilonRule { rule: "blur", reason: "the cost is no power of a distance" })?,
            Epsilon::Blur(sigma) => sigma,
        };
        if epsilon.is_finite() && epsilon > 0.0 { Ok(epsilon) } else { Err(Error::Epsilon(epsilon)) }
    }
}

/// Is this an epsilon that the element type holds, with its reciprocal and with the potentials of any weights: epsilon times a
/// logarithm?
///
/// ```
/// use ot_core::check_epsilon;
///
/// assert!(check_epsilon::<f64>(1e-60).is_ok());
/// assert!(check_epsilon::<f32>(1e-60).is_err() && check_epsilon::<f64>(-1.0).is_err());
/// ```
///
/// # Errors
/// [`Error::Epsilon`] for another number.
pub fn check_epsilon<T: Scalar>(epsilon: f64) -> Result<f64, Error> {
    /// Above the logarithm of any weight, in absolute value.
    const LOGARITHM: f64 = 1024.0;
    let normal = |value: f64| (T::TINY..=T::MAX).contains(&value);
    let fits = normal(epsilon) && normal(1.0 / epsilon) && epsilon <= T::LARGEST_COST / LOGARITHM;
    if fits { Ok(epsilon) } else { Err(Error::Epsilon(epsilon)) }
}

/// The scale, or 1 where there is none.
fn or_one(scale: f64) -> f64 {
    if scale > 0.0 { scale } else { 1.0 }
}
