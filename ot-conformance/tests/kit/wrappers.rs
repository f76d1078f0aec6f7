//! What the wrappers of the kit see that others do not.

use std::sync::Arc;

use ot_conformance::{Counting, Counts, Deferred, ReferenceBackend, problems::TranslatedCloud};
use ot_core::{
    ActiveColumns, Backend, BackendFailure, ByProducts, CTransform, Device, Epsilon, Error, Geometry, GeometryBuilder,
    Host, KernelOp, Measure, Operand, Potentials, Problem, Program, Side, SqEuclidean, Sweep,
};

/// A problem, its kernel, and all that sweeps need.
struct Loop<D: Device> {
    problem: Problem<D>,
    kernel: Box<dyn KernelOp<D>>,
    potentials: Potentials<D>,
    scratch: Potentials<D>,
    relaxation: D::Reduced,
    hints: ByProducts<D>,
}

impl<D: Device<Elem = f64>> Loop<D> {
    fn new(problem: Problem<D>) -> Result<Self, Error> {
        let backend = problem.backend();
        let zeros = || -> Result<Potentials<D>, Error> {
            Ok(Potentials { source: backend.filled(0.0, 12, 1)?, target: backend.filled(0.0, 12, 1)?, epsilon: 0.05 })
        };
        Ok(Self {
            kernel: problem.bind()?,
            potentials: zeros()?,
            scratch: zeros()?,
            relaxation: backend.upload_reduced(&[1.0])?,
            hints: ByProducts::alloc(backend, [12, 12], 1)?,
            problem,
        })
    }

    fn sweep(&mut self) -> Result<(), Error> {
        let active = ActiveColumns::all(1);
        let sweep = Sweep {
            source: self.problem.marginal(Side::Source),
            target: self.problem.marginal(Side::Target),
            potentials: &mut self.potentials,
            relaxation: &self.relaxation,
            active: &active,
            scratch: &mut self.scratch,
            by_products: Some(&mut self.hints),
        };
        self.kernel.sweep(self.problem.backend(), sweep)
    }

    fn c_transform(&mut self, out: &mut D::Vector) -> Result<(), Error> {
        let (plan, active) = (self.problem.view(&self.potentials), ActiveColumns::all(1));
        let penalty = self.problem.marginal(Side::Source).penalty();
        let request = CTransform { side: Side::Source, plan, penalty, active: &active };
        self.kernel.c_transform(self.problem.backend(), request, out, None)
    }

    fn result(&self) -> Result<Vec<f64>, Error> {
        let backend = self.problem.backend();
        let vectors = backend.download(&[&self.potentials.source, &self.potentials.target])?;
        Ok([vectors.concat(), backend.read(&[&self.hints.source_residual])?.concat()].concat())
    }
}

/// A geometry of the reference backend.
fn geometry() -> Result<Arc<dyn Geometry<Host<f64>>>, Error> {
    let cloud = TranslatedCloud::new(12, &[0.25, 0.5], 3);
    let (source, target) = (cloud.source::<f64>()?, cloud.target::<f64>()?);
    ReferenceBackend::default().geometry(source.support(), target.support(), &SqEuclidean)
}

/// The balanced problem between a cloud and its translation.
fn problem<D: Device<Elem = f64>>(geometry: Arc<dyn Geometry<D>>) -> Result<Problem<D>, Error> {
    let cloud = TranslatedCloud::new(12, &[0.25, 0.5], 3);
    Problem::new(geometry, &cloud.source::<f64>()?, &cloud.target::<f64>()?, Epsilon::Absolute(0.05))
}

fn deferred() -> Deferred<Host<f64>> {
    Deferred::new(Arc::new(ReferenceBackend::<f64>::default()))
}

#[test]
fn counts_tell_operations_reads_and_allocations_apart() -> Result<(), Error> {
    let counting = Counting::new(Arc::new(ReferenceBackend::<f64>::default()));
    let mut solve = Loop::new(problem(geometry()?)?.with_backend(Arc::new(counting.clone())))?;
    let before = counting.counts();
    assert!(before.allocations >= 10 && before.writes >= 1 && before.reads == 0, "{before:?}");
    solve.sweep()?;
    let of_one = counting.counts().since(before);
    assert!(of_one.operations >= 4, "{of_one:?}");
    assert_eq!(of_one, Counts { operations: of_one.operations, ..Counts::default() });
    for _ in 0..6 {
        solve.sweep()?;
    }
    assert_eq!(counting.counts().since(before), Counts { operations: 7 * of_one.operations, ..Counts::default() });
    solve.result()?;
    assert_eq!(counting.clone().counts().since(before).reads, 2);
    Ok(())
}

