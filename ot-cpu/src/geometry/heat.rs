//! Heat kernels on meshes and graphs: transport whose kernel is a diffusion and never a table.
//!
//! | part | what it does |
//! |---|---|
//! | `intrinsic` | cuts a surface into Delaunay triangles, so that no cotangent weight is negative |
//! | `factor` | sparse L D L^T without a subtraction, in parts that tasks solve apart |
//! | `layers` | inputs that span more than numbers do, as several |
//! | `diffusion` | k implicit steps, from logarithms to logarithms |
//! | `cloud` | the same of a Gaussian kernel on points, where there is no mesh |
//! | `derivative` | the derivative in the weights of edges |
//! | `distance` | geodesic distances, for comparison |
//! | `range` | how much of a plan moves farther than the kernel tells squares |

mod cloud;
mod derivative;
mod diffusion;
mod distance;
mod factor;
mod intrinsic;
mod layers;
mod range;

use std::sync::Arc;

use ot_core::{
    Backend, CostDerivative, CostForm, Elem, Epsilon, Error, Geometry, GeometryBuilder, Graph, GroundCost, Host,
    KernelOp, Side, Support, TriangleMesh, Vertices, measure::Components,
};

pub use self::{
    cloud::PointCloudHeat,
    distance::HeatDistance,
    intrinsic::{CotangentGraph, MeshReport},
};
use self::{
    diffusion::{Diffusion, Workspace},
    intrinsic::IntrinsicTriangulation,
};
use super::{
    CpuScalar,
    log_kernel::{DARK, LogKernel, LogOperator, Untold},
};
use crate::backend::CpuBackend;

/// The shortest time of diffusion that is accepted, in squared lengths of an edge.
const LEAST_TIME: f64 = 1.0 / 16.0;

/// The heat kernel of a surface or a graph after a time t, in k implicit steps of Euler's (Solomon et al. 2015):
///
/// ```text
/// K = [(M + (t / k) L)^-1 M]^k M^-1
/// ```
///
/// with the Laplacian L and the masses M of the vertices. On a mesh L has cotangent weights of the intrinsic Delaunay
/// triangulation, of which none is negative, and M a third of the area of the triangles around; on a [`Graph`] both are
/// given. K is symmetric and positive, and K M 1 = 1 where no vertex was [inserted](MeshReport::inserted).
///
/// **What is solved.** The ground cost is C = -epsilon log K with epsilon = 4 t: by Varadhan's formula it is near the squared
/// geodesic distance, plus the constant epsilon log(4 pi t) of a surface. It is *not* that distance: its diagonal is not
/// zero, and as k steps spread as far as exponentials and no Gaussian does, it grows about linearly in the distance d beyond
/// d^2 = k t. Choose k so that the mass that matters moves less than that
/// ([`share_beyond_range`](Self::share_beyond_range) tells). A mesh whose edges have the length h is off like a lattice, in the
/// order of (d^2 h / t)^2: squared distances converge where t falls more slowly than h d. [`HeatDistance`] and
/// [`TriangleMesh::shortest_paths`] tell distances for comparison. [`for_half_squares`](Self::for_half_squares) makes
/// epsilon = 2 t of the same kernel.
///
/// Epsilon is fixed: a problem at another one is refused, nothing is annealed, and there is no <P, C>: the `primal` of a
/// certificate is the objective. Vertices in different components exchange nothing: measures that would have to are refused
/// by name.
///
/// **Accuracy.** Each entry of K is accurate to some roundings of its own size, however small it is beside others. A sum whose
/// largest term is an entry below exp(-[`reach`](HeatReport::reach)) may be [`Error::KernelRange`], and is never a wrong number.
///
/// **Cost.** One sparse factor at the start. A softmin reads it 2 k times, for up to eight columns of a batch at once. The
/// backend's threads share one substitution: subtrees of the elimination tree are solved apart.
///
/// **Derivatives** of the implied cost are known in the [weights of edges](ot_core::CostParameter::EdgeWeights): those of a
/// graph, or on a mesh those of its [`cotangent_graph`], in the order of its edges, the masses being fixed.
///
/// ```
/// use ot_core::{Geometry, Graph, Measure, Problem, Side, VertexHistogram};
/// use ot_cpu::{CpuBackend, HeatGeometry};
///
/// let path = Graph::new(4, vec![([0, 1], 1.0), ([1, 2], 1.0), ([2, 3], 1.0)])?;
/// let heat = HeatGeometry::<f64>::new(&CpuBackend::new(1)?, &path, 2.0, 10)?;
/// let a = VertexHistogram::new(&path, vec![1.0, 0.0, 0.0, 0.0])?;
/// let b = VertexHistogram::new(&path, vec![0.0, 0.0, 0.5, 0.5])?;
/// let problem = Problem::new(heat.shared(), &a, &b, heat.epsilon())?;
/// assert_eq!((problem.epsilon(), heat.len(Side::Source)), (8.0, 4));
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct HeatGeometry<T> {
    backend: CpuBackend<T>,
    heat: Arc<Heat>,
    /// epsilon / t.
    epsilon_of_time: f64,
}

