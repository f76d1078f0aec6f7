//! The plan of potentials, rounded to one that both penalties accept (Altschuler, Weed, Rigollet 2017).
//!
//! Rows and then columns above the largest density that their penalty allows are scaled down, and the mass that is
//! missing below the smallest is added by plans of rank one:
//!
//! ```text
//! P' = diag(x) P diag(y) + u w^T + s t^T
//! ```
//!
//! Where a side is too full for that, some of the whole plan is taken away first. Scalings travel as logarithms, on top of
//! the log-weights, so that a kernel meets them like any weights. Nothing of n x m is stored. The cost is [densities with capped
//! rows](crate::KernelOp::capped_densities), and one more density of the rows where columns may be scaled down.

use std::sync::Arc;

use super::{
    marginals::{mass, of_column},
    shrinking::{Bounded, shrinking_factor},
    side::{RoundedSideValues, SideValues, rounded_side_values, side_values},
};
use crate::{
    backend::Device,
    error::Error,
    kernel::{
        ActiveColumns, CappedPlan, KernelOp, PlanRounding, PlanSide, PlanView, Potentials, RoundedColumn, RoundedSide,
        ScaledWeights, scale_down, unit_factors,
    },
    plan::Plan,
    power_of_two::product,
    problem::Problem,
    scalar::Scalar,
    side::Side,
};

/// A plan with marginals that the penalties of its problem accept, to rounding.
#[derive(Debug)]
pub struct RoundedPlan<'a, D: Device> {
    problem: &'a Problem<D>,
    potentials: Arc<Potentials<D>>,
    columns: Vec<RoundedColumn>,
    values: Vec<ColumnValues>,
    /// sum_ij a_i b_j (h*(z_ij) + h(0)) of each column, not read yet.
    conjugate: D::Reduced,
}

/// What is known of one column beside its rounded plan.
#[derive(Debug)]
pub(super) struct ColumnValues {
    pub(super) sides: [SideValues; 2],
    /// The values of both sides at the rounded plan.
    pub(super) rounded: [RoundedSideValues; 2],
    /// Could the missing mass be placed within the bounds?
    pub(super) feasible: bool,
    /// epsilon times the mass of the plan, which by itself may be below all numbers.
    pub(super) energy: f64,
    /// What rounding of the potentials makes of the larger mass.
    pub(super) mass_rounding: f64,
}

impl<'a, D: Device> RoundedPlan<'a, D> {
    /// Rounds the plan of potentials, with a kernel bound to their epsilon. One wait.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], a failure of the device.
    pub fn round<K: KernelOp<D> + ?Sized>(
        kernel: &mut K,
        problem: &'a Problem<D>,
        potentials: &Potentials<D>,
    ) -> Result<Self, Error> {
        let backend = problem.backend();
        let mut conjugate = backend.alloc_reduced(problem.columns())?;
        let downloaded = Scaled::of(kernel, problem, potentials, &mut conjugate)?.download(problem, potentials)?;
        let sides = |column| {
            let sides =
                [&downloaded[..5], &downloaded[5..]].map(|vectors| rounded_side(vectors, column, problem.columns()));
            (sides, energy(&downloaded[..5], column, problem.columns(), potentials.epsilon))
        };
        let scaled: Vec<([RoundedSide; 2], f64)> = (0..problem.columns()).map(sides).collect();
        drop(downloaded);
        let (mut columns, mut values) = (Vec::new(), Vec::new());
        for (sides, energy) in scaled {
            let (rounded, known) = round_column(problem, sides, potentials.epsilon)?;
            let known = ColumnValues { energy, ..known };
            columns.push(rounded);
            values.push(known);
        }
        let (source, target) = (backend.copied(&potentials.source)?, backend.copied(&potentials.target)?);
        let potentials = Arc::new(Potentials { source, target, epsilon: potentials.epsilon });
        Ok(Self { problem, potentials, columns, values, conjugate })
    }

    /// The columns of the batch.
    #[must_use]
    pub fn columns(&self) -> &[RoundedColumn] {
        &self.columns
    }

