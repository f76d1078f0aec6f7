//! Discrepancies of clouds, by the book.

use ot_core::{Measure, PointCloud};

/// Coordinates and weights of a cloud.
pub fn parts(cloud: &PointCloud<'_, f64>) -> (Vec<f64>, Vec<f64>) {
    (cloud.points().coordinates().to_vec(), cloud.weights_view().values().to_vec())
}

/// sum_ij a_i b_j k(x_i, y_j), by the book.
pub fn pairing(one: &PointCloud<'_, f64>, other: &PointCloud<'_, f64>, kernel: impl Fn(f64) -> f64) -> f64 {
    let mut sum = 0.0;
    for (x, a) in one.points().coordinates().chunks(one.points().dimension()).zip(one.weights().unwrap().column(0)) {
        for (y, b) in
            other.points().coordinates().chunks(other.points().dimension()).zip(other.weights().unwrap().column(0))
        {
            let square: f64 = x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum();
            sum += a * b * kernel(square.sqrt());
        }
    }
    sum
}

/// The squared discrepancy of a kernel of the distance, by the book.
pub fn discrepancy(one: &PointCloud<'_, f64>, other: &PointCloud<'_, f64>, kernel: impl Fn(f64) -> f64 + Copy) -> f64 {
    pairing(one, one, kernel) + pairing(other, other, kernel) - 2.0 * pairing(one, other, kernel)
}
