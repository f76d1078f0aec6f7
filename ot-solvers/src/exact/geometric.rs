//! Potentials that guide an exact search between point clouds: entropic ones, coarse to fine.
//!
//! Points in the order of a space-filling curve are merged by fours into their centroids, again and again (Mérigot
//! 2011; Schmitzer 2019). On the coarsest clouds epsilon is annealed by Sinkhorn's iteration; each finer level starts
//! from the softmin over the atoms of the coarser one and needs a few iterations at the epsilon of its own spacing.
//! The pairs of small reduced cost under the last potentials are those that an optimal plan may use.

use ot_core::{
    ActiveColumns, Backend, Epsilon, Error, GroundCost, KernelOp, Measure, PointCloud, PointsView, Potentials,
    PricedArc, Problem, Scalar, Side, SoftMin, Support, Sweep, UNREACHABLE,
};

use super::{column_generation::Pricing, network_simplex::ROUNDING};

/// Atoms that are merged into one.
const MERGED: usize = 4;

/// Atoms of a side at which merging ends.
const COARSEST: usize = 300;

/// Epsilon of a level, over the cost between neighbours on the curve.
const SHARPNESS: f64 = 0.5;

/// Epsilons of a level, each half of the one before.
const STAGES: i32 = 2;

/// Iterations at each epsilon of the finest level, and how many times as many each coarser level has: what is wrong
/// over a distance of many spacings is cheap to mend there, and takes many iterations.
const SWEEPS: usize = 3;
const COARSER_SWEEPS: usize = 5;

/// The most iterations at one epsilon.
const MOST_SWEEPS: usize = 400;

/// Sorts atoms along a space-filling curve (Morton 1966) through the box of the points.
pub(super) fn space_filling_order<T: Scalar>(points: PointsView<'_, T>, atoms: &mut [u32]) {
    const MOST_AXES: usize = 16;
    let axes = points.dimension().min(MOST_AXES);
    let bits = (64 / axes).min(32) as u32;
    let coordinate = |atom: u32, axis: usize| points.point(atom as usize)[axis].to_f64();
    let lows: Vec<f64> =
        (0..axes).map(|axis| atoms.iter().map(|&atom| coordinate(atom, axis)).fold(f64::INFINITY, f64::min)).collect();
    let widths =
        (0..axes).map(|axis| atoms.iter().map(|&atom| coordinate(atom, axis) - lows[axis]).fold(0.0, f64::max));
    let width = widths.fold(f64::MIN_POSITIVE, f64::max);
    let cells = ((1_u64 << bits) - 1) as f64;
    let code = |atom: &u32| {
        let places: Vec<u64> =
            (0..axes).map(|axis| ((coordinate(*atom, axis) - lows[axis]) / width * cells) as u64).collect();
        (0..bits)
            .rev()
            .flat_map(|bit| places.iter().map(move |place| place >> bit & 1))
            .fold(0, |code, bit| code << 1 | bit)
    };
    atoms.sort_by_cached_key(|atom: &u32| -> u64 { code(atom) });
}

/// Points and weights of one side at one level, in the order of the curve.
#[derive(Clone)]
struct Cloud<T> {
    coordinates: Vec<T>,
    weights: Vec<f64>,
    dimension: usize,
}

impl<T: Scalar> Cloud<T> {
    /// The atoms named, with their weights.
    fn new(points: PointsView<'_, T>, atoms: &[u32], weights: &[f64]) -> Self {
        let coordinates = atoms.iter().flat_map(|&atom| points.point(atom as usize)).copied().collect();
        Self { coordinates, weights: weights.to_vec(), dimension: points.dimension() }
    }

    /// Neighbours on the curve merged into their centroids.
    fn merged(&self) -> Self {
        let mut coordinates = Vec::with_capacity(self.coordinates.len().div_ceil(MERGED));
        let mut weights = Vec::with_capacity(self.weights.len().div_ceil(MERGED));
        for (points, of_points) in self.coordinates.chunks(MERGED * self.dimension).zip(self.weights.chunks(MERGED)) {
            let mass: f64 = of_points.iter().sum();
            for axis in 0..self.dimension {
                let values = points.iter().skip(axis).step_by(self.dimension);
                let moment: f64 = values.zip(of_points).map(|(x, weight)| x.to_f64() * (weight / mass)).sum();
                coordinates.push(T::from_f64(moment));
            }
            weights.push(mass);
        }
        Self { coordinates, weights, dimension: self.dimension }
    }

    fn len(&self) -> usize {
        self.weights.len()
    }

