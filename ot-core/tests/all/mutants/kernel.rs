//! Geometries and kernels with one answer wrong.

use std::sync::Arc;

use ot_core::{
    ActiveColumns, Backend, CostDerivative, CostParameter, CostSurvey, CostTangent, Error, Geometry, HardTransform,
    HostBackend, KernelOp, PairSum, PlanView, PricedArc, Program, Side, SoftMin, Sweep, TransportCost, WeightedPlan,
    WeightsView,
    conformance::{GeometryCase, ReferenceBackend, Verdict, laws::geometry, standard_cases},
    host::HostVector,
};

use super::breaks;

type Reference = ReferenceBackend<f64>;
type Vector = HostVector<f64>;
type Reduced = <Reference as Backend>::Reduced;

/// What is wrong with a kernel or its geometry.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    OneEntryOff,
    ZeroWeightsCount,
    ShiftIsBelieved,
    ColumnsMixedUp,
    RestIsDisturbed,
    UnreachableIsInfinite,
    EpsilonStays,
    CentreSticks,
    NoRelaxation,
    SourceOnly,
    ResidualOfTheLeavingIterate,
    ProductTransposed,
    ProductOff,
    CostOff,
    CostOfForbiddenPairsIsZero,
    PairsExchanged,
    ConstantForgotten,
    ProductForgotten,
    ScaleOff,
    ShapeTransposed,
    PushedToo,
    NoCurvature,
    NoMixedCurvature,
    MinimumOfAll,
    ArgumentOff,
    SoftForHard,
    ArcsMissing,
    LimitIgnored,
    MeanOff,
    StrandedAccepted,
}

/// A geometry with a fault.
#[derive(Debug)]
struct Faulty {
    inner: Arc<dyn Geometry<Reference>>,
    fault: Fault,
}

impl Geometry<Reference> for Faulty {
    fn backend(&self) -> &Reference {
        self.inner.backend()
    }

    fn len(&self, side: Side) -> usize {
        self.inner.len(side)
    }

    fn bind(&self, epsilon: f64, columns: usize) -> Result<Box<dyn KernelOp<Reference>>, Error> {
        let mut inner = self.inner.bind(epsilon, columns)?;
        let points = inner.cost_derivative().and_then(|known| known.shape(CostParameter::Points(Side::Source)));
        let dimension = points.map(|(_, dimension)| dimension);
        Ok(Box::new(FaultyKernel { backend: *self.backend(), inner, dimension, fault: self.fault, centred: 0.0 }))
    }

    fn may_forbid(&self) -> bool {
        self.inner.may_forbid()
    }

    fn cost_bound(&self) -> Option<f64> {
        self.inner.cost_bound()
    }

    fn survey(&self, source: WeightsView<'_, f64>, target: WeightsView<'_, f64>) -> Result<CostSurvey, Error> {
        let survey = match (self.fault, self.inner.survey(source, target)) {
            (Fault::StrandedAccepted, Err(Error::Stranded { .. })) => {
                CostSurvey { mean: 0.0, deviation: 0.0, minimum: 0.0, maximum: 0.0, forbidden: true }
            }
            (_, survey) => survey?,
        };
        Ok(CostSurvey { mean: survey.mean * if self.fault == Fault::MeanOff { 1.0 + 1e-9 } else { 1.0 }, ..survey })
    }
}

/// A kernel with a fault.
#[derive(Debug)]
struct FaultyKernel {
    backend: Reference,
    inner: Box<dyn KernelOp<Reference>>,
    /// Of the points, if the derivative in them is known.
    dimension: Option<usize>,
    fault: Fault,
    centred: f64,
}

impl FaultyKernel {
    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }
}

impl KernelOp<Reference> for FaultyKernel {
    fn len(&self, side: Side) -> usize {
        self.inner.len(side)
    }

    fn columns(&self) -> usize {
        self.inner.columns()
    }

    fn epsilon(&self) -> f64 {
        self.inner.epsilon()
    }

    fn rebind(&mut self, epsilon: f64) -> Result<(), Error> {
        if self.has(Fault::EpsilonStays) { Ok(()) } else { self.inner.rebind(epsilon) }
    }

    fn recenter(&mut self, plan: PlanView<'_, Reference>) -> Result<(), Error> {
        self.centred = 1e-9 * self.backend.slice(plan.source.potential)[0].abs();
        self.inner.recenter(plan)
    }