    /// The rounded plan as kernels see it.
    #[must_use]
    pub fn rounding(&self) -> PlanRounding<'_, D> {
        PlanRounding::Scaled { columns: &self.columns, cost_bound: self.problem.geometry().cost_bound() }
    }

    pub(super) fn values(&self) -> &[ColumnValues] {
        &self.values
    }

    pub(super) fn conjugate(&self) -> &D::Reduced {
        &self.conjugate
    }

    /// <P', C> of each column; infinite where the missing mass would have to cross forbidden pairs or finds no space.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for a kernel without a cost; a failure of the device.
    pub fn transport_cost<K: KernelOp<D> + ?Sized>(&self, kernel: &mut K) -> Result<Vec<f64>, Error> {
        let (backend, columns) = (self.problem.backend(), self.columns.len());
        let cost = kernel.transport_cost().ok_or(Error::MissingCapability("transport cost"))?;

        // The scaled plan is that of scaled weights.
        let scaled = |side: Side| {
            let of_column = |column: &RoundedColumn| {
                let RoundedSide { weights, log_scaling, .. } = column.side(side);
                let scaled = weights.iter().zip(log_scaling).map(|(weight, log)| D::Elem::from_f64(weight * log.exp()));
                scaled.collect::<Vec<_>>()
            };
            backend.upload(&self.columns.iter().flat_map(of_column).collect::<Vec<_>>(), columns)
        };
        let (source, target) = (scaled(Side::Source)?, scaled(Side::Target)?);
        let plan = self.problem.view(&self.potentials);
        let plan = PlanView {
            source: PlanSide { weights: &source, ..plan.source },
            target: PlanSide { weights: &target, ..plan.target },
        };
        let mut numbers = vec![backend.alloc_reduced(columns)?];
        cost.plan_cost(plan, &mut numbers[0])?;
        for part in 0..2 {
            let [u, w] = unit_factors(backend, &self.columns, part)?;
            let mut out = backend.alloc_reduced(columns)?;
            cost.rank_one_cost(&u, &w, &mut out)?;
            numbers.push(out);
        }
        let read = backend.read(&numbers.iter().collect::<Vec<_>>())?;
        let total = |(column, values): (usize, &ColumnValues)| {
            let added = self.columns[column].added_masses();
            let parts = added.iter().zip(&read[1..]).filter(|(mass, _)| **mass > 0.0);
            match values.feasible {
                true => read[0][column] + parts.map(|(mass, costs)| mass * costs[column]).sum::<f64>(),
                false => f64::INFINITY,
            }
        };
        Ok(self.values.iter().enumerate().map(total).collect())
    }

    /// All entries of one column, row-major, n x m.
    ///
    /// # Errors
    /// Those of [`Plan::to_dense`].
    pub fn to_dense(&self, column: usize) -> Result<Vec<f64>, Error> {
        let mut plan = Plan::new(self.problem.clone(), Arc::clone(&self.potentials))?;
        let RoundedColumn { source, target } = &self.columns[column];
        let mut dense = plan.dense_scaled(column, [&source.log_scaling, &target.log_scaling])?;
        for (u, w) in source.added.iter().zip(&target.added) {
            for (row, u) in dense.chunks_exact_mut(w.len()).zip(u) {
                row.iter_mut().zip(w).for_each(|(entry, w)| *entry += u * w);
            }
        }
        Ok(dense)
    }
}

/// Densities of a plan, and those of the plan scaled down to the bounds of the penalties.
struct Scaled<D: Device> {
    density: [D::Vector; 2],
    /// log x and log y.
    log_scaling: [D::Vector; 2],
    /// Densities of the plan scaled on the other side.
    scaled_density: [D::Vector; 2],
}

