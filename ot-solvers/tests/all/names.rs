//! Both crates imported whole: no name of one hides a name of the other.

use ot_core::*;
use ot_cpu::CpuBackend;
use ot_solvers::*;

#[test]
fn both_crates_are_imported_at_once() -> Result<(), Error> {
    let backend = CpuBackend::<f64>::new(1)?;
    let (a, b) = (PointCloud::uniform(vec![0.0, 1.0], 1)?, PointCloud::uniform(vec![1.0, 3.0], 1)?);
    let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean)?;
    let problem = Problem::new(geometry, &a, &b, Epsilon::Absolute(0.1))?;
    let solution = Sinkhorn::new().tolerance(1e-9).solve(&problem)?;
    // That of potentials, beside the one of exact plans.
    assert_eq!(certify(&problem, solution.potentials())?[0].dual, solution.certificate().dual);
    let exact = ExactTransport::new().solve(&backend, &a, &b, &SqEuclidean)?;
    let [f, g] = Side::BOTH.map(|side| exact.potential(side));
    let certificate = certify_optimality::<f64>(&a, &b, &SqEuclidean, exact.plan(), f, g)?;
    assert_eq!(certificate.primal, 0.5 * 1.0 + 0.5 * 4.0);
    // Formulas of a penalty and of its recording, of a regularizer and of its recording.
    let (kl, recorded) = (Kl::new(0.5)?, Kl::new(0.5)?.recorded()?);
    assert_eq!((MarginalPenalty::step(&kl, 3.0, 0.25), kl.kind()), (2.0, recorded.kind()));
    assert_eq!((Entropy.density(0.0), Entropy.kind()), (1.0, Entropy.recorded()?.kind()));
    // A formula of a cost, and the cost that it is.
    let bounds = BoundingBox::of(PointsView::new(&[0.0, 0.0], 2)?);
    assert_eq!(
        (Euclidean.dimension(), Euclidean.may_forbid()),
        (Euclidean.fixed_dimension(), Euclidean.forbids_pairs())
    );
    assert_eq!((Euclidean.form(), Euclidean.bound(&bounds, &bounds)), (Euclidean.known_form(), Some(0.0)));
    assert!(SqEuclidean.least(&bounds, &bounds) == Some(0.0) && SqEuclidean.axis_cost(1).is_some());
    Ok(())
}
