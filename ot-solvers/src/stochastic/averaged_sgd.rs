//! Averaged stochastic gradient ascent, for a sampled source against a discrete target.
//!
//! ```text
//! g <- g + step / sqrt(k) (1 - r)                    r the density that block k of samples gives
//! mean of g with weights that grow like sqrt(k)      what is returned
//! ```
//!
//! (Genevay, Cuturi, Peyre, Bach 2016, algorithm 2; blocks of samples in place of one; averages that forget the start:
//! Shamir, Zhang 2013.) Epsilon is the natural length of a step, as it is in Sinkhorn's iteration, whose steps
//! are epsilon log(1 / r); where it is smaller than what the second nearest atom costs more than the nearest, that is.

use ot_core::{
    Backend, CostBetween, Device, Error, GeometryBuilder, GroundCost, Measure, Observer, Phase, PointsView, Progress,
    Scalar, Status, Support, host::try_zeros,
};

use super::{
    Sampler,
    block::{Atoms, Grade},
    held_out::HeldOutEstimate,
    sampler::Samples,
};
use crate::{
    history::History,
    limits::{Limits, at_least_one, positive},
};

/// Streams of the generator: ascent, pilot, checks, and the estimate at the end.
const ASCENT: u32 = 0;
const PILOT: u32 = 1;
const CHECKS: u32 = 2;
const FINAL: u32 = 3;

/// The tolerance by default.
const TOLERANCE: f64 = 1e-2;

/// Samples that tell the length of a step.
const PILOT_SAMPLES: usize = 256;

/// Weights of the mean grow like this power of k: 0 remembers the start, 1 has a third more of the noise.
const FORGETTING: f64 = 0.5;

/// Blocks before the first check.
const FIRST_CHECK: usize = 16;

/// A check every so many times as many samples as at the one before, with an eighth as many samples of its own.
const GROWTH: f64 = 1.5;
const HELD_OUT: usize = 8;

/// Settings of averaged stochastic gradient ascent.
///
/// Cost: one pass over the pairs of a sample and an atom on kernels that fuse a sweep; checks add less than a half. Memory: a
/// few vectors of the target, and what a block takes on the backend.
///
/// ```
/// use ot_core::{PointCloud, SqEuclidean};
/// use ot_cpu::CpuBackend;
/// use ot_solvers::{AveragedSgd, PointSampler, Random};
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let uniform = PointSampler::new(1, |random: &mut Random, point: &mut [f64]| point[0] = random.uniform());
/// let target = PointCloud::new(vec![0.2, 0.8], 1, vec![0.25, 0.75])?;
/// let solution = AveragedSgd::new(0.0).tolerance(0.05).solve(&backend, &uniform, &target, &SqEuclidean)?;
/// // The first quarter goes to the first atom: at 0.25, x^2 - 0.4 x + 0.04 - g_0 = x^2 - 1.6 x + 0.64 - g_1.
/// let [g_0, g_1] = solution.potential() else { unreachable!() };
/// assert!(solution.status().is_converged() && (g_0 - g_1 + 0.3).abs() < 0.05);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct AveragedSgd {
    epsilon: f64,
    step: Option<f64>,
    batch: usize,
    limits: Limits,
    seed: u64,
}

impl AveragedSgd {
    /// An epsilon in the units of the cost, 0 for none. A step that the cost tells, blocks of 512 samples, a tolerance of 1e-2,
    /// at most ten million samples, seed 0.
    #[must_use]
    pub fn new(epsilon: f64) -> Self {
        Self { epsilon, step: None, batch: 512, limits: Limits::new("max_samples", 10_000_000), seed: 0 }
    }

    /// The length of the first step, in the units of the cost.
    #[must_use]
    pub fn step(self, step: f64) -> Self {
        Self { step: Some(step), ..self }
    }

    /// Samples of a block.
    #[must_use]
    pub fn batch(self, batch: usize) -> Self {
        Self { batch, ..self }
    }

