//! Displacement interpolation: the measure half-way, along a plan.
//!
//! ```text
//! mu_t = distribution of (1 - t) X + t Y,        (X, Y) distributed as P
//! ```
//!
//! For an optimal plan of the squared distance it is the geodesic between its marginals (McCann 1997):
//! W_2(mu_s, mu_t) = |t - s| W_2(mu_0, mu_1).

use ot_core::{Device, Error, Plan, PointCloud, PointsView, Scalar, Side};

use crate::exact::SparsePlan;

/// The measure at time t along a sparse plan: an atom (1 - t) x_i + t y_j of mass P_ij for each entry, in the order of the
/// entries. O(entries d).
///
/// ```
/// use ot_core::{PlanEntry, PointCloud};
/// use ot_solvers::{SparsePlan, displacement_interpolation};
///
/// let entry = |source, target, mass| PlanEntry { source, target, mass };
/// let plan = SparsePlan::new(1, 2, vec![entry(0, 0, 0.25), entry(0, 1, 0.75)])?;
/// let (a, b) = (PointCloud::uniform(vec![0.0], 1)?, PointCloud::new(vec![-2.0, 4.0], 1, vec![0.25, 0.75])?);
/// let half = displacement_interpolation(&plan, a.points(), b.points(), 0.5)?;
/// assert_eq!(half, PointCloud::new(vec![-1.0, 2.0], 1, vec![0.25, 0.75])?);
/// # Ok::<(), ot_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Parameter`] for a time outside [0, 1], [`Error::DimensionMismatch`], [`Error::Length`] for points that are not
/// those of the plan, [`Error::EmptyMeasure`] for a plan without entries, [`Error::Coordinate`].
pub fn displacement_interpolation<T: Scalar>(
    plan: &SparsePlan,
    source: PointsView<'_, T>,
    target: PointsView<'_, T>,
    t: f64,
) -> Result<PointCloud<'static, T>, Error> {
    check(source, target, plan.shape(), t)?;
    let mut points = Vec::with_capacity(plan.entries().len() * source.dimension());
    for entry in plan.entries() {
        points.extend(between(source.point(entry.source as usize), target.point(entry.target as usize), t));
    }
    let weights: Vec<T> = plan.entries().iter().map(|entry| T::from_f64(entry.mass)).collect();
    PointCloud::new(points, source.dimension(), weights)
}

/// The measure at time t along a plan that is an operator, each atom going to the mean of where the plan sends it: an atom
/// (1 - t) x_i + t T(x_i) of mass (P 1)_i for each of the source, T the barycentric projection. For the first column of a
/// batch.
///
/// At t = 1 it is the projected measure, less spread than the target unless the plan is a map. Where the entries of the plan
/// are few, [`Plan::to_sparse`] and [`displacement_interpolation`] give the measure itself.
///
/// # Errors
/// Those of [`displacement_interpolation`] and [`Plan::barycentric_projection`].
pub fn barycentric_interpolation<D: Device>(
    plan: &mut Plan<D>,
    source: PointsView<'_, D::Elem>,
    target: PointsView<'_, D::Elem>,
    t: f64,
) -> Result<PointCloud<'static, D::Elem>, Error> {
    let dimension = source.dimension();
    let mut weights = plan.marginal(Side::Source)?;
    weights.truncate(source.len());
    let images = plan.barycentric_projection(Side::Source, target.coordinates(), target.dimension())?;
    check(source, target, (weights.len(), target.len()), t)?;
    let images = PointsView::new(&images[..source.coordinates().len().min(images.len())], dimension)?;
    let points: Vec<D::Elem> = source.iter().zip(images.iter()).flat_map(|(x, y)| between(x, y, t)).collect();
    PointCloud::new(points, dimension, weights)
}

/// (1 - t) x + t y.
fn between<'a, T: Scalar>(x: &'a [T], y: &'a [T], t: f64) -> impl Iterator<Item = T> + 'a {
    x.iter().zip(y).map(move |(x, y)| T::from_f64((1.0 - t) * x.to_f64() + t * y.to_f64()))
}

/// Are these the points of a plan of this shape, and is it a time?
fn check<T: Scalar>(
    source: PointsView<'_, T>,
    target: PointsView<'_, T>,
    (rows, columns): (usize, usize),
    t: f64,
) -> Result<(), Error> {
    if !(0.0..=1.0).contains(&t) {
        return Err(Error::Parameter { name: "time", value: t, expected: "a number in [0, 1]" });
    }
    let (source_dimension, target_dimension) = (source.dimension(), target.dimension());
    if source_dimension != target_dimension {
        return Err(Error::DimensionMismatch { source_dimension, target_dimension });
    }
    for (what, expected, found) in [("source points", rows, source.len()), ("target points", columns, target.len())] {
        if expected != found {
            return Err(Error::Length { what, expected, found });
        }
    }
    Ok(())
}