/// The kernel, whatever the element type.
#[derive(Debug)]
struct Heat {
    vertices: Vertices,
    /// The weights and the masses of the diffusion.
    graph: Graph,
    diffusion: Diffusion,
    time: f64,
    steps: usize,
    report: HeatReport,
}

/// What a heat kernel was made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeatReport {
    /// What was done to the mesh; none on a graph.
    pub mesh: Option<MeshReport>,
    /// h^2, the squared length of an edge: four times the mass of all vertices over the weights of their edges, which is the
    /// square of the spacing of a grid. A time much smaller than it gives a kernel that counts edges and tells no distance.
    pub edge_square: f64,
    /// Entries of the factor below the diagonal.
    pub nonzeros: usize,
    /// An entry of K above exp(-reach), in units of one over the mean mass, is told whatever the weights are; a smaller one
    /// beside larger terms of its sum only.
    pub reach: f64,
}

impl<T: CpuScalar> HeatGeometry<T> {
    /// The kernel of a mesh or a graph after a time, in a number of steps: ten are common, the error of the matrix
    /// exponential falls like 1 / steps.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a time that is not finite and positive, or no step; [`Error::Unresolved`] for a time far below
    /// the squared length of an edge; [`Error::SumOverflow`] for lengths or weights out of range; [`Error::OutOfMemory`].
    pub fn new(backend: &CpuBackend<T>, vertices: impl Into<Vertices>, time: f64, steps: usize) -> Result<Self, Error> {
        let vertices = vertices.into();
        if !(time.is_finite() && time > 0.0) {
            let expected = "a finite number > 0";
            return Err(Error::Parameter { name: "the time of a diffusion", value: time, expected });
        }
        if steps == 0 {
            return Err(Error::Parameter { name: "the steps of a diffusion", value: 0.0, expected: "at least one" });
        }
        let (graph, mesh) = match &vertices {
            Vertices::Mesh(mesh) => {
                let CotangentGraph { graph, report, .. } = cotangent_graph(mesh)?;
                (graph, Some(report))
            }
            Vertices::Graph(graph) => (graph.clone(), None),
        };
        let square = edge_square(&graph);
        let least = LEAST_TIME * square;
        if time < least {
            return Err(Error::Unresolved { time, square, least });
        }
        let diffusion = Diffusion::new(&graph, vertices.len(), time, steps)?;
        let report = HeatReport { mesh, edge_square: square, nonzeros: diffusion.nonzeros(), reach: diffusion.reach() };
        let heat = Arc::new(Heat { vertices, graph, diffusion, time, steps, report });
        Ok(Self { backend: backend.clone(), heat, epsilon_of_time: 4.0 })
    }

    /// The same kernel, read as that of half the squared distance: epsilon = 2 t.
    #[must_use]
    pub fn for_half_squares(self) -> Self {
        Self { epsilon_of_time: 2.0, ..self }
    }

    /// The only epsilon: 4 t, or 2 t for half squares.
    #[must_use]
    pub fn epsilon(&self) -> Epsilon {
        Epsilon::Absolute(self.epsilon_of_time * self.heat.time)
    }

    /// This geometry for problems, which share it.
    #[must_use]
    pub fn shared(&self) -> Arc<dyn Geometry<Host<T>>> {
        Arc::new(self.clone())
    }

    /// What the kernel was made of.
    #[must_use]
    pub fn report(&self) -> &HeatReport {
        &self.heat.report
    }

    /// The mesh or the graph.
    #[must_use]
    pub fn vertices(&self) -> &Vertices {
        &self.heat.vertices
    }
}

/// Cotangent weights of a mesh on its intrinsic Delaunay triangulation, with a third of the area of the triangles around a
/// vertex as its mass. The vertices of the mesh come first, then those that were inserted into boundary edges.
///
/// No weight is negative, and a function that is linear on a flat part of the surface is harmonic inside of it.
///
/// # Errors
/// [`Error::SumOverflow`] for edges whose length is no number.
///
/// ```
/// use ot_core::TriangleMesh;
///
/// let square = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]];
/// let mesh = TriangleMesh::new(square.to_vec(), vec![[0, 1, 2], [0, 2, 3]])?;
/// let weights = ot_cpu::cotangent_graph(&mesh)?;
/// assert_eq!((weights.report.inserted, weights.report.flips), (0, 0));
/// assert!((weights.graph.masses().iter().sum::<f64>() - 1.0).abs() < 1e-15);
/// # Ok::<(), ot_core::Error>(())
/// ```
pub fn cotangent_graph(mesh: &TriangleMesh) -> Result<CotangentGraph, Error> {
    IntrinsicTriangulation::delaunay(mesh)?.cotangent_graph()
}

