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

use std::{ops::ControlFlow, sync::Arc};

use ot_core::{
    ActiveColumns, Backend, Certificate, Check, Epsilon, Error, GroundCost, KernelOp, Measure, Observer, Potentials,
    Problem, Scalar, Side, SoftMin, Solution, Status, certificate::certify_with,
};

use super::{
    Random,
    block::{Atoms, histogram},
};

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
    tolerance: Option<f64>,
    max_epochs: usize,
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
        Self { step: 0.1, batch: 64, tolerance: None, max_epochs: 1000, seed: 0 }
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
        Self { tolerance: Some(tolerance), ..self }
    }

    /// The most epochs: as many steps each as there are blocks.
    #[must_use]
    pub fn max_epochs(self, max_epochs: usize) -> Self {
        Self { max_epochs, ..self }
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
    pub fn solve<B: Backend>(
        &self,
        backend: &B,
        source: &dyn Measure<B::Elem>,
        target: &dyn Measure<B::Elem>,
        cost: &dyn GroundCost,
        epsilon: Epsilon,
    ) -> Result<Solution<B>, Error> {
        self.run(backend, source, target, cost, epsilon).solve()
    }

    /// A run to which an observer can be given.
    #[must_use]
    pub fn run<'a, B: Backend>(
        &'a self,
        backend: &'a B,
        source: &'a dyn Measure<B::Elem>,
        target: &'a dyn Measure<B::Elem>,
        cost: &'a dyn GroundCost,
        epsilon: Epsilon,
    ) -> StochasticAveragedGradientRun<'a, B> {
        StochasticAveragedGradientRun { settings: self, backend, source, target, cost, epsilon, observer: None }
    }

    fn check(&self) -> Result<(), Error> {
        let positive = |name, value: f64| match value {
            value if value.is_finite() && value > 0.0 => Ok(()),
            _ => Err(Error::Parameter { name, value, expected: "a finite number > 0" }),
        };
        positive("tolerance", self.tolerance.unwrap_or(1.0))?;
        positive("step", self.step)?;
        positive("batch", self.batch as f64)?;
        positive("max_epochs", self.max_epochs as f64)
    }
}

/// One run of [`StochasticAveragedGradient`] on one pair of measures.
pub struct StochasticAveragedGradientRun<'a, B: Backend> {
    settings: &'a StochasticAveragedGradient,
    backend: &'a B,
    source: &'a dyn Measure<B::Elem>,
    target: &'a dyn Measure<B::Elem>,
    cost: &'a dyn GroundCost,
    epsilon: Epsilon,
    observer: Option<&'a mut dyn Observer>,
}

impl<'a, B: Backend> StochasticAveragedGradientRun<'a, B> {
    /// Who is told of every epoch, and may cancel. The dual is known, and the error exact, where a certificate was asked for;
    /// else the error is that of the kept shares, and the dual is not a number.
    #[must_use]
    pub fn observer(self, observer: &'a mut dyn Observer) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// Solves transport with prescribed marginals of one histogram each; `iterations` of the solution are epochs.
    ///
    /// # Errors
    /// [`Error::Parameter`] for settings out of range, [`Error::BatchMismatch`] for batches, [`Error::UnsupportedSupport`] for
    /// a source that is neither points nor the rows of a matrix; those of [`Backend::geometry`] and [`Problem::new`].
    pub fn solve(self) -> Result<Solution<B>, Error> {
        let Self { settings, backend, source, target, cost, epsilon, mut observer } = self;
        settings.check()?;
        let geometry = backend.geometry(source.support(), target.support(), cost)?;
        let problem = Problem::new(geometry, source, target, epsilon)?;
        let atoms = Atoms::new(backend, target, cost, problem.epsilon())?;
        let weights = histogram(source)?;
        let mut kernel = problem.bind()?;
        backend.scope(|| {
            let ascent = Ascent { settings, problem: &problem, atoms, source, weights };
            ascent.climb(kernel.as_mut(), &mut |check| match observer.as_deref_mut() {
                Some(observer) => observer.observe(check),
                None => ControlFlow::Continue(()),
            })
        })
    }
}

/// The iteration, and what does not change in it.
struct Ascent<'a, B: Backend> {
    settings: &'a StochasticAveragedGradient,
    problem: &'a Problem<B>,
    atoms: Atoms<'a, B>,
    source: &'a dyn Measure<B::Elem>,
    weights: Vec<f64>,
}

