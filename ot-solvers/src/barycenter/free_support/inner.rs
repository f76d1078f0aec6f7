//! The transports between a barycenter of points and its inputs.

use std::sync::Arc;

use ot_core::{
    Epsilon, Error, GeometryBuilder, Host, HostBackend, Measure, PointCloud, Problem, Scalar, Side, Solution,
    SqEuclidean, Status, host::for_each_chunk,
};

use super::{Cloud, InnerTransport};
use crate::{
    entropic::{Sinkhorn, Start},
    exact::{ExactTransport, has_few_pairs},
};

/// Pairs of atoms of the largest exact transports that are solved side by side.
const MOST_PAIRS: usize = 1 << 24;

/// Inputs, and how plans to them are found.
pub(super) struct Inner<'a, T: Scalar, G> {
    pub(super) backend: &'a G,
    pub(super) inputs: &'a [&'a PointCloud<'a, T>],
    pub(super) lambda: &'a [f64],
    pub(super) transport: InnerTransport,
    /// Of entropic transports.
    pub(super) inner_tolerance: Option<f64>,
}

/// The transports of one cloud to all inputs.
pub(super) struct Solves<T: Scalar> {
    /// sum_k lambda_k primal_k.
    pub(super) value: f64,
    /// sum_k lambda_k gap_k.
    pub(super) gap: f64,
    /// sum_k lambda_k f_k, the slope of the value in the weights of the cloud.
    pub(super) slope: Vec<f64>,
    /// The worst status.
    pub(super) status: Status,
    /// sum_k lambda_k of the means of what each atom is sent to.
    means: Vec<f64>,
    warm: Vec<Warm<T>>,
}

/// What a transport leaves for the next.
enum Warm<T: Scalar> {
    Exact([Vec<f64>; 2]),
    Entropic(Arc<Solution<Host<T>>>),
}

/// One transport.
struct Solve<T: Scalar> {
    value: f64,
    gap: f64,
    status: Status,
    potential: Vec<f64>,
    /// The mean of what each atom is sent to, NaN for one without mass.
    means: Vec<f64>,
    warm: Warm<T>,
}

