//! A geometry that counts what its kernels are asked for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ot_core::{
    ActiveColumns, ArcThreshold, Backend, Binding, CTransform, CappedPlan, CostStatistics, Entering, Error, Geometry,
    HardTransform, Host, KernelOp, PlanOperator, PlanRounding, PlanView, PricedArc, RecordedPenalty,
    RecordedRegularizer, RoundedValue, Scalar, Side, Sweep, TransportCost, WeightsView,
    host::{HostReduced, HostVector},
    measure::Components,
};

/// Passes over all pairs, by what they are for. What a kernel answers at once, as the densities of both sides, counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passes {
    /// Sweeps, and half-steps by themselves.
    pub sweeps: usize,
    /// c-transforms and densities, of one side or both.
    pub marginals: usize,
    /// Fenchel gaps of rounded plans.
    pub gaps: usize,
    /// Costs of plans, and statistics of the cost.
    pub costs: usize,
    /// Products with the plan.
    pub products: usize,
    /// Hard c-transforms, and lists of arcs.
    pub hard: usize,
}

impl Passes {
    /// All of them.
    #[must_use]
    pub fn total(self) -> usize {
        let Self { sweeps, marginals, gaps, costs, products, hard } = self;
        sweeps + marginals + gaps + costs + products + hard
    }
}

/// A geometry in host memory that does what another does, and counts the passes over all pairs that its kernels are asked for. Derivatives of
/// the cost and products in one pass are hidden.
///
/// This is how the price of a solve beyond its iterations is held down: see [`Passes`].
///
/// ```
/// use std::sync::Arc;
///
/// use ot_conformance::{CountedGeometry, ReferenceBackend};
/// use ot_core::{CostMatrix, Epsilon, GeometryBuilder, Histogram, Measure, Potentials, Problem, certify};
///
/// let half = Histogram::new(vec![0.5, 0.5])?;
/// let cost = CostMatrix::new(vec![0.0, 1.0, 1.0, 0.0], 2, 2)?;
/// let geometry = ReferenceBackend::<f64>::default().geometry(half.support(), half.support(), &cost)?;
/// let counted = CountedGeometry::new(geometry);
/// let problem = Problem::new(Arc::new(counted.clone()), &half, &half, Epsilon::Absolute(0.5))?;
/// let zeros = || problem.backend().upload(&[0.0, 0.0], 1);
/// certify(&problem, &Potentials { source: zeros()?, target: zeros()?, epsilon: 0.5 })?;
/// assert_eq!(counted.passes().marginals, 2);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Debug)]
pub struct CountedGeometry<T: Scalar> {
    inner: Arc<dyn Geometry<Host<T>>>,
    passes: Arc<Mutex<Passes>>,
}

impl<T: Scalar> CountedGeometry<T> {
    /// Counts what is asked of `inner`. Clones share one count.
    #[must_use]
    pub fn new(inner: Arc<dyn Geometry<Host<T>>>) -> Self {
        Self { inner, passes: Arc::default() }
    }

    /// What was asked so far.
    #[must_use]
    pub fn passes(&self) -> Passes {
        *lock(&self.passes)
    }

    fn wrap(&self, inner: Box<dyn KernelOp<Host<T>>>) -> Box<dyn KernelOp<Host<T>>> {
        Box::new(CountedKernel { inner, passes: Arc::clone(&self.passes) })
    }
}

impl<T: Scalar> Clone for CountedGeometry<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), passes: Arc::clone(&self.passes) }
    }
}

