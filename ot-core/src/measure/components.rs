//! Connected components of vertices.

/// Which vertices are joined by edges, directly or by way of others.
///
/// ```
/// use ot_core::measure::Components;
///
/// let components = Components::of_edges(5, [[0, 3], [3, 1]]);
/// assert_eq!(components.count(), 3);
/// assert_eq!(components.of_vertices(), [0, 0, 1, 0, 2]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Components {
    of_vertices: Vec<u32>,
    first: Vec<u32>,
}

impl Components {
    /// The components of vertices 0, ..., `vertices` - 1 under edges between them, numbered in the order of their first
    /// vertices. Edges to other vertices count nothing. Nearly linear.
    #[must_use]
    pub fn of_edges(vertices: usize, edges: impl IntoIterator<Item = [u32; 2]>) -> Self {
        let mut parents: Vec<u32> = (0..vertices as u32).collect();
        for [i, j] in edges {
            if (i.max(j) as usize) < vertices {
                let (i, j) = (root(&mut parents, i), root(&mut parents, j));
                // The smaller index is the root, so that a root comes before its vertices.
                parents[i.max(j) as usize] = i.min(j);
            }
        }
        let (mut of_vertices, mut first) = (vec![0; vertices], Vec::new());
        for vertex in 0..vertices as u32 {
            let root = root(&mut parents, vertex);
            if root == vertex {
                of_vertices[vertex as usize] = first.len() as u32;
                first.push(vertex);
            } else {
                of_vertices[vertex as usize] = of_vertices[root as usize];
            }
        }
        Self { of_vertices, first }
    }

    /// The number of components.
    #[must_use]
    pub fn count(&self) -> usize {
        self.first.len()
    }

    /// The component of each vertex.
    #[must_use]
    pub fn of_vertices(&self) -> &[u32] {
        &self.of_vertices
    }

    /// The first vertex of each component.
    #[must_use]
    pub fn first_vertices(&self) -> &[u32] {
        &self.first
    }

    /// Sums over the vertices of each component.
    #[must_use]
    pub fn sums(&self, values: impl IntoIterator<Item = f64>) -> Vec<f64> {
        let mut sums = vec![0.0; self.count()];
        for (&component, value) in self.of_vertices.iter().zip(values) {
            sums[component as usize] += value;
        }
        sums
    }
}

/// The root of a vertex; paths are halved on the way.
fn root(parents: &mut [u32], mut vertex: u32) -> u32 {
    while parents[vertex as usize] != vertex {
        let above = parents[parents[vertex as usize] as usize];
        parents[vertex as usize] = above;
        vertex = above;
    }
    vertex
}