impl<B: Backend> Ascent<'_, B> {
    fn climb(
        &self,
        kernel: &mut dyn KernelOp<B>,
        tell: &mut dyn FnMut(&Check) -> ControlFlow<()>,
    ) -> Result<Solution<B>, Error> {
        let StochasticAveragedGradient { max_epochs, seed, .. } = *self.settings;
        let tolerance = self.settings.tolerance.unwrap_or(if B::Elem::EPSILON < 1e-10 { 1e-6 } else { 1e-4 });
        let mut iterate = Iterate::new(self);
        let (mut epoch, mut history) = (0, Vec::new());
        loop {
            epoch += 1;
            iterate.run_epoch(&mut Random::new(seed, 0, epoch as u64))?;
            let mut check = Check {
                iteration: epoch,
                epsilon: self.problem.epsilon(),
                marginal_error: iterate.marginal_error(),
                dual: f64::NAN,
                relaxation: 1.0,
                active_columns: 1,
            };
            // What the shares say is a hint: they are of potentials that have moved since.
            let exhausted = epoch >= max_epochs;
            let hopeful = check.marginal_error <= tolerance;
            let mut proven = None;
            if hopeful || exhausted || !check.marginal_error.is_finite() {
                let potentials = both_potentials(self.problem, kernel, &iterate.potential)?;
                let certificate = certify_with(kernel, self.problem, &potentials)?.swap_remove(0);
                (check.marginal_error, check.dual) = (certificate.marginal_error, certificate.dual);
                proven = Some((potentials, certificate));
            }
            history.push(check);
            let cancelled = tell(&check).is_break();
            let (potentials, certificate) = match proven {
                Some(proven) => proven,
                None if cancelled => {
                    let potentials = both_potentials(self.problem, kernel, &iterate.potential)?;
                    let certificate = certify_with(kernel, self.problem, &potentials)?.swap_remove(0);
                    (potentials, certificate)
                }
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
            return Ok(Solution::new(self.problem.clone(), potentials, statuses, certificates, epoch, history));
        }
    }
}

/// g, and the share of every block in the density of its marginal.
struct Iterate<'a, B: Backend> {
    ascent: &'a Ascent<'a, B>,
    potential: Vec<f64>,
    shares: Vec<Option<Vec<f64>>>,
    /// The sum of the shares.
    density: Vec<f64>,
    /// The mass of the blocks that were met.
    met: f64,
    mass: f64,
}

impl<'a, B: Backend> Iterate<'a, B> {
    fn new(ascent: &'a Ascent<'a, B>) -> Self {
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

    /// As many steps as there are blocks, each on one drawn from all.
    fn run_epoch(&mut self, random: &mut Random) -> Result<(), Error> {
        for _ in 0..self.shares.len() {
            self.step(random.index(self.shares.len()))?;
        }
        Ok(())
    }

    fn step(&mut self, block: usize) -> Result<(), Error> {
        let Ascent { settings, problem, atoms, source, weights } = self.ascent;
        let first = block * settings.batch;
        let weights = &weights[first..weights.len().min(first + settings.batch)];
        let share = atoms.meet_range(source.support(), first, weights, &self.potential)?.densities;
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

/// f, the softmin of g, in the gauge <a, f> = <b, g>; and g, which at atoms of weight zero is the softmin of f.
fn both_potentials<B: Backend>(
    problem: &Problem<B>,
    kernel: &mut dyn KernelOp<B>,
    potential: &[f64],
) -> Result<Potentials<B>, Error> {
    let backend = problem.backend();
    let elements = |values: &[f64]| -> Vec<B::Elem> { values.iter().map(|&value| B::Elem::from_f64(value)).collect() };
    let wide = |values: &B::Vector| -> Result<Vec<f64>, Error> {
        Ok(backend.download(&[values])?.swap_remove(0).into_iter().map(Scalar::to_f64).collect())
    };
    let active = &ActiveColumns::all(1);
    let [rows, columns] = [Side::Source, Side::Target].map(|side| problem.marginal(side).len());
    let mut g = backend.upload(&elements(potential), 1)?;
    let zeros = backend.upload(&vec![B::Elem::default(); rows], 1)?;
    let mut f = backend.alloc(rows, 1)?;
    let log_weights = problem.marginal(Side::Target).log_weights();
    kernel.softmin(SoftMin { side: Side::Source, potential: &g, log_weights, shift: &zeros, active }, &mut f)?;
    let mut s = backend.alloc(columns, 1)?;
    let log_weights = problem.marginal(Side::Source).log_weights();
    kernel.softmin(SoftMin { side: Side::Target, potential: &f, log_weights, shift: &g, active }, &mut s)?;

    let (mut source, softmin) = (wide(&f)?, wide(&s)?);
    let [a, b] = [Side::Source, Side::Target].map(|side| wide(problem.marginal(side).weights()));
    let (a, b) = (a?, b?);
    let weighed = |weights: &[f64], values: &[f64]| -> f64 { weights.iter().zip(values).map(|(w, v)| w * v).sum() };
    let mut target = potential.to_vec();
    for ((g, softmin), weight) in target.iter_mut().zip(softmin).zip(&b) {
        if *weight == 0.0 {
            *g = softmin;
        }
    }
    let shift = 0.5 * (weighed(&b, &target) - weighed(&a, &source)) / a.iter().sum::<f64>();
    source.iter_mut().for_each(|f| *f += shift);
    target.iter_mut().for_each(|g| *g -= shift);
    backend.write(&elements(&source), &mut f)?;
    backend.write(&elements(&target), &mut g)?;
    Ok(Potentials { source: f, target: g, epsilon: problem.epsilon() })
}
