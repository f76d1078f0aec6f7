//! Geometries and kernels with one answer wrong.

use std::sync::Arc;

use ot_conformance::{
    GeometryCase, ReferenceBackend, SupportKind, Verdict, properties::geometry as properties, standard_cases,
};
use ot_core::{
    ActiveColumns, ArcThreshold, Backend, Balanced, Binding, CTransform, CappedPlan, CostDerivative, CostParameter,
    CostStatistics, CostTangent, Entering, Error, Geometry, HardTransform, Host, KernelOp, LOG_ZERO, PlanCells,
    PlanOperator, PlanProduct, PlanRounding, PlanSide, PlanView, PricedArc, RecordedPenalty, RecordedRegularizer,
    RoundedValue, Side, Sweep, TransportCost, WeightedPlan, WeightsView,
    host::{HostReduced, HostVector},
    kernel::half_step,
};

use super::breaks;

type Device = Host<f64>;
type Vector = HostVector<f64>;

/// What is wrong with a kernel or its geometry.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    OneEntryOff,
    OnlyOneSideIsRight,
    ZeroWeightsCount,
    PenaltyIgnored,
    GuessIsBelieved,
    ColumnsMixedUp,
    InactiveAreRead,
    UnreachableIsInfinite,
    EpsilonStays,
    CentreSticks,
    EnteringDensityOff,
    EnteringConjugateHalved,
    DensityOff,
    BothDensitiesOff,
    CappedDensityOff,
    CapIgnored,
    ConjugateHalved,
    ConditionalOff,
    GapHalved,
    RoundedValueOff,
    GapInfinite,
    ForbiddenMassIsFree,
    NoRelaxation,
    SourceOnly,
    RestIsDisturbed,
    HalfStepOff,
    ResidualOfTheLeavingIterate,
    ProductTransposed,
    ProductOff,
    NormalProductOff,
    CellsOff,
    CurvatureIsTheDensity,
    CostOff,
    ForbiddenPairsAreFree,
    ConstantForgotten,
    ProductForgotten,
    ScaleOff,
    ShapeTransposed,
    PushedToo,
    FirstTangentForAll,
    NoCurvature,
    NoMixedCurvature,
    NoGaussNewton,
    MinimumOfAll,
    ArgumentOff,
    ArcsMissing,
    AtomThresholdsForgotten,
    LimitIgnored,
    MeanOff,
    StrandedAccepted,
    BoundHalvedWithoutStatistics,
    OtherEpsilonsAreBound,
    OtherEpsilonsAreRebound,
    ProductOfRememberedWeights,
    DensityOfRememberedWeights,
}

/// A geometry with a fault.
#[derive(Debug)]
struct Faulty {
    inner: Arc<dyn Geometry<Device>>,
    fault: Fault,
}

impl Faulty {
    fn wrap(&self, inner: Box<dyn KernelOp<Device>>) -> Box<dyn KernelOp<Device>> {
        Box::new(FaultyKernel { inner, fault: self.fault, fixed: self.fixed_epsilon(), centred: 0.0, met: None })
    }
}

impl Geometry<Device> for Faulty {
    fn backend(&self) -> Arc<dyn Backend<Device>> {
        self.inner.backend()
    }

    fn len(&self, side: Side) -> usize {
        self.inner.len(side)
    }

    fn fixed_epsilon(&self) -> Option<f64> {
        matches!(self.fault, Fault::OtherEpsilonsAreBound | Fault::OtherEpsilonsAreRebound).then_some(FIXED)
    }

    fn bind_entropic(&self, epsilon: f64, columns: usize) -> Result<Box<dyn KernelOp<Device>>, Error> {
        Ok(self.wrap(self.inner.bind_entropic(epsilon, columns)?))
    }

    fn bind(
        &self,
        regularizer: &RecordedRegularizer,
        epsilon: f64,
        columns: usize,
    ) -> Result<Box<dyn KernelOp<Device>>, Error> {
        if self.fault == Fault::OtherEpsilonsAreRebound {
            refuse_other(self.fixed_epsilon(), epsilon)?;
        }
        Ok(self.wrap(self.inner.bind(regularizer, epsilon, columns)?))
    }

