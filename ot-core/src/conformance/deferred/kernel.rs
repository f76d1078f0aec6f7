//! Geometries and kernels whose work waits for a read.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    Deferred, DeferredReduced, DeferredVector,
    store::{Id, Store},
};
use crate::{
    backend::{HostBackend, Side},
    capability::{CostDerivative, CostParameter, HardTransform, PairSum, PairWeight, PricedArc, TransportCost},
    conformance::counting::{known_parameters, present},
    error::Error,
    geometry::{CostSurvey, Geometry},
    kernel::{KernelOp, PlanView, SoftMin},
    marginal::Marginal,
    measure::WeightsView,
    program::Program,
    regularizer::Regularizer,
};

/// A geometry of the wrapped backend. It is built and surveyed at once: its data come from the host.
#[derive(Debug)]
pub(super) struct DeferredGeometry<B: HostBackend> {
    backend: Deferred<B>,
    inner: Arc<dyn Geometry<B>>,
}

impl<B: HostBackend> DeferredGeometry<B> {
    pub(super) fn new(backend: Deferred<B>, inner: Arc<dyn Geometry<B>>) -> Self {
        Self { backend, inner }
    }
}

impl<B: HostBackend> Geometry<Deferred<B>> for DeferredGeometry<B> {
    fn backend(&self) -> &Deferred<B> {
        &self.backend
    }

    fn len(&self, side: Side) -> usize {
        self.inner.len(side)
    }

    fn bind(&self, epsilon: f64, columns: usize) -> Result<Box<dyn KernelOp<Deferred<B>>>, Error> {
        let mut inner = self.inner.bind(epsilon, columns)?;
        let capabilities = Capabilities {
            transport_cost: inner.transport_cost().is_some(),
            pair_sum: inner.pair_sum().is_some(),
            hard_transform: inner.hard_transform().is_some(),
            derivatives: known_parameters(inner.as_mut()),
        };
        Ok(Box::new(DeferredKernel {
            backend: self.backend.clone(),
            len: [Side::Source, Side::Target].map(|side| inner.len(side)),
            columns,
            epsilon,
            fixed_epsilon: self.inner.fixed_epsilon(),
            capabilities,
            inner: Arc::new(Mutex::new(inner)),
        }))
    }

    fn fixed_epsilon(&self) -> Option<f64> {
        self.inner.fixed_epsilon()
    }

    fn epsilon_of_blur(&self, sigma: f64) -> Option<f64> {
        self.inner.epsilon_of_blur(sigma)
    }

    fn may_forbid(&self) -> bool {
        self.inner.may_forbid()
    }

    fn cost_bound(&self) -> Option<f64> {
        self.inner.cost_bound()
    }

    fn survey(&self, source: WeightsView<'_, B::Elem>, target: WeightsView<'_, B::Elem>) -> Result<CostSurvey, Error> {
        self.inner.survey(source, target)
    }
}

/// What the wrapped kernel can do.
#[derive(Debug)]
struct Capabilities {
    transport_cost: bool,
    pair_sum: bool,
    hard_transform: bool,
    derivatives: Vec<CostParameter>,
}

/// A kernel shared with the operations that wait.
type SharedKernel<B> = Arc<Mutex<Box<dyn KernelOp<B>>>>;

/// A kernel of the wrapped backend, asked when something is read. Its sweep is the default one.
struct DeferredKernel<B: HostBackend> {
    backend: Deferred<B>,
    inner: SharedKernel<B>,
    len: [usize; 2],
    columns: usize,
    epsilon: f64,
    fixed_epsilon: Option<f64>,
    capabilities: Capabilities,
}

impl<B: HostBackend> DeferredKernel<B> {
    /// Records a request that writes a vector.
    fn enqueue(
        &self,
        out: &mut DeferredVector<B>,
        request: impl FnOnce(&mut dyn KernelOp<B>, &Store<B>, &mut B::Vector) -> Result<(), Error> + Send + 'static,
    ) {
        let (id, kernel) = (out.id, Arc::clone(&self.inner));
        self.backend.enqueue(move |store| {
            store.with_vectors(&[id], |store, outputs| request(lock(&kernel).as_mut(), store, outputs[0]))
        });
    }

