//! A solve that is cut short leaves a feasible plan with its true gap; one that is not is the same for any start.

use std::ops::ControlFlow;

use ot_conformance::Seeded;
use ot_core::{Error, Progress, Side, SqEuclidean, Status};
use ot_solvers::{ExactTransport, Guide};

use super::support::{assert_proven, cloud, solve};
use crate::support::cpu;

#[test]
fn a_limit_of_pivots_leaves_a_feasible_plan_with_its_true_gap() -> Result<(), Error> {
    let mut random = Seeded::new(5);
    let (a, b) = (cloud(&mut random, 60, 2, 0.0), cloud(&mut random, 70, 2, 1.0));
    let settings = ExactTransport::new().guide(Guide::Minima);
    let optimum = solve(&settings, &a, &b, &SqEuclidean)?;
    let mut last = f64::INFINITY;
    for pivots in [0, 5, 20, 50] {
        let cut = solve(&settings.clone().max_pivots(pivots), &a, &b, &SqEuclidean)?;
        let certificate = cut.certificate();
        assert_eq!((cut.status(), cut.report().pivots), (Status::IterationLimit, pivots));
        assert!(certificate.source_residual < 1e-14 && certificate.target_residual < 1e-14);
        assert!(certificate.smallest_reduced_cost >= -1e-13, "the bound is proven");
        assert!(certificate.dual <= optimum.certificate().primal && certificate.primal < last);
        assert!(certificate.suboptimality() >= certificate.primal - optimum.certificate().primal);
        last = certificate.primal;
    }
    assert!(last > optimum.certificate().primal);
    Ok(())
}

#[test]
fn an_observer_cancels() -> Result<(), Error> {
    let mut random = Seeded::new(6);
    let (a, b) = (cloud(&mut random, 700, 2, 0.0), cloud(&mut random, 700, 2, 1.0));
    let mut seen = 0;
    let mut observer = |progress: &Progress| {
        seen = progress.done;
        ControlFlow::Break(())
    };
    let backend = cpu(2);
    let settings = ExactTransport::new().guide(Guide::Minima);
    let cancelled = settings.run(&backend, &a, &b, &SqEuclidean).observer(&mut observer).solve()?;
    assert_eq!((cancelled.status(), cancelled.report().pivots), (Status::Cancelled, seen));
    assert!(cancelled.certificate().source_residual < 1e-14 && cancelled.certificate().suboptimality() > 0.0);
    Ok(())
}

#[test]
fn good_potentials_leave_little_to_do() -> Result<(), Error> {
    let mut random = Seeded::new(7);
    let (a, b) = (cloud(&mut random, 300, 3, 0.0), cloud(&mut random, 200, 3, 1.0));
    let settings = ExactTransport::new().guide(Guide::Minima);
    let (backend, cold) = (cpu(2), solve(&settings, &a, &b, &SqEuclidean)?);
    let (f, g) = (cold.potential(Side::Source), cold.potential(Side::Target));
    let warm = settings.run(&backend, &a, &b, &SqEuclidean).start(f, g).solve()?;
    assert_proven(&warm);
    assert!((warm.certificate().primal - cold.certificate().primal).abs() < 1e-13);
    assert!(10 * warm.report().pivots < cold.report().pivots, "{:?} after {:?}", warm.report(), cold.report());
    // Any potentials will do.
    let wild: Vec<f64> = (0..300).map(|_| 100.0 * random.normal()).collect();
    let warm = settings.run(&backend, &a, &b, &SqEuclidean).start(&wild, &wild[..200]).solve()?;
    assert_proven(&warm);
    assert!((warm.certificate().primal - cold.certificate().primal).abs() < 1e-13);
    assert!(matches!(
        settings.run(&backend, &a, &b, &SqEuclidean).start(&wild, &wild).solve(),
        Err(Error::Length { .. })
    ));
    Ok(())
}
