//! A measure on the vertices of a mesh or a graph.

use std::{borrow::Cow, fmt};

use super::{Graph, Measure, Support, TriangleMesh, WeightsView, components::Components, weights::Weights};
use crate::{error::Error, scalar::Scalar};

/// What has vertices: a mesh or a graph.
#[derive(Clone, Debug, PartialEq)]
pub enum Vertices {
    /// The vertices of a surface.
    Mesh(TriangleMesh),
    /// The vertices of a graph.
    Graph(Graph),
}

impl Vertices {
    /// The number of vertices, at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is at least one vertex")]
    pub fn len(&self) -> usize {
        match self {
            Self::Mesh(mesh) => mesh.len(),
            Self::Graph(graph) => graph.len(),
        }
    }

    /// The vertices that are joined by edges.
    #[must_use]
    pub fn components(&self) -> &Components {
        match self {
            Self::Mesh(mesh) => mesh.components(),
            Self::Graph(graph) => graph.components(),
        }
    }

    /// The vertices as the support of a measure.
    #[must_use]
    pub fn support<T>(&self) -> Support<'_, T> {
        match self {
            Self::Mesh(mesh) => Support::Mesh(mesh),
            Self::Graph(graph) => Support::Graph(graph),
        }
    }
}

impl From<&TriangleMesh> for Vertices {
    fn from(mesh: &TriangleMesh) -> Self {
        Self::Mesh(mesh.clone())
    }
}

impl From<&Graph> for Vertices {
    fn from(graph: &Graph) -> Self {
        Self::Graph(graph.clone())
    }
}

impl From<&Vertices> for Vertices {
    fn from(vertices: &Vertices) -> Self {
        vertices.clone()
    }
}

/// Weights of the vertices of a mesh or a graph, owned or borrowed, valid by construction.
///
/// A weight is the mass of its vertex, not a density: that of a uniform density on a surface is the area around each vertex.
///
/// ```
/// use ot_core::{Graph, Measure, VertexHistogram};
///
/// let path = Graph::new(3, vec![([0, 1], 1.0), ([1, 2], 1.0)])?;
/// let histogram = VertexHistogram::new(&path, vec![0.0, 1.0, 3.0])?.normalized();
/// assert_eq!(histogram.weights_view().values(), [0.0, 0.25, 0.75]);
/// assert_eq!(histogram.support().kind(), "graph");
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct VertexHistogram<'a, T: Scalar> {
    vertices: Vertices,
    weights: Weights<'a, T>,
}

impl<'a, T: Scalar> VertexHistogram<'a, T> {
    /// One histogram: a weight for each vertex.
    ///
    /// # Errors
    /// [`Error::Length`] unless there are as many weights as vertices; [`Error::Weight`] for a weight that is negative or
    /// not finite; [`Error::Mass`] for a mass that is not positive, or beyond the element type.
    pub fn new(vertices: impl Into<Vertices>, weights: impl Into<Cow<'a, [T]>>) -> Result<Self, Error> {
        Self::batch(vertices, weights, 1)
    }

    /// Several histograms: `columns` times n weights, histogram after histogram.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`Error::EmptyBatch`] without columns.
    pub fn batch(
        vertices: impl Into<Vertices>,
        weights: impl Into<Cow<'a, [T]>>,
        columns: usize,
    ) -> Result<Self, Error> {
        let (vertices, weights) = (vertices.into(), weights.into());
        if columns == 0 {
            return Err(Error::EmptyBatch);
        }
        let (expected, found) = (vertices.len().saturating_mul(columns), weights.len());
        if expected != found {
            return Err(Error::Length { what: "weights of the vertices", expected, found });
        }
        Ok(Self { vertices, weights: Weights::new(weights, columns)? })
    }

    /// Weights 1/n on the n vertices.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn uniform(vertices: impl Into<Vertices>) -> Result<Self, Error> {
        let vertices = vertices.into();
        Ok(Self { weights: Weights::uniform(vertices.len())?, vertices })
    }

    /// The measure of mass zero, which only penalties that let all mass go take for a partner.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn without_mass(vertices: impl Into<Vertices>) -> Result<Self, Error> {
        let vertices = vertices.into();
        Ok(Self { weights: Weights::without_mass(vertices.len())?, vertices })
    }

    /// What the vertices are of.
    #[must_use]
    pub fn vertices(&self) -> &Vertices {
        &self.vertices
    }

    /// The weights.
    #[must_use]
    pub fn weights_view(&self) -> WeightsView<'_, T> {
        self.weights.view()
    }

    /// The same histogram, owning what it borrowed.
    #[must_use]
    pub fn into_owned(self) -> VertexHistogram<'static, T> {
        VertexHistogram { vertices: self.vertices, weights: self.weights.into_owned() }
    }

    /// The same histogram with mass one in every column.
    #[must_use]
    pub fn normalized(self) -> Self {
        Self { vertices: self.vertices, weights: self.weights.normalized() }
    }
}

impl<T: Scalar> Measure<T> for VertexHistogram<'_, T> {
    fn support(&self) -> Support<'_, T> {
        self.vertices.support()
    }

    fn weights(&self) -> Option<WeightsView<'_, T>> {
        Some(self.weights_view())
    }
}

impl<T: Scalar> fmt::Debug for VertexHistogram<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("VertexHistogram")
            .field("vertices", &self.vertices)
            .field("weights", &self.weights_view())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vertices_are_a_support() -> Result<(), Error> {
        let triangle = TriangleMesh::new(vec![[0.0; 3], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], vec![[0, 1, 2]])?;
        let batch = VertexHistogram::batch(&triangle, vec![1.0_f64, 0.0, 1.0, 0.0, 4.0, 0.0], 2)?;
        assert_eq!((batch.support().len(), batch.support().kind()), (Some(3), "mesh"));
        assert!(batch.support().is_same(&Support::Mesh(&triangle)) && batch.support().points()?.is_none());
        let graph = Graph::new(3, vec![])?;
        assert!(!batch.support().is_same(&Support::Graph(&graph)));
        assert_eq!(batch.normalized().weights_view().column(0), [0.5, 0.0, 0.5]);
        let length = Error::Length { what: "weights of the vertices", expected: 3, found: 2 };
        assert_eq!(VertexHistogram::new(&graph, vec![1.0, 1.0]).err(), Some(length));
        let nan = VertexHistogram::new(&graph, vec![1.0, f64::NAN, 0.0]).err();
        assert!(matches!(nan, Some(Error::Weight { index: 1, column: 0, .. })));
        Ok(())
    }
}