    /// Records a request that writes a reduced vector.
    fn enqueue_reduced(
        &self,
        out: &mut DeferredReduced<B>,
        request: impl FnOnce(&mut dyn KernelOp<B>, &Store<B>, &mut B::Reduced) -> Result<(), Error> + Send + 'static,
    ) {
        let (id, kernel) = (out.id, Arc::clone(&self.inner));
        self.backend.enqueue(move |store| {
            store.with_reduced(&[id], |store, outputs| request(lock(&kernel).as_mut(), store, outputs[0]))
        });
    }

    /// Refuses a parameter without derivative, as the wrapped kernel would.
    fn check_parameter(&self, parameter: CostParameter) -> Result<(), Error> {
        match self.depends_on(parameter) {
            true => Ok(()),
            false => Err(Error::MissingCapability("derivative of the cost in this parameter")),
        }
    }
}

impl<B: HostBackend> KernelOp<Deferred<B>> for DeferredKernel<B> {
    fn len(&self, side: Side) -> usize {
        match side {
            Side::Source => self.len[0],
            Side::Target => self.len[1],
        }
    }

    fn columns(&self) -> usize {
        self.columns
    }

    fn epsilon(&self) -> f64 {
        self.epsilon
    }

    fn rebind(&mut self, epsilon: f64) -> Result<(), Error> {
        if !(epsilon.is_finite() && epsilon > 0.0) {
            return Err(Error::Epsilon(epsilon));
        }
        if let Some(fixed) = self.fixed_epsilon.filter(|&fixed| fixed != epsilon) {
            return Err(Error::FixedEpsilon { fixed, requested: epsilon });
        }
        self.epsilon = epsilon;
        let kernel = Arc::clone(&self.inner);
        self.backend.enqueue(move |_| lock(&kernel).rebind(epsilon));
        Ok(())
    }

    fn recenter(&mut self, plan: PlanView<'_, Deferred<B>>) -> Result<(), Error> {
        let (plan, kernel) = (RecordedPlan::of(plan), Arc::clone(&self.inner));
        self.backend.enqueue(move |store| plan.with(store, |plan| lock(&kernel).recenter(plan)));
        Ok(())
    }

    fn softmin(&mut self, request: SoftMin<'_, Deferred<B>>, out: &mut DeferredVector<B>) -> Result<(), Error> {
        let SoftMin { side, potential, log_weights, shift, active } = request;
        let (potential, log_weights, shift, active) = (potential.id, log_weights.id, shift.id, active.clone());
        self.enqueue(out, move |kernel, store, out| {
            let request = SoftMin {
                side,
                potential: store.vector(potential)?,
                log_weights: store.vector(log_weights)?,
                shift: store.vector(shift)?,
                active: &active,
            };
            kernel.softmin(request, out)
        });
        Ok(())
    }

    fn apply(
        &mut self,
        side: Side,
        plan: PlanView<'_, Deferred<B>>,
        values: &DeferredVector<B>,
        out: &mut DeferredVector<B>,
    ) -> Result<(), Error> {
        let (plan, values) = (RecordedPlan::of(plan), values.id);
        self.enqueue(out, move |kernel, store, out| {
            let values = store.vector(values)?;
            plan.with(store, |plan| kernel.apply(side, plan, values, out))
        });
        Ok(())
    }

    fn transport_cost(&mut self) -> Option<&mut dyn TransportCost<Deferred<B>>> {
        if self.capabilities.transport_cost { Some(self) } else { None }
    }

    fn pair_sum(&mut self) -> Option<&mut dyn PairSum<Deferred<B>>> {
        if self.capabilities.pair_sum { Some(self) } else { None }
    }

    fn cost_derivative(&mut self) -> Option<&mut dyn CostDerivative<Deferred<B>>> {
        if self.capabilities.derivatives.is_empty() { None } else { Some(self) }
    }

    fn hard_transform(&mut self) -> Option<&mut dyn HardTransform<Deferred<B>>> {
        if self.capabilities.hard_transform { Some(self) } else { None }
    }
}

