//! Kernels of other regularizers of the plan than entropy. A geometry that binds none keeps these laws.

use std::sync::Arc;

use super::MODERATE_EPSILONS;
use crate::{
    backend::{Backend, Side},
    conformance::{
        GeometryCase, Verdict,
        case::{SIDES, Scene, at},
        naive::Naive,
        seeded::{Seeded, elements},
        verdict::Trial,
    },
    error::Error,
    family::{Response, RoundedFactors},
    kernel::{ActiveColumns, ByProducts, Potentials, SoftMin, Sweep},
    plan_regularizer::{PlanFormula, PlanPrograms, PlanRegularizer, SquaredL2},
    real::Real,
    regularizer::{Balanced, Kl, LawKind, Range, Regularizer, TotalVariation},
    scalar::{Scalar, UNREACHABLE},
};

/// h(p) = 2 (p^(3/2) - p): Tsallis entropy of order 3/2, which kernels know by its formulas alone.
#[derive(Clone, Debug)]
struct Tsallis;

impl PlanFormula for Tsallis {
    fn value<R: Real>(&self, density: R) -> R {
        2.0 * (density.power(1.5) - density)
    }

    fn conjugate<R: Real>(&self, exponent: R) -> R {
        Self::root(exponent).power(3.0)
    }

    fn density<R: Real>(&self, exponent: R) -> R {
        Self::root(exponent).power(2.0)
    }
}

impl Tsallis {
    /// max(z + 2, 0) / 3, the root of the density.
    fn root<R: Real>(exponent: R) -> R {
        (exponent + 2.0).max(0.0) / 3.0
    }
}

/// At the potentials that a kernel responds with, the plan has the densities that the law demands; columns that are
/// not asked for keep what they held; a softmin is the response of a balanced law.
pub fn families_meet_the_demands_of_laws<B: Backend>(case: &GeometryCase<B>) -> Verdict {
    let trial = Trial::new("families meet the demands of laws", &case.name);
    for_each_family(case, |mut scene, truth, name| {
        for side in SIDES {
            let trial = trial.at(format_args!("{name}, {side}"));
            let [found, softmin] = respond(&mut scene, side)?;
            let is_balanced = scene.marginals[at(side)].law().kind() == LawKind::Balanced;
            let rows = case.truth.len(side);
            for index in (0..found.len()).filter(|index| index / rows != 1) {
                let place = [index / rows, index % rows];
                truth.check_response(&trial, &scene, side, place, found[index].to_f64())?;
                if is_balanced {
                    truth.check_response(&trial.at("softmin"), &scene, side, place, softmin[index].to_f64())?;
                }
            }
            let mut at_rest = found[rows..2 * rows].iter().chain(&softmin[rows..2 * rows]);
            trial.holds(at_rest.all(|value| value.to_f64() == HELD), || "a column at rest was written".into())?;
        }
        Ok(())
    })
}