    fn softmin(&mut self, request: SoftMin<'_, Reference>, out: &mut Vector) -> Result<(), Error> {
        let SoftMin { side, potential, log_weights, shift, active } = request;
        let mut log_weights = log_weights.clone();
        if self.has(Fault::ZeroWeightsCount) {
            log_weights.values_mut().iter_mut().for_each(|log_weight| *log_weight = log_weight.max(-30.0));
        }
        let all = ActiveColumns::all(active.columns());
        let active = if self.has(Fault::RestIsDisturbed) { &all } else { active };
        self.inner.softmin(SoftMin { side, potential, log_weights: &log_weights, shift, active }, out)?;
        let epsilon = self.epsilon();
        let (rows, columns) = out.shape();
        for &column in active.indices() {
            let first = column * rows;
            for entry in first..first + rows {
                let shift = shift.values()[entry];
                let value = &mut out.values_mut()[entry];
                match self.fault {
                    Fault::OneEntryOff if entry == first + rows / 2 => *value += 1e-9,
                    Fault::ShiftIsBelieved => *value = value.clamp(shift - 40.0 * epsilon, shift + 40.0 * epsilon),
                    Fault::UnreachableIsInfinite if *value >= 1e30 => *value = f64::INFINITY,
                    Fault::CentreSticks => *value += self.centred,
                    _ => {}
                }
            }
        }
        if self.has(Fault::ColumnsMixedUp) && columns > 1 {
            out.values_mut().swap(0, rows);
        }
        Ok(())
    }

    fn sweep(&mut self, backend: &Reference, sweep: Sweep<'_, Reference>) -> Result<(), Error> {
        let ones = backend.upload_reduced(&[1.0; 3])?;
        let Sweep { source, target, potentials, relaxation, active, scratch, mut by_products } = sweep;
        let relaxation = if self.has(Fault::NoRelaxation) { &ones } else { relaxation };
        let entering = potentials.target.clone();
        for _ in 0..if self.has(Fault::ResidualOfTheLeavingIterate) { 2 } else { 1 } {
            let by_products = by_products.as_deref_mut();
            let sweep = Sweep { source, target, potentials, relaxation, active, scratch, by_products };
            self.inner.sweep(backend, sweep)?;
        }
        if self.has(Fault::SourceOnly) {
            potentials.target = entering;
        }
        Ok(())
    }

    fn apply(
        &mut self,
        side: Side,
        plan: PlanView<'_, Reference>,
        values: &Vector,
        out: &mut Vector,
    ) -> Result<(), Error> {
        self.inner.apply(side, plan, values, out)?;
        match (self.fault, side) {
            (Fault::ProductOff, _) => out.values_mut()[0] *= 1.0 + 1e-6,
            (Fault::ProductTransposed, Side::Target) => out.values_mut().reverse(),
            _ => {}
        }
        Ok(())
    }

    fn transport_cost(&mut self) -> Option<&mut dyn TransportCost<Reference>> {
        Some(self)
    }

    fn pair_sum(&mut self) -> Option<&mut dyn PairSum<Reference>> {
        if self.inner.pair_sum().is_some() { Some(self) } else { None }
    }

    fn cost_derivative(&mut self) -> Option<&mut dyn CostDerivative<Reference>> {
        Some(self)
    }

    fn hard_transform(&mut self) -> Option<&mut dyn HardTransform<Reference>> {
        Some(self)
    }
}

const GONE: Error = Error::MissingCapability("capability of the reference");

impl TransportCost<Reference> for FaultyKernel {
    fn plan_cost(&mut self, plan: PlanView<'_, Reference>, out: &mut Reduced) -> Result<(), Error> {
        self.inner.transport_cost().ok_or(GONE)?.plan_cost(plan, out)?;
        if self.has(Fault::CostOff) {
            out.values_mut()[0] *= 1.0 + 1e-6;
        }
        Ok(())
    }

    fn rank_one_cost(&mut self, u: &Vector, v: &Vector, out: &mut Reduced) -> Result<(), Error> {
        self.inner.transport_cost().ok_or(GONE)?.rank_one_cost(u, v, out)?;
        for cost in out.values_mut() {
            if self.has(Fault::CostOfForbiddenPairsIsZero) && cost.is_infinite() {
                *cost = 0.0;
            }
        }
        Ok(())
    }
}

