//! An approximate Cholesky factor of a graph Laplacian with ties to the ground.
//!
//! Vertices are eliminated by least degree. A vertex of neighbours q with edges w_q and the sum d of its edges and its tie
//! leaves an edge w_p w_q / d between each two neighbours (star to mesh), and each neighbour tied by w_q w_ground / d. Of a
//! vertex with many neighbours the mesh is sampled: each neighbour, the lightest first, keeps edges to some heavier ones,
//! drawn by their weight, with the mesh as their mean (Kyng, Sachdeva 2016). Only positive numbers are added, so that graphs
//! with weights over twenty decades keep their relative accuracy. Draws come from a fixed seed: the same graph has the
//! same factor.

use crate::stochastic::Random;

/// The factor: for each eliminated vertex its edges to those that were left, and its sum.
#[derive(Debug)]
pub(super) struct Elimination {
    order: Vec<u32>,
    starts: Vec<usize>,
    to: Vec<u32>,
    weights: Vec<f64>,
    sums: Vec<f64>,
}

/// Up to this many neighbours the mesh is exact, for directions that need few digits.
pub(super) const EXACT_DEGREE: usize = 6;
/// Edges drawn for each neighbour of a larger star.
const DRAWS: usize = 2;
/// Degrees from here on are eliminated as equals.
const LARGEST_DEGREE: usize = 4096;

impl Elimination {
    /// Eliminates all vertices of a graph; `ground` has a tie for each, not all zero in any component. Stars of up to
    /// `exact_degree` neighbours are eliminated exactly.
    pub(super) fn of(edges: &[(u32, u32, f64)], mut ground: Vec<f64>, exact_degree: usize) -> Self {
        let vertices = ground.len();
        let mut graph = Graph::new(vertices, edges);
        let mut factor = Self {
            order: Vec::with_capacity(vertices),
            starts: vec![0],
            to: Vec::new(),
            weights: Vec::new(),
            sums: Vec::with_capacity(vertices),
        };
        let mut draws = Random::new(0, 0, 0);
        while let Some((vertex, mut star)) = graph.take_least() {
            let sum = star.iter().map(|(_, weight)| weight).sum::<f64>() + ground[vertex as usize];
            let sum = sum.max(f64::MIN_POSITIVE);
            for &(neighbour, weight) in &star {
                ground[neighbour as usize] += weight * (ground[vertex as usize] / sum);
                factor.to.push(neighbour);
                factor.weights.push(weight);
            }
            factor.starts.push(factor.to.len());
            factor.order.push(vertex);
            factor.sums.push(sum);
            if star.len() <= exact_degree {
                graph.mesh(&star, sum);
            } else {
                graph.sampled_mesh(&mut star, sum, &mut draws);
            }
            graph.count(&star);
        }
        factor
    }

    /// Solves in place with the factor and its transpose.
    pub(super) fn solve(&self, values: &mut [f64]) {
        for (step, &vertex) in self.order.iter().enumerate() {
            let share = values[vertex as usize] / self.sums[step];
            for edge in self.starts[step]..self.starts[step + 1] {
                values[self.to[edge] as usize] += self.weights[edge] * share;
            }
        }
        for (step, &vertex) in self.order.iter().enumerate().rev() {
            let edges = self.starts[step]..self.starts[step + 1];
            let pushed: f64 = edges.map(|edge| self.weights[edge] * values[self.to[edge] as usize]).sum();
            values[vertex as usize] = (values[vertex as usize] + pushed) / self.sums[step];
        }
    }
}

/// The vertices that are left, with the edges of each: some doubled, some to eliminated ones, until they are looked at.
struct Graph {
    edges: Vec<Vec<(u32, f64)>>,
    eliminated: Vec<bool>,
    /// Vertices by the degree that they had when they were put there.
    by_degree: Vec<Vec<u32>>,
    least: usize,
    /// Where a neighbour stands in the list that is being merged.
    place: Vec<u32>,
}

/// No place.
const NOWHERE: u32 = u32::MAX;

impl Graph {
    fn new(vertices: usize, edges: &[(u32, u32, f64)]) -> Self {
        let mut of_vertex = vec![Vec::new(); vertices];
        for &(p, q, weight) in edges {
            of_vertex[p as usize].push((q, weight));
            of_vertex[q as usize].push((p, weight));
        }
        let mut graph = Self {
            edges: of_vertex,
            eliminated: vec![false; vertices],
            by_degree: vec![Vec::new(); LARGEST_DEGREE.min(vertices) + 1],
            least: 0,
            place: vec![NOWHERE; vertices],
        };
        (0..vertices as u32).for_each(|vertex| graph.put(vertex));
        graph
    }

    /// Puts a vertex where its number of edges belongs, an upper bound of its degree.
    fn put(&mut self, vertex: u32) {
        let degree = self.edges[vertex as usize].len().min(self.by_degree.len() - 1);
        self.by_degree[degree].push(vertex);
        self.least = self.least.min(degree);
    }

    /// Takes out a vertex of least degree, with its star.
    fn take_least(&mut self) -> Option<(u32, Vec<(u32, f64)>)> {
        loop {
            let Some(vertex) = self.by_degree.get_mut(self.least)?.pop() else {
                self.least += 1;
                continue;
            };
            if self.eliminated[vertex as usize] {
                continue;
            }
            // It may have got more edges since it was put there.
            let star = self.merged(vertex);
            if star.len().min(self.by_degree.len() - 1) > self.least {
                self.edges[vertex as usize] = star;
                self.put(vertex);
                continue;
            }
            self.eliminated[vertex as usize] = true;
            return Some((vertex, star));
        }
    }