/// Marginals, conjugates, products and costs are those of the plan, and excesses those of a changed one.
pub fn families_tell_of_their_plan<B: Backend>(case: &GeometryCase<B>) -> Verdict {
    let trial = Trial::new("families tell of their plan", &case.name);
    for_each_family(case, |mut scene, truth, name| {
        let (backend, columns) = (case.backend().clone(), scene.columns);
        let trial = trial.at(name);
        let active = ActiveColumns::all(columns);
        let room = |side| backend.alloc(case.truth.len(side), columns);
        let [mut source, mut target, mut lone] = [room(Side::Source)?, room(Side::Target)?, room(Side::Target)?];
        let mut numbers = [backend.alloc_reduced(columns)?, backend.alloc_reduced(columns)?];
        let [both, one] = &mut numbers;
        scene.ask(|kernel, plan| -> Result<(), Error> {
            let family = kernel.family().ok_or(Error::MissingCapability("family of the plan"))?;
            family.marginals(plan, &active, [&mut source, &mut target], both)?;
            family.marginal(Side::Target, plan, &active, &mut lone, Some(one))
        })?;
        let conjugates = backend.read(&[&numbers[0], &numbers[1]])?;
        let found = backend.download(&[&source, &target, &lone])?;

        let changes: [Vec<f64>; 6] = std::array::from_fn(|index| {
            let side = SIDES[index % 2];
            let mut seeded = Seeded::new(70 + index as u64);
            (0..case.truth.len(side) * columns)
                .map(|_| B::Elem::from_f64(seeded.uniform(0.0, if index < 2 { 1.0 } else { 0.3 })).to_f64())
                .collect()
        });
        let uploaded = changes.each_ref().map(|values| backend.upload(&elements::<B::Elem>(values), columns));
        let [x, y, u, v, s, t] = uploaded;
        let (x, y, u, v, s, t) = (x?, y?, u?, v?, s?, t?);
        let rounded = RoundedFactors { scaling: [&x, &y], added: [[&u, &v], [&s, &t]] };
        let mut excess = backend.alloc_reduced(columns)?;
        let mut product = room(Side::Source)?;
        let mut cost = backend.alloc_reduced(columns)?;
        let has_cost = scene.ask(|kernel, plan| -> Result<bool, Error> {
            kernel.apply(Side::Source, plan, &y, &mut product)?;
            let family = kernel.family().ok_or(Error::MissingCapability("family of the plan"))?;
            family.excess(plan, rounded, &mut excess)?;
            match kernel.transport_cost() {
                Some(capability) => capability.plan_cost(plan, &mut cost).map(|()| true),
                None => Ok(false),
            }
        })?;
        let excess = backend.read(&[&excess])?.swap_remove(0);
        let product = backend.download(&[&product])?.swap_remove(0);
        let costs = if has_cost { Some(backend.read(&[&cost])?.swap_remove(0)) } else { None };

        for column in 0..columns {
            let trial = trial.at(format_args!("column {column}"));
            let told = truth.column(
                &scene,
                column,
                changes.each_ref().map(|change| {
                    let len = change.len() / columns;
                    &change[column * len..][..len]
                }),
            );
            let of = |values: &[B::Elem], side: Side| {
                let len = case.truth.len(side);
                values[column * len..][..len].to_vec()
            };
            let slack = |size: f64| truth.unit * size;
            trial.all_close("source density", &of(&found[0], Side::Source), &told.densities[0], |i| {
                slack(told.sizes[0][i])
            })?;
            trial.all_close("target density", &of(&found[1], Side::Target), &told.densities[1], |j| {
                slack(told.sizes[1][j])
            })?;
            trial.all_close("lone density", &of(&found[2], Side::Target), &told.densities[1], |j| {
                slack(told.sizes[1][j])
            })?;
            trial.all_close("product", &of(&product, Side::Source), &told.product, |i| slack(told.sizes[0][i]))?;
            trial.close("conjugate", conjugates[0][column], told.conjugate, slack(told.total))?;
            trial.close("conjugate of one side", conjugates[1][column], told.conjugate, slack(told.total))?;
            trial.close("excess", excess[column], told.excess, slack(told.excess_size))?;
            if let Some(costs) = &costs {
                trial.close("cost", costs[column], told.cost, slack(told.total * case.truth.largest()))?;
            }
        }
        Ok(())
    })
}