    fn may_forbid(&self) -> bool {
        self.inner.may_forbid()
    }

    fn cost_bound(&self) -> Option<f64> {
        let factor = if self.fault == Fault::BoundHalvedWithoutStatistics { 0.5 } else { 1.0 };
        self.inner.cost_bound().map(|bound| factor * bound)
    }

    fn cost_statistics(
        &self,
        source: WeightsView<'_, f64>,
        target: WeightsView<'_, f64>,
    ) -> Result<CostStatistics, Error> {
        let statistics = match (self.fault, self.inner.cost_statistics(source, target)) {
            (Fault::StrandedAccepted, Err(Error::Stranded { .. })) => {
                CostStatistics { mean: 0.0, deviation: 0.0, minimum: 0.0, maximum: 0.0, forbidden: true }
            }
            (Fault::BoundHalvedWithoutStatistics, _) => return Err(Error::MissingCapability("statistics of the cost")),
            (_, statistics) => statistics?,
        };
        let factor = if self.fault == Fault::MeanOff { 1.0 + 1e-9 } else { 1.0 };
        Ok(CostStatistics { mean: statistics.mean * factor, ..statistics })
    }
}

/// A kernel with a fault.
#[derive(Debug)]
struct FaultyKernel {
    inner: Box<dyn KernelOp<Device>>,
    fault: Fault,
    fixed: Option<f64>,
    centred: f64,
    /// Weights and log-weights of the first plan that was met, of the source and of the target.
    met: Option<[[Vector; 2]; 2]>,
}

/// The one epsilon of a geometry that has only one.
const FIXED: f64 = 0.3;

/// What a geometry of one epsilon should answer to another.
fn refuse_other(fixed: Option<f64>, requested: f64) -> Result<(), Error> {
    match fixed {
        Some(fixed) if fixed != requested => Err(Error::FixedEpsilon { fixed, requested }),
        _ => Ok(()),
    }
}

impl FaultyKernel {
    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// Remembers the weights of the first plan.
    fn meet(&mut self, plan: PlanView<'_, Device>) {
        let weights = |side: PlanSide<'_, Device>| [side.weights.clone(), side.log_weights.clone()];
        self.met.get_or_insert_with(|| [weights(plan.source), weights(plan.target)]);
    }

    /// Spoils the numbers of a vector or a reduced vector, if the fault is this one.
    fn spoil(&self, fault: Fault, numbers: &mut [f64], spoil: impl FnOnce(&mut [f64])) {
        if self.has(fault) {
            spoil(numbers);
        }
    }
}

/// A plan under other weights.
fn with_weights<'a>(plan: PlanView<'a, Device>, [source, target]: &'a [[Vector; 2]; 2]) -> PlanView<'a, Device> {
    let with =
        |side: PlanSide<'a, Device>, [weights, log_weights]: &'a [Vector; 2]| PlanSide { weights, log_weights, ..side };
    PlanView { source: with(plan.source, source), target: with(plan.target, target) }
}

/// The first number is off.
fn off(numbers: &mut [f64]) {
    numbers[0] = numbers[0] * (1.0 + 1e-6) + 1e-6;
}

/// All numbers are half of what they should be.
fn halve(numbers: &mut [f64]) {
    numbers.iter_mut().for_each(|number| *number *= 0.5);
}

impl PlanOperator<Device> for FaultyKernel {
    fn binding(&self) -> &Binding {
        self.inner.binding()
    }

    fn rebind(&mut self, epsilon: f64) -> Result<(), Error> {
        if self.has(Fault::OtherEpsilonsAreBound) && epsilon.is_finite() && epsilon > 0.0 {
            refuse_other(self.fixed, epsilon)?;
        }
        if self.has(Fault::EpsilonStays) { Ok(()) } else { self.inner.rebind(epsilon) }
    }

