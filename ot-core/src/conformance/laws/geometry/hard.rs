//! Hard c-transforms, and the arcs of small reduced cost.

use super::MODERATE_EPSILONS;
use crate::{
    backend::{Backend, Side},
    capability::{HardTransform, PricedArc},
    conformance::{
        GeometryCase, Verdict,
        case::{SIDES, Scene, at},
        naive::Naive,
        verdict::Trial,
    },
    error::Error,
    scalar::{Scalar, UNREACHABLE},
};

/// out_i = min_j (C_ij - potential_j) over atoms with mass, attained at the argument.
pub fn c_transforms_are_minima<B: Backend>(case: &GeometryCase<B>) -> Verdict {
    let trial = Trial::new("c-transforms are minima", &case.name);
    for epsilon in case.epsilons(&MODERATE_EPSILONS) {
        let mut scene = Scene::new(case, epsilon, 2)?;
        if scene.kernel.hard_transform().is_none() {
            return Ok(());
        }
        for side in SIDES {
            let (rows, other) = (case.truth.len(side), side.opposite());
            let mut arguments = Vec::new();
            let found = c_transform(&mut scene, side, Some(&mut arguments))?;
            let silent = c_transform(&mut scene, side, None)?;
            let trial = trial.at(format_args!("{side}, epsilon {epsilon:e}"));
            trial.holds(found == silent, || "the argument changed the minimum".into())?;
            trial.holds(arguments.len() == 2 * rows, || format!("{} arguments for {rows} rows", arguments.len()))?;
            for column in 0..2 {
                let (potential, weights) = (scene.potential(other, column), scene.weights(other, column));
                let expected = case.truth.hard_min(side, potential, weights);
                let trial = trial.at(format_args!("column {column}"));
                trial.all_close("row", &found[column * rows..][..rows], &expected, |_| scene.tolerance())?;
                for (own, expected) in expected.iter().enumerate().filter(|(_, value)| **value < UNREACHABLE) {
                    let argument = arguments[column * rows + own] as usize;
                    let has_mass = weights.get(argument).is_some_and(|&weight| weight > 0.0);
                    trial.holds(has_mass, || format!("row {own} has the argument {argument}, without mass"))?;
                    let (i, j) = Naive::pair(side, own, argument);
                    let attained = case.truth.cost(i, j) - potential[argument];
                    trial.close(&format!("argument of row {own}"), attained, *expected, scene.tolerance())?;
                }
            }
        }
    }
    Ok(())
}

/// A c-transform is the limit of softmins: never above, and below by at most epsilon log n for weights
/// of that size.
pub fn softmins_tend_to_c_transforms<B: Backend>(case: &GeometryCase<B>) -> Verdict {
    let trial = Trial::new("softmins tend to c-transforms", &case.name);
    for epsilon in case.epsilons(&[1e-6, 1e-4, 1e-2]) {
        let mut scene = Scene::new(case, epsilon, 1)?;
        if scene.kernel.hard_transform().is_none() {
            return Ok(());
        }
        for side in SIDES {
            let hard = c_transform(&mut scene, side, None)?;
            let soft = scene.plain_softmin(side)?;
            let weights = scene.weights(side.opposite(), 0).iter().filter(|weight| **weight > 0.0);
            let (least, total) = weights.fold((1.0, 0.0), |(least, total), &w| (w.min(least), total + w));
            // sum_j w_j exp((g_j - C_ij) / epsilon) lies between its largest term and total exp(-min / epsilon).
            let (below, above) = (-epsilon * f64::ln(total), -epsilon * f64::ln(least));
            let trial = trial.at(format_args!("{side}, epsilon {epsilon:e}"));
            for (row, (hard, soft)) in hard.iter().zip(&soft).enumerate() {
                let excess = soft.to_f64() - hard.to_f64();
                let within = excess.clamp(below.min(above), above.max(below));
                trial.close(&format!("row {row}"), excess, within, 2.0 * scene.tolerance())?;
            }
        }
    }
    Ok(())
}

