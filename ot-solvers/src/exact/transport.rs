//! Exact transport between two measures: settings, and what a solve returns.

mod large_costs;
mod potentials;
mod solution;

use std::ops::ControlFlow;

use ot_core::{
    Backend, Error, GeometryBuilder, GroundCost, Host, HostBackend, Measure, Observer, Phase, PlanEntry, Progress,
    Scalar,
};

pub use self::solution::{ExactSolution, SearchReport};
pub(super) use self::{large_costs::take_digits, potentials::gauge};
use self::{
    large_costs::without_large_costs,
    potentials::{check_start, completed, gauged, minima},
};
use super::{
    SparsePlan,
    candidates::Parallel,
    certificate::{ProofMemory, certify_costs},
    column_generation::{Pricing, Search},
    costs::PairCosts,
    geometric,
    masses::{WholeMasses, balanced_weights, single_weights, wide},
    network_simplex::Ending,
    small::ExactWorkspace,
    sum::sum_of,
};
use crate::clusters::halve;

/// What guides the search for the arcs that matter. The answer is the same.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Guide {
    /// Between few atoms (of at most 2^18 pairs) a few iterations on a table of all costs; [`Entropic`](Self::Entropic)
    /// between larger clouds, else [`Minima`](Self::Minima).
    #[default]
    Automatic,
    /// Potentials of entropic transport at a small epsilon, coarse to fine: for costs that a geometry tells.
    Entropic,
    /// The least costs of rows and columns: for costs of no geometry.
    Minima,
}

impl Guide {
    /// Should entropic potentials be looked for?
    fn is_entropic<T: Scalar>(self, source: &dyn Measure<T>, target: &dyn Measure<T>) -> bool {
        let atoms = |measure: &dyn Measure<T>| measure.support().len().unwrap_or(0);
        match self {
            Guide::Automatic => source.support().has_coordinates() && atoms(source) + atoms(target) >= FEWEST_GUIDED,
            Guide::Entropic => true,
            Guide::Minima => false,
        }
    }
}

/// Settings of exact transport: the network simplex on the few arcs that matter, every other one priced.
///
/// Time: about that of some passes over all costs, between large clouds in few coordinates over some thousand pairs an atom.
/// Memory O(n + m): costs are evaluated when needed, a matrix is read in place. Between few atoms (of at most 2^18 pairs) all
/// costs are kept in a table, of 12 bytes a pair.
///
/// ```
/// use ot_core::{PointCloud, SqEuclidean};
/// use ot_cpu::CpuBackend;
/// use ot_solvers::ExactTransport;
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let a = PointCloud::new(vec![0.0, 1.0], 1, vec![0.5, 0.5])?;
/// let b = PointCloud::new(vec![1.0, 3.0], 1, vec![0.25, 0.75])?;
/// let solution = ExactTransport::new().solve(&backend, &a, &b, &SqEuclidean)?;
/// assert_eq!(solution.certificate().primal, 0.25 * 1.0 + 0.25 * 9.0 + 0.5 * 4.0);
/// assert!(solution.certificate().proves(1e-12));
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ExactTransport {
    guide: Guide,
    max_pivots: usize,
    mass: Option<f64>,
}

impl Default for ExactTransport {
    fn default() -> Self {
        Self::new()
    }
}

/// Fewer atoms of both sides than this are not worth an entropic solve.
const FEWEST_GUIDED: usize = 600;

impl ExactTransport {
    /// An automatic guide, as many pivots as it takes.
    #[must_use]
    pub fn new() -> Self {
        Self { guide: Guide::Automatic, max_pivots: usize::MAX, mass: None }
    }

    /// What guides the search.
    #[must_use]
    pub fn guide(self, guide: Guide) -> Self {
        Self { guide, ..self }
    }

    /// The most pivots of the simplex.
    #[must_use]
    pub fn max_pivots(self, max_pivots: usize) -> Self {
        Self { max_pivots, ..self }
    }

    /// Partial transport: just this mass moves, at most that of either measure, and the rest stays at no cost.
    ///
    /// ```text
    /// min <P, C>   over   P 1 <= a,   P^T 1 <= b,   sum P = mass
    /// ```
    ///
    /// It is transport with one more atom on either side, the last, that takes what stays (Caffarelli, McCann 2010).
    /// Residuals, potentials and certificate are those of that problem: see [`ExactSolution::rest_potentials`].
    #[must_use]
    pub fn mass(self, mass: f64) -> Self {
        Self { mass: Some(mass), ..self }
    }

