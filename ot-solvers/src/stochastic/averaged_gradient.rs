//! Stochastic averaged gradient, for a discrete source (Schmidt, Le Roux, Bach 2017; for transport Genevay, Cuturi, Peyre, Bach
//! 2016, algorithm 1).
//!
//! ```text
//! r^k <- the share of block k in the density, k drawn        r = sum_k r^k
//! g <- g + step epsilon (1 - r) / max(1, max_j r_j)
//! ```
//!
//! Every block keeps its last share, so that a step costs one block and ascends along all of them. Blocks stand in place of single
//! atoms: n / batch vectors are kept instead of n. Dividing by the largest density keeps the step below the inverse of
//! the curvature, which is at most r_j / epsilon in the metric of b.

use std::sync::Arc;

use ot_core::{
    ActiveColumns, CTransform, Certificate, Device, Epsilon, Error, GeometryBuilder, GroundCost, KernelOp, Measure,
    Observer, Phase, Potentials, Problem, Progress, Scalar, Side, Solution, Status, certificate::certify_with,
};

use super::{
    Random,
    block::{Atoms, histogram},
};
use crate::{
    history::History,
    limits::{Limits, at_least_one, positive},
};

/// The largest density that is kept, so that sums of shares and steps along them stay numbers.
const LARGEST_DENSITY: f64 = 1e300;

/// The density below which an atom's potential is not left to the ascent: of atoms of little weight and high cost it may lack
/// all of their cost, where no error tells.
const UNREACHED: f64 = 0.5;

/// Settings of stochastic averaged gradient ascent.
///
/// Cost: one sweep over the pairs of a block and the target a step, a certificate whenever the kept shares say that
/// the tolerance is met. Memory: a vector of the target for each block.
///
/// ```
/// use ot_core::{Epsilon, PointCloud, SqEuclidean};
/// use ot_cpu::CpuBackend;
/// use ot_solvers::StochasticAveragedGradient;
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let source = PointCloud::uniform(vec![0.0, 0.2, 0.5, 0.9], 1)?;
/// let target = PointCloud::uniform(vec![0.1, 0.7], 1)?;
/// let settings = StochasticAveragedGradient::new().batch(1).tolerance(1e-9);
/// let solution = settings.solve(&backend, &source, &target, &SqEuclidean, Epsilon::Absolute(0.1))?;
/// assert!(solution.status().is_converged() && solution.certificate().marginal_error <= 1e-9);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct StochasticAveragedGradient {
    step: f64,
    batch: usize,
    limits: Limits,
    seed: u64,
}

impl Default for StochasticAveragedGradient {
    fn default() -> Self {
        Self::new()
    }
}

impl StochasticAveragedGradient {
    /// Steps of a tenth of epsilon, blocks of 64 atoms, tolerance 1e-6 in f64 and 1e-4 in f32, at most 1000 epochs, seed 0.
    #[must_use]
    pub fn new() -> Self {
        Self { step: 0.1, batch: 64, limits: Limits::new("max_epochs", 1000), seed: 0 }
    }

    /// The length of a step, in units of epsilon.
    #[must_use]
    pub fn step(self, step: f64) -> Self {
        Self { step, ..self }
    }

    /// Atoms of a block.
    #[must_use]
    pub fn batch(self, batch: usize) -> Self {
        Self { batch, ..self }
    }

    /// The marginal error that counts as converged, as [`Certificate`] has it.
    #[must_use]
    pub fn tolerance(self, tolerance: f64) -> Self {
        Self { limits: self.limits.tolerance(tolerance), ..self }
    }

    /// The most epochs: as many steps each as there are blocks.
    #[must_use]
    pub fn max_epochs(self, max_epochs: usize) -> Self {
        Self { limits: self.limits.most(max_epochs), ..self }
    }

    /// The seed of the order of blocks.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Solves from potentials of zero.
    ///
    /// # Errors
    /// Those of [`StochasticAveragedGradientRun::solve`].
    pub fn solve<D: Device>(
        &self,
        builder: &dyn GeometryBuilder<Device = D>,
        source: &dyn Measure<D::Elem>,
        target: &dyn Measure<D::Elem>,
        cost: &dyn GroundCost,
        epsilon: Epsilon,
    ) -> Result<Solution<D>, Error> {
        self.run(builder, source, target, cost, epsilon).solve()
    }

    /// A run to which an observer can be given.
    #[must_use]
    pub fn run<'a, D: Device>(
        &'a self,
        builder: &'a dyn GeometryBuilder<Device = D>,
        source: &'a dyn Measure<D::Elem>,
        target: &'a dyn Measure<D::Elem>,
        cost: &'a dyn GroundCost,
        epsilon: Epsilon,
    ) -> StochasticAveragedGradientRun<'a, D> {
        StochasticAveragedGradientRun { settings: self, builder, source, target, cost, epsilon, observer: None }
    }

    fn check(&self) -> Result<(), Error> {
        positive("step", self.step)?;
        at_least_one("batch", self.batch)?;
        self.limits.check()
    }
}

