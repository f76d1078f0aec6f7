//! Bounded entropy.

use ot_core::{Error, Kl};
use ot_solvers::{Barycenter, BoundedEntropy, BregmanProjections, EntropyBound};

use super::support::{Cloud, l1, line, problem, shapes, solve, uniform};
use crate::support::{assert_close, cpu};

fn entropy(p: &[f64]) -> f64 {
    -p.iter().map(|p| if *p > 0.0 { p * p.ln() } else { 0.0 }).sum::<f64>()
}

fn inputs(points: &[f64]) -> [Cloud; 3] {
    shapes(points)
}

#[test]
fn entropy_is_bounded_by_that_of_the_inputs() {
    let points = line(64, 1.0);
    let inputs = inputs(&points);
    let problem = problem(&cpu(2), &inputs, &[0.5, 0.2, 0.3], &uniform(&points), 0.02);
    let blurred = solve(&BregmanProjections::new(), &problem);
    let sharp = BoundedEntropy::new().tolerance(1e-8).solve(&problem).unwrap();
    let largest = inputs.each_ref().map(|input| entropy(input.weights_view().values())).into_iter().fold(0.0, f64::max);
    let p = sharp.measure(0).unwrap();
    assert!(sharp.status().is_converged(), "{:?} {:?}", sharp.status(), sharp.certificate());
    assert!(entropy(&blurred.measure(0).unwrap()) > largest + 0.05);
    assert!(entropy(&p) <= largest + 1e-6, "{} {largest}", entropy(&p));
    assert_close(p.iter().sum::<f64>(), 1.0, 1e-12);
    // Feasible without the bound, and so no better than what is best without it.
    let (with, without) = (sharp.certificate(), blurred.certificate());
    assert!(with.gap < 1e-6 && with.dual <= with.primal && with.primal > without.primal, "{with:?} {without:?}");
    for term in 0..3 {
        let marginal = sharp.plan(term).unwrap().marginal(ot_core::Side::Target).unwrap();
        assert!(l1(&marginal, &p) < 1e-6);
    }
}

/// A bound that nothing reaches changes nothing; a bound of nearly 0 leaves one atom.
#[test]
fn bounds_at_both_ends() {
    let points = line(40, 1.0);
    let problem = problem(&cpu(1), &inputs(&points), &[0.5, 0.2, 0.3], &uniform(&points), 0.05);
    let free = solve(&BregmanProjections::new().tolerance(1e-9), &problem).measure(0).unwrap();
    let loose = BoundedEntropy::new().bound(EntropyBound::At(vec![10.0])).tolerance(1e-9).solve(&problem).unwrap();
    assert!(loose.status().is_converged() && l1(&loose.measure(0).unwrap(), &free) < 1e-7);
    let tight = BoundedEntropy::new().bound(EntropyBound::At(vec![1e-3])).solve(&problem).unwrap();
    let largest = tight.measure(0).unwrap().into_iter().fold(0.0, f64::max);
    assert!(largest > 0.999, "{largest}");
}

#[test]
fn columns_have_bounds_of_their_own() {
    let points = line(40, 1.0);
    let weights = [0.5, 0.2, 0.3, 0.1, 0.8, 0.1];
    let batch = problem(&cpu(2), &inputs(&points), &weights, &uniform(&points), 0.02);
    let both = BoundedEntropy::new().bound(EntropyBound::At(vec![2.5, 2.0])).tolerance(1e-8).solve(&batch).unwrap();
    let p = both.measure(0).unwrap();
    for (column, bound) in [2.5, 2.0].into_iter().enumerate() {
        assert_close(entropy(&p[40 * column..][..40]), bound, 1e-6);
        let single = problem(&cpu(2), &inputs(&points), &weights[3 * column..][..3], &uniform(&points), 0.02);
        let single = BoundedEntropy::new().bound(EntropyBound::At(vec![bound])).tolerance(1e-8).solve(&single).unwrap();
        assert!(l1(&p[40 * column..][..40], &single.measure(0).unwrap()) < 1e-5);
    }
}

#[test]
fn what_is_asked_wrongly_is_refused() {
    let points = line(20, 1.0);
    let reference = uniform(&points);
    let problem = problem(&cpu(1), &inputs(&line(40, 1.0)), &[0.5, 0.2, 0.3], &reference, 0.05);
    let of = |bound: EntropyBound| BoundedEntropy::new().bound(bound).solve(&problem).unwrap_err();
    assert!(matches!(of(EntropyBound::OfInputs), Error::Length { .. }));
    assert!(matches!(of(EntropyBound::At(vec![-1.0])), Error::Parameter { .. }));
    assert!(matches!(of(EntropyBound::At(vec![f64::NAN])), Error::Parameter { .. }));
    assert!(matches!(of(EntropyBound::At(vec![1.0; 3])), Error::Length { .. }));
    let backend = cpu(1);
    let cost = ot_core::SqEuclidean;
    let penalised = Barycenter::new(&backend, &reference, &cost, ot_core::Epsilon::Absolute(0.1))
        .input(&reference, &[1.0], &Kl::new(1.0).unwrap())
        .unwrap()
        .problem()
        .unwrap();
    assert!(matches!(BoundedEntropy::new().solve(&penalised), Err(Error::MissingCapability(_))));
}
