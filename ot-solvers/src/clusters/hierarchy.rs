//! One cloud and its clusters on ever coarser scales: each the mass of a cell, at its centre of mass.

use ot_core::{Error, GroundCost, Measure, PointCloud, PointsView, Scalar, Support, WeightsView};

use super::halving::{cells, halve};

/// A cloud, the scale 0, and its clusters on the scales from 1 on.
pub(crate) struct Hierarchy<'a, T: Scalar> {
    cloud: Cloud<'a, T>,
    /// For each scale from 1 on: the clusters, and to which of them each atom of the finer scale belongs.
    coarser: Vec<(PointCloud<'static, T>, Vec<u32>)>,
}

/// Points and their weights.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Cloud<'a, T> {
    pub(crate) points: PointsView<'a, T>,
    pub(crate) weights: WeightsView<'a, T>,
}

impl<T: Scalar> Measure<T> for Cloud<'_, T> {
    fn support(&self) -> Support<'_, T> {
        Support::Points(self.points)
    }

    fn weights(&self) -> Option<WeightsView<'_, T>> {
        Some(self.weights)
    }
}

impl<'a, T: Scalar> Hierarchy<'a, T> {
    /// Clusters of clusters, as long as there are `fewest` of them: their number is a power of two, and each is of at
    /// least 2^halvings atoms of the finer scale and of fewer than twice as many. Costs O(n d log n).
    ///
    /// # Errors
    /// Masses or centres that the element type does not hold.
    pub(crate) fn new(
        points: PointsView<'a, T>,
        weights: WeightsView<'a, T>,
        halvings: u32,
        fewest: usize,
    ) -> Result<Self, Error> {
        let cloud = Cloud { points, weights };
        let mut coarser: Vec<(PointCloud<'static, T>, Vec<u32>)> = Vec::new();
        loop {
            let finest = coarser.last().map_or(cloud, |(clusters, _)| Cloud::of(clusters));
            match (finest.points.len() >> halvings).checked_ilog2() {
                Some(depth) if 1 << depth >= fewest.max(2) => coarser.push(merged(finest, depth)?),
                _ => break,
            }
        }
        Ok(Self { cloud, coarser })
    }

    /// The coarsest scale: 0 for a cloud that is too small for clusters.
    pub(crate) fn coarsest(&self) -> usize {
        self.coarser.len()
    }

    /// The atoms of a scale; a cloud with fewer scales stays at its coarsest.
    pub(crate) fn at(&self, scale: usize) -> Cloud<'_, T> {
        match scale.min(self.coarser.len()) {
            0 => self.cloud,
            scale => Cloud::of(&self.coarser[scale - 1].0),
        }
    }

    /// Values of the atoms of the coarser scale, column after column, for each atom of a scale.
    pub(super) fn inherit(&self, values: Vec<T>, scale: usize) -> Vec<T> {
        match self.coarser.get(scale) {
            None => values,
            Some((clusters, cluster)) => {
                let columns = values.chunks_exact(clusters.points().len());
                columns.flat_map(|column| cluster.iter().map(|&cluster| column[cluster as usize])).collect()
            }
        }
    }

    /// The mean cost of moving an atom of the finer scale to the centre of its cluster.
    pub(super) fn resolution(&self, cost: &dyn GroundCost, scale: usize) -> f64 {
        let Some((clusters, cluster)) = scale.checked_sub(1).and_then(|index| self.coarser.get(index)) else {
            return 0.0;
        };
        let finer = self.at(scale - 1).points;
        let wide = |point: &[T]| -> Vec<f64> { point.iter().map(|x| x.to_f64()).collect() };
        let total: f64 = finer
            .iter()
            .zip(cluster)
            .map(|(point, &cluster)| {
                let mut out = [0.0];
                cost.costs_f64(&wide(point), &wide(clusters.points().point(cluster as usize)), &mut out);
                if out[0].is_finite() { out[0].abs() } else { 0.0 }
            })
            .sum();
        total / finer.len() as f64
    }
}

impl<'a, T: Scalar> Cloud<'a, T> {
    fn of(clusters: &'a PointCloud<'static, T>) -> Self {
        Self { points: clusters.points(), weights: clusters.weights_view() }
    }
}

/// The 2^depth cells of a cloud as atoms, in the order of the cells, and the cell of every point. Costs O(n d depth).
fn merged<T: Scalar>(
    Cloud { points, weights }: Cloud<'_, T>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_keep_mass_and_mean_and_are_compact() -> Result<(), Error> {
        let line: Vec<f64> = (0..64).map(|i| f64::from((i * 37) % 64)).collect();
        let weights: Vec<f64> = (0..64).map(|i| f64::from(i % 5)).collect();
        let cloud = PointCloud::new(&line, 1, &weights)?;
        let hierarchy = Hierarchy::new(cloud.points(), cloud.weights_view(), 1, 2)?;
        assert_eq!(hierarchy.coarsest(), 5);
        let mean = |cloud: Cloud<'_, f64>| -> f64 {
            cloud.points.coordinates().iter().zip(cloud.weights.values()).map(|(x, w)| x * w).sum()
        };
        for scale in 1..=hierarchy.coarsest() {
            let (clusters, finest) = (hierarchy.at(scale), hierarchy.at(0));
            assert_eq!(clusters.points.len(), 64 >> scale);
            assert!((clusters.weights.mass(0) - finest.weights.mass(0)).abs() < 1e-12);
            assert!((mean(clusters) - mean(finest)).abs() < 1e-9);
            let cells = hierarchy.inherit((0..64 >> scale).map(f64::from).collect(), scale - 1);
            for (atom, cell) in hierarchy.at(scale - 1).points.coordinates().iter().zip(&cells) {
                assert_eq!((atom / f64::from(1 << scale)).floor(), *cell);
            }
        }
        Ok(())
    }
}
