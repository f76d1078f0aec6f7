//! All pairs of a list of clouds, beside least costs and plain sweeps of each pair.

use ot_core::{Epsilon, Error, PointCloud};
use ot_cpu::{CpuBackend, CpuScalar};
use ot_solvers::{
    Sinkhorn, SinkhornDivergence, SlicedWasserstein,
    many::{Method, PairTable, PairValue, pairwise},
};

use super::{
    generate::{below, clouds, decade, equal_masses, narrow, one_of, rounded, typical_cost},
    ground::Ground,
    instance::{Instance, Points},
    oracle::{
        entropic::{Penalty, Problem, Regularizer},
        transport::least_cost,
    },
    report::Report,
};
use crate::seeded::Seeded;

/// What is solved between two clouds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Exact,
    Entropic,
    Divergence,
    Sliced,
}

/// One case.
pub fn case<T: CpuScalar>(backends: &[CpuBackend<T>; 3], random: &mut Seeded, report: &mut Report) {
    let lens: Vec<usize> = (0..2 + below(random, 3)).map(|_| 1 + below(random, 5)).collect();
    let weights = equal_masses::<T>(random, &lens);
    let dimension = one_of(random, &[1, 2, 3]);
    let [all, _] = clouds::<T>(random, [lens.iter().sum(), 1], dimension, T::MAX / 64.0);
    let mut left = all.as_slice();
    let points: Vec<Vec<f64>> = lens
        .iter()
        .map(|len| {
            let (own, others) = left.split_at(len * dimension);
            left = others;
            own.to_vec()
        })
        .collect();
    let ground = Ground::draw(random);
    let kind = one_of(random, &[Kind::Exact, Kind::Exact, Kind::Entropic, Kind::Divergence, Kind::Sliced]);
    let unit = typical_cost(&ground.table(&all, &all, dimension));
    let epsilon = rounded::<T>(unit * decade(random, -2.0, 1.0));
    report.given("element", T::NAME);
    report.given("points", &points);
    report.given("weights", &weights);
    report.given("dimension", dimension);
    report.given("cost", ground);
    report.given("kind", kind);
    report.given("epsilon", epsilon);

    let pair = |i: usize, j: usize| Instance {
        weights: [weights[i].clone(), weights[j].clone()],
        costs: ground.table(&points[i], &points[j], dimension),
        points: Some(Points { coordinates: [points[i].clone(), points[j].clone()], dimension, ground }),
    };
    let sinkhorn = || Sinkhorn::new().max_iterations(300);
    let method = match kind {
        Kind::Exact => Method::exact(),
        Kind::Entropic => Method::entropic_with(Epsilon::Absolute(epsilon), sinkhorn()),
        Kind::Divergence => {
            let divergence = SinkhornDivergence::new().sinkhorn(sinkhorn());
            Method::divergence_with(Epsilon::Absolute(epsilon), divergence)
        }
        Kind::Sliced => Method::sliced(SlicedWasserstein::new(2.0).directions(5)),
    };
    let solve = |backend: &CpuBackend<T>| -> Result<PairTable, Error> {
        let cloud = |(points, weights): (&Vec<f64>, &Vec<f64>)| {
            PointCloud::new(narrow::<T>(points), dimension, narrow::<T>(weights))
        };
        let clouds = points.iter().zip(&weights).map(cloud).collect::<Result<Vec<_>, _>>()?;
        pairwise(backend, &clouds, ground.cost()?.as_ref(), &method).solve()
    };
    let pairs: Vec<(usize, usize)> = (0..lens.len()).flat_map(|i| (0..=i).map(move |j| (i, j))).collect();
    let table = match solve(&backends[0]) {
        Ok(table) => table,
        Err(error) => {
            let range = T::MAX.sqrt() * 1e-6;
            let widest = all.iter().fold(0.0_f64, |widest, x| widest.max(x.abs()));
            let allowed = matches!(&error, Error::OfPair { error, .. } if matches!(**error, Error::Epsilon(_)))
                || matches!(error, Error::Epsilon(_))
                || pairs.iter().any(|&(i, j)| {
                    let pair = pair(i, j);
                    pair.leaves_range::<T>() || pair.entropy_leaves_range::<T>(epsilon)
                })
                || (kind == Kind::Sliced && widest > range);
            return report.refused(&error, allowed);
        }
    };
    report.ended(if table.is_converged() { "converged" } else { "not converged" });
    for (i, j) in pairs {
        let (Some(found), Some(turned)) = (table.pair(i, j), table.pair(j, i)) else {
            report.require(false, || format!("no value of the pair ({i}, {j})"));
            continue;
        };
        report.require(found == turned, || format!("({i}, {j}) is {found:?}, turned {turned:?}"));
        report.numbers("value, gap", &[found.value, found.gap.unwrap_or(0.0), found.transport_cost.unwrap_or(0.0)]);
        report.require(found.gap.is_none_or(|gap| gap >= 0.0), || format!("a gap of {:?}", found.gap));
        match kind {
            Kind::Exact => check_exact(&pair(i, j), found, report),
            Kind::Entropic => check_entropic::<T>(&pair(i, j), epsilon, found, report),
            Kind::Divergence | Kind::Sliced => {}
        }
    }
    for backend in &backends[1..] {
        let same = solve(backend).is_ok_and(|other| format!("{other:?}") == format!("{table:?}"));
        report.require(same, || format!("other bits with {} threads", backend.threads()));
    }
}

