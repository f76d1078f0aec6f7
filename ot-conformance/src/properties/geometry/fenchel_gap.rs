//! Fenchel gaps of rounded plans, which a kernel bounds from above.

use ot_core::{Device, PlanRounding, RoundedColumn, RoundedSide, RoundedValue, Scalar, Side};

use crate::{
    case::GeometryCase,
    scene::{Scene, Scenes},
    seeded::Seeded,
    verdict::{Trial, Verdict},
};

/// The bound of a plan that is scaled and added to is not below its gap, computed entry by entry. Mass on forbidden pairs
/// has an infinite gap. Where there is none, a bound of the costs makes a finite one.
pub fn gaps_of_scaled_roundings_are_bounded<D: Device>(case: &GeometryCase<D>) -> Verdict {
    Scenes::PLANS.for_each("gaps of scaled roundings are bounded", case, |trial, scene| {
        let plans = (0..scene.setting.columns).map(|column| Entries::of(scene, column)).collect::<Vec<_>>();
        let columns: Vec<_> = plans.iter().enumerate().map(|(column, plan)| scaled(scene, column, plan)).collect();
        let (mut gap, mut value) = (scene.tested.alloc_reduced()?, scene.tested.alloc_reduced()?);
        let backend = std::sync::Arc::clone(&scene.tested.backend);
        let rounding = PlanRounding::Scaled { columns: &columns, cost_bound: case.geometry().cost_bound() };
        let out = RoundedValue { gap: &mut gap, value: &mut value };
        scene.tested.ask(|kernel, plan| kernel.fenchel_gap(backend.as_ref(), plan, rounding, out))?;
        let found = [scene.tested.read(&gap)?, scene.tested.read(&value)?];
        for (column, (plan, RoundedColumn { source, target })) in plans.iter().zip(&columns).enumerate() {
            let changed = |i: usize, j: usize| {
                let kept = plan.at(i, j) * (source.log_scaling[i] + target.log_scaling[j]).exp();
                kept + (0..2).map(|part| source.added[part][i] * target.added[part][j]).sum::<f64>()
            };
            let is_bounded = scene.tested.kernel.transport_cost().is_some() || case.geometry().cost_bound().is_some();
            let trial = trial.at(format_args!("column {column}"));
            check(&trial, scene, plan, column, found.each_ref().map(|found| found[column]), is_bounded, changed)?;
        }
        Ok(())
    })
}

/// The bound of a plan P_ij (1 + x_j - y_i) is not below its gap, and finite.
pub fn gaps_of_relative_roundings_are_bounded<D: Device>(case: &GeometryCase<D>) -> Verdict {
    Scenes::PLANS.for_each("gaps of relative roundings are bounded", case, |trial, scene| {
        let mut seeded = Seeded::new(18);
        let changes =
            Side::BOTH.map(|side| seeded.vector::<D::Elem>(case.len(side) * scene.setting.columns, -0.3, 0.3));
        let upload = |values: &[f64]| scene.tested.upload(values, scene.setting.columns);
        let (source, target) = (upload(&changes[0])?, upload(&changes[1])?);
        let (mut gap, mut value) = (scene.tested.alloc_reduced()?, scene.tested.alloc_reduced()?);
        let backend = std::sync::Arc::clone(&scene.tested.backend);
        let rounding = PlanRounding::Relative { source: &source, target: &target };
        let out = RoundedValue { gap: &mut gap, value: &mut value };
        scene.tested.ask(|kernel, plan| kernel.fenchel_gap(backend.as_ref(), plan, rounding, out))?;
        let found = [scene.tested.read(&gap)?, scene.tested.read(&value)?];
        for column in 0..scene.setting.columns {
            let (plan, found) = (Entries::of(scene, column), found.each_ref().map(|found| found[column]));
            let [y, x] = Side::BOTH.map(|side| &changes[side.index()][column * case.len(side)..]);
            let changed = |i: usize, j: usize| plan.at(i, j) * (1.0 + x[j] - y[i]);
            check(&trial.at(format_args!("column {column}")), scene, &plan, column, found, true, changed)?;
        }
        Ok(())
    })
}

/// The entries P_ij of one column, row-major.
struct Entries {
    entries: Vec<f64>,
    targets: usize,
}

impl Entries {
    fn of<D: Device>(scene: &Scene<'_, D>, column: usize) -> Self {
        let [rows, targets] = Side::BOTH.map(|side| scene.case.len(side));
        let [a, b] = Side::BOTH.map(|side| scene.setting.weights(side, column));
        let entry = |i: usize, j: usize| match (a[i] * b[j], exponent(scene, column, i, j)) {
            (0.0, _) | (_, f64::NEG_INFINITY) => 0.0,
            (weight, exponent) => weight * scene.setting.regularizer.density_at(exponent),
        };
        Self { entries: (0..rows * targets).map(|index| entry(index / targets, index % targets)).collect(), targets }
    }