fn lock(passes: &Mutex<Passes>) -> MutexGuard<'_, Passes> {
    passes.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Scalar> Geometry<Host<T>> for CountedGeometry<T> {
    fn backend(&self) -> Arc<dyn Backend<Host<T>>> {
        self.inner.backend()
    }

    fn len(&self, side: Side) -> usize {
        self.inner.len(side)
    }

    fn bind_entropic(&self, epsilon: f64, columns: usize) -> Result<Box<dyn KernelOp<Host<T>>>, Error> {
        Ok(self.wrap(self.inner.bind_entropic(epsilon, columns)?))
    }

    fn bind(
        &self,
        regularizer: &RecordedRegularizer,
        epsilon: f64,
        columns: usize,
    ) -> Result<Box<dyn KernelOp<Host<T>>>, Error> {
        Ok(self.wrap(self.inner.bind(regularizer, epsilon, columns)?))
    }

    fn fixed_epsilon(&self) -> Option<f64> {
        self.inner.fixed_epsilon()
    }

    fn epsilon_of_blur(&self, sigma: f64) -> Option<f64> {
        self.inner.epsilon_of_blur(sigma)
    }

    fn gains_from_batches(&self) -> bool {
        self.inner.gains_from_batches()
    }

    fn may_forbid(&self) -> bool {
        self.inner.may_forbid()
    }

    fn components(&self) -> Option<&Components> {
        self.inner.components()
    }

    fn cost_bound(&self) -> Option<f64> {
        self.inner.cost_bound()
    }

    fn cost_statistics(&self, source: WeightsView<'_, T>, target: WeightsView<'_, T>) -> Result<CostStatistics, Error> {
        lock(&self.passes).costs += 1;
        self.inner.cost_statistics(source, target)
    }
}

/// A kernel that counts.
#[derive(Debug)]
struct CountedKernel<T: Scalar> {
    inner: Box<dyn KernelOp<Host<T>>>,
    passes: Arc<Mutex<Passes>>,
}

impl<T: Scalar> PlanOperator<Host<T>> for CountedKernel<T> {
    fn binding(&self) -> &Binding {
        self.inner.binding()
    }

    fn rebind(&mut self, epsilon: f64) -> Result<(), Error> {
        self.inner.rebind(epsilon)
    }

    fn apply(
        &mut self,
        side: Side,
        plan: PlanView<'_, Host<T>>,
        values: &HostVector<T>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        lock(&self.passes).products += 1;
        self.inner.apply(side, plan, values, out)
    }

    fn recenter(&mut self, plan: PlanView<'_, Host<T>>) -> Result<(), Error> {
        self.inner.recenter(plan)
    }

    fn left_out(&self) -> f64 {
        self.inner.left_out()
    }

    fn transport_cost(&mut self) -> Option<&mut dyn TransportCost<Host<T>>> {
        self.inner.transport_cost()?;
        Some(self)
    }

    fn hard_transform(&mut self) -> Option<&mut dyn HardTransform<Host<T>>> {
        self.inner.hard_transform()?;
        Some(self)
    }
}

impl<T: Scalar> KernelOp<Host<T>> for CountedKernel<T> {
    fn c_transform(
        &mut self,
        backend: &dyn Backend<Host<T>>,
        request: CTransform<'_, Host<T>>,
        out: &mut HostVector<T>,
        entering: Option<Entering<'_, Host<T>>>,
    ) -> Result<(), Error> {
        lock(&self.passes).marginals += 1;
        self.inner.c_transform(backend, request, out, entering)
    }

