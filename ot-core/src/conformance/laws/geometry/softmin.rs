//! Softmins: exact whatever the epsilon, the shift, the batch and the centre.

use super::{EPSILONS, MODERATE_EPSILONS};
use crate::{
    backend::{Backend, Side},
    conformance::{
        GeometryCase, Verdict,
        case::{SIDES, Scene, at},
        verdict::Trial,
    },
    kernel::{ActiveColumns, SoftMin},
    scalar::{LOG_ZERO, Scalar, UNREACHABLE},
};

/// A softmin is that of the formula in f64, at epsilons from 1e-4 to 1e2 of the mean cost, with zero
/// weights and forbidden pairs left out.
pub fn softmins_are_exact<B: Backend>(case: &GeometryCase<B>) -> Verdict {
    let trial = Trial::new("softmins are exact", &case.name);
    for epsilon in case.epsilons(&EPSILONS) {
        for columns in [1, 3] {
            let mut scene = Scene::new(case, epsilon, columns)?;
            for side in SIDES {
                let trial = trial.at(format_args!("{side}, epsilon {epsilon:e}, {columns} columns"));
                let found = scene.plain_softmin(side)?;
                trial.all_close("row", &found, &scene.true_softmin(side), |_| scene.tolerance())?;
            }
            for (side, found) in SIDES.into_iter().zip(scene.both_softmins()?) {
                let trial = trial.at(format_args!("both sides, {side}, epsilon {epsilon:e}, {columns} columns"));
                trial.all_close("row", &found, &scene.true_softmin(side), |_| scene.tolerance())?;
            }
        }
    }
    Ok(())
}

/// The shift is a guess: zero, far off either way, or that of an atom nobody reaches, it gives the same
/// softmin.
pub fn shifts_change_no_result<B: Backend>(case: &GeometryCase<B>) -> Verdict {
    let trial = Trial::new("shifts change no result", &case.name);
    for epsilon in case.epsilons(&MODERATE_EPSILONS) {
        let mut scene = Scene::new(case, epsilon, 1)?;
        let scale = case.truth.scale();
        for side in SIDES {
            let good = scene.potentials[at(side)].clone();
            let expected = scene.true_softmin(side);
            for shift in [0.0, 30.0 * epsilon, -30.0 * epsilon, 100.0 * scale, -100.0 * scale, 1e12, -1e12, UNREACHABLE]
            {
                // Every other row far off, its neighbours as good as ever.
                let mixed: Vec<f64> =
                    good.iter().enumerate().map(|(i, f)| if i % 2 == 0 { f + shift } else { *f }).collect();
                let found = scene.softmin(side, &mixed, &ActiveColumns::all(1), 0.0)?;
                let trial = trial.at(format_args!("{side}, epsilon {epsilon:e}, shift {shift:e} off"));
                trial.all_close("row", &found, &expected, |_| scene.tolerance())?;
            }
        }
    }
    Ok(())
}

/// A batch gives for each column what the column alone gives.
pub fn a_batch_is_its_columns<B: Backend>(case: &GeometryCase<B>) -> Verdict {
    let trial = Trial::new("a batch is its columns", &case.name);
    for epsilon in case.epsilons(&MODERATE_EPSILONS) {
        let mut scene = Scene::new(case, epsilon, 4)?;
        let backend = case.backend();
        for side in SIDES {
            let together = scene.plain_softmin(side)?;
            let (rows, other) = (case.truth.len(side), side.opposite());
            for column in 0..scene.columns {
                let upload = |values: Vec<f64>| {
                    backend.upload(&values.into_iter().map(B::Elem::from_f64).collect::<Vec<_>>(), 1)
                };
                let log_weight = |weight: &f64| if *weight > 0.0 { weight.ln() } else { LOG_ZERO };
                let potential = upload(scene.potential(other, column).to_vec())?;
                let log_weights = upload(scene.weights(other, column).iter().map(log_weight).collect())?;
                let shift = upload(scene.potential(side, column).to_vec())?;
                let mut out = backend.alloc(rows, 1)?;
                let active = ActiveColumns::all(1);
                let request =
                    SoftMin { side, potential: &potential, log_weights: &log_weights, shift: &shift, active: &active };
                case.geometry.bind(epsilon, 1)?.softmin(request, &mut out)?;
                let alone: Vec<f64> = backend.download(&[&out])?[0].iter().map(|value| value.to_f64()).collect();
                let trial = trial.at(format_args!("{side}, epsilon {epsilon:e}, column {column}"));
                let together = &together[column * rows..][..rows];
                trial.all_close("row", together, &alone, |_| 2.0 * scene.tolerance())?;
            }
        }
    }
    Ok(())
}

