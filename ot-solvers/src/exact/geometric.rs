//! Potentials that guide an exact search between point clouds: entropic ones, coarse to fine.
//!
//! On the coarsest [clusters](crate::clusters) epsilon is annealed by Sinkhorn's iteration; each finer scale starts from
//! the c-transform over the clusters of the coarser one and needs a few iterations at the epsilon of its own spacing. The
//! pairs of small reduced cost under the last potentials are those that an optimal plan may use. Between grids there are no
//! scales: see [`gridded`].

use ot_core::{
    ActiveColumns, ArcThreshold, Device, Epsilon, Error, GeometryBuilder, GroundCost, KernelOp, Measure, PointCloud,
    PointsView, Potentials, PricedArc, Problem, Scalar, Side, Sweep, UNREACHABLE,
};

use super::{
    column_generation::Pricing,
    gridded::{self, OfNodes},
    network_simplex::ROUNDING,
    sum::sum_of,
};
use crate::{
    clusters::{Hierarchy, Scale},
    unit::power_of_two,
};

/// Halvings from one scale to the next.
const HALVINGS: u32 = 2;

/// The fewest clusters that a cloud is cut into.
const FEWEST: usize = 64;

/// Epsilon of a scale, over the cost between neighbours.
pub(super) const SHARPNESS: f64 = 0.4;

/// Epsilons of a scale, each half of the one before.
const STAGES: i32 = 2;

/// Iterations at each epsilon between the points, and how many times as many each coarser scale has: what is wrong over a
/// distance of many spacings is cheap to mend there, and takes many iterations.
const SWEEPS: usize = 3;
const COARSER_SWEEPS: usize = 5;

/// The most iterations at one epsilon.
const MOST_SWEEPS: usize = 400;

/// Potentials f and g, and the pricing of pairs from coordinates.
pub(super) struct Guided<D: Device> {
    pub(super) potentials: [Vec<f64>; 2],
    pub(super) problem: Problem<D>,
    /// The nodes of the problem that the atoms are, where it has others.
    pub(super) nodes: Option<[Vec<u32>; 2]>,
}

impl<D: Device> Guided<D> {
    /// A kernel that prices pairs from coordinates; `None` if its element type is too short for that, or if it has no
    /// [`HardTransform`](ot_core::HardTransform).
    ///
    /// # Errors
    /// Those of [`Geometry::bind`](ot_core::Geometry::bind).
    pub(super) fn pricing(&self) -> Result<Option<CoordinatePricing<'_, D>>, Error> {
        let mut kernel = self.problem.bind()?;
        let is_exact = D::Elem::EPSILON < 1e-10 && kernel.hard_transform().is_some();
        Ok(is_exact.then(|| CoordinatePricing { problem: &self.problem, nodes: self.nodes.as_ref(), kernel }))
    }
}

/// See [`Guided::pricing`].
pub(super) struct CoordinatePricing<'a, D: Device> {
    problem: &'a Problem<D>,
    nodes: Option<&'a [Vec<u32>; 2]>,
    kernel: Box<dyn KernelOp<D>>,
}