    fn apply(
        &mut self,
        side: Side,
        plan: PlanView<'_, Device>,
        values: &Vector,
        out: &mut Vector,
    ) -> Result<(), Error> {
        self.meet(plan);
        let met = self.met.clone();
        let plan = match &met {
            Some(met) if self.has(Fault::ProductOfRememberedWeights) => with_weights(plan, met),
            _ => plan,
        };
        if self.has(Fault::ProductTransposed) && self.len(side) == self.len(side.opposite()) {
            return self.inner.apply(side.opposite(), plan, values, out);
        }
        self.inner.apply(side, plan, values, out)?;
        self.spoil(Fault::ProductOff, out.values_mut(), off);
        Ok(())
    }

    fn recenter(&mut self, plan: PlanView<'_, Device>) -> Result<(), Error> {
        self.meet(plan);
        self.centred = 1e-9 * plan.source.potential.values()[0].abs();
        self.inner.recenter(plan)
    }

    fn transport_cost(&mut self) -> Option<&mut dyn TransportCost<Device>> {
        Some(self)
    }

    fn cost_derivative(&mut self) -> Option<&mut dyn CostDerivative<Device>> {
        Some(self)
    }

    fn hard_transform(&mut self) -> Option<&mut dyn HardTransform<Device>> {
        Some(self)
    }

    fn plan_product(&mut self) -> Option<&mut dyn PlanProduct<Device>> {
        Some(self)
    }
}

impl KernelOp<Device> for FaultyKernel {
    fn c_transform(
        &mut self,
        backend: &dyn Backend<Device>,
        request: CTransform<'_, Device>,
        out: &mut Vector,
        mut entering: Option<Entering<'_, Device>>,
    ) -> Result<(), Error> {
        let CTransform { side, plan, penalty, active } = request;
        let (own, other, balanced) = (plan.side(side), plan.side(side.opposite()), RecordedPenalty::new(&Balanced)?);
        let (mut weights, mut log_weights) = (other.weights.clone(), other.log_weights.clone());
        if self.has(Fault::ZeroWeightsCount) {
            weights.values_mut().iter_mut().for_each(|weight| *weight = weight.max(1e-3));
            log_weights.values_mut().iter_mut().for_each(|weight| *weight = weight.max(f64::ln(1e-3)));
        }
        let partners = PlanSide { weights: &weights, log_weights: &log_weights, ..other };
        let penalty = if self.has(Fault::PenaltyIgnored) { &balanced } else { penalty };
        let request = CTransform { side, plan: plan.with_side(side.opposite(), partners), penalty, active };
        let told = entering.as_mut().map(|Entering { density, conjugate }| Entering {
            density: &mut **density,
            conjugate: conjugate.as_deref_mut(),
        });
        self.inner.c_transform(backend, request, out, told)?;

        let (rows, columns) = out.shape();
        let reads =
            if self.has(Fault::InactiveAreRead) { own.potential.values().iter().sum::<f64>() * 0.0 } else { 0.0 };
        for &column in active.indices() {
            let (guess, epsilon) = (own.potential.column(column), self.epsilon());
            for (index, (value, guess)) in out.column_mut(column).iter_mut().zip(guess).enumerate() {
                match self.fault {
                    Fault::OneEntryOff if index == rows / 2 => *value += 1e-9 + 1e-9 * value.abs(),
                    Fault::GuessIsBelieved => *value = value.clamp(guess - 40.0 * epsilon, guess + 40.0 * epsilon),
                    Fault::UnreachableIsInfinite if *value >= 1e30 => *value = f64::INFINITY,
                    Fault::CentreSticks => *value += self.centred,
                    _ => *value += reads,
                }
            }
        }
        if self.has(Fault::ColumnsMixedUp) && columns > 1 {
            out.values_mut().swap(0, rows);
        }
        if let Some(Entering { density, conjugate }) = entering {
            self.spoil(Fault::EnteringDensityOff, density.values_mut(), off);
            if let Some(conjugate) = conjugate {
                self.spoil(Fault::EnteringConjugateHalved, conjugate.values_mut(), halve);
            }
        }
        Ok(())
    }

