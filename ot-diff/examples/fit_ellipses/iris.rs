//! The flowers, in their first three principal components.

use nalgebra::{DMatrix, SymmetricEigen};

/// Coordinates that are kept.
pub const DIMENSION: usize = 3;

/// Kinds of flowers.
pub const CLASSES: usize = 3;

/// The names of the kinds.
pub const NAMES: [&str; CLASSES] = ["setosa", "versicolor", "virginica"];

/// Flowers as points, and the kind of each.
#[derive(Debug)]
pub struct Flowers {
    /// Point by point.
    pub points: Vec<f64>,
    /// 0, 1 or 2.
    pub classes: Vec<usize>,
}

impl Flowers {
    /// Number of flowers.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// The flowers of Anderson (1935) and Fisher (1936): centred and projected to the principal components of the largest
    /// variances, each signed so that its largest entry is positive.
    pub fn load() -> Self {
        let data = linfa_datasets::iris();
        let (records, classes) = (data.records(), data.targets().iter().copied().collect::<Vec<usize>>());
        let (rows, columns) = (records.nrows(), records.ncols());
        let mut table = DMatrix::from_fn(rows, columns, |row, column| records[[row, column]]);
        for mut column in table.column_iter_mut() {
            let mean = column.mean();
            column.add_scalar_mut(-mean);
        }
        let covariance = table.transpose() * &table / rows as f64;
        let eigen = SymmetricEigen::new(covariance);
        let mut order: Vec<usize> = (0..columns).collect();
        order.sort_by(|&one, &other| eigen.eigenvalues[other].total_cmp(&eigen.eigenvalues[one]));
        let axes: Vec<Vec<f64>> = order
            .iter()
            .take(DIMENSION)
            .map(|&index| {
                let axis = eigen.eigenvectors.column(index);
                let largest = axis.iter().fold(0.0_f64, |a, &b| if b.abs() > a.abs() { b } else { a });
                axis.iter().map(|x| x * largest.signum()).collect()
            })
            .collect();
        let project = |row: usize| -> Vec<f64> {
            let along = |axis: &Vec<f64>| -> f64 { axis.iter().zip(table.row(row).iter()).map(|(x, y)| x * y).sum() };
            axes.iter().map(along).collect()
        };
        let points = (0..rows).flat_map(project).collect();
        Self { points, classes }
    }
}