impl<B: HostBackend> TransportCost<Deferred<B>> for DeferredKernel<B> {
    fn plan_cost(&mut self, plan: PlanView<'_, Deferred<B>>, out: &mut DeferredReduced<B>) -> Result<(), Error> {
        let plan = RecordedPlan::of(plan);
        self.enqueue_reduced(out, move |kernel, store, out| {
            plan.with(store, |plan| present(kernel.transport_cost())?.plan_cost(plan, out))
        });
        Ok(())
    }

    fn rank_one_cost(
        &mut self,
        u: &DeferredVector<B>,
        v: &DeferredVector<B>,
        out: &mut DeferredReduced<B>,
    ) -> Result<(), Error> {
        let (u, v) = (u.id, v.id);
        self.enqueue_reduced(out, move |kernel, store, out| {
            present(kernel.transport_cost())?.rank_one_cost(store.vector(u)?, store.vector(v)?, out)
        });
        Ok(())
    }
}

impl<B: HostBackend> PairSum<Deferred<B>> for DeferredKernel<B> {
    fn pair_sum(
        &mut self,
        side: Side,
        plan: PlanView<'_, Deferred<B>>,
        phi: &Program,
        out: &mut DeferredVector<B>,
    ) -> Result<(), Error> {
        let (plan, phi) = (RecordedPlan::of(plan), phi.clone());
        self.enqueue(out, move |kernel, store, out| {
            plan.with(store, |plan| present(kernel.pair_sum())?.pair_sum(side, plan, &phi, out))
        });
        Ok(())
    }
}

impl<B: HostBackend> CostDerivative<Deferred<B>> for DeferredKernel<B> {
    fn depends_on(&self, parameter: CostParameter) -> bool {
        self.capabilities.derivatives.contains(&parameter)
    }

    fn pull_back(
        &mut self,
        plan: PlanView<'_, Deferred<B>>,
        weight: PairWeight<'_, Deferred<B>>,
        parameter: CostParameter,
        column: usize,
        out: &mut DeferredVector<B>,
    ) -> Result<(), Error> {
        self.check_parameter(parameter)?;
        let (plan, weight) = (RecordedPlan::of(plan), RecordedWeight::of(weight));
        self.enqueue(out, move |kernel, store, out| {
            let weight = weight.read(store)?;
            plan.with(store, |plan| present(kernel.cost_derivative())?.pull_back(plan, weight, parameter, column, out))
        });
        Ok(())
    }

    fn push_forward(
        &mut self,
        side: Side,
        plan: PlanView<'_, Deferred<B>>,
        weight: PairWeight<'_, Deferred<B>>,
        parameter: CostParameter,
        tangent: &DeferredVector<B>,
        column: usize,
        out: &mut DeferredVector<B>,
    ) -> Result<(), Error> {
        self.check_parameter(parameter)?;
        let (plan, weight, tangent) = (RecordedPlan::of(plan), RecordedWeight::of(weight), tangent.id);
        self.enqueue(out, move |kernel, store, out| {
            let (weight, tangent) = (weight.read(store)?, store.vector(tangent)?);
            plan.with(store, |plan| {
                let derivative = present(kernel.cost_derivative())?;
                derivative.push_forward(side, plan, weight, parameter, tangent, column, out)
            })
        });
        Ok(())
    }

    fn curvature(
        &mut self,
        plan: PlanView<'_, Deferred<B>>,
        parameter: CostParameter,
        tangent: &DeferredVector<B>,
        column: usize,
        out: &mut DeferredVector<B>,
    ) -> Result<(), Error> {
        self.check_parameter(parameter)?;
        let (plan, tangent) = (RecordedPlan::of(plan), tangent.id);
        self.enqueue(out, move |kernel, store, out| {
            let tangent = store.vector(tangent)?;
            plan.with(store, |plan| present(kernel.cost_derivative())?.curvature(plan, parameter, tangent, column, out))
        });
        Ok(())
    }
}

