//! Heat on a point cloud, where there is no mesh: a Gaussian kernel made to preserve mass, step after step.

use std::sync::Arc;

use ot_core::{
    ActiveColumns, Backend, Balanced, CTransform, Elem, Epsilon, Error, Geometry, GeometryBuilder, GroundCost, Host,
    KernelOp, LOG_ZERO, MarginalPenalty, Measure, PlanSide, PlanView, PointCloud, RecordedPenalty, Side, SqEuclidean,
    Support, UNREACHABLE, host::HostVector,
};

use super::{DARK, LogKernel, LogOperator, Untold, own_geometry};
use crate::{backend::CpuBackend, geometry::CpuScalar};

/// The most iterations of the normalisation.
const ITERATIONS: usize = 10_000;

/// The kernel of a diffusion on a weighted cloud after a time t, in k steps of a Gaussian kernel that was normalised to
/// preserve mass and constants at once (Kessler, Magnet, Feydy 2025):
///
/// ```text
/// S_ij = exp(-|x_i - x_j|^2 / (4 t / k)),   Q = D S D M with D > 0 diagonal such that Q 1 = 1,   K = Q^k M^-1
/// ```
///
/// with the weights M of the points, which stand for the areas around them. D is the scaling of a symmetric Sinkhorn's
/// iteration. K is symmetric, positive, and K M 1 = 1. As the points of a surface are near each other on it where they are near
/// in space, heat that moves sqrt(t / k) at a step stays on the surface: choose k so that this is a few spacings of the points,
/// and less than the gaps between its parts.
///
/// Epsilon is 4 t and fixed, the [implied cost](ot_core::ImpliedCost) -epsilon log K: as that of a
/// [`HeatGeometry`](super::HeatGeometry), but for one step, where it is the squared distance less a sum of two functions, so
/// that plans between prescribed marginals are those of the squared distance. All sums are made from logarithms to logarithms,
/// in any range of numbers.
///
/// **Cost.** k softmins of the cloud for each softmin: n^2 k terms, in memory O(n) above the
/// [dense limit](CpuBackend::with_dense_limit).
///
/// ```
/// use ot_core::{Epsilon, PointCloud, Problem, WeightsView};
/// use ot_cpu::{CpuBackend, PointCloudHeat};
///
/// let circle = (0..12).flat_map(|i| [(f64::from(i) * 0.52).cos(), (f64::from(i) * 0.52).sin()]).collect::<Vec<_>>();
/// let cloud = PointCloud::uniform(circle.clone(), 2)?;
/// let heat = PointCloudHeat::new(&CpuBackend::<f64>::new(1)?, &cloud, 0.5, 4)?;
/// assert_eq!(heat.epsilon(), Epsilon::Absolute(2.0));
///
/// let a = PointCloud::new(circle.clone(), 2, (0..12).map(|i| f64::from(i + 1)).collect::<Vec<_>>())?.normalized();
/// let problem = Problem::new(heat.shared(), &a, &cloud, heat.epsilon())?;
/// assert_eq!(problem.columns(), 1);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PointCloudHeat<T: CpuScalar> {
    backend: CpuBackend<T>,
    /// S.
    gaussian: Arc<dyn Geometry<Host<T>>>,
    cloud: Arc<PointCloud<'static, T>>,
    steps: Arc<Steps>,
    time: f64,
}

/// What each step multiplies with.
#[derive(Debug)]
struct Steps {
    count: usize,
    /// 4 t / k.
    epsilon: f64,
    /// log D.
    log_scaling: Vec<f64>,
    /// log M.
    log_masses: Vec<f64>,
}

