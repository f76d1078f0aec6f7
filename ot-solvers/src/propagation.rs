//! Wasserstein propagation: measures on all vertices of a graph from those of some (Solomon, Rustamov, Guibas, Butscher 2014).
//!
//! ```text
//! min over mu_v, v free   sum over edges (v, w) of weight_vw OT_epsilon(mu_v, mu_w)
//! ```
//!
//! where the measures of some vertices are given. All lie on one support, which has nothing to do with the graph. A star
//! whose leaves are given is a barycenter; a path between two given ends is an interpolation. Where the graph is a surface
//! (by its cotangent weights) and the support another one, the result is a soft map: for
//! each point of the one a measure on the other, which varies as little as the given ones allow (Solomon, Guibas, Butscher
//! 2013).
//!
//! The answer is that of a [`JointProblem`], by the same [projections](crate::BregmanProjections) as barycenters.

use std::sync::Arc;

use ot_core::{
    Device, Elem, End, Epsilon, Error, Geometry, GeometryBuilder, Graph, GroundCost, JointProblem, JointSolution,
    JointTerm, Measure, Problem, Scalar, Support, WeightsView,
};

use crate::{
    BregmanProjections,
    barycenter::{Reweighted, require_mass},
};

/// A propagation in the making: the graph, and the measures that are given.
///
/// ```
/// use ot_core::{Epsilon, Graph, PointCloud, SqEuclidean};
/// use ot_cpu::CpuBackend;
/// use ot_solvers::{BregmanProjections, Propagation};
///
/// // Three vertices in a row; the measure in the middle is to be found.
/// let graph = Graph::new(3, vec![([0, 1], 1.0), ([1, 2], 1.0)])?;
/// let line: Vec<f64> = (0..9).map(f64::from).collect();
/// let lit = |at: usize| PointCloud::new(line.clone(), 1, (0..9).map(|i| f64::from(i == at)).collect::<Vec<_>>());
/// let (left, right, reference) = (lit(1)?, lit(7)?, PointCloud::uniform(line.clone(), 1)?);
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let propagation = Propagation::new(&backend, &graph, &reference, &SqEuclidean, Epsilon::Absolute(1.0));
/// let problem = propagation.given(0, &left)?.given(2, &right)?.problem()?;
/// let solution = problem.solve(&BregmanProjections::new())?;
/// let middle = solution.measure(1)?.ok_or(ot_core::Error::EmptyMeasure)?;
/// let mean: f64 = middle.iter().zip(&line).map(|(p, x)| p * x).sum();
/// assert!((mean - 4.0).abs() < 1e-6 && middle[4] > middle[3]);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Propagation<'a, G: GeometryBuilder + ?Sized> {
    builder: &'a G,
    graph: &'a Graph,
    reference: &'a dyn Measure<Elem<G>>,
    cost: &'a dyn GroundCost,
    epsilon: Epsilon,
    given: Vec<Option<&'a dyn Measure<Elem<G>>>>,
}

impl<'a, G: GeometryBuilder + ?Sized> Propagation<'a, G> {
    /// Over a graph whose weights say how much neighbours attract each other, with a reference measure m on the support of
    /// the unknown measures: uniform weights for want of another.
    #[must_use]
    pub fn new(
        builder: &'a G,
        graph: &'a Graph,
        reference: &'a dyn Measure<Elem<G>>,
        cost: &'a dyn GroundCost,
        epsilon: Epsilon,
    ) -> Self {
        Self { builder, graph, reference, cost, epsilon, given: vec![None; graph.len()] }
    }

    /// The measure of a vertex.
    ///
    /// # Errors
    /// [`Error::VertexIndex`] for a vertex that the graph does not have.
    pub fn given(mut self, vertex: usize, measure: &'a dyn Measure<Elem<G>>) -> Result<Self, Error> {
        let vertices = self.given.len();
        match self.given.get_mut(vertex) {
            Some(given) => *given = Some(measure),
            None => {
                return Err(Error::VertexIndex { what: "given measure", element: 0, index: vertex as u32, vertices });
            }
        }
        Ok(self)
    }

    /// The joint problem: a term for each edge of positive weight, less those between two given measures, which no unknown
    /// one has a share in, and loops.
    ///
    /// # Errors
    /// [`Error::EmptyMeasure`] if nothing is given or nothing unknown; [`Error::Unattached`] for an unknown vertex that no
    /// path joins to a given one; [`Error::MassMismatch`] for given measures of different masses;
    /// [`Error::MassUnderflow`] for masses near the smallest numbers;
    /// [`Error::UnsupportedSupport`] for measures without atoms; those of
    /// [`GeometryBuilder::geometry`], [`Problem::new`] and [`JointProblem::new`].
    pub fn problem(self) -> Result<PropagationProblem<'a, G::Device>, Error> {
        let mut count = 0;
        let mut unknown = vec![None; self.given.len()];
        for (vertex, given) in self.given.iter().enumerate() {
            if given.is_none() {
                unknown[vertex] = Some(count);
                count += 1;
            }
        }
        self.check_paths()?;
        let mass = self.mass()?;
        let reference = self.reference.weights().ok_or_else(|| unsupported(self.reference.support()))?;
        reference.validate()?;
        require_mass::<Elem<G>>(0, mass, reference.len())?;
        let scale = mass / reference.mass(0);
        let scaled: Vec<Elem<G>> =
            reference.column(0).iter().map(|m| Elem::<G>::from_f64(m.to_f64() * scale)).collect();
        let free = Reweighted { support: self.reference.support(), weights: WeightsView::new(&scaled, 1)? };

