//! Geometries and kernels whose work waits for a read.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use ot_core::{
    ActiveColumns, ArcThreshold, Backend, Binding, CTransform, CappedPlan, CostDerivative, CostParameter,
    CostStatistics, CostTangent, Device, Entering, Error, Geometry, HardTransform, KernelOp, PairWeight, PlanCells,
    PlanOperator, PlanProduct, PlanRounding, PlanSide, PlanView, PricedArc, RecordedRegularizer, RoundedValue, Side,
    TransportCost, WeightedPlan, WeightsView, measure::Components,
};

use super::{
    Deferred, DeferredDevice,
    handle::{DeferredVector, Written},
    lock,
};
use crate::properties::geometry::PARAMETERS;

/// A geometry of the wrapped device. It is built, and its cost looked at, at once: the data come from the host.
#[derive(Debug)]
pub(super) struct DeferredGeometry<D: Device> {
    backend: Deferred<D>,
    inner: Arc<dyn Geometry<D>>,
}

impl<D: Device> DeferredGeometry<D> {
    pub(super) fn new(backend: Deferred<D>, inner: Arc<dyn Geometry<D>>) -> Self {
        Self { backend, inner }
    }

    /// A kernel of the wrapped geometry, deferred.
    fn wrap(&self, mut inner: Box<dyn KernelOp<D>>) -> Box<dyn KernelOp<DeferredDevice<D>>> {
        let shape = |parameter| Some((parameter, inner.cost_derivative()?.shape(parameter)?));
        let parameters: Vec<_> = PARAMETERS.into_iter().filter_map(shape).collect();
        Box::new(DeferredKernel {
            backend: self.backend.clone(),
            binding: *inner.binding(),
            fixed_epsilon: self.inner.fixed_epsilon(),
            parameters,
            has_transport_cost: inner.transport_cost().is_some(),
            has_hard_transform: inner.hard_transform().is_some(),
            left_out: inner.left_out(),
            has_plan_product: inner.plan_product().is_some(),
            inner: Arc::new(Mutex::new(inner)),
        })
    }
}

impl<D: Device> Geometry<DeferredDevice<D>> for DeferredGeometry<D> {
    fn backend(&self) -> Arc<dyn Backend<DeferredDevice<D>>> {
        Arc::new(self.backend.clone())
    }

    fn len(&self, side: Side) -> usize {
        self.inner.len(side)
    }

    fn bind_entropic(&self, epsilon: f64, columns: usize) -> Result<Box<dyn KernelOp<DeferredDevice<D>>>, Error> {
        Ok(self.wrap(self.inner.bind_entropic(epsilon, columns)?))
    }

    fn bind(
        &self,
        regularizer: &RecordedRegularizer,
        epsilon: f64,
        columns: usize,
    ) -> Result<Box<dyn KernelOp<DeferredDevice<D>>>, Error> {
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

    fn cost_statistics(
        &self,
        source: WeightsView<'_, D::Elem>,
        target: WeightsView<'_, D::Elem>,
    ) -> Result<CostStatistics, Error> {
        self.inner.cost_statistics(source, target)
    }
}

/// A kernel of the wrapped device, asked when something is read. Its sweeps are the default ones.
struct DeferredKernel<D: Device> {
    backend: Deferred<D>,
    inner: Arc<Mutex<Box<dyn KernelOp<D>>>>,
    binding: Binding,
    fixed_epsilon: Option<f64>,
    /// The parameters of the cost that the kernel knows the derivative in.
    parameters: Vec<(CostParameter, (usize, usize))>,
    has_transport_cost: bool,
    has_hard_transform: bool,
    left_out: f64,
    has_plan_product: bool,
}

type Vector<D> = DeferredVector<<D as Device>::Vector>;
type Reduced<D> = DeferredVector<<D as Device>::Reduced>;

impl<D: Device> DeferredKernel<D> {
    /// Records a request to the kernel.
    fn enqueue(
        &self,
        request: impl FnOnce(&mut dyn KernelOp<D>, &dyn Backend<D>) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        let kernel = Arc::clone(&self.inner);
        self.backend.enqueue(move |backend| request(lock(&kernel).as_mut(), backend));
        Ok(())
    }
}

impl<D: Device> PlanOperator<DeferredDevice<D>> for DeferredKernel<D> {
    fn binding(&self) -> &Binding {
        &self.binding
    }