/// A sweep relaxes the two responses, and its by-products are those of the entering iterate. Forbidden pairs and
/// columns at rest are as in any sweep.
pub fn families_sweep_by_responses<B: Backend>(case: &GeometryCase<B>) -> Verdict {
    const RELAXATIONS: [f64; 3] = [1.0, 0.0, 1.5];

    let trial = Trial::new("families sweep by responses", &case.name);
    for_each_family(case, |mut scene, truth, name| {
        let (backend, trial) = (case.backend().clone(), trial.at(name));
        let [source, _] = respond(&mut scene, Side::Source)?;
        let told = truth.column(&scene, 0, [&[]; 6]);
        let side = |side: Side| backend.upload(&elements::<B::Elem>(&scene.potentials[at(side)]), scene.columns);
        let room = |side: Side| backend.alloc(case.truth.len(side), scene.columns);
        let epsilon = scene.epsilon;
        let mut potentials = Potentials { source: side(Side::Source)?, target: side(Side::Target)?, epsilon };
        let mut scratch = Potentials { source: room(Side::Source)?, target: room(Side::Target)?, epsilon };
        let mut hints = ByProducts::alloc(&backend, scene.columns)?;
        let relaxation = backend.upload_reduced(&RELAXATIONS)?;
        let mut active = ActiveColumns::all(scene.columns);
        active.freeze(1);
        let sweep = Sweep {
            source: &scene.marginals[0],
            target: &scene.marginals[1],
            potentials: &mut potentials,
            relaxation: &relaxation,
            active: &active,
            scratch: &mut scratch,
            by_products: Some(&mut hints),
        };
        scene.kernel.sweep(&backend, sweep)?;
        let found = backend.download(&[&potentials.source, &potentials.target])?;
        let numbers = backend.read(&[&hints.source_residual, &hints.mass])?;

        let rows = case.truth.rows;
        let law = scene.marginals[0].law();
        for (index, stepped) in source.iter().enumerate().filter(|(index, _)| index / rows != 1) {
            let entering = scene.potentials[0][index];
            let [expected] = law.relaxed().call([entering, stepped.to_f64(), RELAXATIONS[index / rows]])?;
            let size = entering.abs() + expected.abs();
            trial.close(
                &format!("source potential {index}"),
                found[0][index].to_f64(),
                expected,
                case.unit() * size,
            )?;
        }
        let columns = case.truth.columns;
        for j in 0..columns {
            // The first column is not relaxed: its target potential is the response to its source.
            let f: Vec<f64> = found[0][..rows].iter().map(|value| value.to_f64()).collect();
            truth.check(&trial, &scene, Side::Target, [0, j], &f, found[1][j].to_f64())?;
        }
        let same = |side: Side| {
            let len = case.truth.len(side);
            let (found, held) = (&found[at(side)][len..2 * len], &scene.potentials[at(side)][len..2 * len]);
            found.iter().zip(held).all(|(found, held)| found.to_f64() == *held)
        };
        trial.holds(same(Side::Source) && same(Side::Target), || "the column at rest moved".into())?;

        let mut residual = 0.0;
        for (i, density) in told.densities[0].iter().enumerate() {
            let (potential, weight) = (scene.potential(Side::Source, 0)[i], scene.weights(Side::Source, 0)[i]);
            let [term] = law.residual_of_density().call([potential, *density, weight, epsilon])?;
            residual += term;
        }
        trial.close("source residual", numbers[0][0], residual, truth.unit * (1.0 + told.total))?;
        trial.close("conjugate", numbers[1][0], told.conjugate, truth.unit * told.total)
    })
}

/// What a column that is not asked for holds.
const HELD: f64 = 7.0;

/// The plan of a regularizer in f64.
struct Truth {
    programs: PlanPrograms,
    /// The error of a density per unit of what it is made of.
    unit: f64,
}

/// What a column of the plan should be, and the sizes of its sums.
struct Told {
    densities: [Vec<f64>; 2],
    sizes: [Vec<f64>; 2],
    product: Vec<f64>,
    conjugate: f64,
    cost: f64,
    excess: f64,
    excess_size: f64,
    total: f64,
}

