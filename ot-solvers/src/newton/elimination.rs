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

/// How near a factor is to the matrix.
#[derive(Copy, Clone, Debug)]
pub(super) struct Fidelity {
    /// Up to this many neighbours the mesh is exact.
    pub(super) exact_degree: usize,
    /// Edges drawn for each neighbour of a larger star.
    pub(super) draws: usize,
}

impl Fidelity {
    /// For systems whose products cost little: a third of the price of a finer factor, for one step more in four.
    pub(super) const COARSE: Self = Self { exact_degree: 6, draws: 1 };
    /// For systems whose products cost much.
    pub(super) const FINE: Self = Self { exact_degree: 6, draws: 2 };
    /// For systems that are solved to many digits.
    pub(super) const FINEST: Self = Self { exact_degree: 256, draws: 2 };
}

/// Degrees from here on are eliminated as equals.
const LARGEST_DEGREE: usize = 4096;

impl Elimination {
    /// Eliminates all vertices of a graph; `ground` has a tie for each, not all zero in any component.
    pub(super) fn of(edges: &[(u32, u32, f64)], mut ground: Vec<f64>, fidelity: Fidelity) -> Self {
        let vertices = ground.len();
        let mut graph = Graph::new(vertices, edges);
        let mut factor = Self {
            order: Vec::with_capacity(vertices),
            starts: Vec::with_capacity(vertices + 1),
            to: Vec::with_capacity(edges.len()),
            weights: Vec::with_capacity(edges.len()),
            sums: Vec::with_capacity(vertices),
        };
        factor.starts.push(0);
        let (mut random, mut star, mut heavier) = (Random::new(0, 0, 0), Vec::new(), Vec::new());
        while let Some(vertex) = graph.take_least(&mut star) {
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
            if star.len() <= fidelity.exact_degree {
                graph.mesh(&star, sum);
            } else {
                graph.sampled_mesh(&mut star, sum, fidelity.draws, &mut random, &mut heavier);
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

/// The vertices that are left, with the edges of each in a list: some doubled, some to eliminated ones, until they are looked at.
struct Graph {
    /// The first edge of each vertex.
    first: Vec<u32>,
    edges: Vec<Edge>,
    /// The first of the edges that are free to be used again.
    free: u32,
    /// Edges of each vertex to those that are left, doubled ones counted twice: an upper bound of its degree.
    degrees: Vec<u32>,
    eliminated: Vec<bool>,
    /// Vertices by the degree that they had when they were put there: the last entry of each degree, and entries with the one
    /// before.
    by_degree: Vec<u32>,
    entries: Vec<(u32, u32)>,
    least: usize,
    /// Where a neighbour stands in the star that is being merged.
    place: Vec<u32>,
}

/// One end of an edge, and the next edge of the vertex at the other end.
struct Edge {
    to: u32,
    next: u32,
    weight: f64,
}

/// No place.
const NOWHERE: u32 = u32::MAX;

impl Graph {
    fn new(vertices: usize, edges: &[(u32, u32, f64)]) -> Self {
        let mut graph = Self {
            first: vec![NOWHERE; vertices],
            edges: Vec::with_capacity(2 * edges.len()),
            free: NOWHERE,
            degrees: vec![0; vertices],
            eliminated: vec![false; vertices],
            by_degree: vec![NOWHERE; LARGEST_DEGREE.min(vertices) + 1],
            entries: Vec::with_capacity(2 * vertices),
            least: 0,
            place: vec![NOWHERE; vertices],
        };
        edges.iter().for_each(|&(p, q, weight)| graph.join(p, q, weight));
        (0..vertices as u32).for_each(|vertex| graph.put(vertex));
        graph
    }

    /// Where a vertex belongs by its degree.
    fn level(&self, vertex: u32) -> usize {
        (self.degrees[vertex as usize] as usize).min(self.by_degree.len() - 1)
    }

    /// Puts a vertex where it belongs.
    fn put(&mut self, vertex: u32) {
        let level = self.level(vertex);
        self.entries.push((vertex, self.by_degree[level]));
        self.by_degree[level] = (self.entries.len() - 1) as u32;
        self.least = self.least.min(level);
    }

    /// Takes out a vertex of least degree, with its star: its neighbours that are left, each once.
    fn take_least(&mut self, star: &mut Vec<(u32, f64)>) -> Option<u32> {
        loop {
            let entry = *self.by_degree.get(self.least)?;
            if entry == NOWHERE {
                self.least += 1;
                continue;
            }
            let (vertex, before) = self.entries[entry as usize];
            self.by_degree[self.least] = before;
            // It may have been put elsewhere since.
            if !self.eliminated[vertex as usize] && self.level(vertex) == self.least {
                self.eliminated[vertex as usize] = true;
                self.take_star(vertex, star);
                return Some(vertex);
            }
        }
    }

    fn take_star(&mut self, vertex: u32, star: &mut Vec<(u32, f64)>) {
        star.clear();
        let mut at = std::mem::replace(&mut self.first[vertex as usize], NOWHERE);
        while at != NOWHERE {
            let Edge { to, next, weight } = self.edges[at as usize];
            self.edges[at as usize].next = std::mem::replace(&mut self.free, at);
            at = next;
            if self.eliminated[to as usize] {
                continue;
            }
            self.degrees[to as usize] -= 1;
            match self.place[to as usize] {
                NOWHERE => {
                    self.place[to as usize] = star.len() as u32;
                    star.push((to, weight));
                }
                place => star[place as usize].1 += weight,
            }
        }
        star.iter().for_each(|&(neighbour, _)| self.place[neighbour as usize] = NOWHERE);
    }

    fn join(&mut self, p: u32, q: u32, weight: f64) {
        if weight > 0.0 {
            self.add(p, q, weight);
            self.add(q, p, weight);
        }
    }

    /// Adds one end of an edge.
    fn add(&mut self, at: u32, to: u32, weight: f64) {
        let edge = Edge { to, next: self.first[at as usize], weight };
        self.degrees[at as usize] += 1;
        self.first[at as usize] = match self.free {
            NOWHERE => {
                self.edges.push(edge);
                (self.edges.len() - 1) as u32
            }
            free => {
                self.free = std::mem::replace(&mut self.edges[free as usize], edge).next;
                free
            }
        };
    }

    /// All edges between the neighbours of an eliminated vertex.
    fn mesh(&mut self, star: &[(u32, f64)], sum: f64) {
        for (index, &(p, of_p)) in star.iter().enumerate() {
            for &(q, of_q) in &star[index + 1..] {
                self.join(p, q, of_p * (of_q / sum));
            }
        }
    }

    /// Some of them, with the same mean. `heavier` is scratch.
    fn sampled_mesh(
        &mut self,
        star: &mut [(u32, f64)],
        sum: f64,
        draws: usize,
        random: &mut Random,
        heavier: &mut Vec<f64>,
    ) {
        star.sort_unstable_by(|p, q| p.1.total_cmp(&q.1).then(p.0.cmp(&q.0)));
        heavier.clear();
        heavier.resize(star.len() + 1, 0.0);
        for index in (0..star.len()).rev() {
            heavier[index] = heavier[index + 1] + star[index].1;
        }
        for index in 0..star.len() - 1 {
            let (p, of_p) = star[index];
            let all = heavier[index + 1];
            for _ in 0..draws {
                let drawn = random.uniform() * all;
                // The heavier neighbours stand behind; the sums of those from each on fall.
                let behind = heavier[index + 1..star.len()].partition_point(|&sum| sum > drawn);
                let (q, _) = star[index + behind.max(1)];
                self.join(p, q, of_p * (all / sum) / draws as f64);
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
        Elimination::of(&edges, ground, Fidelity::FINE).solve(&mut solved);
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
        Elimination::of(&edges, ground, Fidelity::FINE).solve(&mut solved);
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
        for fidelity in [Fidelity::COARSE, Fidelity::FINE] {
            let factor = Elimination::of(&edges, ground.clone(), fidelity);
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
            assert_eq!(Elimination::of(&edges, ground.clone(), fidelity).weights, factor.weights);
        }
    }
}
