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
    capability::{
        CostDerivative, CostParameter, CostTangent, HardTransform, PairSum, PairWeight, PricedArc, TransportCost,
        WeightedPlan,
    },
    conformance::counting::{KnownParameters, present, programs_of},
    error::Error,
    family::{PlanFamily, Response, RoundedFactors, two_responses},
    geometry::{CostSurvey, Geometry},
    kernel::{ActiveColumns, KernelOp, PlanSide, PlanView, SoftMin, Sweep, two_half_steps},
    measure::WeightsView,
    plan_regularizer::{PlanKind, PlanPrograms, PlanRegularizer},
    program::Program,
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

    /// A kernel of the wrapped geometry, deferred.
    fn wrap_kernel(
        &self,
        mut inner: Box<dyn KernelOp<B>>,
        epsilon: f64,
        columns: usize,
    ) -> Result<Box<dyn KernelOp<Deferred<B>>>, Error> {
        let capabilities = Capabilities {
            transport_cost: inner.transport_cost().is_some(),
            pair_sum: inner.pair_sum().is_some(),
            hard_transform: inner.hard_transform().is_some(),
            parameters: KnownParameters::of(inner.as_mut()),
            programs: programs_of(inner.as_mut())?,
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
}

impl<B: HostBackend> Geometry<Deferred<B>> for DeferredGeometry<B> {
    fn backend(&self) -> &Deferred<B> {
        &self.backend
    }

    fn len(&self, side: Side) -> usize {
        self.inner.len(side)
    }

    fn bind(&self, epsilon: f64, columns: usize) -> Result<Box<dyn KernelOp<Deferred<B>>>, Error> {
        self.wrap_kernel(self.inner.bind(epsilon, columns)?, epsilon, columns)
    }

    fn bind_family(
        &self,
        regularizer: &Arc<dyn PlanRegularizer>,
        epsilon: f64,
        columns: usize,
    ) -> Result<Box<dyn KernelOp<Deferred<B>>>, Error> {
        self.wrap_kernel(self.inner.bind_family(regularizer, epsilon, columns)?, epsilon, columns)
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
    parameters: KnownParameters,
    programs: PlanPrograms,
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
        match self.shape(parameter) {
            Some(_) => Ok(()),
            None => Err(Error::MissingCapability("derivative of the cost in this parameter")),
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
        self.backend.enqueue(move |store| lock(&kernel).recenter(plan.read(store)?));
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
        self.enqueue(out, move |kernel, store, out| kernel.apply(side, plan.read(store)?, store.vector(values)?, out));
        Ok(())
    }

    fn sweep(&mut self, backend: &Deferred<B>, sweep: Sweep<'_, Deferred<B>>) -> Result<(), Error> {
        let epsilon = self.epsilon;
        match self.family() {
            Some(family) => two_responses(family, epsilon, backend, sweep),
            None => two_half_steps(self, backend, sweep),
        }
    }

    fn family(&mut self) -> Option<&mut dyn PlanFamily<Deferred<B>>> {
        if self.capabilities.programs.kind() == PlanKind::Entropy { None } else { Some(self) }
    }

    fn transport_cost(&mut self) -> Option<&mut dyn TransportCost<Deferred<B>>> {
        if self.capabilities.transport_cost { Some(self) } else { None }
    }

    fn pair_sum(&mut self) -> Option<&mut dyn PairSum<Deferred<B>>> {
        if self.capabilities.pair_sum { Some(self) } else { None }
    }

    fn cost_derivative(&mut self) -> Option<&mut dyn CostDerivative<Deferred<B>>> {
        if self.capabilities.parameters.is_empty() { None } else { Some(self) }
    }

    fn hard_transform(&mut self) -> Option<&mut dyn HardTransform<Deferred<B>>> {
        if self.capabilities.hard_transform { Some(self) } else { None }
    }
}

impl<B: HostBackend> PlanFamily<Deferred<B>> for DeferredKernel<B> {
    fn programs(&self) -> &PlanPrograms {
        &self.capabilities.programs
    }

    fn respond(&mut self, request: Response<'_, Deferred<B>>, out: &mut DeferredVector<B>) -> Result<(), Error> {
        let Response { side, law, potential, weights, shift, active } = request;
        let (law, active) = (law.clone(), active.clone());
        let (potential, weights, shift) = (potential.id, weights.id, shift.id);
        self.enqueue(out, move |kernel, store, out| {
            let request = Response {
                side,
                law: &law,
                potential: store.vector(potential)?,
                weights: store.vector(weights)?,
                shift: store.vector(shift)?,
                active: &active,
            };
            present(kernel.family())?.respond(request, out)
        });
        Ok(())
    }

    fn marginal(
        &mut self,
        side: Side,
        plan: PlanView<'_, Deferred<B>>,
        active: &ActiveColumns,
        density: &mut DeferredVector<B>,
        conjugate: Option<&mut DeferredReduced<B>>,
    ) -> Result<(), Error> {
        let (plan, active, kernel) = (RecordedPlan::of(plan), active.clone(), Arc::clone(&self.inner));
        let (density, conjugate): (Id, Vec<Id>) = (density.id, conjugate.iter().map(|out| out.id).collect());
        self.backend.enqueue(move |store| {
            store.with_outputs(&[density], &conjugate, |store, vectors, reduced| {
                let mut kernel = lock(&kernel);
                let conjugate = reduced.first_mut().map(|out| &mut **out);
                present(kernel.family())?.marginal(side, plan.read(store)?, &active, vectors[0], conjugate)
            })
        });
        Ok(())
    }

    fn excess(
        &mut self,
        plan: PlanView<'_, Deferred<B>>,
        RoundedFactors { scaling, added }: RoundedFactors<'_, Deferred<B>>,
        out: &mut DeferredReduced<B>,
    ) -> Result<(), Error> {
        let plan = RecordedPlan::of(plan);
        let pairs = [scaling, added[0], added[1]].map(|pair| pair.map(|vector| vector.id));
        self.enqueue_reduced(out, move |kernel, store, out| {
            let pair = |[left, right]: [Id; 2]| -> Result<_, Error> { Ok([store.vector(left)?, store.vector(right)?]) };
            let rounded = RoundedFactors { scaling: pair(pairs[0])?, added: [pair(pairs[1])?, pair(pairs[2])?] };
            present(kernel.family())?.excess(plan.read(store)?, rounded, out)
        });
        Ok(())
    }
}

impl<B: HostBackend> TransportCost<Deferred<B>> for DeferredKernel<B> {
    fn plan_cost(&mut self, plan: PlanView<'_, Deferred<B>>, out: &mut DeferredReduced<B>) -> Result<(), Error> {
        let plan = RecordedPlan::of(plan);
        self.enqueue_reduced(out, move |kernel, store, out| {
            present(kernel.transport_cost())?.plan_cost(plan.read(store)?, out)
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
            present(kernel.pair_sum())?.pair_sum(side, plan.read(store)?, &phi, out)
        });
        Ok(())
    }
}

impl<B: HostBackend> CostDerivative<Deferred<B>> for DeferredKernel<B> {
    fn shape(&self, parameter: CostParameter) -> Option<(usize, usize)> {
        self.capabilities.parameters.shape(parameter)
    }

    fn pull_back(
        &mut self,
        pairs: WeightedPlan<'_, Deferred<B>>,
        parameter: CostParameter,
        out: &mut DeferredVector<B>,
    ) -> Result<(), Error> {
        self.check_parameter(parameter)?;
        let pairs = RecordedPairs::of(pairs);
        self.enqueue(out, move |kernel, store, out| {
            present(kernel.cost_derivative())?.pull_back(pairs.read(store)?, parameter, out)
        });
        Ok(())
    }

    fn push_forward(
        &mut self,
        side: Side,
        pairs: WeightedPlan<'_, Deferred<B>>,
        tangent: CostTangent<'_, Deferred<B>>,
        out: &mut DeferredVector<B>,
    ) -> Result<(), Error> {
        let CostTangent { parameter, values } = tangent;
        self.check_parameter(parameter)?;
        let (pairs, values) = (RecordedPairs::of(pairs), values.id);
        self.enqueue(out, move |kernel, store, out| {
            let tangent = CostTangent { parameter, values: store.vector(values)? };
            present(kernel.cost_derivative())?.push_forward(side, pairs.read(store)?, tangent, out)
        });
        Ok(())
    }

    fn curvature(
        &mut self,
        pairs: WeightedPlan<'_, Deferred<B>>,
        parameter: CostParameter,
        tangent: CostTangent<'_, Deferred<B>>,
        out: &mut DeferredVector<B>,
    ) -> Result<(), Error> {
        let CostTangent { parameter: moving, values } = tangent;
        self.check_parameter(parameter)?;
        self.check_parameter(moving)?;
        let (pairs, values) = (RecordedPairs::of(pairs), values.id);
        self.enqueue(out, move |kernel, store, out| {
            let tangent = CostTangent { parameter: moving, values: store.vector(values)? };
            present(kernel.cost_derivative())?.curvature(pairs.read(store)?, parameter, tangent, out)
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

/// A [`PlanView`] by name: of both sides, the potential, the weights and their logarithms.
struct RecordedPlan([[Id; 3]; 2]);

impl RecordedPlan {
    fn of<B: HostBackend>(plan: PlanView<'_, Deferred<B>>) -> Self {
        Self([plan.source, plan.target].map(|side| [side.potential, side.weights, side.log_weights].map(|v| v.id)))
    }

    fn read<'a, B: HostBackend>(&self, store: &'a Store<B>) -> Result<PlanView<'a, B>, Error> {
        let side = |[potential, weights, log_weights]: [Id; 3]| -> Result<_, Error> {
            let [potential, weights, log_weights] = [potential, weights, log_weights].map(|id| store.vector(id));
            Ok(PlanSide { potential: potential?, weights: weights?, log_weights: log_weights? })
        };
        Ok(PlanView { source: side(self.0[0])?, target: side(self.0[1])? })
    }
}

/// A [`WeightedPlan`] by name.
struct RecordedPairs {
    plan: RecordedPlan,
    constant: f64,
    source: Option<Id>,
    target: Option<Id>,
    product: Option<(Id, Id)>,
    cost: f64,
    column: usize,
}

impl RecordedPairs {
    fn of<B: HostBackend>(pairs: WeightedPlan<'_, Deferred<B>>) -> Self {
        let WeightedPlan { plan, weight: PairWeight { constant, source, target, product, cost }, column } = pairs;
        Self {
            plan: RecordedPlan::of(plan),
            constant,
            source: source.map(|r| r.id),
            target: target.map(|s| s.id),
            product: product.map(|(u, v)| (u.id, v.id)),
            cost,
            column,
        }
    }

    fn read<'a, B: HostBackend>(&self, store: &'a Store<B>) -> Result<WeightedPlan<'a, B>, Error> {
        let vector = |id: Option<Id>| id.map(|id| store.vector(id)).transpose();
        let product = match self.product {
            Some((u, v)) => Some((store.vector(u)?, store.vector(v)?)),
            None => None,
        };
        let (source, target) = (vector(self.source)?, vector(self.target)?);
        let weight = PairWeight { constant: self.constant, source, target, product, cost: self.cost };
        Ok(WeightedPlan { plan: self.plan.read(store)?, weight, column: self.column })
    }
}

/// The kernel, even after a panic in another thread.
fn lock<B: HostBackend>(kernel: &SharedKernel<B>) -> MutexGuard<'_, Box<dyn KernelOp<B>>> {
    kernel.lock().unwrap_or_else(PoisonError::into_inner)
}