    /// The [marginal error](HeldOutEstimate::marginal_error) that counts as converged, a standard error of its estimate
    /// included.
    #[must_use]
    pub fn tolerance(self, tolerance: f64) -> Self {
        Self { limits: self.limits.tolerance(tolerance), ..self }
    }

    /// The most samples of the ascent, those of checks apart.
    #[must_use]
    pub fn max_samples(self, max_samples: usize) -> Self {
        Self { limits: self.limits.most(max_samples), ..self }
    }

    /// The seed of all samples.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Ascends from potentials of zero.
    ///
    /// # Errors
    /// Those of [`AveragedSgdRun::solve`].
    pub fn solve<D: Device, G: GeometryBuilder<Device = D> + Backend<D>>(
        &self,
        backend: &G,
        source: &dyn Sampler<D::Elem>,
        target: &dyn Measure<D::Elem>,
        cost: &dyn GroundCost,
    ) -> Result<SemiDiscreteSolution, Error> {
        self.run(backend, source, target, cost).solve()
    }

    /// A run to which an observer can be given.
    #[must_use]
    pub fn run<'a, D: Device, G: GeometryBuilder<Device = D> + Backend<D>>(
        &'a self,
        backend: &'a G,
        source: &'a dyn Sampler<D::Elem>,
        target: &'a dyn Measure<D::Elem>,
        cost: &'a dyn GroundCost,
    ) -> AveragedSgdRun<'a, D> {
        AveragedSgdRun { settings: self, builder: backend, backend, source, target, cost, observer: None }
    }

    /// What `samples` or a few more samples of another seed tell of a potential on the target, wherever it comes from.
    ///
    /// # Errors
    /// [`Error::Length`] for a potential that does not fit; those of [`AveragedSgdRun::solve`].
    pub fn estimate<D: Device, G: GeometryBuilder<Device = D> + Backend<D>>(
        &self,
        backend: &G,
        source: &dyn Sampler<D::Elem>,
        target: &dyn Measure<D::Elem>,
        cost: &dyn GroundCost,
        potential: &[f64],
        samples: usize,
    ) -> Result<HeldOutEstimate, Error> {
        self.check()?;
        let atoms = Atoms::new(backend, backend, target, cost, self.epsilon)?;
        check_mass(&atoms)?;
        let (expected, found) = (atoms.weights().len(), potential.len());
        if expected != found {
            return Err(Error::Length { what: "target potential", expected, found });
        }
        let mut stream = Samples::new(source, self.seed, FINAL);
        let backend: &dyn Backend<D> = backend;
        backend.scope(|| HeldOutEstimate::draw(&atoms, &mut stream, source.dimension(), potential, samples, self.batch))
    }

    fn check(&self) -> Result<(), Error> {
        positive("step", self.step.unwrap_or(1.0))?;
        at_least_one("batch", self.batch)?;
        self.limits.check()
    }
}

/// A source of samples has mass one.
fn check_mass<D: Device>(atoms: &Atoms<'_, D>) -> Result<(), Error> {
    let (source_mass, target_mass) = (1.0, atoms.weights().iter().sum::<f64>());
    let tolerance = <D::Elem as Scalar>::EPSILON * (64.0 + 8.0 * (atoms.weights().len() as f64).sqrt());
    if (target_mass - source_mass).abs() <= tolerance {
        Ok(())
    } else {
        Err(Error::MassMismatch { column: 0, source_mass, target_mass, tolerance })
    }
}

/// One run of [`AveragedSgd`].
pub struct AveragedSgdRun<'a, D: Device> {
    settings: &'a AveragedSgd,
    builder: &'a dyn GeometryBuilder<Device = D>,
    backend: &'a dyn Backend<D>,
    source: &'a dyn Sampler<D::Elem>,
    target: &'a dyn Measure<D::Elem>,
    cost: &'a dyn GroundCost,
    observer: Option<&'a mut dyn Observer>,
}

