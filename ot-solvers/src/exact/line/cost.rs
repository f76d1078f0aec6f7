//! Costs on the line, by their form.

use ot_core::{BoundingBox, CostForm, Error, GroundCost, PointsView, cost::check_bound};

use super::{coupled::Coupled, power_sum::PowerSum};

/// A cost of two numbers, by its form.
#[derive(Clone, Copy, Debug)]
pub(super) enum LineCost<'a> {
    /// |x - y|.
    Distance,
    /// scale (x - y)^2.
    Square { scale: f64 },
    /// |x - y|^p.
    Power(f64),
    /// Any other.
    Generic(&'a dyn GroundCost),
}

impl<'a> LineCost<'a> {
    /// The cost, unless it is known to be none for which the monotone coupling is optimal.
    pub(super) fn new(cost: &'a dyn GroundCost) -> Result<Self, Error> {
        if let Some(dimension) = cost.dimension()
            && dimension != 1
        {
            let what = "coordinates of a point, as many as the cost asks for";
            return Err(Error::Length { what, expected: dimension, found: 1 });
        }
        match cost.form() {
            CostForm::SqEuclidean { scale } => Ok(Self::Square { scale }),
            CostForm::PowerOfNorm { exponent: 1.0, .. } => Ok(Self::Distance),
            CostForm::PowerOfNorm { exponent, .. } if exponent > 1.0 => Ok(Self::Power(exponent)),
            CostForm::PowerOfNorm { exponent, .. } => Err(Error::Parameter {
                name: "the exponent of a cost on the line",
                value: exponent,
                expected: "a number >= 1: other powers are not convex",
            }),
            CostForm::Generic => Ok(Self::Generic(cost)),
            CostForm::Matrix(_) => Err(Error::UnsupportedSupport { what: "a cost matrix", found: "points" }),
            _ => Err(Error::MissingCapability("convexity in the difference of two numbers")),
        }
    }

    /// c(x, y).
    pub(super) fn at(self, x: f64, y: f64) -> f64 {
        match self {
            Self::Distance => (x - y).abs(),
            Self::Square { scale } => scale * ((x - y) * (x - y)),
            Self::Power(exponent) => (x - y).abs().powf(exponent),
            Self::Generic(cost) => {
                let mut value = [0.0];
                cost.costs_f64(&[x], &[y], &mut value);
                value[0]
            }
        }
    }

    /// Refuses supports across which a known cost overflows.
    pub(super) fn check_range(self, source: &[f64], target: &[f64]) -> Result<(), Error> {
        let ends = |sorted: &[f64]| -> Result<BoundingBox, Error> {
            Ok(BoundingBox::of(PointsView::new(&[sorted[0], sorted[sorted.len() - 1]], 1)?))
        };
        let reach = ends(source)?.reach(&ends(target)?).fold(0.0, f64::max);
        match self {
            Self::Generic(_) => Ok(()),
            _ => check_bound::<f64>(self.at(reach, 0.0)),
        }
    }

    /// The cost of the monotone coupling.
    ///
    /// # Errors
    /// [`Error::CostOverflow`].
    pub(super) fn total(self, coupled: &Coupled<'_>) -> Result<f64, Error> {
        let value = match self {
            Self::Distance => PowerSum::along(coupled, 1.0)?.value()?,
            Self::Square { scale } => scale * PowerSum::along(coupled, 2.0)?.value()?,
            Self::Power(exponent) => PowerSum::along(coupled, exponent)?.value()?,
            Self::Generic(_) => coupled.total(1.0, |x, y| self.at(x, y)),
        };
        check_bound::<f64>(value)?;
        Ok(value)
    }
}