impl PairSum<Reference> for FaultyKernel {
    fn pair_sum(
        &mut self,
        side: Side,
        plan: PlanView<'_, Reference>,
        phi: &Program,
        out: &mut Vector,
    ) -> Result<(), Error> {
        let exchanged = Program::record_dynamic(phi.inputs(), |inputs| {
            let (x, y) = inputs.split_at(inputs.len() / 2);
            phi.evaluate(&[y, x].concat()).unwrap_or_default()
        })?;
        let phi = if self.has(Fault::PairsExchanged) { &exchanged } else { phi };
        self.inner.pair_sum().ok_or(GONE)?.pair_sum(side, plan, phi, out)
    }
}

impl CostDerivative<Reference> for FaultyKernel {
    fn shape(&self, parameter: CostParameter) -> Option<(usize, usize)> {
        let (n, m) = (self.inner.len(Side::Source), self.inner.len(Side::Target));
        match parameter {
            CostParameter::Matrix if self.has(Fault::ShapeTransposed) => Some((m, n)),
            CostParameter::Matrix => Some((n, m)),
            CostParameter::Points(side) => self.dimension.map(|dimension| (self.inner.len(side), dimension)),
            CostParameter::Scale => Some((1, 1)),
            _ => None,
        }
    }

    fn pull_back(
        &mut self,
        pairs: WeightedPlan<'_, Reference>,
        parameter: CostParameter,
        out: &mut Vector,
    ) -> Result<(), Error> {
        let mut pairs = pairs;
        match self.fault {
            Fault::ConstantForgotten => pairs.weight.constant = 0.0,
            Fault::ProductForgotten => pairs.weight.product = None,
            _ => {}
        }
        self.inner.cost_derivative().ok_or(GONE)?.pull_back(pairs, parameter, out)?;
        if self.has(Fault::ScaleOff) && parameter == CostParameter::Scale {
            out.values_mut()[0] *= 1.0 + 1e-6;
        }
        Ok(())
    }

    fn push_forward(
        &mut self,
        side: Side,
        pairs: WeightedPlan<'_, Reference>,
        tangent: CostTangent<'_, Reference>,
        out: &mut Vector,
    ) -> Result<(), Error> {
        self.inner.cost_derivative().ok_or(GONE)?.push_forward(side, pairs, tangent, out)?;
        if self.has(Fault::PushedToo) {
            out.values_mut()[0] += 1e-6;
        }
        Ok(())
    }

    fn curvature(
        &mut self,
        pairs: WeightedPlan<'_, Reference>,
        parameter: CostParameter,
        tangent: CostTangent<'_, Reference>,
        out: &mut Vector,
    ) -> Result<(), Error> {
        self.inner.cost_derivative().ok_or(GONE)?.curvature(pairs, parameter, tangent, out)?;
        let is_mixed = parameter != tangent.parameter;
        if self.has(Fault::NoCurvature) || self.has(Fault::NoMixedCurvature) && is_mixed {
            out.values_mut().fill(0.0);
        }
        Ok(())
    }
}

impl HardTransform<Reference> for FaultyKernel {
    fn c_transform(
        &mut self,
        side: Side,
        potential: &Vector,
        log_weights: &Vector,
        out: &mut Vector,
        mut argument: Option<&mut Vec<u32>>,
    ) -> Result<(), Error> {
        let mut log_weights = log_weights.clone();
        if self.has(Fault::MinimumOfAll) {
            log_weights.values_mut().fill(0.0);
        }
        let hard = self.inner.hard_transform().ok_or(GONE)?;
        hard.c_transform(side, potential, &log_weights, out, argument.as_deref_mut())?;
        if let Some(argument) = argument.filter(|_| self.has(Fault::ArgumentOff)) {
            let others = self.len(side.opposite()) as u32;
            argument.iter_mut().for_each(|j| *j = (*j + 1) % others);
        }
        if self.has(Fault::SoftForHard) {
            let (scratch, active) = (out.clone(), ActiveColumns::all(out.shape().1));
            let request = SoftMin { side, potential, log_weights: &log_weights, shift: &scratch, active: &active };
            let epsilon = self.epsilon();
            self.inner.rebind(10.0 * epsilon)?;
            self.inner.softmin(request, out)?;
            self.inner.rebind(epsilon)?;
        }
        Ok(())
    }

