//! Sweeps: two half-steps, and what they tell of the iterate that they enter with.

use std::sync::Arc;

use super::MODERATE_EPSILONS;
use crate::{
    backend::{Backend, Side},
    conformance::{
        GeometryCase, Verdict,
        case::{SIDES, Scene, at},
        seeded::elements,
        verdict::Trial,
    },
    error::Error,
    kernel::{ActiveColumns, ByProducts, Potentials, Sweep},
    regularizer::{Balanced, Kl, Range, Regularizer, TotalVariation},
    scalar::Scalar,
};

/// Relaxations of the columns; the second column rests.
const RELAXATIONS: [f64; 3] = [1.0, 0.0, 1.6];

/// f <- f + omega (step(softmin(g)) - f), then the same for g, for the laws that are shipped, with a
/// relaxation for each column. A column at rest keeps its bits. By-products change nothing.
pub fn sweeps_are_two_half_steps<B: Backend>(case: &GeometryCase<B>) -> Verdict {
    let trial = Trial::new("sweeps are two half steps", &case.name);
    for_each_scene(case, |mut scene, name| {
        for by_products in [false, true] {
            let trial = trial.at(format_args!("{name}, by-products {by_products}"));
            let entering = scene.potentials.clone();
            let expected = True::of(&scene)?;
            let (found, _) = sweep(&mut scene, by_products)?;
            for side in SIDES {
                let (found, expected) = (&found[at(side)], &expected.potentials[at(side)]);
                let rows = case.truth.len(side);
                let tolerance = |entry: usize| if entry / rows == 1 { 0.0 } else { 8.0 * scene.tolerance() };
                trial.all_close(&format!("{side} potential"), found, expected, tolerance)?;
                let rest = rows..2 * rows;
                let same = found[rest.clone()].iter().zip(&entering[at(side)][rest]).all(|(a, b)| a.to_f64() == *b);
                trial.holds(same, || "the column at rest moved".into())?;
            }
        }
        Ok(())
    })
}

/// Residuals, mass and dual of the entering iterate, per active column.
pub fn sweeps_tell_of_the_entering_iterate<B: Backend>(case: &GeometryCase<B>) -> Verdict {
    let trial = Trial::new("sweeps tell of the entering iterate", &case.name);
    for_each_scene(case, |mut scene, name| {
        let trial = trial.at(name);
        let expected = True::of(&scene)?;
        let (_, found) = sweep(&mut scene, true)?;
        for column in [0, 2] {
            let Told { residuals, mass, duals, size, dual_sizes } = &expected.told[column];
            let relative = (4.0 * (1.0 + scene.relative()).ln()).exp_m1();
            let trial = trial.at(format_args!("column {column}"));
            trial.close("source residual", found[0][column], residuals[0], relative * size)?;
            trial.close("target residual", found[1][column], residuals[1], relative * size)?;
            trial.close("mass", found[2][column], *mass, relative * size)?;
            trial.close("source dual", found[3][column], duals[0], case.unit() * dual_sizes[0])?;
            trial.close("target dual", found[4][column], duals[1], case.unit() * dual_sizes[1])?;
        }
        Ok(())
    })
}

