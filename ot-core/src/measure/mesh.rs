//! Triangle meshes: surfaces in space, whose vertices carry measures.

use std::{collections::HashMap, fmt, sync::Arc};

use super::{components::Components, paths::Adjacency};
use crate::error::Error;

/// A triangulated surface, valid by construction: coordinates are finite, each triangle has three different vertices, and
/// no edge has more than two triangles.
///
/// The surface may have boundaries and several components, need not be orientable, and its triangles need not be oriented
/// alike. Vertices that stand at the same place are different vertices, and a surface is cut where they are the corners of
/// a seam: [`welded`](Self::welded) joins them. Cloning shares everything.
///
/// ```
/// use ot_core::TriangleMesh;
///
/// let square = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]];
/// let mesh = TriangleMesh::new(square.to_vec(), vec![[0, 1, 2], [0, 2, 3]])?;
/// assert_eq!((mesh.len(), mesh.edges().len(), mesh.components().count()), (4, 5, 1));
/// assert_eq!(mesh.shortest_paths(&[1])?, [1.0, 0.0, 1.0, 2.0]);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone)]
pub struct TriangleMesh {
    data: Arc<Data>,
}

#[derive(PartialEq)]
struct Data {
    vertices: Vec<[f64; 3]>,
    triangles: Vec<[u32; 3]>,
    edges: Vec<[u32; 2]>,
    components: Components,
}

impl TriangleMesh {
    /// A mesh of vertices and triangles.
    ///
    /// # Errors
    /// [`Error::EmptyMeasure`] without vertices; [`Error::Coordinate`] for one that is not finite; [`Error::VertexIndex`];
    /// [`Error::DegenerateTriangle`] for a triangle that has a vertex twice; [`Error::NonManifoldEdge`] for an edge of more
    /// than two triangles.
    pub fn new(vertices: Vec<[f64; 3]>, triangles: Vec<[u32; 3]>) -> Result<Self, Error> {
        if vertices.is_empty() {
            return Err(Error::EmptyMeasure);
        }
        for (point, position) in vertices.iter().enumerate() {
            if let Some(axis) = position.iter().position(|x| !x.is_finite()) {
                return Err(Error::Coordinate { point, axis, value: position[axis] });
            }
        }
        let mut count: HashMap<[u32; 2], u32> = HashMap::with_capacity(triangles.len() * 3 / 2);
        let mut edges = Vec::with_capacity(triangles.len() * 3 / 2);
        for (triangle, corners) in triangles.iter().enumerate() {
            for &index in corners {
                if index as usize >= vertices.len() {
                    let (element, vertices) = (triangle, vertices.len());
                    return Err(Error::VertexIndex { what: "triangle", element, index, vertices });
                }
            }
            let [i, j, k] = *corners;
            if i == j || j == k || k == i {
                return Err(Error::DegenerateTriangle { triangle, corners: *corners });
            }
            for edge in [[i, j], [j, k], [k, i]].map(sorted) {
                let count = count.entry(edge).or_insert(0);
                *count += 1;
                match *count {
                    1 => edges.push(edge),
                    2 => {}
                    triangles => return Err(Error::NonManifoldEdge { edge, triangles }),
                }
            }
        }
        let components = Components::of_edges(vertices.len(), edges.iter().copied());
        Ok(Self { data: Arc::new(Data { vertices, triangles, edges, components }) })
    }

    /// The same surface with one vertex in the place of all that share a position, and for each old vertex the new one.
    /// Triangles that lose a corner by it are left out.
    ///
    /// # Errors
    /// [`Error::NonManifoldEdge`] where sheets meet that were apart.
    pub fn welded(&self) -> Result<(Self, Vec<u32>), Error> {
        let (mut places, mut vertices) = (HashMap::new(), Vec::new());
        let mut place = |&position: &[f64; 3]| {
            // Zeros of either sign are the same place.
            *places.entry(position.map(|x| (x + 0.0).to_bits())).or_insert_with(|| {
                vertices.push(position);
                vertices.len() as u32 - 1
            })
        };
        let map: Vec<u32> = self.data.vertices.iter().map(&mut place).collect();
        let triangles = self.data.triangles.iter().map(|corners| corners.map(|corner| map[corner as usize]));
        let triangles = triangles.filter(|[i, j, k]| i != j && j != k && k != i).collect();
        Ok((Self::new(vertices, triangles)?, map))
    }

    /// The number of vertices, at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a mesh has at least one vertex")]
    pub fn len(&self) -> usize {
        self.data.vertices.len()
    }

