//! Iterations, and what they tell of the iterate that they enter with.

use std::sync::Arc;

use ot_core::{ActiveColumns, Device, Error, Side};

use crate::{
    case::GeometryCase,
    iterate::{Iterate, Iteration, Setting, Swept},
    properties::backend::storage_rounding,
    scene::{Scene, Scenes},
    verdict::{Trial, Verdict},
};

/// Relaxations of the columns; the second column rests.
const RELAXATIONS: [f64; 3] = [1.0, 0.0, 1.6];

/// The column at rest.
const AT_REST: usize = 1;

/// By how much of what it moves an iteration may be off.
const LAXITY: f64 = 1e-3;

/// f <- f + omega (c_transform(g) - f), then the same for g, with a relaxation for each column. A column at rest keeps
/// its bits. By-products change nothing.
pub fn sweeps_agree_with_the_reference<D: Device>(case: &GeometryCase<D>) -> Verdict {
    Scenes::SWEEPS.for_each("sweeps agree with the reference", case, |trial, scene| {
        iterations_agree(trial, scene, Iteration::Sweep)
    })
}

/// The half-step of the source and then that of the target are a sweep.
pub fn half_steps_make_the_sweep<D: Device>(case: &GeometryCase<D>) -> Verdict {
    Scenes::SWEEPS.for_each("half-steps make the sweep", case, |trial, scene| {
        iterations_agree(trial, scene, Iteration::HalfSteps)
    })
}

/// Both potentials move at once, each towards the c-transform of the entering other.
pub fn simultaneous_sweeps_agree_with_the_reference<D: Device>(case: &GeometryCase<D>) -> Verdict {
    Scenes::SWEEPS.for_each("simultaneous sweeps agree with the reference", case, |trial, scene| {
        iterations_agree(trial, scene, Iteration::Simultaneous)
    })
}

/// Residuals, conjugate and duals of the entering iterate, for each active column, of all ways to iterate.
pub fn by_products_are_those_of_the_entering_iterate<D: Device>(case: &GeometryCase<D>) -> Verdict {
    Scenes::SWEEPS.for_each("by-products are those of the entering iterate", case, |trial, scene| {
        for iteration in [Iteration::Sweep, Iteration::HalfSteps, Iteration::Simultaneous] {
            by_products_agree(&trial.at(format_args!("{iteration:?}")), scene, iteration)?;
        }
        Ok(())
    })
}

fn iterations_agree<D: Device>(trial: &Trial, scene: &mut Scene<'_, D>, iteration: Iteration) -> Verdict {
    let active = active();
    let expected = scene.reference.iterate(iteration, &RELAXATIONS, &active, false)?;
    let entering = scene.setting.potentials.clone();
    for by_products in [false, true] {
        let trial = trial.at(format_args!("by-products {by_products}"));
        let found = scene.tested.iterate(iteration, &RELAXATIONS, &active, by_products)?;
        for side in Side::BOTH {
            let (rows, index) = (scene.case.len(side), side.index());
            let (found, expected) = (&found.potentials[index], &expected.potentials[index]);
            for column in active.indices() {
                let of_column = column * rows..(column + 1) * rows;
                let slack = slack(scene, &expected[of_column.clone()], *column, side)?;
                trial.at(format_args!("{side}, column {column}")).all_close(
                    "row",
                    &found[of_column.clone()],
                    &expected[of_column],
                    |_| slack,
                )?;
            }
            let at_rest = AT_REST * rows..(AT_REST + 1) * rows;
            let backend = Arc::clone(&scene.tested.backend);
            let is_kept = |(found, entering): (&f64, &f64)| {
                found == entering || (found - entering).abs() <= storage_rounding(backend.as_ref(), *entering)
            };
            let kept = found[at_rest.clone()].iter().zip(&entering[index][at_rest]).all(is_kept);
            trial.holds(kept, || format!("the {side} potential of the column at rest moved"))?;
        }
    }
    Ok(())
}

