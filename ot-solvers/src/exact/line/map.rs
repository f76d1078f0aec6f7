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
                        let (part, way) = (mass / *known, y - *mean);
                        // Halves only where a difference overflows: they vanish at the other end of the range.
                        *mean += if way.is_finite() { part * way } else { 2.0 * part * (0.5 * y - 0.5 * *mean) };
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

    /// T(x). NaN for NaN, infinite beyond the range of f64. Costs O(log n).
    #[must_use]
    pub fn image(&self, x: f64) -> f64 {
        let (nodes, images) = (&self.nodes, &self.images);
        let last = nodes.len() - 1;
        match nodes.partition_point(|&node| node <= x) {
            0 => moved(x, nodes[0], images[0]),
            above if above > last => moved(x, nodes[last], images[last]),
            above => {
                let below = above - 1;
                let part = part_of_way(x, nodes[below], nodes[above]);
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

/// x moved as far as the node is to its image; infinite only beyond the range.
fn moved(x: f64, node: f64, image: f64) -> f64 {
    let way = x - node;
    if way.is_finite() { image + way } else { 2.0 * (0.5 * image + (0.5 * x - 0.5 * node)) }
}

/// How far x is on the way from one node to the next, in [0, 1].
fn part_of_way(x: f64, low: f64, high: f64) -> f64 {
    // Halves only where a difference overflows: they vanish at the other end of the range.
    let way = high - low;
    if way.is_finite() { (x - low) / way } else { (0.5 * x - 0.5 * low) / (0.5 * high - 0.5 * low) }
}