    fn at(&self, i: usize, j: usize) -> f64 {
        self.entries[i * self.targets + j]
    }
}

/// z_ij.
fn exponent<D: Device>(scene: &Scene<'_, D>, column: usize, i: usize, j: usize) -> f64 {
    let [f, g] = Side::BOTH.map(|side| scene.setting.potential(side, column));
    (f[i] + g[j] - scene.case.reference().cost(i, j)) / scene.setting.epsilon
}

/// A column scaled down at random, one row taken out, with mass added at random: in the first column of the batch on the
/// first row alone, which meets no forbidden pair in standard cases.
fn scaled<D: Device>(scene: &Scene<'_, D>, column: usize, plan: &Entries) -> RoundedColumn {
    let mut seeded = Seeded::new(17 + column as u64);
    let [mut source, mut target] = Side::BOTH.map(|side| {
        let weights = scene.setting.weights(side, column);
        let mut log_scaling: Vec<f64> = weights.iter().map(|_| seeded.uniform(-1.0, 0.0)).collect();
        log_scaling[weights.len() / 2] = f64::NEG_INFINITY;
        let mut part = || weights.iter().map(|weight| weight * seeded.uniform(0.0, 0.3)).collect::<Vec<f64>>();
        let mut added = [part(), part()];
        if column == 0 && side == Side::Source {
            added.iter_mut().for_each(|part| part[1..].fill(0.0));
        }
        RoundedSide {
            weights: weights.to_vec(),
            potential: scene.setting.potential(side, column).to_vec(),
            marginal: vec![0.0; weights.len()],
            log_scaling,
            scaled: vec![0.0; weights.len()],
            added,
        }
    });
    for i in 0..source.weights.len() {
        for j in 0..target.weights.len() {
            let entry = plan.at(i, j);
            let scaled = entry * (source.log_scaling[i] + target.log_scaling[j]).exp();
            for (side, index) in [(&mut source, i), (&mut target, j)] {
                side.marginal[index] += entry;
                side.scaled[index] += scaled;
            }
        }
    }
    RoundedColumn { source, target }
}

/// Are the numbers found no smaller than sum_ij a_i b_j (h(p'_ij) + h*(z_ij) - z_ij p'_ij) and
/// sum_ij a_i b_j (h(p'_ij) - h(0) - z_ij p'_ij), for the masses p' of a changed plan? The second bound is as good as the
/// first.
fn check<D: Device>(
    trial: &Trial,
    scene: &Scene<'_, D>,
    plan: &Entries,
    column: usize,
    [found, found_value]: [f64; 2],
    is_bounded: bool,
    changed: impl Fn(usize, usize) -> f64,
) -> Verdict {
    let [a, b] = Side::BOTH.map(|side| scene.setting.weights(side, column));
    let (mut gap, mut value, mut size, epsilon) = (0.0, 0.0, 1.0, scene.setting.epsilon);
    for (i, a) in a.iter().enumerate() {
        for (j, b) in b.iter().enumerate().filter(|(_, b)| *a * **b > 0.0) {
            let (weight, exponent) = (a * b, exponent(scene, column, i, j));
            let (regularizer, density) = (&scene.setting.regularizer, changed(i, j) / weight);
            gap += weight * regularizer.fenchel_gap_at(density, exponent);
            value += weight * regularizer.rounded_value_at(density, exponent);
            if exponent > f64::NEG_INFINITY {
                size += (plan.at(i, j) + changed(i, j)) * (1.0 + exponent.abs());
            }
        }
    }
    // What a rounding of the exponents makes of the terms.
    let rounding = (scene.tolerance() / epsilon).exp_m1() + scene.case.unit();
    trial.holds(found >= gap - rounding * size, || format!("a bound of {found:e}, below the gap {gap:e}"))?;
    trial.holds(found_value >= value - rounding * size, || format!("a bound of {found_value:e}, below {value:e}"))?;
    if gap.is_finite() && found.is_finite() {
        let excess = (found - gap) + 2.0 * rounding * size;
        trial.holds(found_value <= value + excess, || format!("a bound of {found_value:e} for {value:e}"))?;
    }
    let is_finite = !is_bounded || gap.is_infinite() || found <= <D::Elem as Scalar>::MAX;
    trial.holds(is_finite, || format!("a bound of {found:e} for the gap {gap:e}"))
}
