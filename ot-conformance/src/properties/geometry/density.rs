//! Densities of the marginals, and the conjugate.

use ot_core::{Device, Side};

use crate::{case::GeometryCase, scene::Scenes, seeded::Seeded, verdict::Verdict};

/// Densities and conjugates are those of the reference, for either side and both at once.
pub fn densities_agree_with_the_reference<D: Device>(case: &GeometryCase<D>) -> Verdict {
    Scenes::PLANS.for_each("densities agree with the reference", case, |trial, scene| {
        let active = scene.all();
        let (both, conjugate) = scene.tested.densities(&active)?;
        scene.compare(trial, "conjugate of both", &conjugate, |iterate| Ok(iterate.densities(&active)?.1))?;
        for (side, of_both) in Side::BOTH.into_iter().zip(both) {
            let (density, conjugate) = scene.tested.density(side, &active)?;
            for found in [density, of_both] {
                scene.compare(&trial.at(side), "density", &found, |iterate| Ok(iterate.density(side, &active)?.0))?;
            }
            scene.compare(&trial.at(side), "conjugate", &conjugate, |iterate| Ok(iterate.density(side, &active)?.1))?;
        }
        Ok(())
    })
}

/// Densities with rows capped are those of the reference: the plan's own, the scaling of the rows, and the columns' then. A cap of
/// infinity changes nothing.
pub fn capped_densities_agree_with_the_reference<D: Device>(case: &GeometryCase<D>) -> Verdict {
    Scenes::PLANS.for_each("densities with capped rows agree with the reference", case, |trial, scene| {
        let active = scene.all();
        for highest in [1.0, f64::INFINITY] {
            let (found, conjugate) = scene.tested.capped_densities(highest, &active)?;
            scene.compare(trial, "conjugate", &conjugate, |iterate| Ok(iterate.densities(&active)?.1))?;
            for (side, density) in Side::BOTH.into_iter().zip(&found.densities) {
                scene.compare(&trial.at(side), "density", density, |iterate| Ok(iterate.density(side, &active)?.0))?;
            }
            scene.compare(trial, "shrinkage of row", &found.shrinkage, |iterate| {
                Ok(iterate.capped_densities(highest, &active)?.0.shrinkage)
            })?;
            // Columns are as uncertain as without a cap, and as the scaling of the rows that are capped.
            let (expected, _) = scene.reference.capped_densities(highest, &active)?;
            let slack = scene.slack(|iterate| Ok(iterate.density(Side::Target, &active)?.0))?;
            let of_rows = scene.slack(|iterate| Ok(iterate.density(Side::Source, &active)?.0))?;
            let capped = of_rows.iter().zip(&expected.densities[0]).filter(|(_, density)| **density > 0.9 * highest);
            let relative = capped.map(|(slack, density)| slack / density).fold(0.0, f64::max);
            trial.all_close("density with rows capped", &found.capped, &expected.capped, |column| {
                slack[column] + 2.0 * relative * expected.capped[column]
            })?;
        }
        Ok(())
    })
}

/// The density of a marginal times its weight is the plan applied to ones.
pub fn densities_are_those_of_the_plan<D: Device>(case: &GeometryCase<D>) -> Verdict {
    Scenes::PLANS.for_each("densities are those of the plan", case, |trial, scene| {
        let active = scene.all();
        for side in Side::BOTH {
            let density = scene.tested.density(side, &active)?.0;
            let found = scene.tested.masses(side)?;
            let slack = scene.slack(|iterate| iterate.masses(side))?;
            let weight = |column: usize| scene.setting.weights(side, column).iter();
            let weights = (0..scene.setting.columns).flat_map(weight);
            let expected: Vec<f64> = weights.zip(&density).map(|(weight, density)| weight * density).collect();
            trial.at(side).all_close("mass", &found, &expected, |row| 2.0 * slack[row])?;
        }
        Ok(())
    })
}

/// At a conditional potential each row of the plan is what it was, up to a factor: the means of values do not move.
pub fn conditional_potentials_keep_conditional_means<D: Device>(case: &GeometryCase<D>) -> Verdict {
    Scenes::PLANS.for_each("conditional potentials keep conditional means", case, |trial, scene| {
        for side in Side::BOTH {
            let values = Seeded::new(5).vector::<D::Elem>(case.len(side.opposite()) * scene.setting.columns, 0.0, 1.0);
            let mut potential = scene.tested.alloc(side, 1)?;
            let backend = std::sync::Arc::clone(&scene.tested.backend);
            scene
                .tested
                .ask(|kernel, plan| kernel.conditional_potential(backend.as_ref(), side, plan, &mut potential))?;
            scene.tested.potentials[side.index()] = potential;
            let (sums, masses) = (scene.tested.apply(side, &values)?, scene.tested.masses(side)?);
            let (moved, held) = (scene.reference.apply(side, &values)?, scene.reference.masses(side)?);
            let slack = scene.slack(|iterate| iterate.masses(side))?;
            // Rows whose mass is not rounding.
            for row in (0..held.len()).filter(|&row| slack[row] < 0.1 * held[row]) {
                let tolerance = 4.0 * slack[row] / held[row];
                trial.close(
                    format_args!("{side}, mean of row {row}"),
                    sums[row] / masses[row],
                    moved[row] / held[row],
                    tolerance,
                )?;
            }
            scene.tested.set_potential(side, &scene.setting.potentials[side.index()])?;
        }
        Ok(())
    })
}
