//! Geodesic distances by the heat method (Crane, Weischedel, Wardetzky 2013).

use ot_core::{Error, TriangleMesh};

use super::{
    edge_square,
    factor::Factor,
    intrinsic::{IntrinsicTriangulation, Triangle},
};

/// A large number under which heat starts, so that little of it leaves the range of numbers.
const SCALE: f64 = 1e250;
/// The excess that makes the singular Poisson's equation solvable, per mass, in units of 1 / h^2.
const EXCESS: f64 = 1e-10;

/// Geodesic distances on a surface from any of some vertices, to about one percent where triangles are good: heat flows for a
/// time h^2, its gradient is brought to length one, and the function whose gradient is nearest to that is the distance.
///
/// The intrinsic Delaunay triangulation makes two sparse factors at the start; each question costs one substitution in either.
///
/// ```
/// use ot_core::TriangleMesh;
/// use ot_cpu::HeatDistance;
///
/// let corner = |index: u32| [f64::from(index % 9), f64::from(index / 9), 0.0];
/// let below = |i: u32| [[i, i + 1, i + 10], [i, i + 10, i + 9]];
/// let triangles = (0..72).filter(|i| i % 9 < 8).flat_map(below).collect();
/// let mesh = TriangleMesh::new((0..81).map(corner).collect(), triangles)?;
/// let distances = HeatDistance::new(&mesh)?.from_vertices(&[0])?;
/// assert!((distances[80] - 128_f64.sqrt()).abs() < 0.6, "{}", distances[80]);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct HeatDistance {
    mesh: TriangleMesh,
    surface: IntrinsicTriangulation,
    heat: Factor,
    poisson: Factor,
}

impl HeatDistance {
    /// Prepares a mesh.
    ///
    /// # Errors
    /// Those of [`cotangent_graph`](super::cotangent_graph); [`Error::OutOfMemory`].
    pub fn new(mesh: &TriangleMesh) -> Result<Self, Error> {
        let surface = IntrinsicTriangulation::delaunay(mesh)?;
        let graph = surface.cotangent_graph()?.graph;
        let square = match edge_square(&graph) {
            0.0 => 1.0,
            square => square,
        };
        let factor = |of_mass: f64| {
            let excess: Vec<f64> = graph.masses().iter().map(|mass| mass * of_mass).collect();
            Factor::new(&excess, graph.edges())
        };
        Ok(Self { heat: factor(1.0 / square)?, poisson: factor(EXCESS / square)?, mesh: mesh.clone(), surface })
    }

    /// The distance of each vertex from the nearest of some, infinite in other components.
    ///
    /// # Errors
    /// [`Error::VertexIndex`] for a source that is no vertex.
    pub fn from_vertices(&self, sources: &[u32]) -> Result<Vec<f64>, Error> {
        let vertices = self.mesh.len();
        if let Some(element) = sources.iter().position(|&index| index as usize >= vertices) {
            return Err(Error::VertexIndex { what: "source", element, index: sources[element], vertices });
        }
        let mut heat = vec![0.0; self.surface.vertices()];
        sources.iter().for_each(|&source| heat[source as usize] = SCALE);
        let heat = solved(&self.heat, &heat);
        let mut divergence = vec![0.0; heat.len()];
        for triangle in &self.surface.triangles {
            for (vertex, part) in triangle.corners.into_iter().zip(flux(triangle, &heat)) {
                divergence[vertex as usize] += part;
            }
        }
        let mut distances = solved(&self.poisson, &divergence);
        distances.truncate(vertices);
        // Each component's own constant.
        let components = self.mesh.components();
        let mut least = vec![f64::INFINITY; components.count()];
        for &source in sources {
            let least = &mut least[components.of_vertices()[source as usize] as usize];
            *least = least.min(distances[source as usize]);
        }
        for (distance, &component) in distances.iter_mut().zip(components.of_vertices()) {
            let least = least[component as usize];
            *distance =
                if least.is_finite() { self.surface.unit * (*distance - least).max(0.0) } else { f64::INFINITY };
        }
        sources.iter().for_each(|&source| distances[source as usize] = 0.0);
        Ok(distances)
    }
}

/// The solution of one system, vertex by vertex.
fn solved(factor: &Factor, values: &[f64]) -> Vec<f64> {
    let mut sides = vec![[0.0]; factor.len()];
    factor.slots().iter().zip(values).for_each(|(&slot, value)| sides[slot as usize] = [*value]);
    factor.solve(&mut sides);
    factor.slots().iter().map(|&slot| sides[slot as usize][0]).collect()
}

/// area grad phi_i . X for the three corners, where X = -grad u / |grad u|.
fn flux(triangle: &Triangle, heat: &[f64]) -> [f64; 3] {
    let values = triangle.corners.map(|corner| heat[corner as usize]);
    let largest = values.into_iter().fold(0.0, f64::max);
    if largest == 0.0 {
        return [0.0; 3];
    }
    let [u, v, w] = values.map(|value| value / largest);
    // Corners at (0, 0), (base, 0) and (x, y); gradients of the corners' functions times twice the area.
    let (base, [x, y]) = (triangle.lengths[0], triangle.apex());
    let gradients = [[-y, x - base], [y, -x], [0.0, base]];
    let component = |k: usize| u * gradients[0][k] + v * gradients[1][k] + w * gradients[2][k];
    let (along, across) = (component(0), component(1));
    let length = along.hypot(across);
    if length == 0.0 {
        return [0.0; 3];
    }
    gradients.map(|[g, h]| -0.5 * (g * along + h * across) / length)
}