    fn rebind(&mut self, epsilon: f64) -> Result<(), Error> {
        if let Some(fixed) = self.fixed_epsilon.filter(|&fixed| fixed != epsilon) {
            return Err(Error::FixedEpsilon { fixed, requested: epsilon });
        }
        self.binding.rebind(epsilon)?;
        self.enqueue(move |kernel, _| kernel.rebind(epsilon))
    }

    fn apply(
        &mut self,
        side: Side,
        plan: PlanView<'_, DeferredDevice<D>>,
        values: &Vector<D>,
        out: &mut Vector<D>,
    ) -> Result<(), Error> {
        let (plan, values, out) = (RecordedPlan::of(plan), values.share(), out.share());
        self.enqueue(move |kernel, _| {
            let (plan, values) = (plan.read()?, values.read()?);
            out.write(|out| kernel.apply(side, plan.view(), &values, out))
        })
    }

    fn left_out(&self) -> f64 {
        self.left_out
    }

    fn recenter(&mut self, plan: PlanView<'_, DeferredDevice<D>>) -> Result<(), Error> {
        let plan = RecordedPlan::of(plan);
        self.enqueue(move |kernel, _| kernel.recenter(plan.read()?.view()))
    }

    fn transport_cost(&mut self) -> Option<&mut dyn TransportCost<DeferredDevice<D>>> {
        if self.has_transport_cost { Some(self) } else { None }
    }

    fn cost_derivative(&mut self) -> Option<&mut dyn CostDerivative<DeferredDevice<D>>> {
        if self.parameters.is_empty() { None } else { Some(self) }
    }

    fn hard_transform(&mut self) -> Option<&mut dyn HardTransform<DeferredDevice<D>>> {
        if self.has_hard_transform { Some(self) } else { None }
    }

    fn plan_product(&mut self) -> Option<&mut dyn PlanProduct<DeferredDevice<D>>> {
        if self.has_plan_product { Some(self) } else { None }
    }
}

impl<D: Device> KernelOp<DeferredDevice<D>> for DeferredKernel<D> {
    fn c_transform(
        &mut self,
        _: &dyn Backend<DeferredDevice<D>>,
        request: CTransform<'_, DeferredDevice<D>>,
        out: &mut Vector<D>,
        entering: Option<Entering<'_, DeferredDevice<D>>>,
    ) -> Result<(), Error> {
        let CTransform { side, plan, penalty, active } = request;
        let (plan, penalty, active, out) = (RecordedPlan::of(plan), penalty.clone(), active.clone(), out.share());
        let entering = entering
            .map(|Entering { density, conjugate }| (density.share(), conjugate.map(|conjugate| conjugate.share())));
        self.enqueue(move |kernel, backend| {
            let plan = plan.read()?;
            let request = CTransform { side, plan: plan.view(), penalty: &penalty, active: &active };
            out.write(|out| match &entering {
                None => kernel.c_transform(backend, request, out, None),
                Some((density, conjugate)) => density.write(|density| {
                    write_if_wanted(conjugate.as_ref(), |conjugate| {
                        kernel.c_transform(backend, request, out, Some(Entering { density, conjugate }))
                    })
                }),
            })
        })
    }

