//! Weighted graphs, whose vertices carry measures.

use std::{fmt, sync::Arc};

use super::{components::Components, mesh::check_sources, paths::Adjacency};
use crate::error::Error;

/// An undirected graph with weights of its edges and masses of its vertices, valid by construction.
///
/// The weight of an edge says how readily heat passes: the Laplacian is (L u)_i = sum_j w_ij (u_i - u_j). Parallel edges add
/// up, an edge of weight zero joins nothing, and a loop carries nothing. Vertices have mass one, unless
/// [`with_masses`](Self::with_masses) says otherwise. Cloning shares everything.
///
/// ```
/// use ot_core::Graph;
///
/// let path = Graph::new(4, vec![([0, 1], 1.0), ([1, 2], 4.0)])?;
/// assert_eq!((path.len(), path.components().count()), (4, 2));
/// // A weight of 1 / h^2 is that of neighbours h apart.
/// let distances = path.shortest_paths(&[0], |weight| 1.0 / weight.sqrt())?;
/// assert_eq!(distances, [0.0, 1.0, 1.5, f64::INFINITY]);
/// assert!(Graph::new(2, vec![([0, 1], -1.0)]).is_err());
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Graph {
    data: Arc<Data>,
}

#[derive(Clone, PartialEq)]
struct Data {
    edges: Vec<([u32; 2], f64)>,
    masses: Vec<f64>,
    components: Components,
}

impl Graph {
    /// A graph of `vertices` vertices, at least one, and edges with their weights.
    ///
    /// # Errors
    /// [`Error::EmptyMeasure`] without vertices; [`Error::VertexIndex`]; [`Error::EdgeWeight`] for a weight that is negative
    /// or not finite.
    pub fn new(vertices: usize, edges: Vec<([u32; 2], f64)>) -> Result<Self, Error> {
        if vertices == 0 {
            return Err(Error::EmptyMeasure);
        }
        for (element, (ends, weight)) in edges.iter().enumerate() {
            if let Some(&index) = ends.iter().find(|index| **index as usize >= vertices) {
                return Err(Error::VertexIndex { what: "edge", element, index, vertices });
            }
            if !(weight.is_finite() && *weight >= 0.0) {
                return Err(Error::EdgeWeight { edge: element, ends: *ends, weight: *weight });
            }
        }
        let joining = edges.iter().filter(|(_, weight)| *weight > 0.0).map(|(ends, _)| *ends);
        let components = Components::of_edges(vertices, joining);
        Ok(Self { data: Arc::new(Data { edges, masses: vec![1.0; vertices], components }) })
    }

    /// The same graph with masses of its vertices: with those of the degrees, heat walks at random.
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::Parameter`] for a mass that is not finite and positive.
    pub fn with_masses(self, masses: Vec<f64>) -> Result<Self, Error> {
        let (expected, found) = (self.len(), masses.len());
        if expected != found {
            return Err(Error::Length { what: "masses of the vertices", expected, found });
        }
        if let Some(&value) = masses.iter().find(|mass| !(mass.is_finite() && **mass > 0.0)) {
            return Err(Error::Parameter { name: "the mass of a vertex", value, expected: "a finite number > 0" });
        }
        Ok(Self { data: Arc::new(Data { masses, ..Arc::unwrap_or_clone(self.data) }) })
    }

    /// The number of vertices, at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a graph has at least one vertex")]
    pub fn len(&self) -> usize {
        self.data.masses.len()
    }

    /// The edges with their weights, as given.
    #[must_use]
    pub fn edges(&self) -> &[([u32; 2], f64)] {
        &self.data.edges
    }

    /// The masses of the vertices.
    #[must_use]
    pub fn masses(&self) -> &[f64] {
        &self.data.masses
    }

    /// The vertices that are joined by edges of positive weight.
    #[must_use]
    pub fn components(&self) -> &Components {
        &self.data.components
    }

    /// The length of the shortest path from any of the sources to each vertex, infinite where there is none, for edges whose
    /// length is a function of their weight. Edges of weight zero are no way.
    ///
    /// # Errors
    /// [`Error::VertexIndex`] for a source that is no vertex; [`Error::Parameter`] for a length that is negative or not
    /// finite.
    pub fn shortest_paths(&self, sources: &[u32], length: impl Fn(f64) -> f64) -> Result<Vec<f64>, Error> {
        check_sources(sources, self.len())?;
        let ways = self.edges().iter().filter(|(_, weight)| *weight > 0.0);
        let lengths: Vec<_> = ways.map(|&(ends, weight)| (ends, length(weight))).collect();
        if let Some(&(_, value)) = lengths.iter().find(|(_, length)| !(length.is_finite() && *length >= 0.0)) {
            return Err(Error::Parameter { name: "the length of an edge", value, expected: "a finite number >= 0" });
        }
        Ok(Adjacency::new(self.len(), lengths.into_iter()).distances(sources))
    }
}

/// The same vertices, edges and masses.
impl PartialEq for Graph {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.data, &other.data) || self.data == other.data
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Graph").field("vertices", &self.len()).field("edges", &self.edges().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_graph_is_refused() {
        assert_eq!(Graph::new(0, vec![]).err(), Some(Error::EmptyMeasure));
        let outside = Error::VertexIndex { what: "edge", element: 0, index: 2, vertices: 2 };
        assert_eq!(Graph::new(2, vec![([0, 2], 1.0)]).err(), Some(outside));
        let negative = Error::EdgeWeight { edge: 1, ends: [1, 0], weight: -0.5 };
        assert_eq!(Graph::new(2, vec![([0, 1], 1.0), ([1, 0], -0.5)]).err(), Some(negative));
        for weight in [f64::NAN, f64::INFINITY] {
            assert!(matches!(Graph::new(2, vec![([0, 1], weight)]).err(), Some(Error::EdgeWeight { .. })));
        }
        let pair = Graph::new(2, vec![]).and_then(|graph| graph.with_masses(vec![1.0, 0.0]));
        assert!(matches!(pair, Err(Error::Parameter { .. })));
    }

    #[test]
    fn weights_of_zero_join_nothing() -> Result<(), Error> {
        let graph = Graph::new(3, vec![([0, 1], 0.0), ([1, 2], 1.0), ([2, 2], 3.0)])?;
        assert_eq!(graph.components().of_vertices(), [0, 1, 1]);
        assert!(graph.shortest_paths(&[2], |_| 1.0)?[0].is_infinite());
        Ok(())
    }
}
