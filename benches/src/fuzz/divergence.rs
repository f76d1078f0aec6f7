//! Sinkhorn divergences beside bounds of their three terms by plain sweeps in f64.

use std::cmp::Ordering;

use ot_core::{Epsilon, Error, Host, MarginalPenalty};
use ot_cpu::{CpuBackend, CpuScalar};
use ot_solvers::{Divergence, DivergenceForm, Sinkhorn, SinkhornDivergence};

use super::{
    entropic::recorded,
    generate::{below, decade, free_masses, masses, one_of, percent, rounded, typical_cost},
    instance::{Instance, Points, sizes},
    judge::numbers,
    oracle::{
        entropic::{Penalty, Problem, Regularizer},
        sum::sum,
    },
    report::Report,
};
use crate::seeded::Seeded;

/// One case.
pub fn case<T: CpuScalar>(backends: &[CpuBackend<T>; 3], random: &mut Seeded, report: &mut Report) {
    let [n, m] = sizes(random);
    let rho = decade(random, -1.0, 2.0);
    let kind = below(random, 5);
    let weights = if kind < 3 {
        let drawn = masses::<T>(random, n, m);
        [drawn.source, drawn.target]
    } else {
        free_masses::<T>(random, n, m)
    };
    let mut instance = Instance::between_points::<T>(random, weights);
    if percent(random, 10) {
        // A measure against itself, in the same order.
        instance.weights[1] = instance.weights[0].clone();
        if let Some(points) = &mut instance.points {
            points.coordinates[1] = points.coordinates[0].clone();
            instance.costs = points.ground.table(&points.coordinates[0], &points.coordinates[1], points.dimension);
        }
    }
    let unit = typical_cost(&instance.costs);
    let strength = (rho * unit).clamp(1e-30, 1e30);
    let penalty = match kind {
        0..3 => Penalty::Balanced,
        3 => Penalty::Kl(strength),
        _ => Penalty::TotalVariation(strength),
    };
    let epsilon = rounded::<T>(unit * decade(random, -2.0, 1.0));
    let form =
        one_of(random, &[DivergenceForm::Full, DivergenceForm::Full, DivergenceForm::Sharp, DivergenceForm::Genevay]);
    instance.describe::<T>(report);
    report.given("penalty", penalty);
    report.given("epsilon", epsilon);
    report.given("form", form);

    let solve = || -> Result<Divergence<Host<T>>, Error> {
        let [source, target] = instance.measures::<T>()?;
        let settings = SinkhornDivergence::new().form(form).sinkhorn(Sinkhorn::new().max_iterations(300));
        let settings = match penalty {
            Penalty::Balanced => settings,
            penalty => settings.penalty(&recorded(penalty)?.recorded()?)?,
        };
        let cost = instance.cost::<T>()?;
        settings.between(&backends[0], source.as_ref(), target.as_ref(), cost.as_ref(), Epsilon::Absolute(epsilon))
    };
    let divergence = match solve() {
        Ok(divergence) => divergence,
        Err(error) => {
            let allowed = matches!(error, Error::Epsilon(_))
                || instance.leaves_range::<T>()
                || instance.entropy_leaves_range::<T>(epsilon);
            return report.refused(&error, allowed);
        }
    };
    report.status(divergence.status());
    let [lower, upper] = divergence.bounds()[0];
    report.numbers("value and bounds", &[divergence.value(), lower, upper]);
    report.require(lower <= divergence.value() && divergence.value() <= upper, || {
        format!("value {:e} outside of [{lower:e}, {upper:e}]", divergence.value())
    });
    numbers(divergence.cross().certificate(), report);
    if form == DivergenceForm::Full {
        check::<T>(&instance, penalty, epsilon, &divergence, report);
    }
}

/// The interval of the three solves has points in common with that of plain sweeps.
fn check<T: CpuScalar>(
    instance: &Instance,
    penalty: Penalty,
    epsilon: f64,
    divergence: &Divergence<Host<T>>,
    report: &mut Report,
) {
    let Some(Points { coordinates: [x, y], dimension, ground }) = &instance.points else { return };
    let [a, b] = &instance.weights;
    // Between masses near the smallest number entries have no digits to compare.
    if sum(a.iter().copied()).min(sum(b.iter().copied())) < 1e9 * T::TINY {
        return;
    }
    let term = |x: &[f64], a: &[f64], y: &[f64], b: &[f64]| {
        let problem = Problem {
            weights: [a.to_vec(), b.to_vec()],
            costs: ground.table(x, y, *dimension),
            epsilon,
            penalties: [penalty; 2],
            regularizer: Regularizer::Entropy,
        };
        let mut potentials = [vec![0.0; a.len()], vec![0.0; b.len()]];
        problem.sweep(&mut potentials, 1000);
        let found = problem.evaluate([&potentials[0], &potentials[1]], 0.0);
        let (primal, size) = problem.upper_bound(found.plan.clone());
        [found.dual, primal, size + found.dual_size]
    };
    let [cross, source, target] = [term(x, a, y, b), term(x, a, x, a), term(y, b, y, b)];
    let difference = sum(a.iter().copied()) - sum(b.iter().copied());
    let offset = 0.5 * epsilon * difference * difference;
    let lower = cross[0] - 0.5 * (source[1] + target[1]) + offset;
    let upper = cross[1] - 0.5 * (source[0] + target[0]) + offset;
    let size = cross[2] + source[2] + target[2] + offset;
    if !(lower.is_finite() && upper.is_finite() && size.is_finite()) {
        return;
    }
    let potentials = divergence.cross().certificate().rounding;
    let mass = sum(a.iter().chain(b).copied());
    let slack = 64.0 * (T::EPSILON + potentials) * size + mass * instance.cost_error::<T>() + 1e-300;
    let [told_lower, told_upper] = divergence.bounds()[0];
    report.at_most("lower bound above the value", told_lower - upper, slack);
    report.at_most("upper bound below the value", lower - told_upper, slack);
    match divergence.sign() {
        Some(Ordering::Greater) => report.require(upper > -slack, || format!("positive, expected at most {upper:e}")),
        Some(Ordering::Less) => report.require(lower < slack, || format!("negative, expected at least {lower:e}")),
        Some(Ordering::Equal) => {
            report.require(lower <= slack && upper >= -slack, || format!("zero, expected [{lower:e}, {upper:e}]"));
        }
        None => {}
    }
    // The divergences of these kernels are positive.
    let positive = matches!(ground, super::ground::Ground::SqEuclidean | super::ground::Ground::Euclidean);
    if positive && divergence.status().is_converged() {
        report.require(divergence.sign() != Some(Ordering::Less), || {
            format!("a negative divergence, {:e}", divergence.value())
        });
    }
}
