//! C-transforms: exact whatever the regularizer, the penalty, the epsilon, the guess, the batch and the centre.

use ot_core::{ActiveColumns, Device, Error, Side, UNREACHABLE};

use crate::{
    case::GeometryCase,
    iterate::{Iterate, Setting},
    scene::{Scene, Scenes, regularizers, setting},
    verdict::{Trial, Verdict},
};

/// A c-transform is that of the reference, for either side and both at once, with zero weights and forbidden pairs left
/// out.
pub fn c_transforms_agree_with_the_reference<D: Device>(case: &GeometryCase<D>) -> Verdict {
    Scenes::ALL.for_each("c-transforms agree with the reference", case, |trial, scene| {
        let active = scene.all();
        let both = scene.tested.c_transforms(&active, false)?;
        for side in Side::BOTH {
            let expected = scene.reference.c_transform(side, &active, false)?.potential;
            let found = scene.tested.c_transform(side, &active, false)?.potential;
            scene.compare_potential(&trial.at(side), &found, &expected, &active)?;
            let found = &both[side.index()].potential;
            scene.compare_potential(&trial.at(format_args!("both sides, {side}")), found, &expected, &active)?;
        }
        Ok(())
    })
}

/// The potential of the side is a guess: far off either way, or that of an unreachable atom, it gives the same
/// c-transform.
pub fn guesses_change_no_c_transform<D: Device>(case: &GeometryCase<D>) -> Verdict {
    Scenes { penalties: true, ..Scenes::PLANS }.for_each("guesses change no c-transform", case, |trial, scene| {
        let (active, epsilon, scale) = (scene.all(), scene.setting.epsilon, case.scale());
        for side in Side::BOTH {
            let good = scene.setting.potentials[side.index()].clone();
            let expected = scene.reference.c_transform(side, &active, false)?.potential;
            for off in [30.0 * epsilon, -30.0 * epsilon, 100.0 * scale, -100.0 * scale, 1e12, -1e12, UNREACHABLE] {
                // Every other row far off, its neighbours as good as ever.
                let mixed = good.iter().enumerate().map(|(row, f)| if row % 2 == 0 { f + off } else { *f });
                scene.tested.set_potential(side, &case.round(&mixed.collect::<Vec<_>>()))?;
                let found = scene.tested.c_transform(side, &active, false)?.potential;
                let trial = trial.at(format_args!("{side}, guess {off:e} off"));
                scene.compare_potential(&trial, &found, &expected, &active)?;
            }
            scene.tested.set_potential(side, &good)?;
        }
        Ok(())
    })
}

/// What a c-transform tells of the plan that it enters with is what the density and the conjugate of the guess are, and
/// telling it changes no c-transform.
pub fn the_entering_plan_is_that_of_the_guess<D: Device>(case: &GeometryCase<D>) -> Verdict {
    Scenes::PLANS.for_each("the entering plan is that of the guess", case, |trial, scene| {
        let active = scene.all();
        let both = scene.tested.c_transforms(&active, true)?;
        for (side, of_both) in Side::BOTH.into_iter().zip(both) {
            let expected = scene.reference.c_transform(side, &active, false)?.potential;
            let alone = scene.tested.c_transform(side, &active, true)?;
            for (what, found) in [("alone", alone), ("both sides", of_both)] {
                let trial = trial.at(format_args!("{side}, {what}"));
                scene.compare_potential(&trial, &found.potential, &expected, &active)?;
                let (density, conjugate) = found.entering.unwrap_or_default();
                scene.compare(&trial, "density", &density, |iterate| Ok(iterate.density(side, &active)?.0))?;
                scene.compare(&trial, "conjugate", &conjugate, |iterate| Ok(iterate.density(side, &active)?.1))?;
            }
        }
        Ok(())
    })
}

/// Columns that are not active may hold anything.
pub fn inactive_columns_are_not_read<D: Device>(case: &GeometryCase<D>) -> Verdict {
    Scenes::PLANS.for_each("inactive columns are not read", case, |trial, scene| {
        for frozen in 0..scene.setting.columns {
            let mut active = scene.all();
            active.freeze(frozen);
            let trial = trial.at(format_args!("column {frozen} at rest"));
            for side in Side::BOTH {
                let mut values = scene.setting.potentials[side.index()].clone();
                values[frozen * case.len(side)..][..case.len(side)].fill(f64::NAN);
                scene.tested.set_potential(side, &values)?;
            }
            for side in Side::BOTH {
                let trial = trial.at(side);
                let expected = scene.reference.c_transform(side, &active, false)?.potential;
                let found = scene.tested.c_transform(side, &active, false)?.potential;
                scene.compare_potential(&trial, &found, &expected, &active)?;
                let others = |mut values: Vec<f64>| {
                    values[frozen * case.len(side)..][..case.len(side)].fill(0.0);
                    values
                };
                let found = others(scene.tested.density(side, &active)?.0);
                scene.compare(&trial, "density", &found, |iterate| Ok(others(iterate.density(side, &active)?.0)))?;
            }
        }
        Ok(())
    })
}

