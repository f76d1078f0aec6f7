//! Statistics of the cost.

use ot_core::{
    CostStatistics, Device, Error, Geometry, Scalar, Side, WeightsView,
    power_of_two::{binary_exponent, times_power_of_two},
};

use crate::{
    case::GeometryCase,
    scene::setting,
    seeded::elements,
    verdict::{Trial, Verdict},
};

/// Mean, deviation and range of the allowed costs are those of the reference, whatever the size of the masses; the bound and the
/// flag of forbidden pairs are true; an atom with mass and no partner is refused.
pub fn statistics_agree_with_the_reference<D: Device>(case: &GeometryCase<D>) -> Verdict {
    let trial = Trial::new("statistics agree with the reference", case.name());
    let (unit, largest) = (case.unit(), case.largest());
    if let Some(bound) = case.geometry().cost_bound() {
        trial.holds(bound * (1.0 + unit) >= largest, || format!("a cost of {largest:e} above the bound {bound:e}"))?;
    }
    let is_told = case.geometry().may_forbid() || !case.reference().may_forbid();
    trial.holds(is_told, || "forbidden pairs were not announced".into())?;

    let weights = setting(case, case.epsilons(&[1.0])[0], 2)?.weights;
    let expected = of(case.reference(), &weights)?;
    // Products of the smallest masses are no numbers.
    let exponent = binary_exponent(D::Elem::TINY) + 30.0;
    let tiny = weights.clone().map(|weights| weights.iter().map(|w| times_power_of_two(*w, exponent)).collect());
    for weights in [weights, tiny] {
        match of(case.geometry().as_ref(), &weights) {
            Err(Error::MissingCapability(_)) => return Ok(()),
            found => are_those(&trial, found?, expected, [unit, largest])?,
        }
    }
    refuses_stranded_atoms(case, &trial)
}

/// Are statistics those expected of costs up to the largest?
fn are_those(trial: &Trial, found: CostStatistics, expected: CostStatistics, [unit, largest]: [f64; 2]) -> Verdict {
    let CostStatistics { mean, deviation, minimum, maximum, forbidden } = found;
    trial.close("mean", mean, expected.mean, unit * largest)?;
    // Rounding of the variance, seen through the square root.
    let slack = unit * largest * largest / expected.deviation.max(unit.sqrt() * largest);
    trial.close("deviation", deviation, expected.deviation, slack)?;
    trial.close("minimum", minimum, expected.minimum, unit * largest)?;
    trial.close("maximum", maximum, expected.maximum, unit * largest)?;
    trial.holds(forbidden == expected.forbidden, || format!("forbidden pairs: {forbidden}"))
}

/// The statistics of a geometry under weights, one histogram for the source and two for the target.
fn of<D: Device>(geometry: &dyn Geometry<D>, weights: &[Vec<f64>; 2]) -> Result<CostStatistics, Error> {
    let [source, target] = weights.each_ref().map(|weights| elements::<D::Elem>(weights));
    geometry.cost_statistics(WeightsView::new(&source, 1)?, WeightsView::new(&target, 2)?)
}

/// All mass on one forbidden pair.
fn refuses_stranded_atoms<D: Device>(case: &GeometryCase<D>, trial: &Trial) -> Verdict {
    let [rows, columns] = Side::BOTH.map(|side| case.len(side));
    let forbidden =
        (0..rows * columns).find(|index| case.reference().cost(index / columns, index % columns).is_infinite());
    let Some(index) = forbidden else { return Ok(()) };
    let alone =
        |len: usize, at: usize| (0..len).map(|atom| D::Elem::from_f64(f64::from(atom == at))).collect::<Vec<_>>();
    let (a, b) = (alone(rows, index / columns), alone(columns, index % columns));
    let refused = case.geometry().cost_statistics(WeightsView::new(&a, 1)?, WeightsView::new(&b, 1)?);
    trial.holds(matches!(refused, Err(Error::Stranded { .. })), || format!("a stranded atom gave {refused:?}"))
}