impl<T: CpuScalar> PointCloudHeat<T> {
    /// The kernel of a cloud whose weights are all positive, after a time, in a number of steps.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a time that is not finite and positive, no step, or a weight of zero;
    /// [`Error::BatchMismatch`] for a cloud of several columns; [`Error::Epsilon`] for a time that the element type does not
    /// hold; those of [`GeometryBuilder::geometry`].
    pub fn new(backend: &CpuBackend<T>, cloud: &PointCloud<'_, T>, time: f64, steps: usize) -> Result<Self, Error> {
        let refuse = |name, value, expected| Err(Error::Parameter { name, value, expected });
        if !(time.is_finite() && time > 0.0) {
            return refuse("the time of a diffusion", time, "a finite number > 0");
        }
        if steps == 0 {
            return refuse("the steps of a diffusion", 0.0, "at least one");
        }
        let weights = cloud.weights_view();
        if weights.columns() != 1 {
            return Err(Error::BatchMismatch { source_columns: 1, target_columns: weights.columns() });
        }
        if let Some(weight) = weights.values().iter().find(|weight| weight.to_f64() <= 0.0) {
            return refuse("the mass of a point", weight.to_f64(), "a number > 0");
        }
        let gaussian = backend.geometry(cloud.support(), cloud.support(), &SqEuclidean)?;
        let epsilon = 4.0 * time / steps as f64;
        let log_masses: Vec<f64> = weights.values().iter().map(|weight| weight.to_f64().ln()).collect();
        let steps = Steps { count: steps, epsilon, log_scaling: vec![0.0; log_masses.len()], log_masses };
        let log_scaling = normalised(backend, gaussian.as_ref(), &steps)?;
        Ok(Self {
            backend: backend.clone(),
            gaussian,
            cloud: Arc::new(cloud.clone().into_owned()),
            steps: Arc::new(Steps { log_scaling, ..steps }),
            time,
        })
    }

    /// The only epsilon: 4 t.
    #[must_use]
    pub fn epsilon(&self) -> Epsilon {
        Epsilon::Absolute(4.0 * self.time)
    }

    /// This geometry for problems, which share it.
    #[must_use]
    pub fn shared(&self) -> Arc<dyn Geometry<Host<T>>> {
        Arc::new(self.clone())
    }
}

/// log D, by d <- sqrt(d / (S M d)) until nothing moves beyond rounding.
fn normalised<T: CpuScalar>(
    backend: &CpuBackend<T>,
    gaussian: &dyn Geometry<Host<T>>,
    steps: &Steps,
) -> Result<Vec<f64>, Error> {
    let mut products = Products::new(backend, gaussian, steps.epsilon, 1)?;
    let mut log_scaling = steps.log_scaling.clone();
    let (mut before, active) = (f64::INFINITY, ActiveColumns::all(1));
    for _ in 0..ITERATIONS {
        let logs: Vec<f64> = log_scaling.iter().zip(&steps.log_masses).map(|(d, m)| d + m).collect();
        products.set(0, &logs);
        products.multiply(&active)?;
        let mut moved = 0.0_f64;
        for (d, sum) in log_scaling.iter_mut().zip(products.logs(0)) {
            let change = -0.5 * (*d + sum);
            moved = moved.max(change.abs());
            *d += change;
        }
        // The change falls at least like a power of one half, until rounding keeps it from falling.
        if moved < 8.0 * T::EPSILON || moved < 1e-3 && moved >= before {
            break;
        }
        before = moved;
    }
    Ok(log_scaling)
}

/// log (S exp(x)), column by column.
#[derive(Debug)]
struct Products<T: CpuScalar> {
    backend: CpuBackend<T>,
    kernel: Box<dyn KernelOp<Host<T>>>,
    balanced: RecordedPenalty,
    /// epsilon x, and whether there is an input at all as weights of one and zero.
    potential: HostVector<T>,
    weights: HostVector<T>,
    log_weights: HostVector<T>,
    /// What asks: zero under weights of one.
    zero: HostVector<T>,
    ones: HostVector<T>,
    out: HostVector<T>,
}

impl<T: CpuScalar> Products<T> {
    fn new(
        backend: &CpuBackend<T>,
        gaussian: &dyn Geometry<Host<T>>,
        epsilon: f64,
        columns: usize,
    ) -> Result<Self, Error> {
        let n = gaussian.len(Side::Source);
        let device: &dyn Backend<Host<T>> = backend;
        let filled = |value: f64, columns: usize| device.filled(value, n, columns);
        Ok(Self {
            kernel: gaussian.bind_entropic(epsilon, columns)?,
            balanced: Balanced.recorded()?,
            potential: filled(0.0, columns)?,
            weights: filled(0.0, columns)?,
            log_weights: filled(LOG_ZERO, columns)?,
            zero: filled(0.0, columns)?,
            ones: filled(1.0, 1)?,
            out: filled(0.0, columns)?,
            backend: backend.clone(),
        })
    }

    /// The inputs of a column; what is at most [`DARK`] is none.
    fn set(&mut self, column: usize, logs: &[f64]) {
        let epsilon = self.kernel.epsilon();
        let (potential, weights) = (self.potential.column_mut(column), self.weights.column_mut(column));
        let log_weights = self.log_weights.column_mut(column);
        for (atom, &log) in logs.iter().enumerate() {
            let is_lit = log > DARK;
            potential[atom] = T::from_f64(if is_lit { epsilon * log } else { 0.0 });
            weights[atom] = T::from_f64(if is_lit { 1.0 } else { 0.0 });
            log_weights[atom] = T::from_f64(if is_lit { 0.0 } else { LOG_ZERO });
        }
    }

