//! Entropic barycenters, alone and as columns of a batch, beside plain projections and the definitions in f64.

use ot_core::{Certificate, Epsilon, Error, Host, JointSolution, Measure};
use ot_cpu::{CpuBackend, CpuScalar};
use ot_solvers::{Annealing, Barycenter, BregmanProjections, Relaxation};

use super::{
    generate::{below, decade, equal_masses, one_of, percent, rounded, typical_cost, wide},
    instance::{Instance, sizes},
    judge::numbers,
    oracle::{
        barycenter::{self, Pair},
        sum::sum,
    },
    report::Report,
};
use crate::seeded::Seeded;

/// One case.
pub fn case<T: CpuScalar>(backends: &[CpuBackend<T>; 3], random: &mut Seeded, report: &mut Report) {
    let ([n, m], count) = (sizes(random), 1 + below(random, 3));
    let inputs = equal_masses::<T>(random, &vec![n; count]);
    let reference: Vec<f64> = match percent(random, 60) {
        true => vec![1.0; m],
        false => {
            random.draw(m, |random| if percent(random, 20) { 0.0 } else { rounded::<T>(decade(random, -6.0, 0.0)) })
        }
    };
    let reference = if sum(reference.iter().copied()) > 0.0 { reference } else { vec![1.0; m] };
    let columns = if percent(random, 30) { 2 + below(random, 2) } else { 1 };
    let lambdas: Vec<Vec<f64>> = (0..columns).map(|_| weights_of_inputs(random, count)).collect();
    let instance = Instance::draw::<T>(random, [inputs[0].clone(), reference.clone()]);
    let unit = typical_cost(&instance.costs);
    let epsilon = rounded::<T>(unit * decade(random, -2.0, 1.0));
    let (tolerance, settings) = settings::<T>(random);
    instance.describe::<T>(report);
    report.given("inputs", &inputs);
    report.given("lambdas", &lambdas);
    report.given("epsilon", epsilon);
    report.given("settings", &settings);

    let solve = |backend: &CpuBackend<T>| -> Result<JointSolution<Host<T>>, Error> {
        let [_, of_reference] = instance.measures::<T>()?;
        let measures = inputs.iter().map(|input| instance.measure::<T>(0, input)).collect::<Result<Vec<_>, _>>()?;
        let measures: Vec<&dyn Measure<T>> = measures.iter().map(AsRef::as_ref).collect();
        let cost = instance.cost::<T>()?;
        let barycenter = Barycenter::new(backend, of_reference.as_ref(), cost.as_ref(), Epsilon::Absolute(epsilon));
        settings.solve(&barycenter.inputs(&measures, &lambdas.concat())?.problem()?)
    };
    let mass = sum(inputs[0].iter().copied());
    let solution = match solve(&backends[0]) {
        Ok(solution) => solution,
        Err(error) => {
            let beyond = instance.leaves_range::<T>()
                || inputs.iter().any(|input| {
                    let own = Instance { weights: [input.clone(), input.clone()], ..instance.clone() };
                    own.entropy_leaves_range::<T>(epsilon)
                });
            let allowed = match error {
                Error::Epsilon(_) => true,
                Error::MassUnderflow { .. } => mass < m as f64 * T::TINY / T::EPSILON * (1.0 + 1e-9),
                Error::Stranded { .. } | Error::Infeasible { .. } => instance.forbids(),
                _ => beyond,
            };
            return report.refused(&error, allowed);
        }
    };
    report.status(solution.status());
    let scale = mass / sum(reference.iter().copied());
    for (column, lambdas) in lambdas.iter().enumerate() {
        numbers(&solution.certificates()[column], report);
        let total = sum(lambdas.iter().copied());
        let problem = barycenter::Barycenter {
            inputs: inputs.clone(),
            lambdas: lambdas.iter().map(|lambda| lambda / total).collect(),
            reference: reference.iter().map(|weight| rounded::<T>(weight * scale)).collect(),
            costs: instance.costs.clone(),
            epsilon: solution.problem().epsilon(),
        };
        match told::<T>(&solution, column) {
            Err(error) => report.require(false, || format!("no potentials: {error}")),
            // Forbidden pairs take atoms out of the reference; between tiny masses entries have no digits to compare.
            Ok((p, potentials)) => {
                report.numbers("measure", &p);
                report.require(p.iter().all(|mass| *mass >= 0.0), || format!("a negative mass: {p:?}"));
                if !instance.forbids() && mass >= 1e9 * T::TINY && mass < 1e-9 * T::MAX {
                    let cost_error = instance.cost_error::<T>();
                    let of = (solution.statuses()[column].is_converged(), &solution.certificates()[column]);
                    check::<T>(of, &problem, [tolerance, mass, cost_error], &p, &potentials, report);
                }
            }
        }
    }
    if percent(random, 20) {
        let bits = |solution: &JointSolution<Host<T>>| {
            let columns: Vec<_> = (0..columns).map(|column| told::<T>(solution, column)).collect();
            format!("{columns:?} {:?} {:?}", solution.statuses(), solution.certificates())
        };
        for backend in &backends[1..] {
            let same = solve(backend).is_ok_and(|other| bits(&other) == bits(&solution));
            report.require(same, || format!("other bits with {} threads", backend.threads()));
        }
    }
}

