//! The divergence as a whole: zero where it must be, positive elsewhere, the same on every kernel.

use std::cmp::Ordering;

use ot_conformance::problems::Diracs;
use ot_core::{
    Epsilon, Error, Euclidean, GroundCost, Histogram, Kl, MarginalPenalty, PointCloud, Side, SqEuclidean,
    TotalVariation,
};
use ot_solvers::{DivergenceForm, SelfTerm, Sinkhorn, SinkhornDivergence};

use super::support::parts;
use crate::support::{SIDES, assert_close, backends, cloud, cpu, penalty};

const FORMS: [DivergenceForm; 3] = [DivergenceForm::Full, DivergenceForm::Sharp, DivergenceForm::Genevay];

fn settings(tolerance: f64) -> SinkhornDivergence {
    SinkhornDivergence::new().sinkhorn(Sinkhorn::new().tolerance(tolerance).max_iterations(100_000))
}

/// The same under a penalty.
fn penalized(settings: SinkhornDivergence, penalty: &impl MarginalPenalty) -> SinkhornDivergence {
    settings.penalty(penalty).unwrap()
}

fn kl(rho: f64) -> Kl {
    Kl::new(rho).unwrap()
}

#[test]
fn measures_that_agree_have_no_divergence() {
    for backend in backends(1) {
        let a = cloud(1, 40, 0.0, 2.0);
        for form in FORMS {
            for penalty in [None, Some(penalty(kl(0.3))), Some(penalty(TotalVariation::new(0.3).unwrap()))] {
                for epsilon in [1e-4, 1e-2, 1.0, 1e3] {
                    let settings = settings(1e-6).form(form);
                    let settings = penalty.iter().fold(settings, penalized);
                    let of = |b: &PointCloud<'_, f64>| {
                        settings.between(&backend, &a, b, &SqEuclidean, Epsilon::Absolute(epsilon)).unwrap()
                    };
                    let same = of(&a);
                    assert_eq!(same.value(), 0.0, "{form:?} at {epsilon}");
                    assert_ne!(same.sign(), Some(Ordering::Less));
                }
            }
        }
    }
}

#[test]
fn the_order_of_atoms_does_not_matter() {
    let backend = cpu(1);
    let a = cloud(1, 30, 0.0, 1.0);
    let (points, weights) = parts(&a);
    let turned: Vec<f64> = points.chunks(2).rev().flatten().copied().collect();
    let turned = PointCloud::new(turned, 2, weights.into_iter().rev().collect::<Vec<_>>()).unwrap();
    for penalty in [None, Some(kl(0.3))] {
        let settings = penalty.iter().fold(settings(1e-9), penalized);
        let divergence = settings.between(&backend, &a, &turned, &SqEuclidean, Epsilon::Absolute(0.05)).unwrap();
        assert!(divergence.status().is_converged());
        assert!(divergence.value().abs() <= divergence.error_bound() + 1e-13, "{}", divergence.value());
        assert!(divergence.value().abs() <= 1e-10 && divergence.value().is_finite());
        assert_ne!(divergence.sign(), Some(Ordering::Less));
    }
}

#[test]
fn it_is_positive_symmetric_and_the_same_on_every_kernel() {
    let [dense, streaming] = backends(1);
    for (cost, epsilon) in [(&SqEuclidean as &dyn GroundCost, 0.05), (&Euclidean, 0.1)] {
        for seed in 0..4 {
            let (a, b) = (cloud(seed, 25, 0.0, 1.0), cloud(seed + 10, 30, 0.02, 1.0));
            let epsilon = Epsilon::Absolute(epsilon);
            let one = settings(1e-9).between(&dense, &a, &b, cost, epsilon).unwrap();
            let other = settings(1e-9).between(&streaming, &b, &a, cost, epsilon).unwrap();
            assert!(one.value() > 0.0 && one.sign() == Some(Ordering::Greater), "{}", one.value());
            assert_close(one.value(), other.value(), 1e-9);
        }
    }
}