/// Tries all shipped laws, each on either side.
fn for_each_scene<B: Backend>(case: &GeometryCase<B>, law: impl Fn(Scene<'_, B>, &str) -> Verdict) -> Verdict {
    for epsilon in case.epsilons(&MODERATE_EPSILONS) {
        let rho = 0.3 * case.truth.scale();
        let laws: [Arc<dyn Regularizer>; 4] = [
            Arc::new(Balanced),
            Arc::new(Kl::new(rho)?),
            Arc::new(TotalVariation::new(rho)?),
            Arc::new(Range::new(0.7, 1.2)?),
        ];
        for index in 0..laws.len() {
            let pair = [Arc::clone(&laws[index]), Arc::clone(&laws[(3 * index + 1) % laws.len()])];
            let name = format!("epsilon {epsilon:e}, {:?} and {:?}", pair[0], pair[1]);
            law(Scene::with_laws(case, epsilon, RELAXATIONS.len(), pair)?, &name)?;
        }
    }
    Ok(())
}

/// Potentials after one sweep of the kernel, and its by-products.
#[expect(clippy::type_complexity, reason = "two vectors, and five numbers for each column")]
fn sweep<B: Backend>(scene: &mut Scene<'_, B>, by_products: bool) -> Result<([Vec<B::Elem>; 2], Vec<Vec<f64>>), Error> {
    let (backend, truth) = (scene.case.backend().clone(), &scene.case.truth);
    let upload = |values: &[f64]| backend.upload(&elements::<B::Elem>(values), RELAXATIONS.len());
    let mut potentials = Potentials {
        source: upload(&scene.potentials[0])?,
        target: upload(&scene.potentials[1])?,
        epsilon: scene.epsilon,
    };
    let mut scratch = Potentials {
        source: backend.alloc(truth.rows, RELAXATIONS.len())?,
        target: backend.alloc(truth.columns, RELAXATIONS.len())?,
        epsilon: scene.epsilon,
    };
    let relaxation = backend.upload_reduced(&RELAXATIONS)?;
    let mut active = ActiveColumns::all(RELAXATIONS.len());
    active.freeze(1);
    let mut hints = ByProducts::alloc(&backend, RELAXATIONS.len())?;
    let wanted = Sweep {
        source: &scene.marginals[0],
        target: &scene.marginals[1],
        potentials: &mut potentials,
        relaxation: &relaxation,
        active: &active,
        scratch: &mut scratch,
        by_products: by_products.then_some(&mut hints),
    };
    scene.kernel.sweep(&backend, wanted)?;
    let mut vectors = backend.download(&[&potentials.source, &potentials.target])?;
    let told = match by_products {
        false => Vec::new(),
        true => backend.read(&[
            &hints.source_residual,
            &hints.target_residual,
            &hints.mass,
            &hints.source_dual,
            &hints.target_dual,
        ])?,
    };
    let target = vectors.pop().unwrap_or_default();
    Ok(([vectors.pop().unwrap_or_default(), target], told))
}

/// The sweep in f64.
struct True {
    potentials: [Vec<f64>; 2],
    told: Vec<Told>,
}

/// The by-products of one column, and the sizes of the sums that they come from.
#[derive(Default)]
struct Told {
    residuals: [f64; 2],
    mass: f64,
    duals: [f64; 2],
    size: f64,
    dual_sizes: [f64; 2],
}

impl True {
    fn of<B: Backend>(scene: &Scene<'_, B>) -> Result<Self, Error> {
        let mut sweep = Self { potentials: scene.potentials.clone(), told: Vec::new() };
        for column in 0..scene.columns {
            let mut told = Told::default();
            for side in SIDES {
                sweep.half_step(scene, side, column, &mut told)?;
            }
            sweep.told.push(told);
        }
        Ok(sweep)
    }

    fn half_step<B: Backend>(
        &mut self,
        scene: &Scene<'_, B>,
        side: Side,
        column: usize,
        told: &mut Told,
    ) -> Result<(), Error> {
        let (truth, epsilon, other) = (&scene.case.truth, scene.epsilon, side.opposite());
        let (rows, others) = (truth.len(side), truth.len(other));
        let fixed = &self.potentials[at(other)][column * others..][..others];
        let softmin = truth.softmin(side, fixed, scene.weights(other, column), epsilon);
        let law = scene.marginals[at(side)].law();
        let moving = &mut self.potentials[at(side)][column * rows..][..rows];
        for ((f, s), a) in moving.iter_mut().zip(softmin).zip(scene.weights(side, column)) {
            let [residual, mass] = law.residual_and_mass().call([*f, s, *a, epsilon])?;
            let [dual] = law.dual().call([*f, *a])?;
            told.residuals[at(side)] += residual;
            told.duals[at(side)] += dual;
            told.size += a + mass;
            told.dual_sizes[at(side)] += dual.abs() + a * (truth.largest() + f.abs());
            if side == Side::Source {
                told.mass += mass;
            }
            [*f] = law.relaxed_step().call([*f, s, RELAXATIONS[column], epsilon])?;
        }
        Ok(())
    }
}