impl<D: Device> Pricing for CoordinatePricing<'_, D> {
    fn negative(&mut self, f: &[f64], minus_g: &[f64], most: usize) -> Result<Option<Vec<PricedArc>>, Error> {
        let largest = f.iter().chain(minus_g).fold(0.0_f64, |largest, potential| largest.max(potential.abs()));
        let Some(transform) = self.kernel.hard_transform() else { return Ok(None) };
        let (f, g) = (f.iter().copied(), minus_g.iter().map(|minus_g| -minus_g));
        let threshold = ArcThreshold::uniform(-ROUNDING * largest);
        let found = if let Some(nodes) = self.nodes {
            OfNodes::new(self.problem, nodes, f, g)?.arcs_below(transform, threshold, most)
        } else {
            let upload = |values: &mut dyn Iterator<Item = f64>| {
                self.problem.backend().upload(&values.map(D::Elem::from_f64).collect::<Vec<_>>(), 1)
            };
            let (f, g) = (upload(&mut { f })?, upload(&mut { g })?);
            transform.arcs_below(&f, &g, 0, threshold, most)
        };
        match found {
            Ok(arcs) => Ok(Some(arcs)),
            Err(Error::OutOfMemory { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn least(&mut self, [f, g]: [&[f64]; 2]) -> Result<Option<Vec<PricedArc>>, Error> {
        match (self.nodes, self.kernel.hard_transform()) {
            (Some(nodes), Some(transform)) => {
                let of_nodes = OfNodes::new(self.problem, nodes, f.iter().copied(), g.iter().copied())?;
                of_nodes.least(transform, self.problem)
            }
            _ => Ok(None),
        }
    }
}

/// Potentials f and g of the atoms named, whose neighbours are mostly near, with these weights. `None` where there is
/// nothing to be guided by: supports without coordinates, a kernel of one epsilon, coincident points.
///
/// # Errors
/// Those of [`GeometryBuilder::geometry`].
pub(super) fn guided<D: Device>(
    builder: &dyn GeometryBuilder<Device = D>,
    measures: [&dyn Measure<D::Elem>; 2],
    atoms: [&[u32]; 2],
    weights: &[Vec<f64>; 2],
    cost: &dyn GroundCost,
) -> Result<Option<Guided<D>>, Error> {
    let found = gridded::guided(builder, measures, atoms, cost);
    let found = match found {
        Ok(None) => coarse_to_fine(builder, measures, atoms, weights, cost),
        found => found,
    };
    match found {
        // The entropic problem does not fit the element type; the exact one may.
        Err(Error::CostOverflow { .. } | Error::Epsilon(_) | Error::MassMismatch { .. } | Error::Stranded { .. }) => {
            Ok(None)
        }
        other => other,
    }
}

fn coarse_to_fine<D: Device>(
    builder: &dyn GeometryBuilder<Device = D>,
    measures: [&dyn Measure<D::Elem>; 2],
    atoms: [&[u32]; 2],
    weights: &[Vec<f64>; 2],
    cost: &dyn GroundCost,
) -> Result<Option<Guided<D>>, Error> {
    let [x, y] = measures.map(|measure| measure.support().points());
    let (Some(x), Some(y)) = (x?, y?) else { return Ok(None) };
    // Another unit of mass guides no other way.
    let unit = power_of_two(sum_of(weights[0].iter().copied()));
    let clouds = [cloud(x, atoms[0], &weights[0], unit)?, cloud(y, atoms[1], &weights[1], unit)?];
    let [source, target] =
        clouds.each_ref().map(|cloud| Hierarchy::new(cloud.points(), cloud.weights_view(), HALVINGS, FEWEST));
    let (source, target) = (source?, target?);

    let mut coarser: Option<Solved<'_, D>> = None;
    for scale in (0..=source.coarsest().max(target.coarsest())).rev() {
        let sweeps = (SWEEPS * COARSER_SWEEPS.saturating_pow(scale as u32)).min(MOST_SWEEPS);
        let scale = Scale { builder, source: &source, target: &target, cost, scale };
        let Some(problem) = sharp_problem(&scale)? else { return Ok(None) };
        let (start, first) = match &coarser {
            None => (zeros(&problem)?, (problem.geometry().cost_bound().unwrap_or(0.0) / 4.0).max(problem.epsilon())),
            Some(coarser) => (coarser.extended()?, problem.epsilon() * 2_f64.powi(STAGES - 1)),
        };
        let potentials = iterate(&problem, start, first, sweeps)?;
        coarser = Some(Solved { scale, problem, potentials });
    }
    let Some(Solved { problem, potentials, .. }) = coarser else { return Ok(None) };
    let both = problem.backend().download(&[&potentials.source, &potentials.target])?;
    let both = both.into_iter().map(|side| side.into_iter().map(Scalar::to_f64).collect::<Vec<f64>>());
    let [f, g] = both.collect::<Vec<_>>().try_into().unwrap_or_default();
    let are_finite = f.iter().chain(&g).all(|potential| potential.abs() < 0.5 * UNREACHABLE);
    Ok(are_finite.then_some(Guided { potentials: [f, g], problem, nodes: None }))
}

/// A scale, and the potentials between its atoms.
struct Solved<'a, D: Device> {
    scale: Scale<'a, D>,
    problem: Problem<D>,
    potentials: Potentials<D>,
}

impl<D: Device> Solved<'_, D> {
    /// Potentials of the next finer scale. The first half-step there is that of the source, which needs no more than the
    /// target's potential.
    fn extended(&self) -> Result<Potentials<D>, Error> {
        let Self { scale, problem, potentials } = self;
        Ok(Potentials {
            source: scale.inherit(problem, potentials, Side::Source)?,
            target: scale.extend(problem, potentials, Side::Target)?,
            epsilon: potentials.epsilon,
        })
    }
}

/// The atoms named, with their weights in a unit.
fn cloud<T: Scalar>(
    points: PointsView<'_, T>,
    atoms: &[u32],
    weights: &[f64],
    unit: f64,
) -> Result<PointCloud<'static, T>, Error> {
    let coordinates: Vec<T> = atoms.iter().flat_map(|&atom| points.point(atom as usize)).copied().collect();
    let weights: Vec<T> = weights.iter().map(|&weight| T::from_f64(weight / unit)).collect();
    PointCloud::new(coordinates, points.dimension(), weights)
}