impl Truth {
    /// sum_j b_j h*'(z_j) at a potential of one atom, and its slope.
    fn density<B: Backend>(
        &self,
        scene: &Scene<'_, B>,
        side: Side,
        [column, own]: [usize; 2],
        other: &[f64],
        f: f64,
    ) -> [f64; 2] {
        let weights = scene.weights(side.opposite(), column);
        (0..other.len()).fold([0.0; 2], |[density, slope], j| {
            let (row, other_index) = Naive::pair(side, own, j);
            let cost = scene.case.truth.cost(row, other_index);
            if cost.is_infinite() || weights[j] == 0.0 {
                return [density, slope];
            }
            let [p, rate] = self.programs.response_at((f + other[j] - cost) / scene.epsilon);
            [density + weights[j] * p, slope + weights[j] * rate / scene.epsilon]
        })
    }

    /// Does the plan have the density that the law demands at a potential found?
    fn check<B: Backend>(
        &self,
        trial: &Trial,
        scene: &Scene<'_, B>,
        side: Side,
        [column, own]: [usize; 2],
        other: &[f64],
        found: f64,
    ) -> Verdict {
        let law = scene.marginals[at(side)].law();
        let [density, slope] = self.density(scene, side, [column, own], other, found);
        let has_partner = (0..other.len()).any(|j| {
            let (row, other_index) = Naive::pair(side, own, j);
            scene.weights(side.opposite(), column)[j] > 0.0 && scene.case.truth.cost(row, other_index).is_finite()
        });
        if !has_partner {
            let [expected] = law.step().call([UNREACHABLE, scene.epsilon])?;
            return trial.close("an atom without partners", found, expected, 1e-5 * expected.abs());
        }
        // The potential is known to its rounding, and kinks of laws within a part of epsilon.
        let size = found.abs() + other.iter().fold(scene.case.truth.largest(), |size, g| size.max(g.abs()));
        let near = scene.case.unit() * size + 1e-8 * scene.epsilon;
        let ([least, _], [_, most]) =
            (law.demand().call([found + near, scene.epsilon])?, law.demand().call([found - near, scene.epsilon])?);
        let beyond: f64 = (least - density).max(density - most).max(0.0);
        let kinks = self.density(scene, side, [column, own], other, found + near)[0]
            - self.density(scene, side, [column, own], other, found - near)[0];
        let slack = slope * near + kinks + scene.case.unit() * (1.0 + density);
        trial.close(&format!("{side} {own} of column {column}, density {density} at {found}"), beyond, 0.0, slack)
    }

    fn check_response<B: Backend>(
        &self,
        trial: &Trial,
        scene: &Scene<'_, B>,
        side: Side,
        place: [usize; 2],
        found: f64,
    ) -> Verdict {
        let other = scene.potential(side.opposite(), place[0]).to_vec();
        self.check(trial, scene, side, place, &other, found)
    }

    /// A column of the plan, changed by factors x and y and by u v^T and s t^T.
    fn column<B: Backend>(&self, scene: &Scene<'_, B>, column: usize, changes: [&[f64]; 6]) -> Told {
        let truth = &scene.case.truth;
        let (f, g) = (scene.potential(Side::Source, column), scene.potential(Side::Target, column));
        let (a, b) = (scene.weights(Side::Source, column), scene.weights(Side::Target, column));
        let mut told = Told {
            densities: [vec![0.0; f.len()], vec![0.0; g.len()]],
            sizes: [vec![1.0; f.len()], vec![1.0; g.len()]],
            product: vec![0.0; f.len()],
            conjugate: 0.0,
            cost: 0.0,
            excess: 0.0,
            excess_size: 1.0,
            total: 1.0,
        };
        let [x, y, u, v, s, t] = changes;
        for i in 0..f.len() {
            for j in 0..g.len() {
                let (cost, weight) = (truth.cost(i, j), a[i] * b[j]);
                let added = if u.is_empty() { 0.0 } else { u[i] * v[j] + s[i] * t[j] };
                if cost.is_infinite() {
                    told.excess += if weight * added > 0.0 { f64::INFINITY } else { 0.0 };
                    continue;
                }
                let exponent = (f[i] + g[j] - cost) / scene.epsilon;
                let [density, slope] = self.programs.response_at(exponent);
                // A rounding of the terms moves the density by its slope, at kinks and beyond.
                let size = density + (slope + 1.0) * ((f[i].abs() + g[j].abs() + cost.abs()) / scene.epsilon + 1.0);
                told.densities[0][i] += b[j] * density;
                told.densities[1][j] += a[i] * density;
                told.sizes[0][i] += b[j] * size;
                told.sizes[1][j] += a[i] * size;
                told.conjugate += weight * self.programs.conjugate_at(exponent);
                told.cost += weight * density * cost;
                told.total += weight * size * (1.0 + density);
                if !x.is_empty() {
                    let changed = x[i] * density * y[j] + added;
                    told.product[i] += weight * density * y[j];
                    told.excess += weight * self.programs.excess_at(changed, exponent);
                    told.excess_size += weight * (size + 1.0) * (1.0 + density + changed + exponent.abs());
                }
            }
        }
        told
    }
}