    /// Solves between two measures of one histogram each.
    ///
    /// # Errors
    /// Those of [`ExactRun::solve`].
    pub fn solve<T: Scalar, G: GeometryBuilder<Device = Host<T>> + HostBackend<T>>(
        &self,
        backend: &G,
        source: &dyn Measure<T>,
        target: &dyn Measure<T>,
        cost: &dyn GroundCost,
    ) -> Result<ExactSolution, Error> {
        self.run(backend, source, target, cost).solve()
    }

    /// A run to which first potentials and an observer can be given.
    #[must_use]
    pub fn run<'a, T: Scalar, G: GeometryBuilder<Device = Host<T>> + HostBackend<T>>(
        &'a self,
        backend: &'a G,
        source: &'a dyn Measure<T>,
        target: &'a dyn Measure<T>,
        cost: &'a dyn GroundCost,
    ) -> ExactRun<'a, T> {
        ExactRun::new(self, backend, backend, [source, target], cost)
    }
}

/// One run of [`ExactTransport`].
pub struct ExactRun<'a, T: Scalar> {
    settings: &'a ExactTransport,
    builder: &'a dyn GeometryBuilder<Device = Host<T>>,
    backend: &'a dyn HostBackend<T>,
    source: &'a dyn Measure<T>,
    target: &'a dyn Measure<T>,
    cost: &'a dyn GroundCost,
    start: Option<[&'a [f64]; 2]>,
    observer: Option<&'a mut dyn Observer>,
}

