//! A separable cost between two grids, of which neither the matrix nor the kernel is ever formed.
//!
//! ```text
//! exp(-C / epsilon) = exp(-C_1 / epsilon) x ... x exp(-C_d / epsilon)        C(x, y) = sum_k C_k(x_k, y_k)
//! ```
//!
//! so that a sum over the N nodes is d passes of sums along the lines of one axis (Solomon et al. 2015): N (n_1 + ... + n_d)
//! terms instead of N^2. Here the passes take logarithms to logarithms ([`crate::simd`]'s lines), so that they hold at
//! any epsilon, and look at the terms that matter only.

mod axis;
mod derivative;
mod hard;
mod kernel;
mod pass;

use std::sync::{Arc, Mutex, PoisonError};

use ot_core::{
    Backend, CostBetween, CostForm, CostStatistics, Error, Geometry, Grid, GroundCost, Host, KernelOp,
    RecordedRegularizer, RegularizerKind, Side,
    cost::{Blur, GridCosts},
    measure::{Support, WeightsView},
};

use self::{
    axis::{Lines, line_cost},
    kernel::GridKernel,
};
use super::{CpuScalar, between};
use crate::{backend::CpuBackend, simd::LineCounts};

/// A cost between two grids that is a sum over the axes: memory O(N) for N nodes.
///
/// A softmin is a pass over each axis, from logarithms to logarithms, accurate to the element type at any epsilon. Its
/// cost is N times the nodes of a line that matter to an output, about sqrt(40 epsilon / c) for a cost c between
/// neighbours, whatever the length of the line. How blocks of outputs are summed:
///
/// | cost of the axis | sum | where |
/// |---|---|---|
/// | a multiple of the square | a product with a small factor that all blocks share, tilted around the largest term | nearly everywhere |
/// | a distance | running sums from both ends of a line, in linear time | everywhere |
/// | another | a product with a table of factors, stabilised block by block | where the terms that matter span a third of the exponents |
/// | any | exponentials of their own for each output | elsewhere |
///
/// [`counts`](Self::counts) tells how many were summed in which way. Terms that are left out are, together, less than a
/// quarter of a rounding of the sum that they are left out of. Axes may differ between the sides in origin, spacing and
/// length, and may be periodic. Cloning shares the axes.
///
/// Beside the softmin: transport costs, hard c-transforms and arcs below a threshold (lower envelopes of parabolas under
/// squares), derivatives in the points of the nodes and in the scale.
///
/// Regularizers other than entropy, which do not factor over the axes, get the kernels of the nodes as points.
///
/// ```
/// use ot_core::{Geometry, Grid, Side, SqEuclidean};
/// use ot_cpu::{CpuBackend, GridGeometry};
///
/// let image = Grid::pixels(&[48, 64])?;
/// let geometry = GridGeometry::<f32>::new(&CpuBackend::new(2)?, &image, &image, &SqEuclidean)?;
/// assert_eq!(geometry.len(Side::Source), 3072);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct GridGeometry<T> {
    backend: CpuBackend<T>,
    grids: Arc<Grids<T>>,
}

/// Two grids and the cost of each pair of their axes.
#[derive(Debug)]
struct Grids<T> {
    sides: [Grid<T>; 2],
    costs: GridCosts,
    blur: Option<Blur>,
    /// The cost, if it can be kept, for what does not factor.
    cost: Option<Arc<dyn GroundCost>>,
    counts: Mutex<LineCounts>,
    /// The costs over the last epsilon that a kernel was bound to: solvers bind some kernels to one.
    lines: Mutex<Option<(f64, Arc<Lines<T>>)>>,
}

impl<T: CpuScalar> Grids<T> {
    /// The costs of all axes over epsilon, seen from either side.
    fn lines(&self, epsilon: f64) -> Arc<Lines<T>> {
        let mut kept = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some((of, lines)) if *of == epsilon => Arc::clone(lines),
            _ => {
                let of_side = |side| self.costs.axes().iter().map(|axis| line_cost(axis, side, epsilon)).collect();
                let lines = Arc::new(Side::BOTH.map(of_side));
                *kept = Some((epsilon, Arc::clone(&lines)));
                lines
            }
        }
    }
}