impl<'a, D: Device> AveragedSgdRun<'a, D> {
    /// The observer of every check; it may cancel.
    #[must_use]
    pub fn observer(self, observer: &'a mut dyn Observer) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// Ascends until samples held out say that the tolerance is met.
    ///
    /// # Errors
    /// [`Error::Parameter`] for settings out of range, [`Error::Epsilon`], [`Error::MassMismatch`] for a target of a mass
    /// other than one, [`Error::UnsupportedSupport`] for one without points, [`Error::BatchMismatch`] for a batch,
    /// [`Error::Coordinate`] for a sample that is not finite, [`Error::MissingCapability`] at epsilon 0 for a kernel without
    /// c-transform; those of [`GeometryBuilder::geometry`] and [`Geometry::bind`](ot_core::Geometry::bind).
    pub fn solve(self) -> Result<SemiDiscreteSolution, Error> {
        let Self { settings, builder, backend, source, target, cost, observer } = self;
        settings.check()?;
        let atoms = Atoms::new(builder, backend, target, cost, settings.epsilon)?;
        check_mass(&atoms)?;
        let step = match settings.step {
            Some(step) => step,
            None => {
                natural_step(&atoms, &mut Samples::new(source, settings.seed, PILOT), source.dimension(), settings)?
            }
        };
        backend.scope(|| {
            let ascent = Ascent { settings, atoms, source, step };
            ascent.climb(History::new(observer))
        })
    }
}

/// The larger of epsilon and the mean of what the second nearest atom costs more than the nearest.
fn natural_step<D: Device>(
    atoms: &Atoms<'_, D>,
    samples: &mut Samples<'_, D::Elem>,
    dimension: usize,
    settings: &AveragedSgd,
) -> Result<f64, Error> {
    let drawn = samples.next(PILOT_SAMPLES)?;
    let drawn = PointsView::new(&drawn, dimension)?;
    let costs = CostBetween::new(Support::Points(drawn), atoms.support(), atoms.cost())?;
    let (rows, columns) = costs.shape();
    let mut row = vec![D::Elem::default(); columns];
    let mut gaps = 0.0;
    for i in 0..rows {
        costs.row(i, &mut row);
        let weighted = row.iter().zip(atoms.weights()).filter(|(_, weight)| **weight > 0.0);
        let [nearest, second] = weighted.fold([f64::INFINITY; 2], |[nearest, second], (cost, _)| {
            let cost = cost.to_f64();
            [nearest.min(cost), second.min(cost.max(nearest))]
        });
        let gap = second - nearest;
        gaps += if gap.is_finite() { gap } else { 0.0 };
    }
    let step = settings.epsilon.max(gaps / PILOT_SAMPLES as f64);
    // One atom alone is where it is at any step.
    Ok(if step > 0.0 { step } else { 1.0 })
}

/// The iteration, and what does not change in it.
struct Ascent<'a, D: Device> {
    settings: &'a AveragedSgd,
    atoms: Atoms<'a, D>,
    source: &'a dyn Sampler<D::Elem>,
    step: f64,
}

