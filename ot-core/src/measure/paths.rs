//! Shortest paths along edges (Dijkstra 1959).

use std::{cmp::Reverse, collections::BinaryHeap};

/// Edges with lengths, seen from either end.
#[derive(Clone, Debug)]
pub(super) struct Adjacency {
    starts: Vec<usize>,
    neighbours: Vec<(u32, f64)>,
}

impl Adjacency {
    /// Of edges (i, j, length) between `vertices` vertices.
    pub(super) fn new(vertices: usize, edges: impl Iterator<Item = ([u32; 2], f64)> + Clone) -> Self {
        let mut starts = vec![0; vertices + 1];
        for ([i, j], _) in edges.clone() {
            starts[i as usize + 1] += 1;
            starts[j as usize + 1] += 1;
        }
        for vertex in 0..vertices {
            starts[vertex + 1] += starts[vertex];
        }
        let mut next = starts.clone();
        let mut neighbours = vec![(0, 0.0); starts[vertices]];
        for ([i, j], length) in edges {
            for (from, to) in [(i, j), (j, i)] {
                neighbours[next[from as usize]] = (to, length);
                next[from as usize] += 1;
            }
        }
        Self { starts, neighbours }
    }

    /// The length of the shortest path from any of the sources to each vertex, infinite where there is none.
    /// O(edges log vertices).
    pub(super) fn distances(&self, sources: &[u32]) -> Vec<f64> {
        let mut distances = vec![f64::INFINITY; self.starts.len() - 1];
        // Distances are not negative, so that their bits are ordered as they are.
        let mut queue = BinaryHeap::new();
        for &source in sources {
            distances[source as usize] = 0.0;
            queue.push(Reverse((0.0_f64.to_bits(), source)));
        }
        while let Some(Reverse((bits, vertex))) = queue.pop() {
            let (distance, vertex) = (f64::from_bits(bits), vertex as usize);
            if distance > distances[vertex] {
                continue;
            }
            for &(neighbour, length) in &self.neighbours[self.starts[vertex]..self.starts[vertex + 1]] {
                let through = distance + length;
                if through < distances[neighbour as usize] {
                    distances[neighbour as usize] = through;
                    queue.push(Reverse((through.to_bits(), neighbour)));
                }
            }
        }
        distances
    }
}
