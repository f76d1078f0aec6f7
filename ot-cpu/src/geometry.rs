//! Geometries of the host, and which one a request gets.
//!
//! All of them are rows of costs: whatever is asked of a plan is computed from tiles of costs, rows of
//! either side, and written once. A geometry that stores its costs also keeps an absorbed copy of its
//! Gibbs kernel; one that does not makes entries from coordinates as it goes.

mod absorbed;
mod anchors;
mod clouds;
mod cut;
mod dense;
mod derivative;
mod entries;
mod family;
mod functionals;
mod guard;
mod hard;
mod kernel;
mod operand;
mod rows;
mod softmin;
mod steps;
mod streamed;
mod streaming;
mod survey;
mod sweep;
mod transport_cost;

use std::sync::Arc;

use ot_core::{CostForm, Error, Geometry, PointsView, cost::GroundCost, measure::Support};

pub use self::{dense::DenseGeometry, streaming::StreamingGeometry};
use crate::backend::{CpuBackend, CpuScalar};

/// The geometry of one cost between two supports.
pub(crate) fn request<T: CpuScalar>(
    backend: &CpuBackend<T>,
    source: Support<'_, T>,
    target: Support<'_, T>,
    cost: &dyn GroundCost,
) -> Result<Arc<dyn Geometry<CpuBackend<T>>>, Error> {
    match (source, target, cost.form()) {
        (Support::Points(_), Support::Points(_), CostForm::Matrix(_)) => {
            Err(Error::UnsupportedSupport { what: "a cost matrix", found: "points" })
        }
        (Support::Points(source), Support::Points(target), _) => {
            check_points(source, target, cost)?;
            let entries = source.len().saturating_mul(target.len());
            match cost.shared() {
                Some(cost) if entries > backend.dense_limit() => {
                    Ok(Arc::new(StreamingGeometry::new(backend, source, target, cost)?))
                }
                _ => Ok(Arc::new(DenseGeometry::from_points(backend, source, target, cost)?)),
            }
        }
        (Support::Indices(rows), Support::Indices(columns), CostForm::Matrix(matrix)) => {
            let shape = [
                ("rows of the cost matrix", rows, matrix.rows()),
                ("columns of the cost matrix", columns, matrix.columns()),
            ];
            for (what, expected, found) in shape {
                if expected != found {
                    return Err(Error::Length { what, expected, found });
                }
            }
            Ok(Arc::new(match cost.shared_matrix() {
                Some(shared) => DenseGeometry::from_shared(backend, &shared)?,
                None => DenseGeometry::from_matrix(backend, matrix)?,
            }))
        }
        (Support::Indices(_), Support::Indices(_), _) => {
            Err(Error::UnsupportedSupport { what: "a cost between points", found: "indices" })
        }
        (Support::Points(_), other, _) | (other, Support::Points(_) | Support::Indices(_), _) => {
            Err(Error::UnsupportedSupport { what: "a geometry of the host", found: other.kind() })
        }
        (_, other, _) => Err(Error::UnsupportedSupport { what: "a geometry of the host", found: other.kind() }),
    }
}

/// Do the points fit each other and the cost, and does no cost between them overflow?
fn check_points<T: CpuScalar>(
    source: PointsView<'_, T>,
    target: PointsView<'_, T>,
    cost: &dyn GroundCost,
) -> Result<(), Error> {
    source.validate()?;
    target.validate()?;
    let (source_dimension, target_dimension) = (source.dimension(), target.dimension());
    if source_dimension != target_dimension {
        return Err(Error::DimensionMismatch { source_dimension, target_dimension });
    }
    if let Some(expected) = cost.dimension().filter(|&expected| expected != source_dimension) {
        let what = "coordinates of a point, as many as the cost asks for";
        return Err(Error::Length { what, expected, found: source_dimension });
    }
    match clouds::bound(source, target, cost) {
        Some(bound) => check_bound::<T>(bound),
        None => Ok(()),
    }
}

/// Refuses costs that would overflow.
fn check_bound<T: CpuScalar>(bound: f64) -> Result<(), Error> {
    let limit = T::LARGEST_COST;
    if bound <= limit { Ok(()) } else { Err(Error::CostOverflow { bound, element: T::NAME, limit }) }
}

/// The epsilon of a Gaussian blur, if the cost has one.
#[derive(Clone, Copy, Debug)]
enum Blur {
    /// scale |x - y|^2: 2 scale sigma^2.
    Square { scale: f64 },
    /// |x - y|^p: sigma^p.
    Power { exponent: f64 },
    /// No power of a distance.
    Unknown,
}

impl Blur {
    fn of(cost: &dyn GroundCost) -> Self {
        match cost.form() {
            CostForm::SqEuclidean { scale } => Self::Square { scale },
            CostForm::PowerOfNorm { exponent, .. } => Self::Power { exponent },
            _ => Self::Unknown,
        }
    }

    fn epsilon(self, sigma: f64) -> Option<f64> {
        match self {
            Self::Square { scale } => Some(2.0 * scale * sigma * sigma),
            Self::Power { exponent } => Some(sigma.powf(exponent)),
            Self::Unknown => None,
        }
    }
}
