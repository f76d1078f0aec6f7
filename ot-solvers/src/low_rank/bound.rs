//! Lower bounds of exact transport.

use crate::gaussian::Gaussian;

/// The largest dimension in which covariances are compared as matrices.
const LARGEST_DIMENSION: usize = 64;

/// Of squared distances between clouds around their means: the squared distance of Bures between their covariances (Gelbrich 1990), less
/// what rounding may add; above [`LARGEST_DIMENSION`] coordinates the weaker (s - t)^2 of their root mean squares s and t.
pub(super) fn of_squares(points: [&[f64]; 2], dimension: usize, weights: [&[f64]; 2]) -> f64 {
    let traces = [0, 1].map(|side| {
        let terms = points[side].chunks_exact(dimension).zip(weights[side]);
        terms.map(|(point, weight)| weight * point.iter().map(|x| x * x).sum::<f64>()).sum::<f64>()
    });
    // Roots of covariances that rounding has touched are off by the root of it.
    let rounding = 4.0 * dimension as f64 * (f64::EPSILON * (traces[0] + traces[1])).sqrt();
    let bures = covariances(points, dimension, weights).and_then(|[a, b]| a.bures(&b).ok());
    let distance = bures.unwrap_or(0.0).max((traces[0].sqrt() - traces[1].sqrt()).abs());
    (distance - rounding).max(0.0).powi(2)
}

fn covariances(points: [&[f64]; 2], dimension: usize, weights: [&[f64]; 2]) -> Option<[Gaussian; 2]> {
    if dimension > LARGEST_DIMENSION {
        return None;
    }
    let of_side = |side: usize| {
        let mut covariance = vec![0.0; dimension * dimension];
        for (point, weight) in points[side].chunks_exact(dimension).zip(weights[side]) {
            for (row, x) in covariance.chunks_exact_mut(dimension).zip(point) {
                row.iter_mut().zip(point).for_each(|(entry, y)| *entry += weight * (x * y));
            }
        }
        Gaussian::new(vec![0.0; dimension], covariance).ok()
    };
    Some([of_side(0)?, of_side(1)?])
}

/// Of stored costs: the dual value of hard c-transforms of zero, from either side.
pub(super) fn of_table(costs: &[f64], [a, b]: [&[f64]; 2]) -> f64 {
    let m = b.len();
    let rows: Vec<f64> = costs.chunks_exact(m).map(|row| row.iter().copied().fold(f64::INFINITY, f64::min)).collect();
    let least_of_columns = |potential: &[f64]| {
        let mut least = vec![f64::INFINITY; m];
        for (row, f) in costs.chunks_exact(m).zip(potential) {
            least.iter_mut().zip(row).for_each(|(least, cost)| *least = least.min(cost - f));
        }
        least
    };
    let least_of_rows = |potential: &[f64]| -> Vec<f64> {
        let least = |row: &[f64]| row.iter().zip(potential).fold(f64::INFINITY, |least, (cost, g)| least.min(cost - g));
        costs.chunks_exact(m).map(least).collect()
    };
    let dual = |f: &[f64], g: &[f64]| -> f64 {
        let side = |weights: &[f64], potential: &[f64]| weights.iter().zip(potential).map(|(w, p)| w * p).sum::<f64>();
        side(a, f) + side(b, g)
    };
    let columns = least_of_columns(&vec![0.0; a.len()]);
    dual(&rows, &least_of_columns(&rows)).max(dual(&least_of_rows(&columns), &columns))
}