#[test]
fn two_diracs_with_masses() {
    let backend = cpu(1);
    for masses in [[1.0, 1.0], [2.0, 0.3], [1e-3, 50.0]] {
        for (distance, rho, epsilon) in [(0.6, 0.8, 0.1), (0.6, 1e3, 1.0), (3.0, 0.01, 0.5)] {
            let diracs = |masses, distance| Diracs { masses, distance, strengths: [rho; 2], epsilon };
            let cross = diracs(masses, distance);
            let (a, b) = (cross.source::<f64>().unwrap(), cross.target::<f64>().unwrap());
            let settings = penalized(settings(1e-10), &kl(rho));
            let found = settings.between(&backend, &a, &b, &SqEuclidean, Epsilon::Absolute(epsilon));
            let own = masses.map(|mass| diracs([mass, mass], 0.0).value());
            let term = 0.5 * epsilon * (masses[0] - masses[1]).powi(2);
            let expected = cross.value() - 0.5 * (own[0] + own[1]) + term;
            let scale = (masses[0] + masses[1]).powi(2) * (1.0 + rho + epsilon);
            let found = found.unwrap();
            assert!((found.value() - expected).abs() <= 1e-9 * scale, "{} is not {expected}", found.value());
            assert!(found.value() > 0.0, "{}", found.value());
        }
    }
}

#[test]
fn strong_penalties_prescribe() {
    let backend = cpu(1);
    let (a, b) = (cloud(3, 25, 0.0, 1.0), cloud(4, 30, 0.2, 1.0));
    let of = |settings: SinkhornDivergence| {
        settings.between(&backend, &a, &b, &SqEuclidean, Epsilon::Absolute(0.05)).unwrap().value()
    };
    assert_close(of(penalized(settings(1e-9), &kl(1e5))), of(settings(1e-9)), 1e-5);
}

#[test]
fn bounds_hold_at_loose_tolerances() {
    let backend = cpu(1);
    let (a, b) = (cloud(5, 25, 0.0, 1.0), cloud(6, 30, 0.1, 1.0));
    for form in FORMS {
        let of = |tolerance| {
            settings(tolerance).form(form).between(&backend, &a, &b, &SqEuclidean, Epsilon::Absolute(0.02)).unwrap()
        };
        let exact = of(1e-11).value();
        for tolerance in [1e-1, 1e-3, 1e-5] {
            let loose = of(tolerance);
            let [lower, upper] = loose.bounds()[0];
            assert!(lower <= exact + 1e-12 && exact <= upper + 1e-12, "{form:?}: {exact} not in [{lower}, {upper}]");
            assert!((loose.value() - exact).abs() <= loose.error_bound() + 1e-12);
        }
    }
    // Without a bound on masses, nothing is claimed of a transport cost.
    let relaxed = penalized(settings(1e-6).form(DivergenceForm::Sharp), &kl(1.0));
    let relaxed = relaxed.between(&backend, &a, &b, &SqEuclidean, Epsilon::Absolute(0.02)).unwrap();
    assert_eq!((relaxed.error_bound(), relaxed.sign()), (f64::INFINITY, None));
}

#[test]
fn a_frozen_term_changes_no_bit() {
    for backend in backends(1) {
        let (a, b) = (cloud(7, 25, 0.0, 1.0), cloud(8, 30, 0.1, 1.5));
        for form in FORMS {
            let settings = penalized(settings(1e-8).form(form), &kl(0.5));
            let epsilon = Epsilon::Absolute(0.05);
            let problem = |x, y| settings.problem(&backend, x, y, &SqEuclidean, epsilon).unwrap();
            let whole = settings.between(&backend, &a, &b, &SqEuclidean, epsilon).unwrap();
            let frozen = settings.self_term(&problem(&b, &b)).unwrap();
            let (cross, own) = (problem(&a, &b), problem(&a, &a));
            let parts = settings.solve(&cross, SelfTerm::Open(&own), SelfTerm::Frozen(&frozen)).unwrap();
            assert_eq!(parts.value().to_bits(), whole.value().to_bits());
            let again =
                settings.solve(&cross, SelfTerm::Frozen(whole.self_term(Side::Source)), SelfTerm::Frozen(&frozen));
            assert_eq!(again.unwrap().value().to_bits(), whole.value().to_bits());
        }
    }
}

