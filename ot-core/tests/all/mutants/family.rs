//! Kernels of squares with one answer wrong.

use std::sync::Arc;

use ot_core::{
    ActiveColumns, CostSurvey, Error, Geometry, KernelOp, PlanFamily, PlanFormula, PlanPrograms, PlanRegularizer,
    PlanView, Real, Response, RoundedFactors, Side, SoftMin, SquaredL2, Sweep, TransportCost, WeightsView,
    conformance::{
        GeometryCase, ReferenceBackend, Verdict,
        laws::{geometry, plan_regularizer},
        standard_cases,
    },
    family::two_responses,
    host::{HostReduced, HostVector},
};

use super::breaks;

type Reference = ReferenceBackend<f64>;
type Vector = HostVector<f64>;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    ResponseOff,
    LawIgnored,
    RestIsDisturbed,
    SoftminOff,
    DensityOff,
    OnlyBothAreRight,
    ConjugateHalved,
    ExcessOfTheScaledPlan,
    ProductOff,
    CostOff,
    NoRelaxation,
    ResidualForgotten,
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
        self.inner.bind(epsilon, columns)
    }

    fn bind_family(
        &self,
        regularizer: &Arc<dyn PlanRegularizer>,
        epsilon: f64,
        columns: usize,
    ) -> Result<Box<dyn KernelOp<Reference>>, Error> {
        let programs = PlanPrograms::record(regularizer.as_ref())?;
        let inner = self.inner.bind_family(regularizer, epsilon, columns)?;
        Ok(Box::new(FaultyKernel { inner, programs, fault: self.fault }))
    }

    fn may_forbid(&self) -> bool {
        self.inner.may_forbid()
    }

    fn survey(&self, source: WeightsView<'_, f64>, target: WeightsView<'_, f64>) -> Result<CostSurvey, Error> {
        self.inner.survey(source, target)
    }
}

/// A kernel with a fault.
#[derive(Debug)]
struct FaultyKernel {
    inner: Box<dyn KernelOp<Reference>>,
    programs: PlanPrograms,
    fault: Fault,
}

impl FaultyKernel {
    fn right(&mut self) -> Result<&mut dyn PlanFamily<Reference>, Error> {
        self.inner.family().ok_or(Error::MissingCapability("family of the plan"))
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
        self.inner.rebind(epsilon)
    }

    fn recenter(&mut self, plan: PlanView<'_, Reference>) -> Result<(), Error> {
        self.inner.recenter(plan)
    }

    fn softmin(&mut self, request: SoftMin<'_, Reference>, out: &mut Vector) -> Result<(), Error> {
        self.inner.softmin(request, out)?;
        if self.fault == Fault::SoftminOff {
            out.values_mut()[0] += 1e-3;
        }
        Ok(())
    }

    fn sweep(&mut self, backend: &Reference, sweep: Sweep<'_, Reference>) -> Result<(), Error> {
        use ot_core::Backend;

        let ones = backend.upload_reduced(&[1.0; 3])?;
        let relaxation = if self.fault == Fault::NoRelaxation { &ones } else { sweep.relaxation };
        let Sweep { source, target, potentials, active, scratch, mut by_products, .. } = sweep;
        let hints = by_products.as_deref_mut();
        let sweep = Sweep { source, target, potentials, relaxation, active, scratch, by_products: hints };
        let epsilon = self.epsilon();
        two_responses(self, epsilon, backend, sweep)?;
        if let (Fault::ResidualForgotten, Some(hints)) = (self.fault, by_products) {
            hints.source_residual.values_mut().fill(0.0);
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
        if self.fault == Fault::ProductOff {
            out.values_mut()[0] += 1e-6;
        }
        Ok(())
    }

    fn family(&mut self) -> Option<&mut dyn PlanFamily<Reference>> {
        Some(self)
    }

    fn transport_cost(&mut self) -> Option<&mut dyn TransportCost<Reference>> {
        Some(self)
    }
}

impl TransportCost<Reference> for FaultyKernel {
    fn plan_cost(&mut self, plan: PlanView<'_, Reference>, out: &mut HostReduced) -> Result<(), Error> {
        self.inner.transport_cost().ok_or(Error::MissingCapability("transport cost"))?.plan_cost(plan, out)?;
        if self.fault == Fault::CostOff {
            out.values_mut()[0] += 1e-6;
        }
        Ok(())
    }

    fn rank_one_cost(&mut self, u: &Vector, v: &Vector, out: &mut HostReduced) -> Result<(), Error> {
        self.inner.transport_cost().ok_or(Error::MissingCapability("transport cost"))?.rank_one_cost(u, v, out)
    }
}

impl PlanFamily<Reference> for FaultyKernel {
    fn programs(&self) -> &PlanPrograms {
        &self.programs
    }

    fn respond(&mut self, request: Response<'_, Reference>, out: &mut Vector) -> Result<(), Error> {
        let Response { side, law, potential, weights, shift, active } = request;
        let (all, fault) = (ActiveColumns::all(active.columns()), self.fault);
        let active = if fault == Fault::RestIsDisturbed { &all } else { active };
        if fault == Fault::LawIgnored {
            let balanced = ot_core::LawPrograms::record(&ot_core::Balanced)?;
            return self.right()?.respond(Response { side, law: &balanced, potential, weights, shift, active }, out);
        }
        self.right()?.respond(Response { side, law, potential, weights, shift, active }, out)?;
        if fault == Fault::ResponseOff {
            out.values_mut()[0] += 1e-3;
        }
        Ok(())
    }