    fn c_transforms(
        &mut self,
        backend: &dyn Backend<Host<T>>,
        penalties: [&RecordedPenalty; 2],
        plan: PlanView<'_, Host<T>>,
        active: &ActiveColumns,
        out: [&mut HostVector<T>; 2],
        entering: Option<[Entering<'_, Host<T>>; 2]>,
    ) -> Result<(), Error> {
        lock(&self.passes).marginals += 1;
        self.inner.c_transforms(backend, penalties, plan, active, out, entering)
    }

    fn density(
        &mut self,
        backend: &dyn Backend<Host<T>>,
        side: Side,
        plan: PlanView<'_, Host<T>>,
        active: &ActiveColumns,
        out: &mut HostVector<T>,
        conjugate: Option<&mut HostReduced>,
    ) -> Result<(), Error> {
        lock(&self.passes).marginals += 1;
        self.inner.density(backend, side, plan, active, out, conjugate)
    }

    fn densities(
        &mut self,
        backend: &dyn Backend<Host<T>>,
        plan: PlanView<'_, Host<T>>,
        active: &ActiveColumns,
        out: [&mut HostVector<T>; 2],
        conjugate: &mut HostReduced,
    ) -> Result<(), Error> {
        lock(&self.passes).marginals += 1;
        self.inner.densities(backend, plan, active, out, conjugate)
    }

    fn capped_densities(
        &mut self,
        backend: &dyn Backend<Host<T>>,
        plan: PlanView<'_, Host<T>>,
        highest: f64,
        active: &ActiveColumns,
        out: CappedPlan<'_, Host<T>>,
        conjugate: &mut HostReduced,
    ) -> Result<(), Error> {
        lock(&self.passes).marginals += 1;
        self.inner.capped_densities(backend, plan, highest, active, out, conjugate)
    }

    fn fenchel_gap(
        &mut self,
        backend: &dyn Backend<Host<T>>,
        plan: PlanView<'_, Host<T>>,
        rounding: PlanRounding<'_, Host<T>>,
        out: RoundedValue<'_, Host<T>>,
    ) -> Result<(), Error> {
        lock(&self.passes).gaps += 1;
        self.inner.fenchel_gap(backend, plan, rounding, out)
    }

    fn conditional_potential(
        &mut self,
        backend: &dyn Backend<Host<T>>,
        side: Side,
        plan: PlanView<'_, Host<T>>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        lock(&self.passes).marginals += 1;
        self.inner.conditional_potential(backend, side, plan, out)
    }

    fn half_step(
        &mut self,
        backend: &dyn Backend<Host<T>>,
        side: Side,
        sweep: &mut Sweep<'_, Host<T>>,
    ) -> Result<(), Error> {
        lock(&self.passes).sweeps += 1;
        self.inner.half_step(backend, side, sweep)
    }

    fn sweep(&mut self, backend: &dyn Backend<Host<T>>, sweep: Sweep<'_, Host<T>>) -> Result<(), Error> {
        lock(&self.passes).sweeps += 1;
        self.inner.sweep(backend, sweep)
    }
}

impl<T: Scalar> TransportCost<Host<T>> for CountedKernel<T> {
    fn plan_cost(&mut self, plan: PlanView<'_, Host<T>>, out: &mut HostReduced) -> Result<(), Error> {
        lock(&self.passes).costs += 1;
        let missing = Error::MissingCapability("transport cost");
        self.inner.transport_cost().ok_or(missing)?.plan_cost(plan, out)
    }

    fn rank_one_cost(&mut self, u: &HostVector<T>, v: &HostVector<T>, out: &mut HostReduced) -> Result<(), Error> {
        lock(&self.passes).costs += 1;
        let missing = Error::MissingCapability("transport cost");
        self.inner.transport_cost().ok_or(missing)?.rank_one_cost(u, v, out)
    }
}

impl<T: Scalar> HardTransform<Host<T>> for CountedKernel<T> {
    fn hard_c_transform(
        &mut self,
        side: Side,
        potential: &HostVector<T>,
        log_weights: &HostVector<T>,
        out: &mut HostVector<T>,
        argument: Option<&mut Vec<u32>>,
    ) -> Result<(), Error> {
        lock(&self.passes).hard += 1;
        let missing = Error::MissingCapability("hard c-transform");
        self.inner.hard_transform().ok_or(missing)?.hard_c_transform(side, potential, log_weights, out, argument)
    }

    fn arcs_below(
        &mut self,
        source: &HostVector<T>,
        target: &HostVector<T>,
        column: usize,
        threshold: ArcThreshold<'_>,
        limit: usize,
    ) -> Result<Vec<PricedArc>, Error> {
        lock(&self.passes).hard += 1;
        let missing = Error::MissingCapability("hard c-transform");
        self.inner.hard_transform().ok_or(missing)?.arcs_below(source, target, column, threshold, limit)
    }
}