    fn density(
        &mut self,
        _: &dyn Backend<DeferredDevice<D>>,
        side: Side,
        plan: PlanView<'_, DeferredDevice<D>>,
        active: &ActiveColumns,
        out: &mut Vector<D>,
        conjugate: Option<&mut Reduced<D>>,
    ) -> Result<(), Error> {
        let (plan, active, out) = (RecordedPlan::of(plan), active.clone(), out.share());
        let conjugate = conjugate.map(|conjugate| conjugate.share());
        self.enqueue(move |kernel, backend| {
            let plan = plan.read()?;
            out.write(|out| {
                write_if_wanted(conjugate.as_ref(), |conjugate| {
                    kernel.density(backend, side, plan.view(), &active, out, conjugate)
                })
            })
        })
    }

    fn capped_densities(
        &mut self,
        _: &dyn Backend<DeferredDevice<D>>,
        plan: PlanView<'_, DeferredDevice<D>>,
        highest: f64,
        active: &ActiveColumns,
        out: CappedPlan<'_, DeferredDevice<D>>,
        conjugate: &mut Reduced<D>,
    ) -> Result<(), Error> {
        let (plan, active, conjugate) = (RecordedPlan::of(plan), active.clone(), conjugate.share());
        let vectors = [out.source, out.target, out.log_scaling, out.capped].map(|vector| vector.share());
        self.enqueue(move |kernel, backend| {
            let plan = plan.read()?;
            DeferredVector::write_all(&vectors, |vectors| {
                let [source, target, log_scaling, capped] = vectors else { return Ok(()) };
                let out = CappedPlan {
                    source: &mut **source,
                    target: &mut **target,
                    log_scaling: &mut **log_scaling,
                    capped: &mut **capped,
                };
                conjugate.write(|sums| kernel.capped_densities(backend, plan.view(), highest, &active, out, sums))
            })
        })
    }

    fn fenchel_gap(
        &mut self,
        _: &dyn Backend<DeferredDevice<D>>,
        plan: PlanView<'_, DeferredDevice<D>>,
        rounding: PlanRounding<'_, DeferredDevice<D>>,
        out: RoundedValue<'_, DeferredDevice<D>>,
    ) -> Result<(), Error> {
        let (plan, gap, value) = (RecordedPlan::of(plan), out.gap.share(), out.value.share());
        match rounding {
            PlanRounding::Scaled { columns, cost_bound } => {
                let columns = columns.to_vec();
                self.enqueue(move |kernel, backend| {
                    let (plan, rounding) = (plan.read()?, PlanRounding::Scaled { columns: &columns, cost_bound });
                    gap.write(|gap| {
                        value.write(|value| {
                            kernel.fenchel_gap(backend, plan.view(), rounding, RoundedValue { gap, value })
                        })
                    })
                })
            }
            PlanRounding::Relative { source, target } => {
                let (source, target) = (source.share(), target.share());
                self.enqueue(move |kernel, backend| {
                    let (plan, source, target) = (plan.read()?, source.read()?, target.read()?);
                    let rounding = PlanRounding::Relative { source: &*source, target: &*target };
                    gap.write(|gap| {
                        value.write(|value| {
                            kernel.fenchel_gap(backend, plan.view(), rounding, RoundedValue { gap, value })
                        })
                    })
                })
            }
        }
    }

    fn conditional_potential(
        &mut self,
        _: &dyn Backend<DeferredDevice<D>>,
        side: Side,
        plan: PlanView<'_, DeferredDevice<D>>,
        out: &mut Vector<D>,
    ) -> Result<(), Error> {
        let (plan, out) = (RecordedPlan::of(plan), out.share());
        self.enqueue(move |kernel, backend| {
            let plan = plan.read()?;
            out.write(|out| kernel.conditional_potential(backend, side, plan.view(), out))
        })
    }
}

impl<D: Device> TransportCost<DeferredDevice<D>> for DeferredKernel<D> {
    fn plan_cost(&mut self, plan: PlanView<'_, DeferredDevice<D>>, out: &mut Reduced<D>) -> Result<(), Error> {
        let (plan, out) = (RecordedPlan::of(plan), out.share());
        self.enqueue(move |kernel, _| {
            let plan = plan.read()?;
            out.write(|out| present(kernel.transport_cost())?.plan_cost(plan.view(), out))
        })
    }