    /// The positions of the vertices.
    #[must_use]
    pub fn vertices(&self) -> &[[f64; 3]] {
        &self.data.vertices
    }

    /// The corners of the triangles.
    #[must_use]
    pub fn triangles(&self) -> &[[u32; 3]] {
        &self.data.triangles
    }

    /// Each edge once, the smaller index first, in the order in which triangles name them.
    #[must_use]
    pub fn edges(&self) -> &[[u32; 2]] {
        &self.data.edges
    }

    /// The vertices that are joined by edges.
    #[must_use]
    pub fn components(&self) -> &Components {
        &self.data.components
    }

    /// The distance between two vertices in space.
    #[must_use]
    pub fn distance(&self, i: u32, j: u32) -> f64 {
        let [x, y] = [i, j].map(|vertex| self.data.vertices[vertex as usize]);
        (x[0] - y[0]).hypot(x[1] - y[1]).hypot(x[2] - y[2])
    }

    /// The length of the shortest path along edges from any of the sources to each vertex, infinite where there is none:
    /// never less than the geodesic distance, and on a regular mesh up to some ten percent more, however fine it is.
    ///
    /// # Errors
    /// [`Error::VertexIndex`] for a source that is no vertex.
    pub fn shortest_paths(&self, sources: &[u32]) -> Result<Vec<f64>, Error> {
        check_sources(sources, self.len())?;
        let lengths = self.edges().iter().map(|&[i, j]| ([i, j], self.distance(i, j)));
        Ok(Adjacency::new(self.len(), lengths).distances(sources))
    }
}

/// Are these vertices?
pub(super) fn check_sources(sources: &[u32], vertices: usize) -> Result<(), Error> {
    let none = sources.iter().position(|&index| index as usize >= vertices);
    none.map_or(Ok(()), |element| {
        Err(Error::VertexIndex { what: "source", element, index: sources[element], vertices })
    })
}

/// The smaller index first.
pub(super) fn sorted([i, j]: [u32; 2]) -> [u32; 2] {
    [i.min(j), i.max(j)]
}

/// The same vertices and triangles.
impl PartialEq for TriangleMesh {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.data, &other.data) || self.data == other.data
    }
}

impl fmt::Debug for TriangleMesh {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TriangleMesh")
            .field("vertices", &self.len())
            .field("triangles", &self.triangles().len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corners(count: usize) -> Vec<[f64; 3]> {
        (0..count).map(|i| [i as f64, (i * i) as f64, 0.0]).collect()
    }

    #[test]
    fn what_is_no_surface_is_refused() {
        let mesh = |triangles: &[[u32; 3]]| TriangleMesh::new(corners(5), triangles.to_vec()).err();
        assert_eq!(TriangleMesh::new(vec![], vec![]).err(), Some(Error::EmptyMeasure));
        assert_eq!(
            mesh(&[[0, 1, 5]]),
            Some(Error::VertexIndex { what: "triangle", element: 0, index: 5, vertices: 5 })
        );
        let degenerate = Error::DegenerateTriangle { triangle: 1, corners: [3, 1, 3] };
        assert_eq!(mesh(&[[0, 1, 2], [3, 1, 3]]), Some(degenerate));
        let fin = Error::NonManifoldEdge { edge: [0, 1], triangles: 3 };
        assert_eq!(mesh(&[[0, 1, 2], [1, 0, 3], [0, 1, 4]]), Some(fin));
        let nan = TriangleMesh::new(vec![[0.0, f64::NAN, 0.0]], vec![]).err();
        assert!(matches!(nan, Some(Error::Coordinate { point: 0, axis: 1, .. })));
    }

    #[test]
    fn seams_are_welded() -> Result<(), Error> {
        let square = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [-0.0, 0.0], [1.0, 1.0], [0.0, 1.0]];
        let vertices = square.map(|[x, y]| [x, y, 0.0]).to_vec();
        let mesh = TriangleMesh::new(vertices, vec![[0, 1, 2], [3, 4, 5]])?;
        assert_eq!(mesh.components().count(), 2);
        let (welded, map) = mesh.welded()?;
        assert_eq!((map, welded.components().count(), welded.edges().len()), (vec![0, 1, 2, 0, 2, 3], 1, 5));
        assert!(mesh.shortest_paths(&[0])?[5].is_infinite() && welded.shortest_paths(&[0])?[3] == 1.0);
        assert_ne!(mesh, welded);
        Ok(())
    }
}
