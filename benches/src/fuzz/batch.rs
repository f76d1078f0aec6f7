//! Batches of columns on one geometry, each column beside the definitions in f64.

use ot_core::{Entropy, Epsilon, Error, GeometryBuilder, Histogram, Host, Measure, Problem, Side, Solution, SquaredL2};
use ot_cpu::{CpuBackend, CpuScalar};

use super::{
    entropic::{Settings, penalties, recorded, scaled},
    generate::{Masses, below, costs, decade, free_masses, masses, narrow, percent, rounded, typical_cost},
    instance::{Instance, sizes},
    judge::{Asked, check_bounds, judge},
    oracle::{
        entropic::{Penalty, Regularizer},
        transport::least_cost,
    },
    report::Report,
};
use crate::seeded::Seeded;

/// One case.
pub fn case<T: CpuScalar>(backends: &[CpuBackend<T>; 3], random: &mut Seeded, report: &mut Report) {
    let ([n, m], columns) = (sizes(random), 1 + below(random, 4));
    let penalties = if percent(random, 60) { [Penalty::Balanced; 2] } else { penalties(random) };
    let prescribed = penalties.iter().all(|penalty| *penalty == Penalty::Balanced);
    let regularizer = if percent(random, 75) { Regularizer::Entropy } else { Regularizer::SquaredL2 };
    let mut drawn: Vec<Masses> = (0..columns)
        .map(|_| match prescribed || percent(random, 50) {
            true => masses::<T>(random, n, m),
            false => {
                let [source, target] = free_masses::<T>(random, n, m);
                Masses { source, target, exact: false }
            }
        })
        .collect();
    // One histogram may serve all columns.
    let shared = !prescribed && percent(random, 30);
    if shared {
        let source = drawn[0].source.clone();
        drawn.iter_mut().for_each(|masses| masses.source.clone_from(&source));
    }
    let costs = costs::<T>(random, n, m);
    let unit = typical_cost(&costs);
    let penalties = penalties.map(|penalty| scaled(penalty, unit));
    let epsilon = rounded::<T>(unit * decade(random, -3.0, 1.0));
    let settings = Settings::draw(random, T::EPSILON);
    let instance = |masses: &Masses| Instance {
        weights: [masses.source.clone(), masses.target.clone()],
        costs: costs.clone(),
        points: None,
    };
    let instances: Vec<Instance> = drawn.iter().map(instance).collect();
    report.given("element", T::NAME);
    report.given("weights", instances.iter().map(|instance| &instance.weights).collect::<Vec<_>>());
    report.given("costs", &costs);
    report.given("penalties", penalties);
    report.given("regularizer", regularizer);
    report.given("epsilon", epsilon);
    report.given("settings", &settings);

    let solve = |backend: &CpuBackend<T>| -> Result<Solution<Host<T>>, Error> {
        let side = |side: usize, columns: usize| {
            let weights: Vec<f64> =
                instances[..columns].iter().flat_map(|instance| instance.weights[side].iter().copied()).collect();
            Histogram::batch(narrow::<T>(&weights), columns)
        };
        let (source, target) = (side(0, if shared { 1 } else { columns })?, side(1, columns)?);
        let (backend, cost) = (settings.backend(backend), instances[0].cost::<T>()?);
        let geometry = backend.geometry(source.support(), target.support(), cost.as_ref())?;
        let (of_source, of_target) = (recorded(penalties[0])?, recorded(penalties[1])?);
        let epsilon = Epsilon::Absolute(epsilon);
        let problem = Problem::unbalanced(geometry, &source, &target, epsilon, &of_source, &of_target)?;
        let problem = match regularizer {
            Regularizer::Entropy => problem.with_regularizer(&Entropy)?,
            Regularizer::SquaredL2 => problem.with_regularizer(&SquaredL2)?,
        };
        settings.sinkhorn().solve(&problem)
    };
    let solution = match solve(&backends[0]) {
        Ok(solution) => solution,
        Err(error) => {
            let forbids = instances[0].forbids();
            let has_no_plan = |(instance, masses): (&Instance, &Masses)| {
                !masses.exact || least_cost(&masses.source, &masses.target, &instance.costs).is_none()
            };
            let leaves_range = |instance: &Instance| {
                instance.leaves_range::<T>()
                    || match regularizer {
                        Regularizer::Entropy => instance.entropy_leaves_range::<T>(epsilon),
                        Regularizer::SquaredL2 => instance.sums_leave_range::<T>(),
                    }
            };
            let allowed = match error {
                Error::Epsilon(_) => true,
                Error::MassMismatch { .. } => !prescribed,
                Error::Stranded { .. } => forbids,
                Error::Infeasible { .. } => forbids && instances.iter().zip(&drawn).any(has_no_plan),
                _ => instances.iter().any(leaves_range),
            };
            return report.refused(&error, allowed);
        }
    };
    report.status(solution.status());
    for (column, (instance, masses)) in instances.iter().zip(&drawn).enumerate() {
        let before = report.failures().len();
        let asked = Asked { penalties, regularizer, tolerance: settings.tolerance };
        match judge(&solution, column, instance, asked, report) {
            Err(error) => report.require(false, || format!("no potentials: {error}")),
            Ok(problem) if prescribed && problem.least_mass() >= 1e9 * T::TINY => {
                check_bounds(&solution, column, &problem, masses.exact, 0.0, report);
            }
            Ok(_) => {}
        }
        if report.failures().len() > before {
            report.given("failing_column", column);
        }
    }
    if percent(random, 20) {
        let bits = |solution: &Solution<Host<T>>| {
            let potentials = Side::BOTH.map(|side| solution.potential(side));
            format!("{potentials:?} {:?} {:?}", solution.statuses(), solution.certificates())
        };
        for backend in &backends[1..] {
            let same = solve(backend).is_ok_and(|other| bits(&other) == bits(&solution));
            report.require(same, || format!("other bits with {} threads", backend.threads()));
        }
    }
}