    /// The edges of a vertex to those that are left, each neighbour once.
    fn merged(&mut self, vertex: u32) -> Vec<(u32, f64)> {
        let edges = std::mem::take(&mut self.edges[vertex as usize]);
        let mut merged: Vec<(u32, f64)> = Vec::with_capacity(edges.len());
        for (neighbour, weight) in edges {
            if self.eliminated[neighbour as usize] {
                continue;
            }
            match self.place[neighbour as usize] {
                NOWHERE => {
                    self.place[neighbour as usize] = merged.len() as u32;
                    merged.push((neighbour, weight));
                }
                place => merged[place as usize].1 += weight,
            }
        }
        merged.iter().for_each(|&(neighbour, _)| self.place[neighbour as usize] = NOWHERE);
        merged
    }

    fn join(&mut self, p: u32, q: u32, weight: f64) {
        if weight > 0.0 {
            self.edges[p as usize].push((q, weight));
            self.edges[q as usize].push((p, weight));
        }
    }

    /// All edges between the neighbours of an eliminated vertex.
    fn mesh(&mut self, star: &[(u32, f64)], sum: f64) {
        for (index, &(p, of_p)) in star.iter().enumerate() {
            for &(q, of_q) in &star[index + 1..] {
                self.join(p, q, of_p * (of_q / sum));
            }
        }
    }

    /// Some of them, with the same mean.
    fn sampled_mesh(&mut self, star: &mut [(u32, f64)], sum: f64, draws: &mut Random) {
        star.sort_by(|p, q| p.1.total_cmp(&q.1).then(p.0.cmp(&q.0)));
        let mut heavier = vec![0.0; star.len() + 1];
        for index in (0..star.len()).rev() {
            heavier[index] = heavier[index + 1] + star[index].1;
        }
        for index in 0..star.len() - 1 {
            let (p, of_p) = star[index];
            let all = heavier[index + 1];
            for _ in 0..DRAWS {
                let drawn = draws.uniform() * all;
                // The heavier neighbours stand behind; the sums of those from each on fall.
                let behind = heavier[index + 1..star.len()].partition_point(|&sum| sum > drawn);
                let (q, _) = star[index + behind.max(1)];
                self.join(p, q, of_p * (all / sum) / DRAWS as f64);
            }
        }
    }

    /// Sorts the neighbours of an eliminated vertex anew.
    fn count(&mut self, star: &[(u32, f64)]) {
        star.iter().for_each(|&(neighbour, _)| self.put(neighbour));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The Laplacian of a graph times a vector.
    fn product(edges: &[(u32, u32, f64)], ground: &[f64], x: &[f64]) -> Vec<f64> {
        let mut out: Vec<f64> = ground.iter().zip(x).map(|(ground, x)| ground * x).collect();
        for &(p, q, weight) in edges {
            out[p as usize] += weight * (x[p as usize] - x[q as usize]);
            out[q as usize] += weight * (x[q as usize] - x[p as usize]);
        }
        out
    }

    #[test]
    fn a_tree_is_eliminated_exactly() {
        // A tree has no mesh beyond the exact degree that is not a single edge.
        let edges: Vec<(u32, u32, f64)> =
            (1..200).map(|vertex| (vertex, (vertex - 1) / 3, 10.0_f64.powi(-(vertex as i32 % 5)))).collect();
        let mut ground = vec![0.0; 200];
        ground[7] = 1e-3;
        let x: Vec<f64> = (0..200).map(|vertex| f64::from(vertex % 11) - 4.0).collect();
        let mut solved = product(&edges, &ground, &x);
        Elimination::of(&edges, ground, EXACT_DEGREE).solve(&mut solved);
        for (solved, x) in solved.iter().zip(&x) {
            assert!((solved - x).abs() < 1e-9, "{solved} {x}");
        }
    }

    #[test]
    fn small_degrees_are_eliminated_exactly() {
        // A ring with chords over half of it: no star exceeds the exact degree before few vertices are left.
        let edges: Vec<(u32, u32, f64)> = (0..12).map(|p| (p, (p + 1) % 12, 1.0 + f64::from(p))).collect();
        let ground = vec![0.25; 12];
        let x: Vec<f64> = (0..12).map(|vertex| f64::from(vertex).sin()).collect();
        let mut solved = product(&edges, &ground, &x);
        Elimination::of(&edges, ground, EXACT_DEGREE).solve(&mut solved);
        assert!(solved.iter().zip(&x).all(|(solved, x)| (solved - x).abs() < 1e-12));
    }

    #[test]
    fn a_sampled_factor_is_near_the_matrix() {
        // A dense graph: the preconditioned matrix has its eigenvalues within a small range, so that the quadratic forms
        // of random vectors agree up to a factor.
        let mut draws = Random::new(7, 0, 0);
        let mut edges = Vec::new();
        for p in 0..60_u32 {
            edges.extend((0..p).map(|q| (p, q, 0.1 + draws.uniform())).collect::<Vec<_>>());
        }
        let ground = vec![0.01; 60];
        let factor = Elimination::of(&edges, ground.clone(), EXACT_DEGREE);
        for _ in 0..20 {
            let x: Vec<f64> = (0..60).map(|_| draws.uniform() - 0.5).collect();
            let mut solved = product(&edges, &ground, &x);
            let energy: f64 = solved.iter().zip(&x).map(|(product, x)| product * x).sum();
            let image = solved.clone();
            factor.solve(&mut solved);
            let preconditioned: f64 = solved.iter().zip(&image).map(|(solved, image)| solved * image).sum();
            let ratio = preconditioned / energy;
            assert!((0.2..5.0).contains(&ratio), "{ratio}");
        }
        assert_eq!(Elimination::of(&edges, ground, EXACT_DEGREE).weights, factor.weights);
    }
}