impl<D: Device> Scaled<D> {
    fn of<K: KernelOp<D> + ?Sized>(
        kernel: &mut K,
        problem: &Problem<D>,
        potentials: &Potentials<D>,
        conjugate: &mut D::Reduced,
    ) -> Result<Self, Error> {
        let backend = problem.backend();
        let (plan, active) = (problem.view(potentials), ActiveColumns::all(problem.columns()));
        let alloc = || -> Result<[D::Vector; 2], Error> {
            let side = |side| backend.alloc(problem.marginal(side).len(), problem.columns());
            Ok([side(Side::Source)?, side(Side::Target)?])
        };
        let [mut density, mut log_scaling, mut scaled_density] = [alloc()?, alloc()?, alloc()?];
        // Rows above their bound first, then the columns of what is left.
        let [highest_row, highest_column] = Side::BOTH.map(|side| problem.marginal(side).penalty().density_bounds()[1]);
        let ([source, target], [log_x, log_y]) = (density.each_mut(), log_scaling.each_mut());
        let [of_rows, of_columns] = scaled_density.each_mut();
        let capped = CappedPlan { source: &mut *source, target, log_scaling: log_x, capped: &mut *of_columns };
        kernel.capped_densities(backend, plan, highest_row, &active, capped, conjugate)?;
        if highest_column == f64::INFINITY {
            backend.fill(0.0, log_y)?;
            backend.copy(source, of_rows)?;
        } else {
            scale_down(backend, of_columns, highest_column, log_y)?;
            let scaled = ScaledWeights::new(backend, plan.target, log_y)?;
            kernel.density(backend, Side::Source, scaled.of(Side::Target, plan), &active, of_rows, None)?;
        }
        Ok(Self { density, log_scaling, scaled_density })
    }

    /// For each side weights, potential, density, log-scaling and scaled density, in one wait.
    fn download(self, problem: &Problem<D>, potentials: &Potentials<D>) -> Result<Vec<Vec<D::Elem>>, Error> {
        let mut vectors = Vec::with_capacity(10);
        for side in Side::BOTH {
            let index = side.index();
            vectors.extend([problem.marginal(side).weights(), potentials.side(side), &self.density[index]]);
            vectors.extend([&self.log_scaling[index], &self.scaled_density[index]]);
        }
        problem.backend().download(&vectors)
    }
}

/// One column of one side on the host, in f64, from weights, potential, density, log-scaling and scaled density. The
/// arithmetic of a certificate is not that of the solver.
fn rounded_side<T: Scalar>(vectors: &[Vec<T>], column: usize, columns: usize) -> RoundedSide {
    let len = vectors[1].len() / columns;
    let [weights, potential, log_scaling] = [0, 1, 3].map(|index| of_column(&vectors[index], len, column));
    let [density, scaled_density] = [2, 4].map(|index| vectors[index][column * len..][..len].iter());
    let marginal = weights.iter().zip(density).map(|(&weight, density)| mass(weight, density.to_f64())).collect();
    let atoms = weights.iter().zip(&log_scaling).zip(scaled_density);
    let scaled = atoms.map(|((&weight, &log), density)| match log {
        0.0 => mass(weight, density.to_f64()),
        log => match log.exp() {
            0.0 => 0.0,
            scaling => mass(weight * scaling, density.to_f64()),
        },
    });
    let scaled = scaled.collect();
    RoundedSide { weights, potential, marginal, log_scaling, scaled, added: [Vec::new(), Vec::new()] }
}

/// epsilon sum_i a_i r_i of one column, from weights and densities.
fn energy<T: Scalar>(vectors: &[Vec<T>], column: usize, columns: usize, epsilon: f64) -> f64 {
    let [weights, density] = [&vectors[0], &vectors[2]];
    let len = density.len() / columns;
    let own = column.min(weights.len() / len - 1) * len;
    let atoms = weights[own..own + len].iter().zip(&density[column * len..][..len]);
    let atoms = atoms.map(|(weight, density)| (weight.to_f64(), density.to_f64()));
    let of_atom = |(a, r): (f64, f64)| {
        let (mass, plain) = (a * r, a * r * epsilon);
        // Products within the normal numbers have all their digits.
        if mass.is_normal() && plain.is_normal() { plain } else { product([a, r, epsilon]) }
    };
    atoms.filter(|(weight, density)| *weight > 0.0 && *density > 0.0).map(of_atom).sum()
}