impl<D: Device> Ascent<'_, D> {
    fn climb(&self, mut history: History<'_>) -> Result<SemiDiscreteSolution, Error> {
        let AveragedSgd { epsilon, batch, limits, seed, .. } = *self.settings;
        let (tolerance, max_samples) = (limits.tolerance_or(TOLERANCE), limits.most);
        let dimension = self.source.dimension();
        let mut samples = Samples::new(self.source, seed, ASCENT);
        let mut checks = Samples::new(self.source, seed, CHECKS);
        let mut weights: Vec<f64> = try_zeros(batch, "a batch of samples")?;
        weights.fill(1.0 / batch as f64);
        let mut potential = vec![0.0; self.atoms.weights().len()];
        let mut mean = potential.clone();
        let (mut iteration, mut next) = (0_usize, batch.saturating_mul(FIRST_CHECK));
        let status = loop {
            let points = samples.next(batch)?;
            let block =
                self.atoms.meet_points(PointsView::new(&points, dimension)?, &weights, &potential, Grade::Step)?;
            iteration += 1;
            let k = iteration as f64;
            let (step, share) = (self.step / k.sqrt(), (1.0 + FORGETTING) / (k + FORGETTING));
            for (((g, mean), density), weight) in
                potential.iter_mut().zip(&mut mean).zip(&block.densities).zip(self.atoms.weights())
            {
                if *weight > 0.0 {
                    *g += step * (1.0 - density);
                    *mean += share * (*g - *mean);
                }
            }
            let drawn = samples.drawn();
            let is_last = drawn.saturating_add(batch) > max_samples;
            if drawn < next && !is_last {
                continue;
            }
            next = (GROWTH * drawn as f64) as usize;
            centre(&mut mean, self.atoms.weights());
            let held_out = HeldOutEstimate::draw(&self.atoms, &mut checks, dimension, &mean, drawn / HELD_OUT, batch)?;
            let error = held_out.chi_squared.value + held_out.chi_squared.standard_error;
            let dual = held_out.semi_dual.value;
            let told = history.tell(Progress {
                of: Some(max_samples / batch),
                epsilon: (epsilon > 0.0).then_some(epsilon),
                marginal_error: Some(held_out.marginal_error()),
                dual: Some(dual),
                ..Progress::new(Phase::Samples, iteration)
            });
            if !(error.is_finite() && dual.is_finite()) {
                break Status::NotFinite;
            } else if error <= tolerance * tolerance {
                break Status::Converged;
            } else if told.is_break() {
                break Status::Cancelled;
            } else if is_last {
                break Status::IterationLimit;
            }
        };
        let mut fresh = Samples::new(self.source, seed, FINAL);
        let estimate =
            HeldOutEstimate::draw(&self.atoms, &mut fresh, dimension, &mean, samples.drawn() / HELD_OUT, batch)?;
        // Half of the value on either side.
        let gain: f64 = self.atoms.weights().iter().zip(&mean).map(|(weight, g)| weight * g).sum();
        let shift = 0.5 * estimate.semi_dual.value - gain;
        mean.iter_mut().for_each(|g| *g += shift);
        let history = history.into_told();
        Ok(SemiDiscreteSolution { potential: mean, epsilon, estimate, status, iterations: iteration, history })
    }
}

/// Takes the mean <b, g> out of a potential. Steps sum to nothing but for their rounding, beside which the costs of near points
/// would vanish.
fn centre(potential: &mut [f64], weights: &[f64]) {
    let mass: f64 = weights.iter().sum();
    let mean = weights.iter().zip(&*potential).map(|(weight, g)| weight * g).sum::<f64>() / mass;
    potential.iter_mut().for_each(|g| *g -= mean);
}

/// A potential on the atoms of the target, and what fresh samples say of it.
#[derive(Clone, Debug, PartialEq)]
pub struct SemiDiscreteSolution {
    potential: Vec<f64>,
    epsilon: f64,
    estimate: HeldOutEstimate,
    status: Status,
    iterations: usize,
    history: Vec<Progress>,
}

impl SemiDiscreteSolution {
    /// The potential g, in the gauge E f(x) = <b, g>. Atoms of weight zero take no part in the ascent, and their potentials mean
    /// nothing.
    #[must_use]
    pub fn potential(&self) -> &[f64] {
        &self.potential
    }

    /// Epsilon.
    #[must_use]
    pub fn epsilon(&self) -> f64 {
        self.epsilon
    }

    /// Value and marginal error, from samples that neither the ascent nor its checks have seen.
    #[must_use]
    pub fn estimate(&self) -> &HeldOutEstimate {
        &self.estimate
    }

    /// Why the ascent ended.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// Blocks of samples taken.
    #[must_use]
    pub fn iterations(&self) -> usize {
        self.iterations
    }

    /// What each check said.
    #[must_use]
    pub fn history(&self) -> &[Progress] {
        &self.history
    }
}