    fn c_transforms(
        &mut self,
        backend: &dyn Backend<Device>,
        penalties: [&RecordedPenalty; 2],
        plan: PlanView<'_, Device>,
        active: &ActiveColumns,
        [source, target]: [&mut Vector; 2],
        entering: Option<[Entering<'_, Device>; 2]>,
    ) -> Result<(), Error> {
        self.inner.c_transforms(backend, penalties, plan, active, [&mut *source, &mut *target], entering)?;
        self.spoil(Fault::OnlyOneSideIsRight, target.values_mut(), |values| values.iter_mut().for_each(|g| *g += 1e-3));
        Ok(())
    }

    fn density(
        &mut self,
        backend: &dyn Backend<Device>,
        side: Side,
        plan: PlanView<'_, Device>,
        active: &ActiveColumns,
        out: &mut Vector,
        mut conjugate: Option<&mut HostReduced>,
    ) -> Result<(), Error> {
        self.meet(plan);
        let met = self.met.clone();
        let plan = match &met {
            Some(met) if self.has(Fault::DensityOfRememberedWeights) => with_weights(plan, met),
            _ => plan,
        };
        self.inner.density(backend, side, plan, active, out, conjugate.as_deref_mut())?;
        self.spoil(Fault::DensityOff, out.values_mut(), off);
        if let Some(conjugate) = conjugate {
            self.spoil(Fault::ConjugateHalved, conjugate.values_mut(), halve);
        }
        Ok(())
    }

    fn densities(
        &mut self,
        backend: &dyn Backend<Device>,
        plan: PlanView<'_, Device>,
        active: &ActiveColumns,
        [source, target]: [&mut Vector; 2],
        conjugate: &mut HostReduced,
    ) -> Result<(), Error> {
        self.inner.densities(backend, plan, active, [&mut *source, &mut *target], conjugate)?;
        self.spoil(Fault::BothDensitiesOff, target.values_mut(), off);
        Ok(())
    }

    fn capped_densities(
        &mut self,
        backend: &dyn Backend<Device>,
        plan: PlanView<'_, Device>,
        highest: f64,
        active: &ActiveColumns,
        mut out: CappedPlan<'_, Device>,
        conjugate: &mut HostReduced,
    ) -> Result<(), Error> {
        let highest = if self.has(Fault::CapIgnored) { f64::INFINITY } else { highest };
        self.inner.capped_densities(backend, plan, highest, active, out.reborrow(), conjugate)?;
        self.spoil(Fault::CappedDensityOff, out.capped.values_mut(), off);
        Ok(())
    }

    fn fenchel_gap(
        &mut self,
        backend: &dyn Backend<Device>,
        plan: PlanView<'_, Device>,
        rounding: PlanRounding<'_, Device>,
        mut out: RoundedValue<'_, Device>,
    ) -> Result<(), Error> {
        self.inner.fenchel_gap(backend, plan, rounding, out.reborrow())?;
        self.spoil(Fault::RoundedValueOff, out.value.values_mut(), |values| {
            values.iter_mut().for_each(|value| *value -= 0.01 * value.abs());
        });
        let RoundedValue { gap: out, .. } = out;
        self.spoil(Fault::GapHalved, out.values_mut(), halve);
        self.spoil(Fault::GapInfinite, out.values_mut(), |gaps| gaps.fill(f64::INFINITY));
        self.spoil(Fault::ForbiddenMassIsFree, out.values_mut(), |gaps| {
            gaps.iter_mut().filter(|gap| gap.is_infinite()).for_each(|gap| *gap = 1e9);
        });
        Ok(())
    }

    fn conditional_potential(
        &mut self,
        backend: &dyn Backend<Device>,
        side: Side,
        plan: PlanView<'_, Device>,
        out: &mut Vector,
    ) -> Result<(), Error> {
        self.inner.conditional_potential(backend, side, plan, out)?;
        self.spoil(Fault::ConditionalOff, out.values_mut(), |values| values.iter_mut().for_each(|f| *f += 1e-3));
        Ok(())
    }

    fn half_step(
        &mut self,
        backend: &dyn Backend<Device>,
        side: Side,
        sweep: &mut Sweep<'_, Device>,
    ) -> Result<(), Error> {
        half_step(self.inner.as_mut(), backend, side, sweep)?;
        let out = sweep.potentials.side_mut(side).values_mut();
        self.spoil(Fault::HalfStepOff, out, |values| values[0] += 1e-2 * (1.0 + values[0].abs()));
        Ok(())
    }

    fn sweep(&mut self, backend: &dyn Backend<Device>, sweep: Sweep<'_, Device>) -> Result<(), Error> {
        let ones = backend.upload_reduced(&[1.0; 3])?;
        let Sweep { source, target, potentials, relaxation, active, scratch, mut by_products } = sweep;
        let relaxation = if self.has(Fault::NoRelaxation) { &ones } else { relaxation };
        let entering = potentials.target.clone();
        let sweeps = if self.has(Fault::ResidualOfTheLeavingIterate) && by_products.is_some() { 2 } else { 1 };
        for _ in 0..sweeps {
            let by_products = by_products.as_deref_mut();
            let sweep = Sweep { source, target, potentials, relaxation, active, scratch, by_products };
            self.inner.sweep(backend, sweep)?;
        }
        if self.has(Fault::SourceOnly) {
            potentials.target = entering;
        }
        self.spoil(Fault::RestIsDisturbed, potentials.source.values_mut(), |values| {
            values.iter_mut().for_each(|value| *value += 1e-16 + 1e-15 * value.abs());
        });
        Ok(())
    }
}

/// A capability of the kernel inside.
fn present<T: ?Sized>(capability: Option<&mut T>) -> &mut T {
    capability.expect("the reference knows everything")
}

impl TransportCost<Device> for FaultyKernel {
    fn plan_cost(&mut self, plan: PlanView<'_, Device>, out: &mut HostReduced) -> Result<(), Error> {
        present(self.inner.transport_cost()).plan_cost(plan, out)?;
        self.spoil(Fault::CostOff, out.values_mut(), off);
        Ok(())
    }