/// Columns that are not active are not written.
pub fn inactive_columns_keep_what_they_held<B: Backend>(case: &GeometryCase<B>) -> Verdict {
    let trial = Trial::new("inactive columns keep what they held", &case.name);
    for epsilon in case.epsilons(&MODERATE_EPSILONS) {
        let mut scene = Scene::new(case, epsilon, 3)?;
        for frozen in 0..3 {
            let mut active = ActiveColumns::all(3);
            active.freeze(frozen);
            for side in SIDES {
                let (rows, shift) = (case.truth.len(side), scene.potentials[at(side)].clone());
                let found = scene.softmin(side, &shift, &active, 7.25)?;
                let mut expected = scene.true_softmin(side);
                expected[frozen * rows..][..rows].fill(7.25);
                let trial = trial.at(format_args!("{side}, epsilon {epsilon:e}, column {frozen} at rest"));
                let tolerance = |row: usize| if row / rows == frozen { 0.0 } else { scene.tolerance() };
                trial.all_close("entry", &found, &expected, tolerance)?;
            }
        }
    }
    Ok(())
}

/// Without any partner a softmin is the finite constant [`UNREACHABLE`].
pub fn atoms_without_partners_are_unreachable<B: Backend>(case: &GeometryCase<B>) -> Verdict {
    let trial = Trial::new("atoms without partners are unreachable", &case.name);
    let backend = case.backend();
    for epsilon in case.epsilons(&MODERATE_EPSILONS) {
        for side in SIDES {
            let (rows, others) = (case.truth.len(side), case.truth.len(side.opposite()));
            let zeros = |len: usize| backend.upload(&vec![B::Elem::default(); len], 1);
            let (potential, shift) = (zeros(others)?, zeros(rows)?);
            let log_weights = backend.upload(&vec![B::Elem::from_f64(LOG_ZERO); others], 1)?;
            let (mut out, active) = (backend.alloc(rows, 1)?, ActiveColumns::all(1));
            let request =
                SoftMin { side, potential: &potential, log_weights: &log_weights, shift: &shift, active: &active };
            case.geometry.bind(epsilon, 1)?.softmin(request, &mut out)?;
            let found = backend.download(&[&out])?.swap_remove(0);
            let trial = trial.at(format_args!("{side}, epsilon {epsilon:e}"));
            trial.all_close("row", &found, &vec![UNREACHABLE; rows], |_| 1e-6 * UNREACHABLE)?;
        }
    }
    Ok(())
}

/// A kernel bound to another epsilon is the kernel of that epsilon.
pub fn rebinding_changes_epsilon<B: Backend>(case: &GeometryCase<B>) -> Verdict {
    let trial = Trial::new("rebinding changes epsilon", &case.name);
    let epsilons = case.epsilons(&EPSILONS);
    for pair in epsilons.windows(2) {
        for (before, after) in [(pair[0], pair[1]), (pair[1], pair[0])] {
            let mut kernel = Scene::new(case, before, 1)?.kernel;
            kernel.rebind(after)?;
            trial.close("epsilon", kernel.epsilon(), after, 0.0)?;
            let mut scene = Scene::new(case, after, 1)?;
            scene.kernel = kernel;
            for side in SIDES {
                let found = scene.plain_softmin(side)?;
                let trial = trial.at(format_args!("{side}, from {before:e} to {after:e}"));
                trial.all_close("row", &found, &scene.true_softmin(side), |_| scene.tolerance())?;
            }
        }
    }
    let mut kernel = case.geometry.bind(epsilons[0], 1)?;
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        trial.holds(kernel.rebind(bad).is_err(), || format!("epsilon {bad} was accepted"))?;
        trial.holds(case.geometry.bind(bad, 1).is_err(), || format!("epsilon {bad} was bound"))?;
    }
    trial.holds(case.geometry.bind(epsilons[0], 0).is_err(), || "a batch without columns was bound".into())
}

/// A centre to absorb, good or hopeless, changes softmins by rounding only.
pub fn recentring_changes_no_result<B: Backend>(case: &GeometryCase<B>) -> Verdict {
    let trial = Trial::new("recentring changes no result", &case.name);
    for epsilon in case.epsilons(&EPSILONS) {
        let mut scene = Scene::new(case, epsilon, 2)?;
        for centre in ["good", "far"] {
            if centre == "good" {
                scene.ask(|kernel, plan| kernel.recenter(plan))?;
            } else {
                let far = scene.upload_potentials(|value| value + 30.0 * epsilon)?;
                let near = std::mem::replace(&mut scene.vectors, far);
                scene.ask(|kernel, plan| kernel.recenter(plan))?;
                scene.vectors = near;
            }
            for side in [Side::Source, Side::Target, Side::Source] {
                let found = scene.plain_softmin(side)?;
                let trial = trial.at(format_args!("{side}, epsilon {epsilon:e}, {centre} centre"));
                trial.all_close("row", &found, &scene.true_softmin(side), |_| scene.tolerance())?;
            }
        }
    }
    Ok(())
}