    fn rank_one_cost(&mut self, u: &Vector<D>, v: &Vector<D>, out: &mut Reduced<D>) -> Result<(), Error> {
        let (u, v, out) = (u.share(), v.share(), out.share());
        self.enqueue(move |kernel, _| {
            let (u, v) = (u.read()?, v.read()?);
            out.write(|out| present(kernel.transport_cost())?.rank_one_cost(&u, &v, out))
        })
    }
}

impl<D: Device> CostDerivative<DeferredDevice<D>> for DeferredKernel<D> {
    fn shape(&self, parameter: CostParameter) -> Option<(usize, usize)> {
        self.parameters.iter().find(|(known, _)| *known == parameter).map(|&(_, shape)| shape)
    }

    fn pull_back(
        &mut self,
        pairs: WeightedPlan<'_, DeferredDevice<D>>,
        parameter: CostParameter,
        out: &mut Vector<D>,
    ) -> Result<(), Error> {
        let (pairs, out) = (RecordedPairs::of(pairs), out.share());
        self.enqueue(move |kernel, _| {
            let pairs = pairs.read()?;
            out.write(|out| present(kernel.cost_derivative())?.pull_back(pairs.view(), parameter, out))
        })
    }

    fn push_forward(
        &mut self,
        side: Side,
        pairs: WeightedPlan<'_, DeferredDevice<D>>,
        tangent: CostTangent<'_, DeferredDevice<D>>,
        out: &mut Vector<D>,
    ) -> Result<(), Error> {
        let (pairs, out) = (RecordedPairs::of(pairs), out.share());
        let (parameter, values) = (tangent.parameter, tangent.values.share());
        self.enqueue(move |kernel, _| {
            let (pairs, values) = (pairs.read()?, values.read()?);
            let tangent = CostTangent { parameter, values: &*values };
            out.write(|out| present(kernel.cost_derivative())?.push_forward(side, pairs.view(), tangent, out))
        })
    }

    fn curvature(
        &mut self,
        pairs: WeightedPlan<'_, DeferredDevice<D>>,
        parameter: CostParameter,
        tangent: CostTangent<'_, DeferredDevice<D>>,
        out: &mut Vector<D>,
    ) -> Result<(), Error> {
        let (pairs, out) = (RecordedPairs::of(pairs), out.share());
        let (moving, values) = (tangent.parameter, tangent.values.share());
        self.enqueue(move |kernel, _| {
            let (pairs, values) = (pairs.read()?, values.read()?);
            let tangent = CostTangent { parameter: moving, values: &*values };
            out.write(|out| present(kernel.cost_derivative())?.curvature(pairs.view(), parameter, tangent, out))
        })
    }

    fn gauss_newton(
        &mut self,
        plan: PlanView<'_, DeferredDevice<D>>,
        parameter: CostParameter,
        tangent: CostTangent<'_, DeferredDevice<D>>,
        out: &mut Vector<D>,
    ) -> Result<(), Error> {
        let (plan, out) = (RecordedPlan::of(plan), out.share());
        let (moving, values) = (tangent.parameter, tangent.values.share());
        self.enqueue(move |kernel, _| {
            let (plan, values) = (plan.read()?, values.read()?);
            let tangent = CostTangent { parameter: moving, values: &*values };
            out.write(|out| present(kernel.cost_derivative())?.gauss_newton(plan.view(), parameter, tangent, out))
        })
    }
}

impl<D: Device> PlanProduct<DeferredDevice<D>> for DeferredKernel<D> {
    fn normal_product(
        &mut self,
        side: Side,
        plan: PlanView<'_, DeferredDevice<D>>,
        diagonal: &Vector<D>,
        values: &Vector<D>,
        out: &mut Vector<D>,
    ) -> Result<(), Error> {
        let (plan, diagonal, values, out) = (RecordedPlan::of(plan), diagonal.share(), values.share(), out.share());
        self.enqueue(move |kernel, _| {
            let (plan, diagonal, values) = (plan.read()?, diagonal.read()?, values.read()?);
            out.write(|out| present(kernel.plan_product())?.normal_product(side, plan.view(), &diagonal, &values, out))
        })
    }