impl<T: CpuScalar> GridGeometry<T> {
    /// The cost between the nodes of two grids.
    ///
    /// # Errors
    /// Those of [`GridCosts::new`].
    pub fn new(
        backend: &CpuBackend<T>,
        source: &Grid<T>,
        target: &Grid<T>,
        cost: &dyn GroundCost,
    ) -> Result<Self, Error> {
        let costs = GridCosts::new(source, target, cost)?;
        let sides = [source.clone(), target.clone()];
        let blur = Blur::of(cost.form());
        let counts = Mutex::new(LineCounts::default());
        Ok(Self {
            backend: backend.clone(),
            grids: Arc::new(Grids { sides, costs, blur, cost: cost.shared(), counts, lines: Mutex::new(None) }),
        })
    }

    /// How blocks of outputs have been summed by all kernels of this geometry so far.
    #[must_use]
    pub fn counts(&self) -> LineCounts {
        *self.grids.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The geometry, if the cost is a sum over the axes whose tables are not too large.
    pub(super) fn if_separable(
        backend: &CpuBackend<T>,
        source: &Grid<T>,
        target: &Grid<T>,
        cost: &dyn GroundCost,
    ) -> Result<Option<Self>, Error> {
        let pairs = || source.axes().iter().zip(target.axes()).enumerate();
        let is_small = |k: usize, lengths: [usize; 2], is_periodic: bool| match cost.axis_cost(k) {
            None => false,
            Some(along) => {
                let form = along.form();
                let has_table =
                    !matches!(form, CostForm::SqEuclidean { .. } | CostForm::PowerOfNorm { exponent: 1.0, .. });
                !has_table && !is_periodic || lengths[0].saturating_mul(lengths[1]) <= backend.dense_limit()
            }
        };
        let fits = source.dimension() == target.dimension()
            && cost.dimension().is_none_or(|dimension| dimension == source.dimension())
            && !cost.may_forbid()
            && pairs().all(|(k, (x, y))| is_small(k, [x.len(), y.len()], x.period().is_some()));
        if fits { Self::new(backend, source, target, cost).map(Some) } else { Ok(None) }
    }
}

impl<T: CpuScalar> Geometry<Host<T>> for GridGeometry<T> {
    fn backend(&self) -> Arc<dyn Backend<Host<T>>> {
        Arc::new(self.backend.clone())
    }

    fn len(&self, side: Side) -> usize {
        side.of(self.grids.sides.each_ref()).len()
    }

    fn bind_entropic(&self, epsilon: f64, columns: usize) -> Result<Box<dyn KernelOp<Host<T>>>, Error> {
        Ok(Box::new(GridKernel::new(&self.backend, &self.grids, epsilon, columns)?))
    }

    fn bind(
        &self,
        regularizer: &RecordedRegularizer,
        epsilon: f64,
        columns: usize,
    ) -> Result<Box<dyn KernelOp<Host<T>>>, Error> {
        if regularizer.kind() == RegularizerKind::Entropy {
            return self.bind_entropic(epsilon, columns);
        }
        let cost = self.grids.cost.as_deref();
        let cost = cost.ok_or(Error::MissingCapability("kernel of another regularizer: the cost cannot be kept"))?;
        let [source, target] = self.grids.sides.each_ref().map(Support::Grid);
        let points = between(&self.backend, &CostBetween::new(source, target, cost)?, cost.form())?;
        points.bind(regularizer, epsilon, columns)
    }

    fn epsilon_of_blur(&self, sigma: f64) -> Option<f64> {
        self.grids.blur.map(|blur| blur.epsilon(sigma))
    }

    fn gains_from_batches(&self) -> bool {
        true
    }

    fn cost_bound(&self) -> Option<f64> {
        Some(self.grids.costs.bound())
    }

    fn cost_statistics(&self, source: WeightsView<'_, T>, target: WeightsView<'_, T>) -> Result<CostStatistics, Error> {
        self.grids.costs.statistics(source, target)
    }
}