        let mut geometries: Vec<Known<'_, G::Device>> = Vec::new();
        let mut epsilon = None;
        let mut terms = Vec::new();
        for &([v, w], weight) in self.graph.edges().iter().filter(|([v, w], weight)| v != w && *weight > 0.0) {
            let (v, w) = (v as usize, w as usize);
            let end = |vertex: usize| unknown[vertex].map_or(End::Given, End::Unknown);
            if [end(v), end(w)] == [End::Given; 2] {
                continue;
            }
            let measure = |vertex: usize| self.given[vertex].unwrap_or(&free);
            let (x, y) = (measure(v), measure(w));
            let is_it = |known: &&Known<'_, G::Device>| {
                known.supports[0].is_same(&x.support()) && known.supports[1].is_same(&y.support())
            };
            let geometry = match geometries.iter().find(is_it) {
                Some(known) => Arc::clone(&known.geometry),
                None => {
                    let geometry = self.builder.geometry(x.support(), y.support(), self.cost)?;
                    let supports = [x.support(), y.support()];
                    geometries.push(Known { supports, geometry: Arc::clone(&geometry) });
                    geometry
                }
            };
            let rule = epsilon.map_or(self.epsilon, Epsilon::Absolute);
            let problem = Problem::new(geometry, x, y, rule)?;
            epsilon = Some(problem.epsilon());
            terms.push(JointTerm { problem, weights: vec![weight], ends: [end(v), end(w)] });
        }
        Ok(PropagationProblem { joint: JointProblem::new(terms)?, given: self.given, unknown })
    }

    /// Refuses unknown vertices that no path joins to a given one.
    fn check_paths(&self) -> Result<(), Error> {
        let components = self.graph.components();
        let is_given = |given: &Option<_>| f64::from(u8::from(Option::is_some(given)));
        let given = components.sums(self.given.iter().map(is_given));
        let unattached = |vertex: &usize| given[components.of_vertices()[*vertex] as usize] == 0.0;
        match (0..self.graph.len()).find(unattached) {
            Some(vertex) => Err(Error::Unattached { vertex }),
            None if self.given.iter().all(Option::is_some) => Err(Error::EmptyMeasure),
            None => Ok(()),
        }
    }

    /// The mass of the given measures.
    fn mass(&self) -> Result<f64, Error> {
        let mut common = None;
        for measure in self.given.iter().flatten() {
            let weights = measure.weights().ok_or_else(|| unsupported(measure.support()))?;
            if weights.columns() != 1 {
                return Err(Error::BatchMismatch { source_columns: 1, target_columns: weights.columns() });
            }
            let (own, tolerance) = (weights.mass(0), 64.0 * Elem::<G>::EPSILON * (weights.len() as f64).sqrt());
            let first = *common.get_or_insert(own);
            if (own - first).abs() > tolerance * first {
                return Err(Error::MassMismatch { column: 0, source_mass: first, target_mass: own, tolerance });
            }
        }
        common.ok_or(Error::EmptyMeasure)
    }
}

/// A geometry that several edges share.
struct Known<'a, D: Device> {
    supports: [Support<'a, D::Elem>; 2],
    geometry: Arc<dyn Geometry<D>>,
}

fn unsupported<T: Scalar>(support: Support<'_, T>) -> Error {
    Error::UnsupportedSupport { what: "a measure of a propagation", found: support.kind() }
}

/// A propagation as a joint problem, and which vertex has which unknown measure.
#[derive(Debug)]
pub struct PropagationProblem<'a, D: Device> {
    joint: JointProblem<D>,
    given: Vec<Option<&'a dyn Measure<D::Elem>>>,
    unknown: Vec<Option<usize>>,
}

impl<'a, D: Device> PropagationProblem<'a, D> {
    /// The joint problem.
    #[must_use]
    pub fn joint(&self) -> &JointProblem<D> {
        &self.joint
    }

    /// Solves it.
    ///
    /// # Errors
    /// Those of [`BregmanRun::solve`](crate::BregmanRun::solve).
    pub fn solve(self, settings: &BregmanProjections) -> Result<PropagationSolution<'a, D>, Error> {
        let joint = settings.solve(&self.joint)?;
        Ok(PropagationSolution { joint, given: self.given, unknown: self.unknown })
    }
}

/// A measure for each vertex.
#[derive(Debug)]
pub struct PropagationSolution<'a, D: Device> {
    joint: JointSolution<D>,
    given: Vec<Option<&'a dyn Measure<D::Elem>>>,
    unknown: Vec<Option<usize>>,
}

impl<D: Device> PropagationSolution<'_, D> {
    /// The solution of the joint problem: potentials and plans of the edges, status, certificate.
    #[must_use]
    pub fn joint(&self) -> &JointSolution<D> {
        &self.joint
    }

    /// The masses of the measure of a vertex, as given or as found; `None` for a vertex that the graph does not have.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn measure(&self, vertex: usize) -> Result<Option<Vec<D::Elem>>, Error> {
        match (self.unknown.get(vertex), self.given.get(vertex)) {
            (Some(Some(index)), _) => self.joint.measure(*index).map(Some),
            (_, Some(Some(given))) => Ok(given.weights().map(|weights| weights.values().to_vec())),
            _ => Ok(None),
        }
    }
}