/// Four times the mass over the weights, seen from both ends: 0 without edges.
fn edge_square(graph: &Graph) -> f64 {
    let (mut weight, mut joined) = (0.0, vec![false; graph.len()]);
    for &([i, j], w) in graph.edges().iter().filter(|([i, j], w)| i != j && *w > 0.0) {
        weight += w;
        (joined[i as usize], joined[j as usize]) = (true, true);
    }
    let mass: f64 = graph.masses().iter().zip(joined).filter(|(_, joined)| *joined).map(|(mass, _)| mass).sum();
    if weight > 0.0 { 2.0 * mass / weight } else { 0.0 }
}

impl<T: CpuScalar> Geometry<Host<T>> for HeatGeometry<T> {
    fn backend(&self) -> Arc<dyn Backend<Host<T>>> {
        Arc::new(self.backend.clone())
    }

    fn len(&self, _: Side) -> usize {
        self.heat.vertices.len()
    }

    fn bind_entropic(&self, epsilon: f64, columns: usize) -> Result<Box<dyn KernelOp<Host<T>>>, Error> {
        let fixed = self.epsilon_of_time * self.heat.time;
        let (backend, heat) = (self.backend.clone(), Arc::clone(&self.heat));
        let operator = Diffused { backend, heat, workspace: Workspace::default() };
        Ok(Box::new(LogKernel::new(operator, [self.heat.vertices.len(); 2], columns, fixed, epsilon)?))
    }

    fn fixed_epsilon(&self) -> Option<f64> {
        Some(self.epsilon_of_time * self.heat.time)
    }

    fn epsilon_of_blur(&self, sigma: f64) -> Option<f64> {
        Some(0.5 * self.epsilon_of_time * sigma * sigma)
    }

    fn gains_from_batches(&self) -> bool {
        true
    }

    fn may_forbid(&self) -> bool {
        self.heat.vertices.components().count() > 1
    }

    fn components(&self) -> Option<&Components> {
        Some(self.heat.vertices.components())
    }
}

/// One kernel for all measures on its vertices, under the [`ImpliedCost`](ot_core::ImpliedCost): divergences, barycenters and
/// front functions share the factor.
impl<T: CpuScalar> GeometryBuilder for HeatGeometry<T> {
    type Device = Host<T>;

    fn geometry(
        &self,
        source: Support<'_, Elem<Self>>,
        target: Support<'_, Elem<Self>>,
        cost: &dyn GroundCost,
    ) -> Result<Arc<dyn Geometry<Host<T>>>, Error> {
        own_geometry(self.heat.vertices.support(), [source, target], cost).map(|()| self.shared())
    }
}

/// The diffusion of one solve.
#[derive(Debug)]
struct Diffused<T> {
    backend: CpuBackend<T>,
    heat: Arc<Heat>,
    workspace: Workspace,
}

impl<T: CpuScalar> LogOperator<T> for Diffused<T> {
    fn log_products(&mut self, _: Side, exponents: &mut Vec<f64>, untold: &mut Vec<Untold>) -> Result<(), Error> {
        let Self { backend, heat, workspace } = self;
        heat.diffusion.log_products(backend, exponents, DARK, workspace, untold);
        Ok(())
    }

    fn reach(&self) -> f64 {
        self.heat.report.reach
    }

    fn cost_derivative(kernel: &mut LogKernel<Self>) -> Option<&mut dyn CostDerivative<Host<T>>> {
        Some(kernel)
    }
}

/// Refuses what a given kernel cannot be: that of another cost, or of another support.
fn own_geometry<T: CpuScalar>(
    own: Support<'_, T>,
    asked: [Support<'_, T>; 2],
    cost: &dyn GroundCost,
) -> Result<(), Error> {
    if !matches!(cost.form(), CostForm::Implied) {
        return Err(Error::MissingCapability("cost but its own: expected ImpliedCost"));
    }
    match asked.into_iter().find(|support| !support.is_same(&own)) {
        Some(other) => {
            Err(Error::UnsupportedSupport { what: "the heat kernel of another support", found: other.kind() })
        }
        None => Ok(()),
    }
}