    fn marginal(
        &mut self,
        side: Side,
        plan: PlanView<'_, Reference>,
        active: &ActiveColumns,
        density: &mut Vector,
        mut conjugate: Option<&mut HostReduced>,
    ) -> Result<(), Error> {
        self.right()?.marginal(side, plan, active, density, conjugate.as_deref_mut())?;
        match (self.fault, conjugate) {
            (Fault::DensityOff, _) => density.values_mut()[0] += 1e-6,
            (Fault::OnlyBothAreRight, None) => density.values_mut()[0] += 1e-6,
            (Fault::OnlyBothAreRight, Some(_)) if side == Side::Target => density.values_mut()[0] += 1e-6,
            (Fault::ConjugateHalved, Some(conjugate)) => conjugate.values_mut()[0] *= 0.5,
            _ => {}
        }
        Ok(())
    }

    fn excess(
        &mut self,
        plan: PlanView<'_, Reference>,
        rounded: RoundedFactors<'_, Reference>,
        out: &mut HostReduced,
    ) -> Result<(), Error> {
        let [pair, _] = rounded.added;
        let zero = Vector::alloc(pair[0].shape().0, pair[0].shape().1)?;
        let added = match self.fault {
            Fault::ExcessOfTheScaledPlan => [[&zero, pair[1]]; 2],
            _ => rounded.added,
        };
        self.right()?.excess(plan, RoundedFactors { scaling: rounded.scaling, added }, out)
    }
}

/// Squares with one formula wrong.
#[derive(Clone, Copy, Debug)]
enum WrongFormula {
    DensityFalls,
    ConjugateOff,
    ValueDoubled,
    ExcessHalved,
}

impl PlanFormula for WrongFormula {
    fn value<R: Real>(&self, density: R) -> R {
        let half = density * density * 0.5;
        if matches!(self, Self::ValueDoubled) { half + half } else { half }
    }

    fn conjugate<R: Real>(&self, exponent: R) -> R {
        let density = PlanFormula::density(&SquaredL2, exponent);
        let half = if matches!(self, Self::ConjugateOff) { 0.500_1 } else { 0.5 };
        half * density * density
    }

    fn density<R: Real>(&self, exponent: R) -> R {
        let density = exponent.max(0.0);
        if matches!(self, Self::DensityFalls) { density - density * density * 0.1 } else { density }
    }

    fn excess<R: Real>(&self, density: R, exponent: R) -> R {
        let excess = PlanFormula::excess(&SquaredL2, density, exponent);
        if matches!(self, Self::ExcessHalved) { excess * 0.5 } else { excess }
    }
}

#[test]
fn laws_of_plan_regularizers_can_fail() {
    breaks(&WrongFormula::DensityFalls, plan_regularizer::densities_never_fall(&WrongFormula::DensityFalls));
    breaks(&WrongFormula::ConjugateOff, plan_regularizer::densities_are_slopes(&WrongFormula::ConjugateOff));
    for wrong in [WrongFormula::ConjugateOff, WrongFormula::ValueDoubled, WrongFormula::ExcessHalved] {
        breaks(&wrong, plan_regularizer::formulas_are_conjugate(&wrong));
    }
}

type Law = fn(&GeometryCase<Reference>) -> Verdict;

/// Each fault, and the law that is there to find it.
const TABLE: [(Fault, Law); 12] = [
    (Fault::ResponseOff, geometry::families_meet_the_demands_of_laws),
    (Fault::LawIgnored, geometry::families_meet_the_demands_of_laws),
    (Fault::RestIsDisturbed, geometry::families_meet_the_demands_of_laws),
    (Fault::SoftminOff, geometry::families_meet_the_demands_of_laws),
    (Fault::DensityOff, geometry::families_tell_of_their_plan),
    (Fault::OnlyBothAreRight, geometry::families_tell_of_their_plan),
    (Fault::ConjugateHalved, geometry::families_tell_of_their_plan),
    (Fault::ExcessOfTheScaledPlan, geometry::families_tell_of_their_plan),
    (Fault::ProductOff, geometry::families_tell_of_their_plan),
    (Fault::CostOff, geometry::families_tell_of_their_plan),
    (Fault::NoRelaxation, geometry::families_sweep_by_responses),
    (Fault::ResidualForgotten, geometry::families_sweep_by_responses),
];

#[test]
fn laws_of_families_can_fail() -> Result<(), Error> {
    let cases = standard_cases(&Reference::default())?;
    for (fault, law) in TABLE {
        let tried = cases.iter().filter(|case| case.name().starts_with("33 x 65"));
        let verdicts: Vec<Verdict> =
            tried.map(|case| law(&case.clone().with_geometry(|inner| Arc::new(Faulty { inner, fault })))).collect();
        let broken = verdicts.into_iter().find(|verdict| verdict.is_err()).unwrap_or(Ok(()));
        breaks(&fault, broken);
    }
    Ok(())
}
