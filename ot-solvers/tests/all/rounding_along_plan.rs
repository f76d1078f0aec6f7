//! P (1 + x_j - y_i): exact marginals, a gap that is quadratic in the residual, nothing across a forbidden pair.

use ot_conformance::Seeded;
use ot_core::{
    Balanced, CostMatrix, Epsilon, Error, GeometryBuilder, Histogram, Host, Kl, Measure, Potentials, Problem,
    RelativePlan, RoundingForm, Side, certificate::certify, certify_along_plan,
};
use ot_solvers::{HandOver, Newton, Sinkhorn};

use crate::support::{SIDES, backends, cloud, cpu, normalized, penalty, problem};

/// Costs on a line with a third of the pairs forbidden, none of them next to the diagonal.
fn forbidden(n: usize, epsilon: f64) -> (Problem<Host<f64>>, Vec<f64>) {
    let mut random = Seeded::new(41);
    let is_forbidden = |i: usize, j: usize| i.abs_diff(j) % 3 == 2;
    let costs: Vec<f64> = (0..n * n)
        .map(|pair| (pair / n, pair % n))
        .map(|(i, j)| if is_forbidden(i, j) { f64::INFINITY } else { (i as f64 - j as f64).powi(2) / (n * n) as f64 })
        .collect();
    let cost = CostMatrix::new(costs.clone(), n, n).unwrap();
    let [a, b] = [0, 1].map(|_| Histogram::new(normalized(random.vector::<f64>(n, 0.5, 1.0))).unwrap());
    let geometry = cpu(1).geometry(a.support(), b.support(), &cost).unwrap();
    (Problem::new(geometry, &a, &b, Epsilon::Absolute(epsilon)).unwrap(), costs)
}

/// A solution with both potentials moved by `size`, up and down by turns.
fn moved(problem: &Problem<Host<f64>>, size: f64) -> Potentials<Host<f64>> {
    let solution = Newton::new().tolerance(1e-11).solve(problem).unwrap();
    let [source, target] = SIDES.map(|side| {
        let mut values = solution.potential(side).unwrap();
        values.iter_mut().enumerate().for_each(|(i, value)| *value += size * ((i * i) as f64).sin());
        problem.backend().upload(&values, 1).unwrap()
    });
    Potentials { source, target, epsilon: problem.epsilon() }
}

#[test]
fn the_gap_is_quadratic_in_the_residual() {
    let (a, b) = (cloud(42, 50, 0.0, 1.0), cloud(43, 40, 0.2, 1.0));
    for backend in backends(1) {
        for epsilon in [0.1, 0.01] {
            let problem = problem(&backend, [&a, &b], epsilon, [penalty(Balanced), penalty(Balanced)]);
            let gaps = [1e-2, 1e-3, 1e-4].map(|part| {
                let potentials = moved(&problem, part * problem.epsilon());
                let [linear, quadratic] = [certify, certify_along_plan].map(|of| of(&problem, &potentials).unwrap()[0]);
                assert_eq!((linear.form, quadratic.form), (RoundingForm::Scaled, RoundingForm::Relative));
                // Both bound the optimum.
                assert!(quadratic.primal <= linear.primal && quadratic.primal >= linear.dual);
                assert_eq!(quadratic.dual, linear.dual);
                [linear.gap, quadratic.gap]
            });
            for pair in gaps.windows(2) {
                let [linear, quadratic] = [0, 1].map(|form| pair[0][form] / pair[1][form]);
                assert!((5.0..20.0).contains(&linear) && (50.0..200.0).contains(&quadratic), "{gaps:?}");
            }
        }
    }
}