/// The responses of one side to the potentials of the other, and its softmins: all columns but the second.
fn respond<B: Backend>(scene: &mut Scene<'_, B>, side: Side) -> Result<[Vec<B::Elem>; 2], Error> {
    let (backend, columns) = (scene.case.backend().clone(), scene.columns);
    let mut active = ActiveColumns::all(columns);
    active.freeze(1);
    let len = scene.case.truth.len(side);
    let held = vec![B::Elem::from_f64(HELD); len * columns];
    let (mut out, mut softmin) = (backend.upload(&held, columns)?, backend.upload(&held, columns)?);
    let (own, other) = (&scene.marginals[at(side)], &scene.marginals[at(side.opposite())]);
    let (potential, shift) = (&scene.vectors[at(side.opposite())], &scene.vectors[at(side)]);
    let (law, weights, log_weights) = (own.law(), other.weights(), other.log_weights());
    let family = scene.kernel.family().ok_or(Error::MissingCapability("family of the plan"))?;
    family.respond(Response { side, law, potential, weights, shift, active: &active }, &mut out)?;
    scene.kernel.softmin(SoftMin { side, potential, log_weights, shift, active: &active }, &mut softmin)?;
    let mut found = backend.download(&[&out, &softmin])?;
    let softmin = found.pop().unwrap_or_default();
    Ok([found.pop().unwrap_or_default(), softmin])
}

/// Tries squares and a formula, with the laws that are shipped, each on either side.
fn for_each_family<B: Backend>(case: &GeometryCase<B>, law: impl Fn(Scene<'_, B>, &Truth, &str) -> Verdict) -> Verdict {
    let regularizers: [Arc<dyn PlanRegularizer>; 2] = [Arc::new(SquaredL2), Arc::new(Tsallis)];
    for (index, epsilon) in case.epsilons(&MODERATE_EPSILONS).into_iter().enumerate() {
        let rho = 0.3 * case.truth.scale();
        let laws: [Arc<dyn Regularizer>; 4] = [
            Arc::new(Balanced),
            Arc::new(Kl::new(rho)?),
            Arc::new(TotalVariation::new(rho)?),
            Arc::new(Range::new(0.7, 1.2)?),
        ];
        for (second, regularizer) in regularizers.iter().enumerate() {
            let kernel = match case.geometry.bind_family(regularizer, epsilon, 3) {
                Err(Error::MissingCapability(_)) => return Ok(()),
                kernel => kernel?,
            };
            let pair = [index + second, index + 2 * second + 1].map(|index| Arc::clone(&laws[index % laws.len()]));
            let name = format!("{regularizer:?}, epsilon {epsilon:e}, {:?} and {:?}", pair[0], pair[1]);
            let mut scene = Scene::with_laws(case, epsilon, 3, pair)?;
            scene.kernel = kernel;
            let truth = Truth { programs: PlanPrograms::record(regularizer.as_ref())?, unit: case.unit() };
            law(scene, &truth, &name)?;
        }
    }
    Ok(())
}