/// The value is the least cost, up to the gap told.
fn check_exact(pair: &Instance, found: &PairValue, report: &mut Report) {
    let [a, b] = &pair.weights;
    let Some(optimum) = least_cost(a, b, &pair.costs).filter(|optimum| optimum.size < f64::MAX / 1e6) else { return };
    let mass: f64 = a.iter().sum();
    let largest = pair.costs.iter().fold(0.0_f64, |largest, cost| largest.max(cost.abs()));
    let slack = 1e-9 * optimum.size + 1e-13 * mass * largest + mass * pair.cost_error::<f64>() + 1e-300;
    report.near("least cost", found.value, optimum.value, slack);
    let told = found.gap.unwrap_or(0.0);
    report.at_most("above the least cost by more than told", found.value - optimum.value - told, slack);
}

/// The value is above every dual one, and by no more than the gap above the objective of any plan.
fn check_entropic<T: CpuScalar>(pair: &Instance, epsilon: f64, found: &PairValue, report: &mut Report) {
    let problem = Problem {
        weights: pair.weights.clone(),
        costs: pair.costs.clone(),
        epsilon,
        penalties: [Penalty::Balanced; 2],
        regularizer: Regularizer::Entropy,
    };
    // Between masses near the smallest number entries have no digits to compare.
    if problem.mean_mass() < 1e9 * T::TINY {
        return;
    }
    let mut potentials = pair.weights.clone().map(|weights| vec![0.0; weights.len()]);
    problem.sweep(&mut potentials, 300);
    let best = problem.evaluate([&potentials[0], &potentials[1]], T::EPSILON);
    let (primal, size) = problem.upper_bound(best.plan.clone());
    let size = size + best.dual_size + best.cost_size;
    // Exponents are known to this.
    let rounding = T::EPSILON * (64.0 + best.largest_potential / epsilon);
    if !(size.is_finite() && primal.is_finite() && rounding < 1e-2) {
        return;
    }
    let slack = 64.0 * rounding * size + problem.mean_mass() * pair.cost_error::<T>() + 1e-300;
    if found.value.is_finite() {
        report.at_most("a dual value, at most the primal", best.dual - found.value, slack);
    }
    if let Some(gap) = found.gap.filter(|gap| gap.is_finite()) {
        report.at_most("the value less its gap, at most the objective of a plan", found.value - gap - primal, slack);
    }
}