    fn rank_one_cost(&mut self, u: &Vector, v: &Vector, out: &mut HostReduced) -> Result<(), Error> {
        present(self.inner.transport_cost()).rank_one_cost(u, v, out)?;
        self.spoil(Fault::ForbiddenPairsAreFree, out.values_mut(), |costs| {
            costs.iter_mut().filter(|cost| cost.is_infinite()).for_each(|cost| *cost = 0.0);
        });
        Ok(())
    }
}

impl CostDerivative<Device> for FaultyKernel {
    fn shape(&self, parameter: CostParameter) -> Option<(usize, usize)> {
        let [n, m] = Side::BOTH.map(|side| self.len(side));
        match parameter {
            CostParameter::Matrix if self.has(Fault::ShapeTransposed) => Some((n, m)),
            CostParameter::Matrix => Some((m, n)),
            CostParameter::Scale => Some((1, 1)),
            _ => None,
        }
    }

    fn pull_back(
        &mut self,
        mut pairs: WeightedPlan<'_, Device>,
        parameter: CostParameter,
        out: &mut Vector,
    ) -> Result<(), Error> {
        match self.fault {
            Fault::ConstantForgotten => pairs.weight.constant = 0.0,
            Fault::ProductForgotten => pairs.weight.product = None,
            _ => {}
        }
        present(self.inner.cost_derivative()).pull_back(pairs, parameter, out)?;
        if parameter == CostParameter::Scale {
            self.spoil(Fault::ScaleOff, out.values_mut(), off);
        }
        Ok(())
    }

    fn push_forward(
        &mut self,
        side: Side,
        pairs: WeightedPlan<'_, Device>,
        tangent: CostTangent<'_, Device>,
        out: &mut Vector,
    ) -> Result<(), Error> {
        let len = self.shape(tangent.parameter).map_or(1, |(rows, columns)| rows * columns);
        let mut values = tangent.values.clone();
        self.spoil(Fault::FirstTangentForAll, values.values_mut(), |values| {
            let first = values[..len].to_vec();
            values.chunks_exact_mut(len).for_each(|tangent| tangent.copy_from_slice(&first));
        });
        let tangent = CostTangent { values: &values, ..tangent };
        present(self.inner.cost_derivative()).push_forward(side, pairs, tangent, out)?;
        self.spoil(Fault::PushedToo, out.values_mut(), off);
        Ok(())
    }