/// The mean cost between neighbours in the order of a cloud, the largest few of them left out.
fn spacing<T: Scalar>(points: PointsView<'_, T>, cost: &dyn GroundCost) -> f64 {
    let wide: Vec<f64> = points.coordinates().iter().map(|coordinate| coordinate.to_f64()).collect();
    let points: Vec<&[f64]> = wide.chunks_exact(points.dimension()).collect();
    let between = |pair: &[&[f64]]| {
        let mut out = [0.0];
        cost.costs_f64(pair[0], pair[1], &mut out);
        out[0].abs()
    };
    let mut costs: Vec<f64> = points.windows(2).map(between).filter(|cost| cost.is_finite()).collect();
    costs.sort_by(f64::total_cmp);
    let most = costs.len() - costs.len() / 10;
    costs[..most].iter().sum::<f64>() / most.max(1) as f64
}

/// The entropic problem between the clusters of a scale at the epsilon of their spacing; `None` where there is none.
fn sharp_problem<D: Device>(scale: &Scale<'_, D>) -> Result<Option<Problem<D>>, Error> {
    let (geometry, clouds) = (scale.geometry()?, scale.clouds());
    let spacing = clouds.iter().map(|cloud| spacing(cloud.points, scale.cost)).fold(0.0, f64::max);
    let least = 64.0 * D::Elem::EPSILON * geometry.cost_bound().unwrap_or(0.0);
    let epsilon = (SHARPNESS * spacing).max(least);
    if geometry.fixed_epsilon().is_some() || !(epsilon.is_finite() && epsilon > 0.0) {
        return Ok(None);
    }
    Problem::new(geometry, &clouds[0], &clouds[1], Epsilon::Absolute(epsilon)).map(Some)
}

pub(super) fn zeros<D: Device>(problem: &Problem<D>) -> Result<Potentials<D>, Error> {
    let zeros = |side: Side| problem.backend().upload(&vec![D::Elem::default(); problem.marginal(side).len()], 1);
    Ok(Potentials { source: zeros(Side::Source)?, target: zeros(Side::Target)?, epsilon: problem.epsilon() })
}

/// Sinkhorn's iteration from an epsilon down to that of the problem.
pub(super) fn iterate<D: Device>(
    problem: &Problem<D>,
    mut potentials: Potentials<D>,
    first: f64,
    sweeps: usize,
) -> Result<Potentials<D>, Error> {
    let (backend, mut kernel) = (problem.backend(), problem.bind()?);
    let mut scratch = zeros(problem)?;
    let (active, relaxation) = (ActiveColumns::all(1), backend.upload_reduced(&[1.0])?);
    let stages = (first / problem.epsilon()).log2().ceil().max(0.0) as i32;
    for stage in (0..=stages).rev() {
        let epsilon = (problem.epsilon() * 2_f64.powi(stage)).min(first);
        kernel.rebind(epsilon)?;
        potentials.epsilon = epsilon;
        kernel.recenter(problem.view(&potentials))?;
        for _ in 0..sweeps {
            kernel.sweep(
                backend,
                Sweep {
                    source: problem.marginal(Side::Source),
                    target: problem.marginal(Side::Target),
                    potentials: &mut potentials,
                    relaxation: &relaxation,
                    active: &active,
                    scratch: &mut scratch,
                    by_products: None,
                },
            )?;
        }
    }
    Ok(potentials)
}