    fn multiply(&mut self, active: &ActiveColumns) -> Result<(), Error> {
        let source = PlanSide { potential: &self.zero, weights: &self.ones, log_weights: &self.zero };
        let target = PlanSide { potential: &self.potential, weights: &self.weights, log_weights: &self.log_weights };
        let plan = PlanView { source, target };
        let request = CTransform { side: Side::Source, plan, penalty: &self.balanced, active };
        self.kernel.c_transform(&self.backend, request, &mut self.out, None)
    }

    fn logs(&self, column: usize) -> impl Iterator<Item = f64> + '_ {
        let epsilon = self.kernel.epsilon();
        let log = move |s: &T| match s.to_f64() {
            s if s >= 0.5 * UNREACHABLE => LOG_ZERO,
            s => -s / epsilon,
        };
        self.out.column(column).iter().map(log)
    }
}

impl<T: CpuScalar> Geometry<Host<T>> for PointCloudHeat<T> {
    fn backend(&self) -> Arc<dyn Backend<Host<T>>> {
        Arc::new(self.backend.clone())
    }

    fn len(&self, _: Side) -> usize {
        self.steps.log_masses.len()
    }

    fn bind_entropic(&self, epsilon: f64, columns: usize) -> Result<Box<dyn KernelOp<Host<T>>>, Error> {
        let n = self.steps.log_masses.len();
        let operator = DiffusedCloud {
            products: Products::new(&self.backend, self.gaussian.as_ref(), self.steps.epsilon, columns)?,
            columns,
            steps: Arc::clone(&self.steps),
        };
        Ok(Box::new(LogKernel::new(operator, [n; 2], columns, 4.0 * self.time, epsilon)?))
    }

    fn fixed_epsilon(&self) -> Option<f64> {
        Some(4.0 * self.time)
    }

    fn epsilon_of_blur(&self, sigma: f64) -> Option<f64> {
        Some(2.0 * sigma * sigma)
    }
}

/// One kernel for all measures on the cloud, under the [`ImpliedCost`](ot_core::ImpliedCost).
impl<T: CpuScalar> GeometryBuilder for PointCloudHeat<T> {
    type Device = Host<T>;

    fn geometry(
        &self,
        source: Support<'_, Elem<Self>>,
        target: Support<'_, Elem<Self>>,
        cost: &dyn GroundCost,
    ) -> Result<Arc<dyn Geometry<Host<T>>>, Error> {
        own_geometry(self.cloud.support(), [source, target], cost).map(|()| self.shared())
    }
}

/// The diffusion of one solve.
#[derive(Debug)]
struct DiffusedCloud<T: CpuScalar> {
    products: Products<T>,
    /// How many products are made side by side.
    columns: usize,
    steps: Arc<Steps>,
}

impl<T: CpuScalar> LogOperator<T> for DiffusedCloud<T> {
    fn log_products(&mut self, _: Side, exponents: &mut Vec<f64>, untold: &mut Vec<Untold>) -> Result<(), Error> {
        let Self { products, columns, steps } = self;
        let n = steps.log_masses.len();
        for (block, logs) in exponents.chunks_mut(n * *columns).enumerate() {
            let mut active = ActiveColumns::all(*columns);
            (logs.len() / n..*columns).for_each(|column| {
                active.freeze(column);
            });
            for step in 0..steps.count {
                for (column, logs) in logs.chunks_exact_mut(n).enumerate() {
                    for ((log, d), m) in logs.iter_mut().zip(&steps.log_scaling).zip(&steps.log_masses) {
                        *log += if step > 0 { d + m } else { *d };
                    }
                    products.set(column, logs);
                }
                products.multiply(&active)?;
                for (column, logs) in logs.chunks_exact_mut(n).enumerate() {
                    let sums = logs.iter_mut().zip(&steps.log_scaling).zip(products.logs(column));
                    sums.for_each(|((log, d), sum)| *log = sum + d);
                }
            }
            for (index, log) in logs.iter_mut().enumerate().filter(|(_, log)| **log <= DARK) {
                *log = f64::NEG_INFINITY;
                untold.push(Untold { request: block * *columns + index / n, atom: index % n, bound: None });
            }
        }
        Ok(())
    }
}