/// A tolerance, and projections to it.
pub(super) fn settings<T: CpuScalar>(random: &mut Seeded) -> (f64, BregmanProjections) {
    let tolerance =
        if T::EPSILON < 1e-10 { one_of(random, &[1e-6, 1e-9, 1e-3]) } else { one_of(random, &[1e-4, 1e-2]) };
    let settings = BregmanProjections::new()
        .tolerance(tolerance)
        .max_iterations(one_of(random, &[1, 20, 300]))
        .annealing(one_of(random, &[Annealing::Automatic, Annealing::Off]))
        .relaxation(one_of(random, &[Relaxation::Adaptive, Relaxation::Adaptive, Relaxation::Off]));
    (tolerance, settings)
}

/// Weights lambda of so many inputs, not all zero.
pub(super) fn weights_of_inputs(random: &mut Seeded, count: usize) -> Vec<f64> {
    let mut lambdas = random.draw(count, |random| match below(random, 8) {
        0 => 0.0,
        1 => decade(random, -6.0, 0.0),
        _ => 0.1 + random.uniform(),
    });
    if sum(lambdas.iter().copied()) == 0.0 {
        lambdas[0] = 1.0;
    }
    lambdas
}

/// The barycenter of a column and its potentials of all inputs.
fn told<T: CpuScalar>(solution: &JointSolution<Host<T>>, column: usize) -> Result<(Vec<f64>, Vec<Pair>), Error> {
    let columns = solution.statuses().len();
    let own = |values: &[T]| wide(&values[column * values.len() / columns..(column + 1) * values.len() / columns]);
    let backend = solution.problem().terms()[0].problem.backend();
    let pair = |potentials: &ot_core::Potentials<Host<T>>| -> Result<Pair, Error> {
        let read = backend.download(&[&potentials.source, &potentials.target])?;
        Ok([own(&read[0]), own(&read[1])])
    };
    let potentials = solution.potentials().iter().map(|potentials| pair(potentials)).collect::<Result<Vec<_>, _>>()?;
    Ok((own(&solution.measure(0)?), potentials))
}

fn check<T: CpuScalar>(
    (is_converged, certificate): (bool, &Certificate),
    problem: &barycenter::Barycenter,
    [tolerance, mass, cost_error]: [f64; 3],
    p: &[f64],
    potentials: &[Pair],
    report: &mut Report,
) {
    let epsilon = problem.epsilon;
    let plans = problem.plans(potentials, T::EPSILON);
    let largest = plans.iter().fold(0.0_f64, |largest, plan| largest.max(plan.largest_potential));
    let of_mass = mass.ln().abs();
    let of_costs = cost_error / epsilon;
    let rounding = (T::EPSILON * (8.0 + largest / epsilon + 2.0 * of_mass)).max(certificate.rounding) + of_costs;
    if is_converged {
        let [n, m] = [problem.inputs[0].len(), problem.reference.len()];
        let told = sum(p.iter().copied());
        report.near("mass of the barycenter", told, mass, 4.0 * (tolerance + rounding) * mass);
        let missed = plans.iter().zip(&problem.inputs).zip(&problem.lambdas).map(|((found, input), lambda)| {
            let rows = (0..n).map(|i| (sum(found.plan[i * m..(i + 1) * m].iter().copied()) - input[i]).abs());
            let column = |j: usize| sum(found.plan.iter().skip(j).step_by(m).copied());
            let columns = (0..m).map(|j| (column(j) - p[j] * (mass / told)).abs());
            lambda * sum(rows.chain(columns)) / mass
        });
        let error = sum(missed);
        report.at_most("error of a converged barycenter", error, tolerance + 8.0 * rounding + 4.0 * of_costs.exp_m1());
    }
    if rounding >= 1e-2 {
        return;
    }
    let best = problem.solved(200);
    let [dual, dual_size] = problem.dual(&best);
    let [primal, primal_size] = problem.primal(&best, &problem.measure(&best));
    let size =
        dual_size + primal_size + problem.costs.iter().fold(0.0, |largest: f64, cost| largest.max(cost.abs())) * mass;
    let own = potentials.iter().flatten().flatten().fold(0.0_f64, |largest, value| largest.max(value.abs())) * mass;
    let slack = 64.0 * (T::EPSILON + rounding) * (size + own) + mass * cost_error + 1e-300;
    if !slack.is_finite() {
        return;
    }
    if certificate.primal.is_finite() && dual.is_finite() {
        report.at_most("a dual value, at most the primal", dual - certificate.primal, slack);
    }
    if primal.is_finite() {
        report.at_most("the dual, at most the objective at a measure", certificate.dual - primal, slack);
    }
}