    fn inexact_normal_product(
        &mut self,
        side: Side,
        plan: PlanView<'_, DeferredDevice<D>>,
        diagonal: &Vector<D>,
        values: &Vector<D>,
        out: &mut Vector<D>,
    ) -> Result<(), Error> {
        let (plan, diagonal, values, out) = (RecordedPlan::of(plan), diagonal.share(), values.share(), out.share());
        self.enqueue(move |kernel, _| {
            let (plan, diagonal, values) = (plan.read()?, diagonal.read()?, values.read()?);
            out.write(|out| {
                present(kernel.plan_product())?.inexact_normal_product(side, plan.view(), &diagonal, &values, out)
            })
        })
    }

    fn curvature_product(
        &mut self,
        side: Side,
        plan: PlanView<'_, DeferredDevice<D>>,
        values: &Vector<D>,
        out: &mut Vector<D>,
    ) -> Result<(), Error> {
        let (plan, values, out) = (RecordedPlan::of(plan), values.share(), out.share());
        self.enqueue(move |kernel, _| {
            let (plan, values) = (plan.read()?, values.read()?);
            out.write(|out| present(kernel.plan_product())?.curvature_product(side, plan.view(), &values, out))
        })
    }

    fn has_cells(&self) -> bool {
        lock(&self.inner).plan_product().is_some_and(|product| product.has_cells())
    }

    fn cells(&mut self, plan: PlanView<'_, DeferredDevice<D>>, column: usize) -> Result<PlanCells, Error> {
        let plan = RecordedPlan::of(plan);
        self.backend.flush()?;
        let (plan, mut kernel) = (plan.read()?, lock(&self.inner));
        present(kernel.plan_product())?.cells(plan.view(), column)
    }
}

impl<D: Device> HardTransform<DeferredDevice<D>> for DeferredKernel<D> {
    fn hard_c_transform(
        &mut self,
        side: Side,
        potential: &Vector<D>,
        log_weights: &Vector<D>,
        out: &mut Vector<D>,
        argument: Option<&mut Vec<u32>>,
    ) -> Result<(), Error> {
        if argument.is_some() {
            // The host waits.
            self.backend.flush()?;
            let (potential, log_weights, mut kernel) = (potential.read()?, log_weights.read()?, lock(&self.inner));
            return out.write(|out| {
                present(kernel.hard_transform())?.hard_c_transform(side, &potential, &log_weights, out, argument)
            });
        }
        let (potential, log_weights, out) = (potential.share(), log_weights.share(), out.share());
        self.enqueue(move |kernel, _| {
            let (potential, log_weights) = (potential.read()?, log_weights.read()?);
            out.write(|out| {
                present(kernel.hard_transform())?.hard_c_transform(side, &potential, &log_weights, out, None)
            })
        })
    }

    fn arcs_below(
        &mut self,
        source_potential: &Vector<D>,
        target_potential: &Vector<D>,
        column: usize,
        threshold: ArcThreshold<'_>,
        limit: usize,
    ) -> Result<Vec<PricedArc>, Error> {
        self.backend.flush()?;
        let (source, target, mut kernel) = (source_potential.read()?, target_potential.read()?, lock(&self.inner));
        present(kernel.hard_transform())?.arcs_below(&source, &target, column, threshold, limit)
    }
}

impl<D: Device> fmt::Debug for DeferredKernel<D> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DeferredKernel").field("binding", &self.binding).finish_non_exhaustive()
    }
}

