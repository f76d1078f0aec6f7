//! All costs between two measures, on the host.

use ot_core::{CostForm, Error, GroundCost, PointsView, Scalar, Support};

/// The costs C_ij, row-major. Infinite costs forbid pairs.
///
/// # Errors
/// [`Error::UnsupportedSupport`] for a cost that these supports have no entries of, [`Error::DimensionMismatch`],
/// [`Error::Length`], [`Error::Cost`] for an entry that is NaN or minus infinity.
pub(crate) fn dense_costs<T: Scalar>(
    source: Support<'_, T>,
    target: Support<'_, T>,
    cost: &dyn GroundCost,
) -> Result<Vec<f64>, Error> {
    let entries = match (source, target, cost.form()) {
        (Support::Points(x), Support::Points(y), form) if !matches!(form, CostForm::Matrix(_)) => {
            between_points(x, y, cost)?
        }
        (Support::Indices(rows), Support::Indices(columns), CostForm::Matrix(matrix)) => {
            for (what, expected, found) in [
                ("rows of the cost matrix", rows, matrix.rows()),
                ("columns of the cost matrix", columns, matrix.columns()),
            ] {
                if expected != found {
                    return Err(Error::Length { what, expected, found });
                }
            }
            (0..rows).flat_map(|i| (0..columns).map(move |j| matrix.get(i, j))).collect()
        }
        (other, _, _) => return Err(Error::UnsupportedSupport { what: "a table of costs", found: other.kind() }),
    };
    let columns = target.len().unwrap_or(1).max(1);
    match entries.iter().position(|cost| cost.is_nan() || *cost == f64::NEG_INFINITY) {
        Some(index) => {
            Err(Error::Cost { source_index: index / columns, target_index: index % columns, value: entries[index] })
        }
        None => Ok(entries),
    }
}

/// Row by row, in f64.
fn between_points<T: Scalar>(
    source: PointsView<'_, T>,
    target: PointsView<'_, T>,
    cost: &dyn GroundCost,
) -> Result<Vec<f64>, Error> {
    let (source_dimension, target_dimension) = (source.dimension(), target.dimension());
    if source_dimension != target_dimension {
        return Err(Error::DimensionMismatch { source_dimension, target_dimension });
    }
    let wide = |values: &[T]| -> Vec<f64> { values.iter().map(|value| value.to_f64()).collect() };
    let points = wide(target.coordinates());
    let mut entries = vec![0.0; source.len() * target.len()];
    for (i, row) in entries.chunks_exact_mut(target.len()).enumerate() {
        cost.costs_f64(&wide(source.point(i)), &points, row);
    }
    Ok(entries)
}