    fn curvature(
        &mut self,
        pairs: WeightedPlan<'_, Device>,
        parameter: CostParameter,
        tangent: CostTangent<'_, Device>,
        out: &mut Vector,
    ) -> Result<(), Error> {
        present(self.inner.cost_derivative()).curvature(pairs, parameter, tangent, out)?;
        self.spoil(Fault::NoCurvature, out.values_mut(), |values| values.fill(0.0));
        if parameter != tangent.parameter {
            self.spoil(Fault::NoMixedCurvature, out.values_mut(), |values| values.fill(0.0));
        }
        Ok(())
    }

    fn gauss_newton(
        &mut self,
        plan: PlanView<'_, Device>,
        parameter: CostParameter,
        tangent: CostTangent<'_, Device>,
        out: &mut Vector,
    ) -> Result<(), Error> {
        present(self.inner.cost_derivative()).gauss_newton(plan, parameter, tangent, out)?;
        self.spoil(Fault::NoGaussNewton, out.values_mut(), |values| values.fill(0.0));
        Ok(())
    }
}

impl PlanProduct<Device> for FaultyKernel {
    fn normal_product(
        &mut self,
        side: Side,
        plan: PlanView<'_, Device>,
        diagonal: &Vector,
        values: &Vector,
        out: &mut Vector,
    ) -> Result<(), Error> {
        present(self.inner.plan_product()).normal_product(side, plan, diagonal, values, out)?;
        self.spoil(Fault::NormalProductOff, out.values_mut(), off);
        Ok(())
    }

    fn curvature_product(
        &mut self,
        side: Side,
        plan: PlanView<'_, Device>,
        values: &Vector,
        out: &mut Vector,
    ) -> Result<(), Error> {
        if self.has(Fault::CurvatureIsTheDensity) {
            return self.inner.apply(side, plan, values, out);
        }
        present(self.inner.plan_product()).curvature_product(side, plan, values, out)
    }

    fn has_cells(&self) -> bool {
        true
    }

    /// Two cells a side, atoms in turn.
    fn cells(&mut self, plan: PlanView<'_, Device>, column: usize) -> Result<PlanCells, Error> {
        let [n, m] = Side::BOTH.map(|side| self.inner.len(side));
        let mut masses = Vec::new();
        for (source, target) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let mut values = Vector::alloc(m, self.inner.columns())?;
            let mut out = Vector::alloc(n, self.inner.columns())?;
            values.column_mut(column).iter_mut().skip(target as usize).step_by(2).for_each(|value| *value = 1.0);
            self.inner.apply(Side::Source, plan, &values, &mut out)?;
            let mut mass = [out.column(column).iter().skip(source as usize).step_by(2).sum()];
            self.spoil(Fault::CellsOff, &mut mass, off);
            masses.push((source, target, mass[0]));
        }
        Ok(PlanCells { of_atoms: [n, m].map(|len| (0..len as u32).map(|atom| atom % 2).collect()), masses })
    }
}

impl HardTransform<Device> for FaultyKernel {
    fn hard_c_transform(
        &mut self,
        side: Side,
        potential: &Vector,
        log_weights: &Vector,
        out: &mut Vector,
        mut argument: Option<&mut Vec<u32>>,
    ) -> Result<(), Error> {
        let mut log_weights = log_weights.clone();
        self.spoil(Fault::MinimumOfAll, log_weights.values_mut(), |values| {
            values.iter_mut().filter(|value| **value == LOG_ZERO).for_each(|value| *value = 0.0);
        });
        let hard = present(self.inner.hard_transform());
        hard.hard_c_transform(side, potential, &log_weights, out, argument.as_deref_mut())?;
        if let Some(argument) = argument.filter(|_| self.has(Fault::ArgumentOff)) {
            let others = self.len(side.opposite()) as u32;
            argument.iter_mut().for_each(|j| *j = (*j + 1) % others);
        }
        Ok(())
    }