/// One run of [`StochasticAveragedGradient`] on one pair of measures.
pub struct StochasticAveragedGradientRun<'a, D: Device> {
    settings: &'a StochasticAveragedGradient,
    builder: &'a dyn GeometryBuilder<Device = D>,
    source: &'a dyn Measure<D::Elem>,
    target: &'a dyn Measure<D::Elem>,
    cost: &'a dyn GroundCost,
    epsilon: Epsilon,
    observer: Option<&'a mut dyn Observer>,
}

impl<'a, D: Device> StochasticAveragedGradientRun<'a, D> {
    /// The observer of every epoch; it may cancel. Dual and gap are known, and the error exact, where a certificate was asked
    /// for; else the error is that of the kept shares.
    #[must_use]
    pub fn observer(self, observer: &'a mut dyn Observer) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// Solves transport with prescribed marginals of one histogram each; `iterations` of the solution are epochs.
    ///
    /// # Errors
    /// [`Error::Parameter`] for settings out of range, [`Error::BatchMismatch`] for batches, [`Error::UnsupportedSupport`] for
    /// a source that is neither points nor the rows of a matrix; those of [`GeometryBuilder::geometry`] and [`Problem::new`].
    pub fn solve(self) -> Result<Solution<D>, Error> {
        let Self { settings, builder, source, target, cost, epsilon, observer } = self;
        settings.check()?;
        let geometry = builder.geometry(source.support(), target.support(), cost)?;
        let problem = Problem::new(geometry, source, target, epsilon)?;
        let atoms = Atoms::new(builder, problem.backend(), target, cost, problem.epsilon())?;
        let weights = histogram(source)?;
        let mut kernel = problem.bind()?;
        problem.backend().scope(|| {
            let ascent = Ascent { settings, problem: &problem, atoms, source, weights };
            ascent.climb(kernel.as_mut(), History::new(observer))
        })
    }
}

/// The iteration, and what does not change in it.
struct Ascent<'a, D: Device> {
    settings: &'a StochasticAveragedGradient,
    problem: &'a Problem<D>,
    atoms: Atoms<'a, D>,
    source: &'a dyn Measure<D::Elem>,
    weights: Vec<f64>,
}

impl<D: Device> Ascent<'_, D> {
    fn climb(&self, kernel: &mut dyn KernelOp<D>, mut history: History<'_>) -> Result<Solution<D>, Error> {
        let StochasticAveragedGradient { limits, seed, .. } = *self.settings;
        let tolerance = limits.tolerance_on(self.problem.backend());
        let mut iterate = Iterate::new(self);
        let mut epoch = 0;
        loop {
            epoch += 1;
            iterate.run_epoch(&mut Random::new(seed, 0, epoch as u64))?;
            let error = iterate.marginal_error();
            let mut progress = Progress {
                of: Some(limits.most),
                epsilon: Some(self.problem.epsilon()),
                marginal_error: Some(error),
                ..Progress::new(Phase::Iterations, epoch)
            };
            // What the shares say is a hint: they are of potentials that have moved since.
            let exhausted = epoch >= limits.most;
            let hopeful = error <= tolerance;
            let mut proven = None;
            if hopeful || exhausted || !error.is_finite() {
                let (potentials, certificate) = self.certified(kernel, &iterate)?;
                let Certificate { marginal_error, dual, gap, .. } = certificate;
                progress =
                    Progress { marginal_error: Some(marginal_error), dual: Some(dual), gap: Some(gap), ..progress };
                proven = Some((potentials, certificate));
            }
            let cancelled = history.tell(progress).is_break();
            let (potentials, certificate) = match proven {
                Some(proven) => proven,
                None if cancelled => self.certified(kernel, &iterate)?,
                None => continue,
            };
            let status = match certificate {
                _ if certificate.meets(tolerance) => Status::Converged,
                _ if !certificate.is_finite() => Status::NotFinite,
                Certificate { rounding, .. } if hopeful && rounding > tolerance => {
                    Status::PrecisionLimit { floor: rounding }
                }
                _ if cancelled => Status::Cancelled,
                _ if exhausted => Status::IterationLimit,
                _ => continue,
            };
            let (statuses, certificates) = (vec![status], vec![certificate]);
            let potentials = Arc::new(potentials);
            let told = history.into_told();
            return Ok(Solution::new(self.problem.clone(), potentials, statuses, certificates, epoch, told));
        }
    }

    /// The potentials of an iterate, and what is proven of them.
    fn certified(
        &self,
        kernel: &mut dyn KernelOp<D>,
        iterate: &Iterate<'_, D>,
    ) -> Result<(Potentials<D>, Certificate), Error> {
        let potentials = both_potentials(self.problem, kernel, &iterate.potential)?;
        let certificate = certify_with(kernel, self.problem, &potentials)?.swap_remove(0);
        Ok((potentials, certificate))
    }
}

/// g, and the share of every block in the density of its marginal.
struct Iterate<'a, D: Device> {
    ascent: &'a Ascent<'a, D>,
    potential: Vec<f64>,
    shares: Vec<Option<Vec<f64>>>,
    /// The sum of the shares.
    density: Vec<f64>,
    /// The mass of the blocks that were met.
    met: f64,
    mass: f64,
}