/// The arcs below a threshold are all there, in order, and no forbidden pair is among them; more than
/// the limit is an error.
pub fn arcs_are_complete<B: Backend>(case: &GeometryCase<B>) -> Verdict {
    let trial = Trial::new("arcs are complete", &case.name);
    let truth = &case.truth;
    for epsilon in case.epsilons(&[1e-2, 1.0]) {
        let mut scene = Scene::new(case, epsilon, 2)?;
        let (tolerance, column) = (scene.tolerance(), 1);
        let (f, g) = (scene.potential(Side::Source, column).to_vec(), scene.potential(Side::Target, column).to_vec());
        let Some(hard) = scene.kernel.hard_transform() else { return Ok(()) };
        let [source, target] = &scene.vectors;
        let reduced = |i: usize, j: usize| truth.cost(i, j) - f[i] - g[j];
        let mut prices: Vec<f64> = truth.allowed().map(|(i, j, _)| reduced(i, j)).collect();
        prices.sort_by(f64::total_cmp);
        for threshold in [f64::NEG_INFINITY, prices[prices.len() / 10], prices[prices.len() / 2], f64::INFINITY] {
            let arcs = hard.arcs_below(source, target, column, threshold, usize::MAX)?;
            let trial = trial.at(format_args!("epsilon {epsilon:e}, threshold {threshold:e}"));
            check_arcs(&trial, truth, &arcs, &reduced, threshold, tolerance)?;
            if !arcs.is_empty() {
                let cut_short = hard.arcs_below(source, target, column, threshold, arcs.len() - 1);
                let refused = matches!(cut_short, Err(Error::OutOfMemory { .. }));
                trial.holds(refused, || "more arcs than the limit were no error".into())?;
                let fitting = hard.arcs_below(source, target, column, threshold, arcs.len())?;
                trial.holds(fitting == arcs, || "the limit changed the arcs".into())?;
            }
        }
    }
    Ok(())
}

/// Each arc where it should be, with its price.
fn check_arcs(
    trial: &Trial,
    truth: &Naive,
    arcs: &[PricedArc],
    reduced: &dyn Fn(usize, usize) -> f64,
    threshold: f64,
    tolerance: f64,
) -> Verdict {
    let place = |arc: &PricedArc| arc.source as usize * truth.columns + arc.target as usize;
    trial.holds(arcs.windows(2).all(|pair| place(&pair[0]) < place(&pair[1])), || "arcs out of order".into())?;
    let mut found = arcs.iter().peekable();
    for (i, j, _) in truth.allowed() {
        match found.next_if(|arc| place(arc) == i * truth.columns + j) {
            Some(arc) => {
                trial.close(&format!("reduced cost of ({i}, {j})"), arc.reduced_cost, reduced(i, j), tolerance)?;
                trial.holds(reduced(i, j) <= threshold + tolerance, || format!("({i}, {j}) is too expensive"))?;
            }
            None => trial.holds(reduced(i, j) > threshold - tolerance, || format!("({i}, {j}) is missing"))?,
        }
    }
    trial.holds(found.next().is_none(), || "a forbidden pair is among the arcs".into())
}

/// The c-transform of a side, column after column.
fn c_transform<B: Backend>(
    scene: &mut Scene<'_, B>,
    side: Side,
    argument: Option<&mut Vec<u32>>,
) -> Result<Vec<B::Elem>, Error> {
    let backend = scene.case.backend().clone();
    let other = at(side.opposite());
    let mut out = backend.alloc(scene.case.truth.len(side), scene.columns)?;
    let hard: &mut dyn HardTransform<B> =
        scene.kernel.hard_transform().ok_or(Error::MissingCapability("c-transform"))?;
    hard.c_transform(side, &scene.vectors[other], scene.marginals[other].log_weights(), &mut out, argument)?;
    Ok(backend.download(&[&out])?.swap_remove(0))
}