/// Finds what the scaled plan lacks, where it goes, and what both penalties say of the result.
fn round_column<D: Device>(
    problem: &Problem<D>,
    mut sides: [RoundedSide; 2],
    epsilon: f64,
) -> Result<(RoundedColumn, ColumnValues), Error> {
    let penalties = Side::BOTH.map(|side| problem.marginal(side).penalty());
    let precision = problem.backend().precision();
    let [source, target] = [0, 1].map(|index| side_values(penalties[index], &sides[index], epsilon, precision));
    let values = [source?, target?];

    // What rounding of the potentials makes of a mass.
    let exponent = values.iter().map(|side| side.exponent(epsilon)).sum();
    let mass = values[0].weight.max(values[1].weight);
    let rounding = precision.marginal_rounding(exponent) * mass;
    let bounds = penalties.map(|penalty| penalty.density_bounds());
    let bounded = |index: usize| Bounded {
        marginal: &sides[index].scaled,
        weights: &sides[index].weights,
        bounds: bounds[index],
    };
    let kept = shrinking_factor(bounded(0), bounded(1), rounding);
    if kept < 1.0 {
        sides[0].log_scaling.iter_mut().for_each(|log| *log += kept.ln());
        sides.iter_mut().for_each(|side| side.scaled.iter_mut().for_each(|mass| *mass *= kept));
    }

    let feasible = place_missing_mass(&mut sides, bounds, rounding);
    let [source, target] = sides;
    let column = RoundedColumn { source, target };
    let [source, target] = Side::BOTH
        .map(|side| rounded_side_values(penalties[side.index()], column.side(side), &column.added_marginal(side)));
    Ok((
        column,
        ColumnValues { sides: values, rounded: [source?, target?], feasible, energy: 0.0, mass_rounding: rounding },
    ))
}

/// Adds what the scaled plan lacks to the lower bounds: what both sides lack is shared out between them, and what one
/// lacks more goes where the other has space. Says whether there was enough.
fn place_missing_mass(sides: &mut [RoundedSide; 2], bounds: [[f64; 2]; 2], rounding: f64) -> bool {
    let total = |values: &[f64]| values.iter().sum::<f64>();
    let missing = [0, 1].map(|index| -> Vec<f64> {
        let (side, [low, _]) = (&sides[index], bounds[index]);
        side.scaled.iter().zip(&side.weights).map(|(mass, weight)| (low * weight - mass).max(0.0)).collect()
    });
    let spare = [0, 1].map(|index| -> Vec<f64> {
        let (side, [low, high]) = (&sides[index], bounds[index]);
        let spare = |(mass, weight): (&f64, &f64)| match high.is_finite() {
            true => (high * weight - mass.max(low * weight)).max(0.0),
            false => *weight,
        };
        side.scaled.iter().zip(&side.weights).map(spare).collect()
    });
    let [u, v] = missing.each_ref().map(|values| total(values));
    let [spare_u, spare_v] = spare.each_ref().map(|values| total(values));

    // Products of tiny masses would vanish, and reciprocals overflow.
    let part = |value: f64, of: f64| if of > 0.0 { value / of } else { 0.0 };
    let shared = if u > 0.0 && v > 0.0 { u.max(v) } else { 0.0 };
    let (into_target, into_source) = ((u - v).max(0.0), (v - u).max(0.0));
    let prescribed = bounds.iter().all(|[low, high]| low == high);
    let feasible = prescribed || into_target <= spare_v + rounding && into_source <= spare_u + rounding;
    let (to_target, to_source) = (part(into_target, u), part(into_source, v));
    let of_pair = |(lack, space): (&f64, &f64)| part(*lack, shared) + to_target * part(*space, spare_v);
    let partner = missing[1].iter().zip(&spare[1]).map(of_pair).collect();
    let [missing_source, missing_target] = missing;
    let second = spare[0].iter().map(|space| part(*space, spare_u) * to_source).collect();
    sides[0].added = [missing_source, second];
    sides[1].added = [partner, missing_target];
    feasible
}
