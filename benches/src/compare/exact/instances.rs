//! The instances of exact transport.

use std::{cmp::Reverse, collections::BinaryHeap, path::Path};

use super::super::{
    Failure,
    problem::{Arrays, Cost},
};
use crate::seeded::Seeded;

/// Weights of mass one: random, or all alike.
fn weights(random: &mut Seeded, n: usize, weighted: bool) -> Vec<f64> {
    let weights = if weighted { random.draw(n, |random| 0.05 + random.uniform()) } else { vec![1.0; n] };
    normalized(weights)
}

fn normalized(mut weights: Vec<f64>) -> Vec<f64> {
    let mass: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= mass);
    weights
}

fn arrays(source: Vec<f64>, target: Vec<f64>, cost: Cost) -> Arrays {
    // Nothing here reads epsilon.
    Arrays { source, target, columns: 1, cost, epsilon: 1.0, rho: None }
}

/// Two Gaussian clouds, one of them narrower and shifted.
pub(in super::super) fn gaussian_clouds(seed: u64, n: usize, dimension: usize, weighted: bool) -> Arrays {
    let mut random = Seeded::new(seed);
    let x = random.draw(n * dimension, Seeded::normal);
    let y = random.draw(n * dimension, |random| 1.0 + 0.7 * random.normal());
    let (a, b) = (weights(&mut random, n, weighted), weights(&mut random, n, weighted));
    arrays(a, b, Cost::HalfSquares { x, y, dimension })
}

/// Costs drawn from the unit interval.
pub(in super::super) fn random_costs(seed: u64, n: usize, weighted: bool) -> Arrays {
    let mut random = Seeded::new(seed);
    let cost = random.draw(n * n, Seeded::uniform);
    let (a, b) = (weights(&mut random, n, weighted), weights(&mut random, n, weighted));
    arrays(a, b, Cost::Matrix(cost))
}

/// A million points of two distributions on the line, say.
pub(super) fn line(seed: u64, n: usize) -> Arrays {
    let mut random = Seeded::new(seed);
    let x = random.draw(n, Seeded::normal);
    let y = random.draw(n, |random| 0.3 - random.uniform().max(1e-300).ln());
    let (a, b) = (weights(&mut random, n, true), weights(&mut random, n, true));
    arrays(a, b, Cost::HalfSquares { x, y, dimension: 1 })
}

/// A photograph of the examples.
#[derive(Clone, Copy, Debug)]
pub(super) enum Photograph {
    Rocket,
    Coffee,
}

impl Photograph {
    /// Its grey levels on a square of pixels, as weights of mass one.
    pub(super) fn histogram(self, side: u32) -> Result<Vec<f64>, Failure> {
        let name = match self {
            Self::Rocket => "rocket.png",
            Self::Coffee => "coffee.png",
        };
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ot-solvers/examples/photographs");
        let photograph = image::open(folder.join(name))?.to_luma8();
        let pixels = image::imageops::resize(&photograph, side, side, image::imageops::FilterType::Triangle);
        Ok(normalized(pixels.pixels().map(|pixel| f64::from(pixel.0[0])).collect()))
    }
}

/// Two histograms on the same square of pixels.
pub(super) fn pixels(side: u32, a: &[f64], b: &[f64]) -> Arrays {
    let points: Vec<f64> =
        (0..side).flat_map(|row| (0..side).flat_map(move |column| [f64::from(row), f64::from(column)])).collect();
    arrays(a.to_vec(), b.to_vec(), Cost::HalfSquares { x: points.clone(), y: points, dimension: 2 })
}

/// The same at the costs |x - y|_1, stored.
pub(super) fn manhattan(pixels: &Arrays) -> Result<Arrays, Failure> {
    let Cost::HalfSquares { x, y, dimension } = &pixels.cost else { return Err("points were expected".into()) };
    let between = |x: &[f64], y: &[f64]| -> f64 { x.iter().zip(y).map(|(x, y)| (x - y).abs()).sum() };
    let row = |x| y.chunks_exact(*dimension).map(move |y| between(x, y));
    let cost = x.chunks_exact(*dimension).flat_map(row).collect();
    Ok(Arrays { cost: Cost::Matrix(cost), ..pixels.clone() })
}

/// Uniform draw from the simplex.
pub(super) fn simplex_draw(seed: u64, n: usize) -> Vec<f64> {
    let mut random = Seeded::new(seed);
    normalized(random.draw(n, |random| -random.uniform().max(1e-300).ln()))
}

/// Lengths of shortest paths in a random graph, the median of them one: every vertex is joined to the one before and to
/// 2 log n others.
pub(super) fn graph_metric(seed: u64, n: usize) -> Arrays {
    let mut random = Seeded::new(seed);
    let mut neighbours: Vec<Vec<(usize, f64)>> = vec![Vec::new(); n];
    let degree = (2.0 * (n as f64).ln()).ceil() as usize;
    for vertex in 0..n {
        for edge in 0..degree {
            let other = if edge == 0 { (vertex + n - 1) % n } else { (random.uniform() * n as f64) as usize % n };
            let length = random.uniform();
            if other != vertex {
                neighbours[vertex].push((other, length));
                neighbours[other].push((vertex, length));
            }
        }
    }
    let mut cost: Vec<f64> = (0..n).flat_map(|vertex| shortest_paths(&neighbours, vertex)).collect();
    let mut sorted = cost.clone();
    sorted.sort_by(f64::total_cmp);
    let median = sorted[sorted.len() / 2];
    cost.iter_mut().for_each(|cost| *cost /= median);
    arrays(vec![1.0 / n as f64; n], vec![1.0 / n as f64; n], Cost::Matrix(cost))
}

/// Lengths from one vertex to all (Dijkstra 1959).
fn shortest_paths(neighbours: &[Vec<(usize, f64)>], from: usize) -> Vec<f64> {
    let mut lengths = vec![f64::INFINITY; neighbours.len()];
    lengths[from] = 0.0;
    // Bits of positive numbers are in the order of the numbers.
    let mut queue = BinaryHeap::from([Reverse((0_u64, from))]);
    while let Some(Reverse((bits, vertex))) = queue.pop() {
        let length = f64::from_bits(bits);
        if length > lengths[vertex] {
            continue;
        }
        for &(other, edge) in &neighbours[vertex] {
            if length + edge < lengths[other] {
                lengths[other] = length + edge;
                queue.push(Reverse(((length + edge).to_bits(), other)));
            }
        }
    }
    lengths
}