#[test]
fn problems_that_disagree_are_refused() {
    let backend = cpu(1);
    let (a, b) = (cloud(7, 25, 0.0, 1.0), cloud(8, 30, 0.1, 1.0));
    let settings = settings(1e-6);
    let problem = |settings: &SinkhornDivergence, x, y, epsilon| {
        settings.problem(&backend, x, y, &SqEuclidean, Epsilon::Absolute(epsilon)).unwrap()
    };
    let (cross, own) = (problem(&settings, &a, &b, 0.1), problem(&settings, &a, &a, 0.1));
    let heavy = cloud(8, 30, 0.1, 2.0);
    let relaxed = penalized(settings.clone(), &kl(1.0));
    for (other, what) in [
        (own.clone(), "the number of atoms"),
        (problem(&settings, &heavy, &heavy, 0.1), "the masses"),
        (problem(&settings, &b, &b, 0.2), "epsilon"),
        (problem(&relaxed, &b, &b, 0.1), "the penalties"),
    ] {
        let refused = settings.solve(&cross, SelfTerm::Open(&own), SelfTerm::Open(&other));
        assert_eq!(refused.unwrap_err(), Error::Disagreement { what });
    }
}

#[test]
fn a_batch_is_its_columns() {
    let backend = cpu(1);
    let a = cloud(9, 20, 0.0, 1.0);
    let (points, first) = parts(&cloud(10, 15, 0.1, 1.0));
    let second: Vec<f64> = first.iter().rev().copied().collect();
    let batch = PointCloud::batch(points.clone(), 2, [first.clone(), second.clone()].concat(), 2).unwrap();
    for form in FORMS {
        let of = |b: &PointCloud<'_, f64>| {
            settings(1e-9).form(form).between(&backend, &a, b, &SqEuclidean, Epsilon::Absolute(0.05)).unwrap()
        };
        let together = of(&batch).values();
        for (weights, found) in [&first, &second].into_iter().zip(together) {
            assert_close(found, of(&PointCloud::new(points.clone(), 2, weights.clone()).unwrap()).value(), 1e-9);
        }
    }
}

#[test]
fn histograms_under_a_matrix() {
    // On two atoms at distance one: a closed form of nothing but the 2 x 2 problem, and zero for equal weights.
    let backend = cpu(1);
    let cost = ot_core::CostMatrix::new(vec![0.0, 1.0, 1.0, 0.0], 2, 2).unwrap();
    let (a, b) = (Histogram::new(vec![0.5, 0.5]).unwrap(), Histogram::new(vec![0.2, 0.8]).unwrap());
    let of = |one: &Histogram<'_, f64>, other: &Histogram<'_, f64>, epsilon| {
        settings(1e-10).between(&backend, one, other, &cost, Epsilon::Absolute(epsilon)).unwrap().value()
    };
    assert_eq!(of(&a, &a, 0.1), 0.0);
    assert_close(of(&a, &b, 1e-3), 0.3, 1e-3);
    // Half the squared discrepancy of -c: sum over pairs of differences of weights.
    assert_close(of(&a, &b, 1e4), 0.3 * 0.3, 1e-4);
}

/// Clouds large enough for clusters: self terms stay symmetric, and both ways to a divergence agree.
#[test]
fn clusters_change_no_divergence() {
    let backend = cpu(2);
    let (a, b) = (cloud(1, 1500, 0.0, 1.0), cloud(2, 1400, 0.2, 1.0));
    let settings = SinkhornDivergence::new().sinkhorn(Sinkhorn::new().tolerance(1e-8));
    let epsilon = Epsilon::Absolute(0.02);
    let direct = settings.between(&backend, &a, &b, &SqEuclidean, epsilon).unwrap();
    for side in SIDES {
        let [f, g] = SIDES.map(|of| direct.self_term(side).potential(of).unwrap());
        assert!(f.iter().zip(&g).all(|(f, g)| (f - g).abs() < 1e-12));
    }
    let problem = |x, y| settings.problem(&backend, x, y, &SqEuclidean, epsilon).unwrap();
    let (cross, source, target) = (problem(&a, &b), problem(&a, &a), problem(&b, &b));
    let apart = settings.solve(&cross, SelfTerm::Open(&source), SelfTerm::Open(&target)).unwrap();
    assert!(direct.status().is_converged() && apart.status().is_converged());
    assert!((direct.value() - apart.value()).abs() < 1e-7, "{} {}", direct.value(), apart.value());
}
