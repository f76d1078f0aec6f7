//! Clusters of a cloud: halves of halves, cut at the median of the widest axis (Bentley 1975).
//!
//! All cells of one depth hold the same number of points but for one, so a uniform cloud stays uniform, and the cut
//! depends on the points alone. A cell becomes an atom: its mass, at its centre of mass.

use std::ops::Range;

use ot_core::{Error, PointCloud, PointsView, Scalar, WeightsView};

/// The 2^depth cells of a cloud as atoms, and the cell of every point. Costs O(n depth).
///
/// # Errors
/// Masses or centres that the element type does not hold.
pub(super) fn cluster<T: Scalar>(
    points: PointsView<'_, T>,
    weights: WeightsView<'_, T>,
    depth: u32,
) -> Result<(PointCloud<'static, T>, Vec<u32>), Error> {
    let (dimension, columns) = (points.dimension(), weights.columns());
    let mut order: Vec<u32> = (0..points.len() as u32).collect();
    halve(points, &mut order, depth);
    let cells = cells(points.len(), depth);
    let mut centres = Vec::with_capacity(cells.len() * dimension);
    let mut masses = vec![T::from_f64(0.0); cells.len() * columns];
    let mut membership = vec![0; points.len()];
    for (index, cell) in cells.iter().enumerate() {
        let members = &order[cell.clone()];
        members.iter().for_each(|&point| membership[point as usize] = index as u32);
        for column in 0..columns {
            let weights = weights.column(column);
            let mass: f64 = members.iter().map(|&point| weights[point as usize].to_f64()).sum();
            masses[column * cells.len() + index] = T::from_f64(mass);
        }
        centres.extend(centre(points, weights, members).into_iter().map(T::from_f64));
    }
    Ok((PointCloud::batch(centres, dimension, masses, columns)?, membership))
}

/// The centre of mass of some points over all columns, or their mean where they have no mass.
fn centre<T: Scalar>(points: PointsView<'_, T>, weights: WeightsView<'_, T>, members: &[u32]) -> Vec<f64> {
    let weight = |point: u32| -> f64 {
        (0..weights.columns()).map(|column| weights.column(column)[point as usize].to_f64()).sum()
    };
    let mass: f64 = members.iter().map(|&point| weight(point)).sum();
    let mut centre = vec![0.0; points.dimension()];
    for &point in members {
        let share = if mass > 0.0 { weight(point) / mass } else { 1.0 / members.len() as f64 };
        for (centre, x) in centre.iter_mut().zip(points.point(point as usize)) {
            *centre += share * x.to_f64();
        }
    }
    centre
}

/// Orders points so that the cells of every depth up to this one are contiguous.
fn halve<T: Scalar>(points: PointsView<'_, T>, order: &mut [u32], depth: u32) {
    if depth == 0 || order.len() < 2 {
        return;
    }
    let extent = |axis: usize| {
        let (low, high) = order.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &point| {
            let x = points.point(point as usize)[axis].to_f64();
            (low.min(x), high.max(x))
        });
        high - low
    };
    let (mut widest, mut width) = (0, extent(0));
    for axis in 1..points.dimension() {
        let extent = extent(axis);
        if extent > width {
            (widest, width) = (axis, extent);
        }
    }
    let middle = order.len() / 2;
    order.select_nth_unstable_by(middle, |&left, &right| {
        let at = |point: u32| points.point(point as usize)[widest].to_f64();
        at(left).total_cmp(&at(right)).then(left.cmp(&right))
    });
    let (left, right) = order.split_at_mut(middle);
    halve(points, left, depth - 1);
    halve(points, right, depth - 1);
}

/// The ranges of the cells of one depth.
fn cells(len: usize, depth: u32) -> Vec<Range<usize>> {
    let mut bounds = vec![0, len];
    for _ in 0..depth {
        let mut halves: Vec<usize> = bounds.windows(2).flat_map(|cell| [cell[0], cell[0].midpoint(cell[1])]).collect();
        halves.push(len);
        halves.dedup();
        bounds = halves;
    }
    bounds.windows(2).map(|cell| cell[0]..cell[1]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_keep_mass_and_mean_and_are_compact() -> Result<(), Error> {
        let line: Vec<f64> = (0..64).map(|i| f64::from((i * 37) % 64)).collect();
        let weights: Vec<f64> = (0..64).map(|i| f64::from(i % 5)).collect();
        let cloud = PointCloud::new(&line, 1, &weights)?;
        for depth in 0..=3 {
            let (coarse, membership) = cluster(cloud.points(), cloud.weights_view(), depth)?;
            let cells = 1 << depth;
            assert_eq!(coarse.points().len(), cells);
            let masses = coarse.weights_view();
            assert!((masses.mass(0) - cloud.weights_view().mass(0)).abs() < 1e-12);
            let mean =
                |points: &[f64], weights: &[f64]| -> f64 { points.iter().zip(weights).map(|(x, w)| x * w).sum() };
            let (fine, coarse) = (mean(&line, &weights), mean(coarse.points().coordinates(), masses.values()));
            assert!((fine - coarse).abs() < 1e-9, "{fine} {coarse}");
            for (x, &cell) in line.iter().zip(&membership) {
                assert_eq!(*x as usize / (64 / cells), cell as usize);
            }
        }
        Ok(())
    }
}