#[test]
fn wrapped_loops_have_the_bits_of_the_loop() -> Result<(), Error> {
    fn run<D: Device<Elem = f64>>(problem: Problem<D>) -> Result<Vec<f64>, Error> {
        let mut solve = Loop::new(problem)?;
        for _ in 0..20 {
            solve.sweep()?;
        }
        solve.result()
    }
    let expected = run(problem(geometry()?)?)?;
    let counting = Counting::new(Arc::new(ReferenceBackend::<f64>::default()));
    assert_eq!(run(problem(geometry()?)?.with_backend(Arc::new(counting.clone())))?, expected);
    assert_eq!(run(problem(deferred().wrap(geometry()?))?)?, expected);
    assert_eq!(run(problem(Deferred::new(Arc::new(counting)).wrap(geometry()?))?)?, expected);
    Ok(())
}

#[test]
fn nothing_runs_before_a_read() -> Result<(), Error> {
    let counting = Counting::new(Arc::new(ReferenceBackend::<f64>::default()));
    let backend = Deferred::new(Arc::new(counting.clone()));
    let mut solve = Loop::new(problem(backend.wrap(geometry()?))?)?;
    let (before, waiting) = (counting.counts(), backend.pending());
    solve.sweep()?;
    assert_eq!(counting.counts(), before);
    assert!(backend.pending() >= waiting + 4, "{} operations", backend.pending());
    solve.result()?;
    assert_eq!(backend.pending(), 0);
    assert!(counting.counts().since(before).operations > 4);
    Ok(())
}

#[test]
fn epsilon_is_that_of_the_request() -> Result<(), Error> {
    // A c-transform that waits when the kernel is bound to another epsilon keeps its own.
    fn run<D: Device<Elem = f64>>(problem: Problem<D>) -> Result<Vec<Vec<f64>>, Error> {
        let mut solve = Loop::new(problem)?;
        let mut outs = Vec::new();
        for epsilon in [0.05, 0.5, 5.0] {
            solve.kernel.rebind(epsilon)?;
            let mut out = solve.problem.backend().alloc(12, 1)?;
            solve.c_transform(&mut out)?;
            outs.push(out);
        }
        solve.problem.backend().download(&outs.iter().collect::<Vec<_>>())
    }
    let expected = run(problem(geometry()?)?)?;
    assert_ne!(expected[0], expected[1]);
    assert_eq!(run(problem(deferred().wrap(geometry()?))?)?, expected);
    assert!(Loop::new(problem(deferred().wrap(geometry()?))?)?.kernel.rebind(0.0).is_err());
    Ok(())
}

#[test]
fn what_nobody_wrote_fails_at_the_read_and_only_once() -> Result<(), Error> {
    let backend = deferred();
    let double = Program::record(|[x]| [x + x])?;
    let unwritten = Err(Error::Backend(BackendFailure::Unwritten));
    let written = backend.upload(&[1.0, 2.0], 1)?;

    // As an operand, as an output that is read, as a guess, as what is read.
    let (empty, mut out) = (backend.alloc(2, 1)?, backend.alloc(2, 1)?);
    backend.map(&double, &[Operand::Vector(&empty)], &mut [&mut out])?;
    assert_eq!(backend.download(&[&written]), unwritten);
    assert_eq!(backend.download(&[&written])?, [[1.0, 2.0]]);

    backend.map(&double, &[Operand::Output(0)], &mut [&mut out])?;
    assert_eq!(backend.download(&[&written]), unwritten);
    assert_eq!(backend.download(&[&out]), unwritten);

    let mut solve = Loop::new(problem(backend.wrap(geometry()?))?)?;
    solve.potentials.source = backend.alloc(12, 1)?;
    let mut transform = backend.alloc(12, 1)?;
    solve.c_transform(&mut transform)?;
    assert_eq!(backend.read(&[]).err(), unwritten.clone().err());

    let number = backend.alloc_reduced(1)?;
    assert_eq!(backend.read(&[&number]).err(), unwritten.err());
    backend.map(&double, &[Operand::Vector(&written)], &mut [&mut out])?;
    assert_eq!(backend.download(&[&out])?, [[2.0, 4.0]]);
    Ok(())
}