    fn arcs_below(
        &mut self,
        source_potential: &Vector,
        target_potential: &Vector,
        column: usize,
        threshold: f64,
        limit: usize,
    ) -> Result<Vec<PricedArc>, Error> {
        let limit = if self.has(Fault::LimitIgnored) { usize::MAX } else { limit };
        let hard = self.inner.hard_transform().ok_or(GONE)?;
        let mut arcs = hard.arcs_below(source_potential, target_potential, column, threshold, limit)?;
        if self.has(Fault::ArcsMissing) {
            arcs.pop();
        }
        Ok(arcs)
    }
}

type Law = fn(&GeometryCase<Reference>) -> Verdict;

/// Each fault, and the law that is there to find it.
const TABLE: [(Fault, Law); 38] = [
    (Fault::OneEntryOff, geometry::softmins_are_exact),
    (Fault::ZeroWeightsCount, geometry::softmins_are_exact),
    (Fault::ColumnsMixedUp, geometry::softmins_are_exact),
    (Fault::ShiftIsBelieved, geometry::shifts_change_no_result),
    (Fault::OneEntryOff, geometry::shifts_change_no_result),
    (Fault::ColumnsMixedUp, geometry::a_batch_is_its_columns),
    (Fault::RestIsDisturbed, geometry::inactive_columns_keep_what_they_held),
    (Fault::UnreachableIsInfinite, geometry::atoms_without_partners_are_unreachable),
    (Fault::ZeroWeightsCount, geometry::atoms_without_partners_are_unreachable),
    (Fault::EpsilonStays, geometry::rebinding_changes_epsilon),
    (Fault::CentreSticks, geometry::recentring_changes_no_result),
    (Fault::NoRelaxation, geometry::sweeps_are_two_half_steps),
    (Fault::SourceOnly, geometry::sweeps_are_two_half_steps),
    (Fault::ResidualOfTheLeavingIterate, geometry::sweeps_are_two_half_steps),
    (Fault::ResidualOfTheLeavingIterate, geometry::sweeps_tell_of_the_entering_iterate),
    (Fault::ProductOff, geometry::products_are_those_of_the_plan),
    (Fault::ProductTransposed, geometry::products_are_those_of_the_plan),
    (Fault::ProductTransposed, geometry::products_are_adjoint),
    (Fault::CostOff, geometry::transport_costs_are_sums),
    (Fault::CostOff, geometry::transport_costs_obey_the_identity),
    (Fault::CostOfForbiddenPairsIsZero, geometry::costs_of_rank_one_plans_are_sums),
    (Fault::PairsExchanged, geometry::pair_sums_are_sums),
    (Fault::ConstantForgotten, geometry::pull_backs_are_differences),
    (Fault::ProductForgotten, geometry::pull_backs_are_differences),
    (Fault::ScaleOff, geometry::pull_backs_are_differences),
    (Fault::ShapeTransposed, geometry::pull_backs_are_differences),
    (Fault::ConstantForgotten, geometry::push_forwards_are_adjoint_to_pull_backs),
    (Fault::ProductForgotten, geometry::push_forwards_are_adjoint_to_pull_backs),
    (Fault::PushedToo, geometry::push_forwards_are_adjoint_to_pull_backs),
    (Fault::NoCurvature, geometry::curvatures_are_second_differences),
    (Fault::NoMixedCurvature, geometry::curvatures_are_second_differences),
    (Fault::MinimumOfAll, geometry::c_transforms_are_minima),
    (Fault::ArgumentOff, geometry::c_transforms_are_minima),
    (Fault::SoftForHard, geometry::softmins_tend_to_c_transforms),
    (Fault::ArcsMissing, geometry::arcs_are_complete),
    (Fault::LimitIgnored, geometry::arcs_are_complete),
    (Fault::MeanOff, geometry::surveys_are_statistics),
    (Fault::StrandedAccepted, geometry::surveys_are_statistics),
];

#[test]
fn laws_of_geometries_can_fail() -> Result<(), Error> {
    let cases = standard_cases(&Reference::default())?;
    for (fault, law) in TABLE {
        // The two cases that have everything between them: points, and forbidden pairs.
        let tried = cases.iter().filter(|case| case.name().starts_with("33 x 65") || case.name().contains("forbidden"));
        let verdicts: Vec<Verdict> =
            tried.map(|case| law(&case.clone().with_geometry(|inner| Arc::new(Faulty { inner, fault })))).collect();
        let broken = verdicts.into_iter().find(|verdict| verdict.is_err()).unwrap_or(Ok(()));
        breaks(&fault, broken);
    }
    Ok(())
}