#[test]
fn forbidden_pairs_have_a_finite_gap() {
    for epsilon in [0.1, 0.01, 1e-3] {
        let (problem, _) = forbidden(40, epsilon);
        let optimum = Newton::new().tolerance(1e-11).solve(&problem).unwrap();
        for tolerance in [1e-3, 1e-5, 1e-9] {
            let sinkhorn = Sinkhorn::new().tolerance(tolerance).hand_over(HandOver::Never).max_iterations(50_000);
            let solution = sinkhorn.solve(&problem).unwrap();
            let certificate = solution.certificate();
            assert!(solution.status().is_converged() && certificate.gap.is_finite(), "{epsilon}: {certificate:?}");
            assert_eq!(certificate.form, RoundingForm::Relative);
            assert!(certificate.primal >= optimum.certificate().dual - 1e-12);
            // Nothing but the square, and rounding.
            assert!(certificate.gap <= 1e3 * epsilon * tolerance.powi(2) + 1e-10, "{epsilon}: {certificate:?}");
        }
    }
}

#[test]
fn marginals_are_met_to_rounding_and_nothing_crosses() {
    let n = 40;
    let (problem, costs) = forbidden(n, 0.02);
    let potentials = moved(&problem, 1e-4);
    let mut kernel = problem.bind().unwrap();
    let relative = RelativePlan::round(kernel.as_mut(), &problem, &potentials).unwrap();
    assert!(relative.is_rounded(0));
    let entries = relative.to_dense(0).unwrap();
    let [a, b] = SIDES.map(|side| {
        let weights = problem.marginal(side).weights();
        problem.backend().download(&[weights]).unwrap().swap_remove(0)
    });
    for i in 0..n {
        let row: f64 = entries[i * n..][..n].iter().sum();
        let column: f64 = entries.iter().skip(i).step_by(n).sum();
        assert!((row - a[i]).abs() < 1e-14 && (column - b[i]).abs() < 1e-14, "{i}: {row} {column}");
    }
    for (entry, cost) in entries.iter().zip(&costs) {
        assert!(if cost.is_finite() { *entry >= 0.0 } else { *entry == 0.0 });
    }
    for side in SIDES {
        assert!(relative.factors(side, 0).iter().all(|factor| factor.abs() < 0.5));
    }
}

#[test]
fn what_no_change_of_the_plan_places_stays_without_a_bound() {
    // Three parts that nothing joins, the first with too much and two with too little, each of which a rank-one plan would send
    // some of what the other lacks.
    let no = f64::INFINITY;
    let cost = CostMatrix::new(vec![0.0, no, no, no, 0.0, no, no, no, 0.0], 3, 3).unwrap();
    let third = Histogram::new(vec![1.0 / 3.0; 3]).unwrap();
    let geometry = cpu(1).geometry(third.support(), third.support(), &cost).unwrap();
    let problem = Problem::new(geometry, &third, &third, Epsilon::Absolute(1.0)).unwrap();
    let at = |densities: [f64; 3]| {
        let upload = |values: &[f64]| problem.backend().upload(values, 1).unwrap();
        let source = upload(&densities.map(|density: f64| (3.0 * density).ln()));
        certify(&problem, &Potentials { source, target: upload(&[0.0; 3]), epsilon: 1.0 }).unwrap()[0]
    };
    let near = at([1.2, 0.9, 0.9]);
    assert!(near.gap.is_finite() && near.form == RoundingForm::Relative, "{near:?}");
    // A density of 0.4 would have to grow by more than itself.
    let far = at([1.2, 0.9, 0.4]);
    assert!(far.gap == f64::INFINITY && far.form == RoundingForm::Scaled, "{far:?}");
}

#[test]
fn penalised_marginals_are_refused() {
    let (a, b) = (cloud(44, 10, 0.0, 1.0), cloud(45, 10, 0.2, 1.0));
    let kl = || penalty(Kl::new(1.0).unwrap());
    let problem = problem(&cpu(1), [&a, &b], 0.1, [kl(), kl()]);
    let solution = Sinkhorn::new().solve(&problem).unwrap();
    let mut kernel = problem.bind().unwrap();
    let refused = RelativePlan::round(kernel.as_mut(), &problem, solution.potentials());
    assert!(matches!(refused, Err(Error::MissingCapability(_))));
    let [plain, along] = [certify, certify_along_plan].map(|of| of(&problem, solution.potentials()).unwrap()[0]);
    assert_eq!(plain, along);
    assert_eq!(problem.marginal(Side::Source).len(), 10);
}