/// The c-transform of an atom without partners is [`UNREACHABLE`] if its marginal is prescribed, and what the penalty
/// makes of that if not.
pub fn atoms_without_partners_are_unreachable<D: Device>(case: &GeometryCase<D>) -> Verdict {
    let trial = Trial::new("atoms without partners are unreachable", case.name());
    for (regularizer, epsilon) in regularizers()?.into_iter().zip(case.epsilons(&[1e-3, 0.05, 1.0]).into_iter().cycle())
    {
        let plain = setting(case, epsilon, 1)?;
        for side in Side::BOTH {
            let mut setting = Setting { regularizer: regularizer.clone(), ..plain.clone() };
            setting.weights[side.opposite().index()].fill(0.0);
            let Some(mut scene) = Scene::new(case, setting)? else { return Ok(()) };
            let found = scene.tested.c_transform(side, &scene.all(), false)?.potential;
            let trial = trial.at(format_args!("{side}, epsilon {epsilon:e}"));
            trial.all_close("row", &found, &vec![UNREACHABLE; found.len()], |_| 1e-6 * UNREACHABLE)?;
        }
    }
    Ok(())
}

/// A kernel bound to another epsilon is the kernel of that epsilon; an epsilon or a batch that is none is refused, and so
/// is any other epsilon than the one of a geometry that has only one.
pub fn rebinding_changes_epsilon<D: Device>(case: &GeometryCase<D>) -> Verdict {
    let trial = Trial::new("rebinding changes epsilon", case.name());
    let (active, epsilons) = (ActiveColumns::all(1), case.epsilons(&[1e-4, 1e-2, 0.1, 1.0, 1e2]));
    for regularizer in regularizers()? {
        for pair in epsilons.windows(2) {
            for (before, after) in [(pair[0], pair[1]), (pair[1], pair[0])] {
                let of = |epsilon: f64| setting(case, epsilon, 1);
                let of = |epsilon: f64| of(epsilon).map(|plain| Setting { regularizer: regularizer.clone(), ..plain });
                let Some(mut scene) = Scene::new(case, of(after)?)? else { return Ok(()) };
                scene.tested.kernel = Iterate::new(case.geometry().as_ref(), &of(before)?)?.kernel;
                for side in Side::BOTH {
                    // Whatever it keeps of an epsilon, it has now.
                    scene.tested.c_transform(side, &active, false)?;
                }
                scene.tested.kernel.rebind(after)?;
                trial.close("epsilon", scene.tested.kernel.epsilon(), after, 0.0)?;
                for side in Side::BOTH {
                    let expected = scene.reference.c_transform(side, &active, false)?.potential;
                    let found = scene.tested.c_transform(side, &active, false)?.potential;
                    let trial = trial.at(format_args!("{side}, from {before:e} to {after:e}"));
                    scene.compare_potential(&trial, &found, &expected, &active)?;
                }
            }
        }
    }
    let [entropy, ..] = regularizers()?;
    let mut kernel = case.geometry().bind(&entropy, epsilons[0], 1)?;
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        trial.holds(kernel.rebind(bad).is_err(), || format!("epsilon {bad} was accepted"))?;
        trial.holds(case.geometry().bind(&entropy, bad, 1).is_err(), || format!("epsilon {bad} was bound"))?;
    }
    let empty = case.geometry().bind(&entropy, epsilons[0], 0);
    trial.holds(empty.is_err(), || "a batch without columns was bound".into())?;
    match case.geometry().fixed_epsilon() {
        Some(fixed) => refuses_other_epsilons(case, &trial, fixed),
        None => Ok(()),
    }
}

/// A geometry of one epsilon refuses all others, and its kernels keep the one.
fn refuses_other_epsilons<D: Device>(case: &GeometryCase<D>, trial: &Trial, fixed: f64) -> Verdict {
    for regularizer in regularizers()? {
        let mut kernel = match case.geometry().bind(&regularizer, fixed, 1) {
            Err(Error::MissingCapability(_)) => continue,
            kernel => kernel?,
        };
        for requested in [0.5 * fixed, 2.0 * fixed, fixed * (1.0 + f64::EPSILON)] {
            let refusal = Some(Error::FixedEpsilon { fixed, requested });
            for (what, found) in [
                ("rebinding", kernel.rebind(requested).err()),
                ("binding", case.geometry().bind(&regularizer, requested, 1).err()),
            ] {
                trial.holds(found == refusal, || {
                    format!("{what} to epsilon {requested:e}, where the geometry has {fixed:e} alone, gave {found:?}")
                })?;
            }
            trial.close("epsilon after a refusal", kernel.epsilon(), fixed, 0.0)?;
        }
    }
    Ok(())
}

/// A centre to absorb, good or hopeless, changes c-transforms by rounding only.
pub fn recentring_changes_no_c_transform<D: Device>(case: &GeometryCase<D>) -> Verdict {
    Scenes { penalties: false, ..Scenes::ALL }.for_each("recentring changes no c-transform", case, |trial, scene| {
        let active = scene.all();
        for (centre, off) in [("good", 0.0), ("far", 30.0 * scene.setting.epsilon)] {
            for side in Side::BOTH {
                let centre = scene.setting.potentials[side.index()].iter().map(|value| value + off);
                scene.tested.set_potential(side, &case.round(&centre.collect::<Vec<_>>()))?;
            }
            scene.tested.ask(|kernel, plan| kernel.recenter(plan))?;
            for side in Side::BOTH {
                scene.tested.set_potential(side, &scene.setting.potentials[side.index()])?;
            }
            for side in [Side::Source, Side::Target, Side::Source] {
                let expected = scene.reference.c_transform(side, &active, false)?.potential;
                let found = scene.tested.c_transform(side, &active, false)?.potential;
                scene.compare_potential(
                    &trial.at(format_args!("{side}, {centre} centre")),
                    &found,
                    &expected,
                    &active,
                )?;
            }
        }
        Ok(())
    })
}