impl<T: Scalar, G: GeometryBuilder<Device = Host<T>> + HostBackend<T>> Inner<'_, T, G> {
    /// All transports; those before at similar points and weights guide them.
    pub(super) fn solve(&self, cloud: &Cloud, before: Option<&Solves<T>>) -> Result<Solves<T>, Error> {
        let source = cloud.narrowed::<T>()?;
        let mut all = Solves {
            value: 0.0,
            gap: 0.0,
            slope: vec![0.0; cloud.weights.len()],
            status: Status::Converged,
            means: vec![0.0; cloud.points.len()],
            warm: Vec::new(),
        };
        let solve = |index: usize| {
            let (input, warm) = (self.inputs[index], before.map(|before| &before.warm[index]));
            match self.transport {
                InnerTransport::Exact => self.exact(&source, input, warm),
                InnerTransport::Entropic(epsilon) => self.entropic(&source, input, epsilon, warm),
            }
        };
        for (solve, &lambda) in self.each_input(&source, solve).into_iter().zip(self.lambda) {
            let solve = solve?;
            all.warm.push(solve.warm);
            if lambda == 0.0 {
                continue;
            }
            all.value += lambda * solve.value;
            all.gap += lambda * solve.gap;
            if !solve.status.is_converged() {
                all.status = solve.status;
            }
            all.slope.iter_mut().zip(&solve.potential).for_each(|(sum, f)| *sum += lambda * f);
            all.means.iter_mut().zip(&solve.means).for_each(|(sum, mean)| *sum += lambda * mean);
        }
        Ok(all)
    }

    /// What is found for each input: side by side where solves are exact and their memory is little, since a simplex runs on one
    /// thread, and else one after the other, each on all threads.
    fn each_input<R: Send>(&self, source: &PointCloud<'_, T>, solve: impl Fn(usize) -> R + Sync) -> Vec<R> {
        let count = self.inputs.len();
        let pairs = |input: &&PointCloud<'_, T>| source.points().len().saturating_mul(input.points().len());
        let is_light = self.inputs.iter().all(|input| pairs(input) <= MOST_PAIRS);
        if self.transport != InnerTransport::Exact || !is_light {
            return (0..count).map(solve).collect();
        }
        let mut solved: Vec<Option<R>> = (0..count).map(|_| None).collect();
        let parallel = |tasks: usize, job: &(dyn Fn(usize) + Sync)| self.backend.parallel(tasks, job);
        for_each_chunk(parallel, count, solved.iter_mut(), |index, out| *out = Some(solve(index)));
        solved.into_iter().flatten().collect()
    }

    /// Is a solve one over a table of all costs?
    fn is_small(&self, source: &PointCloud<'_, T>, target: &PointCloud<'_, T>) -> bool {
        self.transport == InnerTransport::Exact && has_few_pairs([source.points().len(), target.points().len()])
    }

    /// sum_k lambda_k of the variances of the inputs, times their mass.
    pub(super) fn spread(&self) -> f64 {
        let variance = |input: &&PointCloud<'_, T>| {
            let (points, weights) = (input.points(), input.weights_view());
            let atoms = || (0..points.len()).map(|i| (weights.values()[i].to_f64(), points.point(i)));
            (0..points.dimension())
                .map(|axis| {
                    let mean =
                        atoms().map(|(weight, point)| weight * point[axis].to_f64()).sum::<f64>() / weights.mass(0);
                    atoms().map(|(weight, point)| weight * (point[axis].to_f64() - mean).powi(2)).sum::<f64>()
                })
                .sum::<f64>()
        };
        self.inputs.iter().zip(self.lambda).map(|(input, lambda)| lambda * variance(input)).sum()
    }

    fn exact(
        &self,
        source: &PointCloud<'_, T>,
        target: &PointCloud<'_, T>,
        warm: Option<&Warm<T>>,
    ) -> Result<Solve<T>, Error> {
        let settings = ExactTransport::new();
        let run = settings.run(self.backend, source, target, &SqEuclidean);
        // Between few atoms a start costs more than it saves.
        let solution = match warm {
            Some(Warm::Exact([f, g])) if !self.is_small(source, target) => run.start(f, g).solve()?,
            _ => run.solve()?,
        };
        let dimension = source.points().dimension();
        let mut means = vec![0.0; source.points().coordinates().len()];
        let mut masses = vec![0.0; source.points().len()];
        for entry in solution.plan().entries() {
            let (j, y) = (entry.source as usize, target.points().point(entry.target as usize));
            masses[j] += entry.mass;
            means[j * dimension..].iter_mut().zip(y).for_each(|(sum, y)| *sum += entry.mass * y.to_f64());
        }
        for (means, mass) in means.chunks_exact_mut(dimension).zip(masses) {
            means.iter_mut().for_each(|mean| *mean /= mass);
        }
        let potentials = Side::BOTH.map(|side| solution.potential(side).to_vec());
        Ok(Solve {
            value: solution.certificate().primal,
            gap: (solution.certificate().primal - solution.certificate().dual).max(0.0),
            status: solution.status(),
            potential: potentials[0].clone(),
            means,
            warm: Warm::Exact(potentials),
        })
    }

    fn entropic(
        &self,
        source: &PointCloud<'_, T>,
        target: &PointCloud<'_, T>,
        epsilon: f64,
        warm: Option<&Warm<T>>,
    ) -> Result<Solve<T>, Error> {
        let geometry = self.backend.geometry(source.support(), target.support(), &SqEuclidean)?;
        let problem = Problem::new(geometry, source, target, Epsilon::Absolute(epsilon))?;
        let start = match warm {
            Some(Warm::Entropic(before)) => Start::Warm(before.potentials()),
            _ => Start::Zero,
        };
        let sinkhorn = self.inner_tolerance.map_or(Sinkhorn::new(), |tolerance| Sinkhorn::new().tolerance(tolerance));
        let solution = sinkhorn.run(&problem).start(start).solve()?;
        let dimension = target.points().dimension();
        let means = solution.plan()?.barycentric_projection(Side::Source, target.points().coordinates(), dimension)?;
        let potential = solution.potential(Side::Source)?;
        Ok(Solve {
            value: solution.certificate().primal,
            gap: solution.certificate().gap,
            status: solution.status(),
            potential: potential.iter().map(|f| f.to_f64()).collect(),
            means: means.iter().map(|mean| mean.to_f64()).collect(),
            warm: Warm::Entropic(Arc::new(solution)),
        })
    }
}

impl<T: Scalar> Solves<T> {
    /// The entropic transports, input by input; none where they are exact.
    pub(super) fn transports(self) -> Vec<Arc<Solution<Host<T>>>> {
        let entropic = |warm| match warm {
            Warm::Entropic(solution) => Some(solution),
            Warm::Exact(_) => None,
        };
        self.warm.into_iter().filter_map(entropic).collect()
    }

    /// The cloud at the means; atoms without mass stay.
    pub(super) fn moved(&self, cloud: &Cloud) -> Cloud {
        let mut moved = cloud.clone();
        let means = self.means.chunks_exact(cloud.dimension);
        for ((point, mean), weight) in moved.points.chunks_exact_mut(cloud.dimension).zip(means).zip(&cloud.weights) {
            if *weight > 0.0 && mean.iter().all(|mean| mean.is_finite()) {
                point.copy_from_slice(mean);
            }
        }
        moved
    }

    /// The root of sum_j b_j |x_j - mean_j|^2 over the spread of the inputs.
    pub(super) fn residual(&self, cloud: &Cloud, spread: f64) -> f64 {
        let moved = self.moved(cloud);
        let pairs = cloud.points.chunks_exact(cloud.dimension).zip(moved.points.chunks_exact(cloud.dimension));
        let squares = pairs.map(|(x, y)| x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum::<f64>());
        let moment: f64 = squares.zip(&cloud.weights).map(|(square, weight)| weight * square).sum();
        if moment == 0.0 { 0.0 } else { (moment / spread).sqrt() }
    }
}