impl<'a, D: Device> Iterate<'a, D> {
    fn new(ascent: &'a Ascent<'a, D>) -> Self {
        let len = ascent.atoms.weights().len();
        Self {
            ascent,
            potential: vec![0.0; len],
            shares: vec![None; ascent.weights.len().div_ceil(ascent.settings.batch)],
            density: vec![0.0; len],
            met: 0.0,
            mass: ascent.weights.iter().sum(),
        }
    }

    /// As many steps as there are blocks, each on one drawn from all. The sum of the shares is made anew: what large shares
    /// cancelled comes back.
    fn run_epoch(&mut self, random: &mut Random) -> Result<(), Error> {
        for _ in 0..self.shares.len() {
            self.step(random.index(self.shares.len()))?;
        }
        self.density.fill(0.0);
        for share in self.shares.iter().flatten() {
            self.density.iter_mut().zip(share).for_each(|(sum, share)| *sum += share);
        }
        Ok(())
    }

    fn step(&mut self, block: usize) -> Result<(), Error> {
        let Ascent { settings, problem, atoms, source, weights } = self.ascent;
        let first = block * settings.batch;
        let weights = &weights[first..weights.len().min(first + settings.batch)];
        let mut share = atoms.meet_range(source.support(), first, weights, &self.potential)?.densities;
        share.iter_mut().for_each(|density| *density = density.min(LARGEST_DENSITY));
        self.density.iter_mut().zip(&share).for_each(|(sum, new)| *sum += new);
        match self.shares[block].replace(share) {
            Some(old) => self.density.iter_mut().zip(&old).for_each(|(sum, old)| *sum -= old),
            None => self.met += weights.iter().sum::<f64>(),
        }
        // Blocks that were not met yet are taken to be like the others.
        let known = (self.met / self.mass).max(f64::MIN_POSITIVE);
        let steepest = self.density.iter().fold(known, |steepest, &density| steepest.max(density));
        let step = settings.step * problem.epsilon() * known / steepest;
        let moving = self.potential.iter_mut().zip(&self.density).zip(atoms.weights()).filter(|(_, b)| **b > 0.0);
        moving.for_each(|((g, density), _)| *g += step * (1.0 - density / known));
        Ok(())
    }

    /// What the kept shares lack, relative to the mass.
    fn marginal_error(&self) -> f64 {
        let atoms = self.density.iter().zip(self.ascent.atoms.weights());
        atoms.map(|(density, weight)| weight * (density - 1.0).abs()).sum::<f64>() / self.mass
    }
}

/// f, the c-transform of g, in the gauge <a, f> = <b, g>; and g, which at atoms of weight zero, and at those that the ascent has
/// not reached, is the c-transform of f.
fn both_potentials<D: Device>(
    problem: &Problem<D>,
    kernel: &mut dyn KernelOp<D>,
    potential: &[f64],
) -> Result<Potentials<D>, Error> {
    let backend = problem.backend();
    let elements = |values: &[f64]| -> Vec<D::Elem> { values.iter().map(|&value| D::Elem::from_f64(value)).collect() };
    let wide = |values: &D::Vector| -> Result<Vec<f64>, Error> {
        Ok(backend.download(&[values])?.swap_remove(0).into_iter().map(Scalar::to_f64).collect())
    };
    let (a, b) = (problem.marginal(Side::Source), problem.marginal(Side::Target));
    let (zeros, g) = (backend.filled(0.0, a.len(), 1)?, backend.upload(&elements(potential), 1)?);
    let (epsilon, active) = (problem.epsilon(), &ActiveColumns::all(1));
    let mut potentials = Potentials { source: zeros, target: g, epsilon };
    let [mut f, mut transform] = [backend.alloc(a.len(), 1)?, backend.alloc(b.len(), 1)?];
    let request = CTransform { side: Side::Source, plan: problem.view(&potentials), penalty: a.penalty(), active };
    kernel.c_transform(backend, request, &mut f, None)?;
    potentials.source = f;
    let request = CTransform { side: Side::Target, plan: problem.view(&potentials), penalty: b.penalty(), active };
    kernel.c_transform(backend, request, &mut transform, None)?;

    let (mut source, transform) = (wide(&potentials.source)?, wide(&transform)?);
    let (a, b) = (wide(a.weights())?, wide(b.weights())?);
    let weighed = |weights: &[f64], values: &[f64]| -> f64 { weights.iter().zip(values).map(|(w, v)| w * v).sum() };
    let mut target = potential.to_vec();
    for ((g, transform), weight) in target.iter_mut().zip(transform).zip(&b) {
        if *weight == 0.0 || *g < transform + problem.epsilon() * UNREACHED.ln() {
            *g = transform;
        }
    }
    let shift = 0.5 * (weighed(&b, &target) - weighed(&a, &source)) / a.iter().sum::<f64>();
    source.iter_mut().for_each(|f| *f += shift);
    target.iter_mut().for_each(|g| *g -= shift);
    backend.write(&elements(&source), &mut potentials.source)?;
    backend.write(&elements(&target), &mut potentials.target)?;
    Ok(potentials)
}
