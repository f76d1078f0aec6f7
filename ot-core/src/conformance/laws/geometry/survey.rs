//! Statistics of the cost.

use crate::{
    backend::{Backend, Side},
    conformance::{GeometryCase, Verdict, case::Scene, seeded::elements, verdict::Trial},
    error::Error,
    measure::WeightsView,
    scalar::Scalar,
};

/// A survey gives mean, deviation and range of the allowed costs; the bound and the flag of forbidden
/// pairs are true; an atom with mass and no partner is refused. A geometry without a cost is let off.
pub fn surveys_are_statistics<B: Backend>(case: &GeometryCase<B>) -> Verdict {
    let trial = Trial::new("surveys are statistics", &case.name);
    let truth = &case.truth;
    let scene = Scene::new(case, case.epsilons(&[1.0])[0], 2)?;
    let narrow = [elements::<B::Elem>(&scene.weights[0]), elements::<B::Elem>(&scene.weights[1])];
    let (source, target) = (WeightsView::new(&narrow[0], 1)?, WeightsView::new(&narrow[1], 2)?);
    let survey = match case.geometry.survey(source, target) {
        Err(Error::MissingCapability(_)) => return Ok(()),
        survey => survey?,
    };

    let b: Vec<f64> =
        (0..truth.columns).map(|j| scene.weights(Side::Target, 0)[j] + scene.weights(Side::Target, 1)[j]).collect();
    let weighted = |value: &dyn Fn(f64) -> f64| {
        truth.allowed().map(|(i, j, cost)| scene.weights[0][i] * b[j] * value(cost)).sum::<f64>()
    };
    let mass = weighted(&|_| 1.0);
    let mean = weighted(&|cost| cost) / mass;
    let deviation = (weighted(&|cost| (cost - mean).powi(2)) / mass).sqrt();
    let (unit, largest) = (case.unit(), truth.largest());
    let costs = || truth.allowed().map(|(_, _, cost)| cost);
    trial.close("mean", survey.mean, mean, unit * largest)?;
    // Rounding of the variance, seen through the square root.
    trial.close(
        "deviation",
        survey.deviation,
        deviation,
        unit * largest * largest / deviation.max(unit.sqrt() * largest),
    )?;
    trial.close("minimum", survey.minimum, costs().fold(f64::INFINITY, f64::min), unit * largest)?;
    trial.close("maximum", survey.maximum, costs().fold(f64::NEG_INFINITY, f64::max), unit * largest)?;

    let forbidden = truth.costs.iter().any(|cost| cost.is_infinite());
    trial.holds(survey.forbidden == forbidden, || format!("forbidden pairs: {}", survey.forbidden))?;
    trial.holds(case.geometry.may_forbid() || !forbidden, || "forbidden pairs were not announced".into())?;
    if let Some(bound) = case.geometry.cost_bound() {
        trial.holds(bound * (1.0 + unit) >= largest, || format!("a cost of {largest:e} above the bound {bound:e}"))?;
    }
    refuses_stranded_atoms(case, &trial)
}

/// All mass on one forbidden pair.
fn refuses_stranded_atoms<B: Backend>(case: &GeometryCase<B>, trial: &Trial) -> Verdict {
    let truth = &case.truth;
    let Some(index) = truth.costs.iter().position(|cost| cost.is_infinite()) else { return Ok(()) };
    let alone =
        |len: usize, at: usize| (0..len).map(|atom| B::Elem::from_f64(f64::from(atom == at))).collect::<Vec<_>>();
    let (a, b) = (alone(truth.rows, index / truth.columns), alone(truth.columns, index % truth.columns));
    let refused = case.geometry.survey(WeightsView::new(&a, 1)?, WeightsView::new(&b, 1)?);
    trial.holds(matches!(refused, Err(Error::Stranded { .. })), || format!("a stranded atom gave {refused:?}"))
}
