//! The monotone map between two distributions on the line.

use super::QuantileFunction;

/// The optimal map T = G^-1 o F from one distribution on the line to another, at any point.
///
/// At an atom of the source it is the mean of where the monotone coupling sends the atom, between neighbouring atoms it is
/// linear, beyond the outermost ones it moves as far as they do. It never decreases.
///
/// ```
/// use ot_core::{PointCloud, SqEuclidean};
/// use ot_solvers::exact::{LineTransport, QuantileFunction};
///
/// let a = QuantileFunction::of(&PointCloud::uniform(vec![2.0, 0.0, 1.0], 1)?, 0)?;
/// let b = QuantileFunction::of(&PointCloud::uniform(vec![10.0, 14.0, 12.0], 1)?, 0)?;
/// let map = LineTransport::new(&a, &b, &SqEuclidean)?.map();
/// assert_eq!(map.images(&[1.0, 0.5, 3.0]), [12.0, 11.0, 15.0]);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct QuantileMap {
    /// The distinct atoms of mass of the source, increasing.
    nodes: Vec<f64>,
    images: Vec<f64>,
}

impl QuantileMap {
    /// The map of the monotone coupling, the weights of the target taken `scale` times.
    pub(super) fn new(source: &QuantileFunction, target: &QuantileFunction, scale: f64) -> Self {
        // For each distinct atom its mass and the mean of its images.
        let mut parts: Vec<(f64, f64, f64)> = Vec::new();
        source.staircase(target, scale, |i, j, mass| {
            if mass > 0.0 {
                let (x, y) = (source.positions()[i], target.positions()[j]);
                match parts.last_mut() {
                    Some((node, known, mean)) if *node == x => {
                        *known += mass;
                        // Halves, so that no difference overflows.
                        *mean += 2.0 * (mass / *known) * (0.5 * y - 0.5 * *mean);
                    }
                    _ => parts.push((x, mass, y)),
                }
            }
        });
        let mut highest = f64::NEG_INFINITY;
        let (nodes, images) = parts
            .into_iter()
            .map(|(node, _, mean)| {
                highest = highest.max(mean);
                (node, highest)
            })
            .unzip();
        Self { nodes, images }
    }

    /// The distinct atoms of mass of the source, in increasing order.
    #[must_use]
    pub fn nodes(&self) -> &[f64] {
        &self.nodes
    }

    /// T(x). NaN for NaN. Costs O(log n).
    #[must_use]
    pub fn image(&self, x: f64) -> f64 {
        let (nodes, images) = (&self.nodes, &self.images);
        let last = nodes.len() - 1;
        match nodes.partition_point(|&node| node <= x) {
            0 => images[0] + (x - nodes[0]),
            above if above > last => images[last] + (x - nodes[last]),
            above => {
                let below = above - 1;
                let part = (0.5 * x - 0.5 * nodes[below]) / (0.5 * nodes[above] - 0.5 * nodes[below]);
                ((1.0 - part) * images[below] + part * images[above]).clamp(images[below], images[above])
            }
        }
    }

    /// T at several points.
    #[must_use]
    pub fn images(&self, points: &[f64]) -> Vec<f64> {
        points.iter().map(|&x| self.image(x)).collect()
    }
}