fn by_products_agree<D: Device>(trial: &Trial, scene: &mut Scene<'_, D>, iteration: Iteration) -> Verdict {
    let active = active();
    let expected = scene.reference.iterate(iteration, &RELAXATIONS, &active, true)?;
    let found = scene.tested.iterate(iteration, &RELAXATIONS, &active, true)?;
    let densities = densities_met(scene, iteration, &expected)?;
    let Some((found, expected)) = found.by_products.zip(expected.by_products) else { return Ok(()) };
    let conjugate_slack = scene.slack(|iterate| Ok(iterate.density(Side::Source, &active)?.1))?;
    for &column in active.indices() {
        let trial = trial.at(format_args!("column {column}"));
        for side in Side::BOTH {
            let (index, unit) = (side.index(), scene.case.unit());
            let DensitySlack { error, mass } = &densities[index];
            // A penalty's subdifferential is a number of the size of what the residual measures.
            let size = scene.setting.weights(side, column).iter().sum::<f64>() + mass[column] + expected[index][column];
            let what = format!("{side} residual");
            let tolerance = 4.0 * (error[column] + unit * size);
            trial.close(what, found[index][column], expected[index][column], tolerance)?;

            let (what, index) = (format!("{side} dual"), 3 + index);
            trial.close(what, found[index][column], expected[index][column], unit * dual_size(scene, side, column)?)?;
        }
        trial.close("conjugate", found[2][column], expected[2][column], 4.0 * conjugate_slack[column])?;
    }
    Ok(())
}

/// By how much the mass of one side may be off, and the mass itself, for each column.
struct DensitySlack {
    error: Vec<f64>,
    mass: Vec<f64>,
}

/// The densities that residuals are measured of: entering ones of the source, and those of the target at the new source
/// potential, if the source moves first.
fn densities_met<D: Device>(
    scene: &Scene<'_, D>,
    iteration: Iteration,
    swept: &Swept,
) -> Result<[DensitySlack; 2], Error> {
    let rows = scene.case.len(Side::Source);
    let entering = &scene.setting.potentials[0];
    let (source, off) = match iteration {
        Iteration::Simultaneous => (entering, scene.tolerance()),
        Iteration::Sweep | Iteration::HalfSteps => {
            let column =
                |&column: &usize| slack(scene, &swept.potentials[0][column * rows..][..rows], column, Side::Source);
            let slacks: Vec<f64> = active().indices().iter().map(column).collect::<Result<_, _>>()?;
            (&swept.potentials[0], slacks.into_iter().fold(0.0, f64::max))
        }
    };
    Ok([mass_slack(scene, entering, scene.tolerance(), Side::Source)?, mass_slack(scene, source, off, Side::Target)?])
}

/// The masses of one side at source potentials that may be off by a number.
fn mass_slack<D: Device>(scene: &Scene<'_, D>, source: &[f64], off: f64, side: Side) -> Result<DensitySlack, Error> {
    let at = |shift: f64| -> Result<Vec<f64>, Error> {
        let potentials = [source.to_vec(), scene.setting.potentials[1].clone()];
        let setting = Setting { potentials, ..scene.setting.clone() }.shifted(shift);
        let mut iterate = Iterate::new(scene.case.reference(), &setting)?;
        let rows = scene.case.len(side);
        Ok(iterate.masses(side)?.chunks_exact(rows).map(|column| column.iter().sum()).collect())
    };
    let (lower, higher) = (at(-off)?, at(off)?);
    let error = lower.iter().zip(&higher).map(|(lower, higher)| higher - lower).collect();
    Ok(DensitySlack { error, mass: higher })
}

/// How far a potential may be off after an iteration: by roundings, and by a part of what the iterations moved on the way
/// to it.
fn slack<D: Device>(scene: &Scene<'_, D>, moved: &[f64], column: usize, side: Side) -> Result<f64, Error> {
    let largest = |values: &[f64]| values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let entering = scene.setting.potential(side, column);
    let steps: Vec<f64> = moved.iter().zip(entering).map(|(moved, entering)| moved - entering).collect();
    let rounding = 8.0 * (scene.tolerance() + scene.case.unit() * largest(moved));
    Ok(rounding + 4.0 * LAXITY * largest(&steps))
}

/// The size of the terms of a dual.
fn dual_size<D: Device>(scene: &Scene<'_, D>, side: Side, column: usize) -> Result<f64, Error> {
    let penalty = &scene.setting.penalties[side.index()];
    let atoms = scene.setting.potential(side, column).iter().zip(scene.setting.weights(side, column));
    let sizes = atoms.map(|(f, a)| {
        let [dual]: [f64; 1] = penalty.dual().call([*f, *a])?;
        Ok(dual.abs() + a * (scene.case.largest() + f.abs()))
    });
    sizes.sum()
}

/// All columns but the one at rest.
fn active() -> ActiveColumns {
    let mut active = ActiveColumns::all(RELAXATIONS.len());
    active.freeze(AT_REST);
    active
}