    fn arcs_below(
        &mut self,
        source_potential: &Vector,
        target_potential: &Vector,
        column: usize,
        mut threshold: ArcThreshold<'_>,
        limit: usize,
    ) -> Result<Vec<PricedArc>, Error> {
        let limit = if self.has(Fault::LimitIgnored) { usize::MAX } else { limit };
        if self.has(Fault::AtomThresholdsForgotten) {
            threshold.atoms = None;
        }
        let hard = present(self.inner.hard_transform());
        let mut arcs = hard.arcs_below(source_potential, target_potential, column, threshold, limit)?;
        if self.has(Fault::ArcsMissing) {
            arcs.pop();
        }
        Ok(arcs)
    }
}

type Property = fn(&GeometryCase<Device>) -> Verdict;

/// Each fault, and the property that is there to find it.
const TABLE: [(Fault, Property); 69] = [
    (Fault::OneEntryOff, properties::c_transforms_agree_with_the_reference),
    (Fault::OnlyOneSideIsRight, properties::c_transforms_agree_with_the_reference),
    (Fault::ZeroWeightsCount, properties::c_transforms_agree_with_the_reference),
    (Fault::PenaltyIgnored, properties::c_transforms_agree_with_the_reference),
    (Fault::ColumnsMixedUp, properties::c_transforms_agree_with_the_reference),
    (Fault::GuessIsBelieved, properties::guesses_change_no_c_transform),
    (Fault::OneEntryOff, properties::guesses_change_no_c_transform),
    (Fault::InactiveAreRead, properties::inactive_columns_are_not_read),
    (Fault::UnreachableIsInfinite, properties::atoms_without_partners_are_unreachable),
    (Fault::ZeroWeightsCount, properties::atoms_without_partners_are_unreachable),
    (Fault::EpsilonStays, properties::rebinding_changes_epsilon),
    (Fault::CentreSticks, properties::recentring_changes_no_c_transform),
    (Fault::OneEntryOff, properties::the_entering_plan_is_that_of_the_guess),
    (Fault::EnteringDensityOff, properties::the_entering_plan_is_that_of_the_guess),
    (Fault::EnteringConjugateHalved, properties::the_entering_plan_is_that_of_the_guess),
    (Fault::DensityOff, properties::densities_agree_with_the_reference),
    (Fault::BothDensitiesOff, properties::densities_agree_with_the_reference),
    (Fault::ConjugateHalved, properties::densities_agree_with_the_reference),
    (Fault::CappedDensityOff, properties::capped_densities_agree_with_the_reference),
    (Fault::CapIgnored, properties::capped_densities_agree_with_the_reference),
    (Fault::DensityOff, properties::densities_are_those_of_the_plan),
    (Fault::ProductOff, properties::densities_are_those_of_the_plan),
    (Fault::ConditionalOff, properties::conditional_potentials_keep_conditional_means),
    (Fault::GapHalved, properties::gaps_of_scaled_roundings_are_bounded),
    (Fault::RoundedValueOff, properties::gaps_of_scaled_roundings_are_bounded),
    (Fault::GapInfinite, properties::gaps_of_scaled_roundings_are_bounded),
    (Fault::ForbiddenMassIsFree, properties::gaps_of_scaled_roundings_are_bounded),
    (Fault::GapHalved, properties::gaps_of_relative_roundings_are_bounded),
    (Fault::RoundedValueOff, properties::gaps_of_relative_roundings_are_bounded),
    (Fault::GapInfinite, properties::gaps_of_relative_roundings_are_bounded),
    (Fault::NoRelaxation, properties::sweeps_agree_with_the_reference),
    (Fault::SourceOnly, properties::sweeps_agree_with_the_reference),
    (Fault::RestIsDisturbed, properties::sweeps_agree_with_the_reference),
    (Fault::ResidualOfTheLeavingIterate, properties::sweeps_agree_with_the_reference),
    (Fault::HalfStepOff, properties::half_steps_make_the_sweep),
    (Fault::OnlyOneSideIsRight, properties::simultaneous_sweeps_agree_with_the_reference),
    (Fault::ResidualOfTheLeavingIterate, properties::by_products_are_those_of_the_entering_iterate),
    (Fault::ProductOff, properties::products_agree_with_the_reference),
    (Fault::ProductTransposed, properties::products_agree_with_the_reference),
    (Fault::ProductTransposed, properties::densities_are_those_of_the_plan),
    (Fault::ProductOff, properties::products_are_adjoint),
    (Fault::NormalProductOff, properties::normal_products_agree_with_the_reference),
    (Fault::CellsOff, properties::cells_agree_with_the_reference),
    (Fault::CurvatureIsTheDensity, properties::curvature_products_agree_with_the_reference),
    (Fault::CostOff, properties::transport_costs_agree_with_the_reference),
    (Fault::ForbiddenPairsAreFree, properties::costs_of_rank_one_plans_agree_with_the_reference),
    (Fault::ConstantForgotten, properties::pull_backs_agree_with_the_reference),
    (Fault::ProductForgotten, properties::pull_backs_agree_with_the_reference),
    (Fault::ScaleOff, properties::pull_backs_agree_with_the_reference),
    (Fault::ShapeTransposed, properties::pull_backs_agree_with_the_reference),
    (Fault::PushedToo, properties::push_forwards_agree_with_the_reference),
    (Fault::FirstTangentForAll, properties::push_forwards_agree_with_the_reference),
    (Fault::NoCurvature, properties::curvatures_agree_with_the_reference),
    (Fault::NoMixedCurvature, properties::curvatures_agree_with_the_reference),
    (Fault::NoGaussNewton, properties::gauss_newton_products_agree_with_the_reference),
    (Fault::MinimumOfAll, properties::hard_c_transforms_are_minima),
    (Fault::ArgumentOff, properties::hard_c_transforms_are_minima),
    (Fault::ArcsMissing, properties::arcs_are_complete),
    (Fault::AtomThresholdsForgotten, properties::arcs_are_complete),
    (Fault::LimitIgnored, properties::arcs_are_complete),
    (Fault::MeanOff, properties::statistics_agree_with_the_reference),
    (Fault::StrandedAccepted, properties::statistics_agree_with_the_reference),
    (Fault::BoundHalvedWithoutStatistics, properties::statistics_agree_with_the_reference),
    (Fault::OtherEpsilonsAreBound, properties::rebinding_changes_epsilon),
    (Fault::OtherEpsilonsAreRebound, properties::rebinding_changes_epsilon),
    (Fault::ProductOfRememberedWeights, properties::weights_are_those_of_the_view),
    (Fault::DensityOfRememberedWeights, properties::weights_are_those_of_the_view),
    (Fault::PenaltyIgnored, properties::guesses_change_no_c_transform),
    (Fault::ColumnsMixedUp, properties::the_entering_plan_is_that_of_the_guess),
];

#[test]
fn properties_of_geometries_can_fail() -> Result<(), Error> {
    let backend = ReferenceBackend::<f64>::default();
    let cases = standard_cases(&backend, &[SupportKind::Points, SupportKind::Indices])?;
    // Between them they have everything: points, a square plan, and forbidden pairs.
    let tried: Vec<_> = cases
        .iter()
        .filter(|case| ["a cloud and itself", "17 x 19"].iter().any(|name| case.name().starts_with(name)))
        .collect();
    for (fault, property) in TABLE {
        let verdicts = tried.iter().map(|&case| {
            property(&case.with_geometry(|inner| -> Arc<dyn Geometry<Device>> { Arc::new(Faulty { inner, fault }) }))
        });
        let broken = verdicts.into_iter().find(Result::is_err).unwrap_or(Ok(()));
        breaks(&fault, broken);
    }
    Ok(())
}