impl<B: HostBackend> HardTransform<Deferred<B>> for DeferredKernel<B> {
    fn c_transform(
        &mut self,
        side: Side,
        potential: &DeferredVector<B>,
        log_weights: &DeferredVector<B>,
        out: &mut DeferredVector<B>,
        argument: Option<&mut Vec<u32>>,
    ) -> Result<(), Error> {
        let (potential, log_weights) = (potential.id, log_weights.id);
        if let Some(argument) = argument {
            // The host waits for the argument.
            let (out, kernel) = (out.id, Arc::clone(&self.inner));
            return self.backend.flush(|store| {
                store.with_vectors(&[out], |store, outputs| {
                    let (potential, log_weights) = (store.vector(potential)?, store.vector(log_weights)?);
                    let mut kernel = lock(&kernel);
                    let hard = present(kernel.hard_transform())?;
                    hard.c_transform(side, potential, log_weights, outputs[0], Some(argument))
                })
            });
        }
        self.enqueue(out, move |kernel, store, out| {
            let (potential, log_weights) = (store.vector(potential)?, store.vector(log_weights)?);
            present(kernel.hard_transform())?.c_transform(side, potential, log_weights, out, None)
        });
        Ok(())
    }

    fn arcs_below(
        &mut self,
        source_potential: &DeferredVector<B>,
        target_potential: &DeferredVector<B>,
        column: usize,
        threshold: f64,
        limit: usize,
    ) -> Result<Vec<PricedArc>, Error> {
        let (f, g, kernel) = (source_potential.id, target_potential.id, Arc::clone(&self.inner));
        self.backend.flush(|store| {
            let mut kernel = lock(&kernel);
            let hard = present(kernel.hard_transform())?;
            hard.arcs_below(store.vector(f)?, store.vector(g)?, column, threshold, limit)
        })
    }
}

impl<B: HostBackend> fmt::Debug for DeferredKernel<B> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DeferredKernel")
            .field("len", &self.len)
            .field("columns", &self.columns)
            .field("epsilon", &self.epsilon)
            .finish_non_exhaustive()
    }
}

/// A [`PlanView`] by name.
struct RecordedPlan {
    potentials: [Id; 2],
    weights: [Id; 2],
    columns: [usize; 2],
    laws: [Arc<dyn Regularizer>; 2],
}

impl RecordedPlan {
    fn of<B: HostBackend>(plan: PlanView<'_, Deferred<B>>) -> Self {
        let sides = [Side::Source, Side::Target];
        Self {
            potentials: sides.map(|side| plan.potential(side).id),
            weights: sides.map(|side| plan.marginal(side).weights().id),
            columns: sides.map(|side| plan.marginal(side).weights().columns),
            laws: sides.map(|side| Arc::clone(plan.marginal(side).regularizer())),
        }
    }

    /// Asks with the plan as the wrapped backend sees it, its marginals made anew.
    fn with<B: HostBackend>(
        self,
        store: &Store<B>,
        ask: impl FnOnce(PlanView<'_, B>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let [source_law, target_law] = self.laws;
        let marginal = |index: usize, law| {
            let weights = store.backend.slice(store.vector(self.weights[index])?);
            Marginal::new(&store.backend, WeightsView::new(weights, self.columns[index])?, law)
        };
        ask(PlanView {
            source_potential: store.vector(self.potentials[0])?,
            target_potential: store.vector(self.potentials[1])?,
            source: &marginal(0, source_law)?,
            target: &marginal(1, target_law)?,
        })
    }
}

/// A [`PairWeight`] by name.
struct RecordedWeight {
    constant: f64,
    source: Option<Id>,
    target: Option<Id>,
    cost: f64,
}

impl RecordedWeight {
    fn of<B: HostBackend>(weight: PairWeight<'_, Deferred<B>>) -> Self {
        Self {
            constant: weight.constant,
            source: weight.source.map(|r| r.id),
            target: weight.target.map(|s| s.id),
            cost: weight.cost,
        }
    }

    fn read<'a, B: HostBackend>(&self, store: &'a Store<B>) -> Result<PairWeight<'a, B>, Error> {
        Ok(PairWeight {
            constant: self.constant,
            source: self.source.map(|r| store.vector(r)).transpose()?,
            target: self.target.map(|s| store.vector(s)).transpose()?,
            cost: self.cost,
        })
    }
}

/// The kernel, even after a panic in another thread.
fn lock<B: HostBackend>(kernel: &SharedKernel<B>) -> MutexGuard<'_, Box<dyn KernelOp<B>>> {
    kernel.lock().unwrap_or_else(PoisonError::into_inner)
}