impl<'a, T: Scalar> ExactRun<'a, T> {
    /// A run by a backend, of which the builder of geometries is a part.
    pub(crate) fn new(
        settings: &'a ExactTransport,
        builder: &'a dyn GeometryBuilder<Device = Host<T>>,
        backend: &'a dyn HostBackend<T>,
        [source, target]: [&'a dyn Measure<T>; 2],
        cost: &'a dyn GroundCost,
    ) -> Self {
        Self { settings, builder, backend, source, target, cost, start: None, observer: None }
    }

    /// Potentials f and g to be guided by, feasible or not: those of a similar problem, say.
    #[must_use]
    pub fn start(self, source: &'a [f64], target: &'a [f64]) -> Self {
        Self { start: Some([source, target]), ..self }
    }

    /// The observer of the pivots, called after every round and at intervals within; it may cancel. No dual value is known before the
    /// end.
    #[must_use]
    pub fn observer(self, observer: &'a mut dyn Observer) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// Solves.
    ///
    /// # Errors
    /// [`Error::MassMismatch`], [`Error::BatchMismatch`] and [`Error::Length`] for batches, [`Error::UnsupportedSupport`]
    /// for supports that the cost has no entries of, [`Error::Cost`], [`Error::Infeasible`] where forbidden pairs leave
    /// mass without a way, [`Error::CostOverflow`] where the costs along a tree or costs times masses are beyond the range,
    /// [`Error::Length`] and [`Error::Parameter`] for first potentials that do not fit or are not finite.
    pub fn solve(self) -> Result<ExactSolution, Error> {
        let mut workspace = ExactWorkspace::new();
        self.solve_in(&mut workspace)?;
        Ok(workspace.solution)
    }

    /// Solves in memory that is kept from one solve to the next: between few atoms nothing is allocated once there was a
    /// solve of as many.
    ///
    /// Few are those of at most 2^18 pairs: the network simplex then runs over a table of all of them, on the calling thread,
    /// unless a mass, an entropic guide or first potentials were asked for, or a cost is infinite. All other problems are
    /// solved as by [`solve`](Self::solve), which does the same in memory of its own.
    ///
    /// ```
    /// use ot_core::{CostMatrix, Histogram};
    /// use ot_cpu::CpuBackend;
    /// use ot_solvers::exact::{ExactTransport, ExactWorkspace};
    ///
    /// let (backend, settings) = (CpuBackend::<f64>::new(1)?, ExactTransport::new());
    /// let cost = CostMatrix::new(vec![0.0, 1.0, 1.0, 0.0], 2, 2)?;
    /// let a = Histogram::new(vec![0.5, 0.5])?;
    /// let mut workspace = ExactWorkspace::new();
    /// for (first, least) in [(0.5, 0.0), (0.25, 0.25), (1.0, 0.5)] {
    ///     let b = Histogram::new(vec![first, 1.0 - first])?;
    ///     let solution = settings.run(&backend, &a, &b, &cost).solve_in(&mut workspace)?;
    ///     assert_eq!(solution.certificate().primal, least);
    /// }
    /// # Ok::<(), ot_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`solve`](Self::solve).
    pub fn solve_in(mut self, workspace: &mut ExactWorkspace) -> Result<&ExactSolution, Error> {
        let settings = self.settings;
        if settings.mass.is_none() && settings.guide != Guide::Entropic && self.start.is_none() {
            let measures = [self.source, self.target];
            let mut watch = |pivots: usize| tell(&mut self.observer, settings, pivots);
            if workspace.solve_small(measures, self.cost, settings.guide, settings.max_pivots, &mut watch)? {
                return Ok(&workspace.solution);
            }
        }
        let backend: &dyn Backend<Host<T>> = self.backend;
        workspace.solution = backend.scope(|| self.solve_inside())?;
        Ok(&workspace.solution)
    }

    /// Solves where the workers are at hand.
    fn solve_inside(self) -> Result<ExactSolution, Error> {
        let Self { settings, builder, backend, source, target, cost, start, mut observer } = self;
        let parallel: Parallel<'_> = &|tasks, job| backend.parallel(tasks, job);
        let weights = single_weights(source, target)?;
        let (a, b) = match settings.mass {
            None => balanced_weights::<T>(weights)?,
            Some(mass) => weights_with_rests(weights.map(wide), mass)?,
        };
        let rests = [settings.mass.is_some(); 2];
        let moving = [a.len() - usize::from(rests[0]), b.len() - usize::from(rests[1])];
        let all = PairCosts::new(source.support(), target.support(), cost)?.with_rests(rests);
        if let Some(start) = start {
            check_start(start, moving)?;
        }

        let is_guided = start.is_none() && settings.mass.is_none() && settings.guide.is_entropic(source, target);
        let atoms = [(source, &a), (target, &b)].map(|(measure, weights)| {
            let mut atoms: Vec<u32> = (0..weights.len() as u32).filter(|&i| weights[i as usize] > 0.0).collect();
            if is_guided && let Some(points) = measure.support().points()? {
                halve(points, &mut atoms, u32::MAX);
            }
            Ok::<_, Error>(atoms)
        });
        let [of_source, of_target] = atoms;
        let atoms = [of_source?, of_target?];
        let of_side = |side: usize| {
            let moves = atoms[side].partition_point(|&atom| is_guided || (atom as usize) < moving[side]);
            (&atoms[side][..moves], moves < atoms[side].len())
        };
        let [(rows, source_rests), (columns, target_rests)] = [0, 1].map(of_side);
        let own_rests = [source_rests, target_rests];
        let costs = PairCosts::between(source.support(), target.support(), cost, [rows, columns])?;
        let costs = costs.with_rests(own_rests);
        let of_atoms = |side: usize, values: &[f64]| -> Vec<f64> {
            atoms[side].iter().map(|&atom| values[atom as usize]).collect()
        };
        let own_weights = [of_atoms(0, &a), of_atoms(1, &b)];
        let guided = if is_guided {
            geometric::guided(builder, [source, target], [&atoms[0], &atoms[1]], &own_weights, cost)?
        } else {
            None
        };
        let potentials = match (&guided, start) {
            (Some(guided), _) => guided.potentials.clone(),
            (None, Some(start)) => {
                let known = |side: usize| {
                    let known = |&atom: &u32| start[side].get(atom as usize).copied().unwrap_or(0.0);
                    atoms[side].iter().map(known).collect()
                };
                [known(0), known(1)]
            }
            (None, None) => minima(&costs),
        };

        let masses = match settings.mass {
            None => WholeMasses::new(&own_weights[0], &own_weights[1]),
            Some(mass) => WholeMasses::partial(&own_weights[0], &own_weights[1], mass, own_rests),
        };
        // Nodes of a grid are not the atoms.
        let of_atoms = guided.as_ref().filter(|guided| guided.nodes.is_none());
        let epsilon = of_atoms.map(|guided| guided.problem.epsilon());
        let max_pivots = settings.max_pivots;
        // A start is that of a similar problem.
        let is_even = start.is_some();
        let search = Search { costs: &costs, masses: &masses, parallel, max_pivots, epsilon, is_even };
        let mut watch = |pivots: usize| tell(&mut observer, settings, pivots);
        let mut pricing = match &guided {
            Some(guided) => guided.pricing()?,
            None => None,
        };
        let pricing = pricing.as_mut().map(|pricing| pricing as &mut dyn Pricing);
        let found = search.run([&potentials[0], &potentials[1]], pricing, &mut watch);
        let mut found = found.map_err(|error| in_input_order(error, &atoms))?;
        if guided.is_none() {
            found = without_large_costs(found, costs, |costs, [f, g]| {
                let search = Search { costs, masses: &masses, parallel, max_pivots, epsilon: None, is_even: false };
                search.run([f, g], None, &mut watch)
            })?;
        }
        let entries = found.flows.iter().map(|&(source, target, units)| PlanEntry {
            source: atoms[0][source as usize],
            target: atoms[1][target as usize],
            mass: masses.mass(units),
        });
        let plan = SparsePlan::new(a.len(), b.len(), entries.collect())?;
        let is_optimal = found.ending == Ending::Optimal;
        let mut potentials = completed(&all, &found.potentials, &atoms, is_optimal, parallel);
        gauged(&mut potentials, [&a, &b], settings.mass.is_some())?;
        let [f, g] = potentials.each_ref().map(Vec::as_slice);
        let certificate = certify_costs(&all, [&a, &b], &plan, [f, g], &mut ProofMemory::default(), parallel)?;
        let (plan, potentials, rest_potentials) = match settings.mass {
            None => (plan, potentials, None),
            Some(_) => {
                let (plan, potentials, rest_potentials) = without_rests(plan, potentials, moving)?;
                (plan, potentials, Some(rest_potentials))
            }
        };
        Ok(ExactSolution {
            plan,
            potentials,
            rest_potentials,
            certificate,
            status: found.ending.status(),
            report: SearchReport {
                guided: guided.is_some(),
                rounds: found.rounds,
                pivots: found.pivots,
                candidate_arcs: found.candidate_arcs,
                arcs_priced: found.arcs_priced,
            },
        })
    }
}

/// Tells an observer of pivots.
fn tell(observer: &mut Option<&mut dyn Observer>, settings: &ExactTransport, pivots: usize) -> ControlFlow<()> {
    match observer.as_deref_mut() {
        None => ControlFlow::Continue(()),
        Some(observer) => observer.observe(&Progress {
            of: Some(settings.max_pivots).filter(|&most| most < usize::MAX),
            ..Progress::new(Phase::Pivots, pivots)
        }),
    }
}

/// An error that names atoms of the search, which are some of the input in another order.
fn in_input_order(error: Error, atoms: &[Vec<u32>; 2]) -> Error {
    match error {
        Error::Cost { source_index, target_index, value } => Error::Cost {
            source_index: atoms[0][source_index] as usize,
            target_index: atoms[1][target_index] as usize,
            value,
        },
        Error::Infeasible { sources, mass, reachable } => {
            let mut sources: Vec<u32> = sources.into_iter().map(|source| atoms[0][source as usize]).collect();
            sources.sort_unstable();
            Error::Infeasible { sources, mass, reachable }
        }
        other => other,
    }
}

/// Weights with those of the atoms that take what stays when `mass` moves.
fn weights_with_rests([mut a, mut b]: [Vec<f64>; 2], mass: f64) -> Result<(Vec<f64>, Vec<f64>), Error> {
    let [source_mass, target_mass] = [&a, &b].map(|weights| sum_of(weights.iter().copied()));
    let most = source_mass.min(target_mass);
    if !(mass > 0.0 && mass <= most * (1.0 + 64.0 * f64::EPSILON)) {
        let expected = "a number > 0, at most the mass of either measure";
        return Err(Error::Parameter { name: "mass to move", value: mass, expected });
    }
    a.push((target_mass - mass).max(0.0));
    b.push((source_mass - mass).max(0.0));
    Ok((a, b))
}

/// What moves, and the potentials of the atoms where mass rests.
#[expect(clippy::type_complexity, reason = "a plan, potentials, and the last of them")]
fn without_rests(
    plan: SparsePlan,
    [mut f, mut g]: [Vec<f64>; 2],
    [n, m]: [usize; 2],
) -> Result<(SparsePlan, [Vec<f64>; 2], [f64; 2]), Error> {
    let moves = |entry: &&PlanEntry| (entry.source as usize) < n && (entry.target as usize) < m;
    let plan = SparsePlan::new(n, m, plan.entries().iter().filter(moves).copied().collect())?;
    let rests = [f[n], g[m]];
    f.truncate(n);
    g.truncate(m);
    Ok((plan, [f, g], rests))
}