    fn measure(&self) -> Result<PointCloud<'_, T>, Error> {
        let weights: Vec<T> = self.weights.iter().map(|&weight| T::from_f64(weight)).collect();
        PointCloud::new(&self.coordinates[..], self.dimension, weights)
    }

    /// The mean cost between neighbours on the curve, the largest few of them left out.
    fn spacing(&self, cost: &dyn GroundCost) -> f64 {
        let wide: Vec<f64> = self.coordinates.iter().map(|coordinate| coordinate.to_f64()).collect();
        let points: Vec<&[f64]> = wide.chunks_exact(self.dimension).collect();
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
}

/// Potentials f and g, and the pricing of pairs from coordinates.
pub(super) struct Guided<B: Backend> {
    pub(super) potentials: [Vec<f64>; 2],
    problem: Problem<B>,
}

impl<B: Backend> Guided<B> {
    /// A kernel that prices pairs from coordinates; `None` if its element type is too short for that, or if it has no
    /// [`HardTransform`](ot_core::HardTransform).
    ///
    /// # Errors
    /// Those of [`Geometry::bind`](ot_core::Geometry::bind).
    pub(super) fn pricing(&self) -> Result<Option<CoordinatePricing<B>>, Error> {
        let mut kernel = self.problem.bind()?;
        let is_exact = B::Elem::EPSILON < 1e-10 && kernel.hard_transform().is_some();
        Ok(is_exact.then(|| CoordinatePricing { backend: self.problem.backend().clone(), kernel }))
    }
}

/// See [`Guided::pricing`].
pub(super) struct CoordinatePricing<B: Backend> {
    backend: B,
    kernel: Box<dyn KernelOp<B>>,
}