/// A capability that the wrapped kernel was seen to have.
fn present<T: ?Sized>(capability: Option<&mut T>) -> Result<&mut T, Error> {
    capability.ok_or(Error::MissingCapability("capability that it announced"))
}

/// Writes a vector that may not be wanted.
fn write_if_wanted<V>(
    handle: Option<&DeferredVector<V>>,
    job: impl FnOnce(Option<&mut V>) -> Result<(), Error>,
) -> Result<(), Error> {
    match handle {
        Some(handle) => handle.write(|value| job(Some(value))),
        None => job(None),
    }
}

/// A [`PlanView`] by handles: of both sides, the potential, the weights and their logarithms.
struct RecordedPlan<D: Device>([[Vector<D>; 3]; 2]);

/// A [`PlanView`] of vectors that somebody wrote.
struct WrittenPlan<'a, D: Device>([[Written<'a, D::Vector>; 3]; 2]);

impl<D: Device> RecordedPlan<D> {
    fn of(plan: PlanView<'_, DeferredDevice<D>>) -> Self {
        let share = |side: PlanSide<'_, DeferredDevice<D>>| {
            [side.potential, side.weights, side.log_weights].map(DeferredVector::share)
        };
        Self([share(plan.source), share(plan.target)])
    }

    fn read(&self) -> Result<WrittenPlan<'_, D>, Error> {
        let [source, target] = self.0.each_ref().map(|side| side.each_ref().map(DeferredVector::read));
        let ([f, a, log_a], [g, b, log_b]) = (source, target);
        Ok(WrittenPlan([[f?, a?, log_a?], [g?, b?, log_b?]]))
    }
}

impl<D: Device> WrittenPlan<'_, D> {
    fn view(&self) -> PlanView<'_, D> {
        let [source, target] = self.0.each_ref().map(|[potential, weights, log_weights]| PlanSide {
            potential: &**potential,
            weights: &**weights,
            log_weights: &**log_weights,
        });
        PlanView { source, target }
    }
}

/// A [`WeightedPlan`] by handles: the factors are r, s, u and v.
struct RecordedPairs<D: Device> {
    plan: RecordedPlan<D>,
    constant: f64,
    factors: [Option<Vector<D>>; 4],
    cost: f64,
}

/// A [`WeightedPlan`] of vectors that somebody wrote.
struct WrittenPairs<'a, D: Device> {
    plan: WrittenPlan<'a, D>,
    constant: f64,
    factors: [Option<Written<'a, D::Vector>>; 4],
    cost: f64,
}

impl<D: Device> RecordedPairs<D> {
    fn of(pairs: WeightedPlan<'_, DeferredDevice<D>>) -> Self {
        let WeightedPlan { plan, weight: PairWeight { constant, source, target, product, cost } } = pairs;
        let (u, v) = product.unzip();
        let factors = [source, target, u, v].map(|factor| factor.map(DeferredVector::share));
        Self { plan: RecordedPlan::of(plan), constant, factors, cost }
    }

    fn read(&self) -> Result<WrittenPairs<'_, D>, Error> {
        let [source, target, u, v] = self.factors.each_ref().map(|factor| match factor {
            Some(factor) => factor.read().map(Some),
            None => Ok(None),
        });
        let factors = [source?, target?, u?, v?];
        Ok(WrittenPairs { plan: self.plan.read()?, constant: self.constant, factors, cost: self.cost })
    }
}

impl<D: Device> WrittenPairs<'_, D> {
    fn view(&self) -> WeightedPlan<'_, D> {
        let [source, target, u, v] = self.factors.each_ref().map(|factor| factor.as_deref());
        let weight = PairWeight { constant: self.constant, source, target, product: u.zip(v), cost: self.cost };
        WeightedPlan { plan: self.plan.view(), weight }
    }
}