impl<B: Backend> Pricing for CoordinatePricing<B> {
    fn negative(&mut self, f: &[f64], minus_g: &[f64], most: usize) -> Result<Option<Vec<PricedArc>>, Error> {
        let largest = f.iter().chain(minus_g).fold(0.0_f64, |largest, potential| largest.max(potential.abs()));
        let upload = |values: &mut dyn Iterator<Item = f64>| {
            self.backend.upload(&values.map(B::Elem::from_f64).collect::<Vec<_>>(), 1)
        };
        let (f, g) = (upload(&mut f.iter().copied())?, upload(&mut minus_g.iter().map(|minus_g| -minus_g))?);
        let Some(transform) = self.kernel.hard_transform() else { return Ok(None) };
        match transform.arcs_below(&f, &g, 0, -ROUNDING * largest, most) {
            Ok(arcs) => Ok(Some(arcs)),
            Err(Error::OutOfMemory { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Potentials f and g of the atoms named, which are in the order of the curve, with these weights. `None` where there is
/// nothing to be guided by: supports without coordinates, a kernel of one epsilon, coincident points.
///
/// # Errors
/// Those of [`Backend::geometry`].
pub(super) fn guided<B: Backend>(
    backend: &B,
    measures: [&dyn Measure<B::Elem>; 2],
    atoms: [&[u32]; 2],
    weights: &[Vec<f64>; 2],
    cost: &dyn GroundCost,
) -> Result<Option<Guided<B>>, Error> {
    match coarse_to_fine(backend, measures, atoms, weights, cost) {
        // The entropic problem does not fit the element type; the exact one may.
        Err(Error::CostOverflow { .. } | Error::Epsilon(_) | Error::MassMismatch { .. } | Error::Stranded { .. }) => {
            Ok(None)
        }
        other => other,
    }
}

fn coarse_to_fine<B: Backend>(
    backend: &B,
    measures: [&dyn Measure<B::Elem>; 2],
    atoms: [&[u32]; 2],
    weights: &[Vec<f64>; 2],
    cost: &dyn GroundCost,
) -> Result<Option<Guided<B>>, Error> {
    let [Support::Points(x), Support::Points(y)] = measures.map(Measure::support) else {
        return Ok(None);
    };
    let mut levels = vec![[Cloud::new(x, atoms[0], &weights[0]), Cloud::new(y, atoms[1], &weights[1])]];
    while let Some([source, target]) = levels.last()
        && source.len().max(target.len()) > COARSEST
    {
        let merged =
            |cloud: &Cloud<B::Elem>| if cloud.len() > COARSEST / MERGED { cloud.merged() } else { cloud.clone() };
        levels.push([merged(source), merged(target)]);
    }

    let mut coarser: Option<(Level<'_, B>, Problem<B>, Potentials<B>)> = None;
    for (depth, clouds) in levels.iter().enumerate().rev() {
        let sweeps = (SWEEPS * COARSER_SWEEPS.saturating_pow(depth as u32)).min(MOST_SWEEPS);
        let level = Level { backend, cost, clouds };
        let Some(problem) = level.problem()? else { return Ok(None) };
        let bound = problem.geometry().cost_bound().unwrap_or(0.0);
        let potentials = match &coarser {
            None => {
                let first = (bound / 4.0).max(problem.epsilon());
                level.iterate(&problem, level.zeros(&problem)?, first, sweeps)?
            }
            Some((coarse, _, potentials)) => {
                let start = coarse.extended(potentials, &level)?;
                let first = problem.epsilon() * 2_f64.powi(STAGES - 1);
                level.iterate(&problem, start, first, sweeps)?
            }
        };
        coarser = Some((level, problem, potentials));
    }
    let Some((_, problem, potentials)) = coarser else { return Ok(None) };
    let both = backend.download(&[&potentials.source, &potentials.target])?;
    let both = both.into_iter().map(|side| side.into_iter().map(Scalar::to_f64).collect::<Vec<f64>>());
    let [f, g] = both.collect::<Vec<_>>().try_into().unwrap_or_default();
    let are_finite = f.iter().chain(&g).all(|potential| potential.abs() < 0.5 * UNREACHABLE);
    Ok(are_finite.then_some(Guided { potentials: [f, g], problem }))
}

/// Two clouds, and the cost between them.
struct Level<'a, B: Backend> {
    backend: &'a B,
    cost: &'a dyn GroundCost,
    clouds: &'a [Cloud<B::Elem>; 2],
}

impl<B: Backend> Level<'_, B> {
    /// The entropic problem at the epsilon of the spacing; `None` where there is none.
    fn problem(&self) -> Result<Option<Problem<B>>, Error> {
        let [source, target] = [self.clouds[0].measure()?, self.clouds[1].measure()?];
        let geometry = self.backend.geometry(source.support(), target.support(), self.cost)?;
        let spacing = self.clouds.iter().map(|cloud| cloud.spacing(self.cost)).fold(0.0, f64::max);
        let least = 64.0 * B::Elem::EPSILON * geometry.cost_bound().unwrap_or(0.0);
        let epsilon = (SHARPNESS * spacing).max(least);
        if geometry.fixed_epsilon().is_some() || !(epsilon.is_finite() && epsilon > 0.0) {
            return Ok(None);
        }
        Problem::new(geometry, &source, &target, Epsilon::Absolute(epsilon)).map(Some)
    }

    fn zeros(&self, problem: &Problem<B>) -> Result<Potentials<B>, Error> {
        let zeros = |cloud: &Cloud<B::Elem>| self.backend.upload(&vec![B::Elem::default(); cloud.len()], 1);
        let (source, target) = (zeros(&self.clouds[0])?, zeros(&self.clouds[1])?);
        Ok(Potentials { source, target, epsilon: problem.epsilon() })
    }

    /// Sinkhorn's iteration from an epsilon down to that of the problem.
    fn iterate(
        &self,
        problem: &Problem<B>,
        mut potentials: Potentials<B>,
        first: f64,
        sweeps: usize,
    ) -> Result<Potentials<B>, Error> {
        let mut kernel = problem.bind()?;
        let mut scratch = self.zeros(problem)?;
        let (active, relaxation) = (ActiveColumns::all(1), self.backend.upload_reduced(&[1.0])?);
        let stages = (first / problem.epsilon()).log2().ceil().max(0.0) as i32;
        for stage in (0..=stages).rev() {
            let epsilon = (problem.epsilon() * 2_f64.powi(stage)).min(first);
            kernel.rebind(epsilon)?;
            potentials.epsilon = epsilon;
            kernel.recenter(problem.view(&potentials))?;
            for _ in 0..sweeps {
                kernel.sweep(
                    self.backend,
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

    /// The potentials of the finer clouds: g by the softmin over these sources, f by that of the atom merged into.
    fn extended(&self, potentials: &Potentials<B>, finer: &Level<'_, B>) -> Result<Potentials<B>, Error> {
        let backend = self.backend;
        let values = backend.download(&[&potentials.source, &potentials.target])?;
        let spread = |side: usize| {
            let merged = if finer.clouds[side].len() == self.clouds[side].len() { 1 } else { MERGED };
            let spread: Vec<B::Elem> = (0..finer.clouds[side].len()).map(|atom| values[side][atom / merged]).collect();
            backend.upload(&spread, 1)
        };
        let (source, shift) = (spread(0)?, spread(1)?);
        let (coarse, fine) = (self.clouds[0].measure()?, finer.clouds[1].measure()?);
        let geometry = backend.geometry(coarse.support(), fine.support(), self.cost)?;
        let log_weights: Vec<B::Elem> =
            self.clouds[0].weights.iter().map(|weight| B::Elem::from_f64(weight.ln())).collect();
        let log_weights = backend.upload(&log_weights, 1)?;
        let mut target = backend.alloc(fine.support().len().unwrap_or(0), 1)?;
        geometry.bind(potentials.epsilon, 1)?.softmin(
            SoftMin {
                side: Side::Target,
                potential: &potentials.source,
                log_weights: &log_weights,
                shift: &shift,
                active: &ActiveColumns::all(1),
            },
            &mut target,
        )?;
        Ok(Potentials { source, target, epsilon: potentials.epsilon })
    }
}
