//! What the wrappers of the kit see that others do not.

use ot_core::{
    ActiveColumns, Backend, BackendFailure, Balanced, ByProducts, Epsilon, Error, Measure, Operand, Potentials,
    Problem, Program, Side, SoftMin, SqEuclidean, Sweep,
    conformance::{Counting, Counts, Deferred, ReferenceBackend, problems::TranslatedCloud},
};
use std::sync::Arc;

/// A problem on a backend, its kernel, and all that sweeps need.
struct Loop<B: Backend> {
    backend: B,
    problem: Problem<B>,
    kernel: Box<dyn ot_core::KernelOp<B>>,
    potentials: Potentials<B>,
    scratch: Potentials<B>,
    relaxation: B::Reduced,
    hints: ByProducts<B>,
}

impl<B: Backend<Elem = f64>> Loop<B> {
    fn new(backend: &B) -> Result<Self, Error> {
        let cloud = TranslatedCloud::new(12, &[0.25, 0.5], 3);
        let (source, target) = (cloud.source::<f64>()?, cloud.target::<f64>()?);
        let geometry = backend.geometry(source.support(), target.support(), &SqEuclidean)?;
        let problem = Problem::relaxed(
            geometry,
            &source,
            &target,
            Epsilon::Absolute(0.05),
            Arc::new(Balanced),
            Arc::new(Balanced),
        )?;
        let room = || -> Result<Potentials<B>, Error> {
            let side = || backend.upload(&[0.0; 12], 1);
            Ok(Potentials { source: side()?, target: side()?, epsilon: 0.05 })
        };
        Ok(Self {
            kernel: problem.bind()?,
            potentials: room()?,
            scratch: room()?,
            relaxation: backend.upload_reduced(&[1.0])?,
            hints: ByProducts::alloc(backend, 1)?,
            backend: backend.clone(),
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
        self.kernel.sweep(&self.backend, sweep)
    }

    fn result(&self) -> Result<Vec<f64>, Error> {
        let vectors = self.backend.download(&[&self.potentials.source, &self.potentials.target])?;
        Ok([vectors.concat(), self.backend.read(&[&self.hints.source_residual])?.concat()].concat())
    }
}

#[test]
fn counts_tell_operations_reads_and_allocations_apart() -> Result<(), Error> {
    let backend = Counting::new(ReferenceBackend::<f64>::default());
    let mut solve = Loop::new(&backend)?;
    let before = backend.counts();
    assert_eq!((before.bindings, before.sweeps, before.reads), (1, 0, 0));
    assert!(before.allocations >= 10 && before.writes >= 5, "{before:?}");
    for _ in 0..7 {
        solve.sweep()?;
    }
    // The wrapped kernel sweeps by itself: neither its softmins nor its maps are asked of the wrapper.
    assert_eq!(backend.counts().since(before), Counts { sweeps: 7, ..Counts::default() });
    solve.result()?;
    assert_eq!(backend.counts().since(before), Counts { sweeps: 7, reads: 2, ..Counts::default() });

    let before = backend.clone().counts();
    let hard = solve.kernel.hard_transform().ok_or(Error::MissingCapability("c-transform"))?;
    hard.arcs_below(&solve.potentials.source, &solve.potentials.target, 0, 0.1, 1000)?;
    assert_eq!(backend.counts().since(before), Counts { requests: 1, reads: 1, ..Counts::default() });
    Ok(())
}

#[test]
fn wrapped_loops_have_the_bits_of_the_loop() -> Result<(), Error> {
    fn run<B: Backend<Elem = f64>>(backend: &B) -> Result<Vec<f64>, Error> {
        let mut solve = Loop::new(backend)?;
        for _ in 0..20 {
            solve.sweep()?;
        }
        solve.result()
    }
    let plain = ReferenceBackend::default();
    let expected = run(&plain)?;
    assert_eq!(run(&Counting::new(plain))?, expected);
    assert_eq!(run(&Deferred::new(plain))?, expected);
    assert_eq!(run(&Deferred::new(Counting::new(plain)))?, expected);
    Ok(())
}

#[test]
fn nothing_runs_before_a_read() -> Result<(), Error> {
    let counting = Counting::new(ReferenceBackend::<f64>::default());
    let backend = Deferred::new(counting.clone());
    let mut solve = Loop::new(&backend)?;
    let (before, waiting) = (counting.counts(), backend.pending());
    solve.sweep()?;
    assert_eq!(counting.counts(), before);
    assert!(backend.pending() >= waiting + 4, "{} operations", backend.pending());
    solve.result()?;
    assert_eq!((backend.pending(), counting.counts().since(before).softmins), (0, 2));
    Ok(())
}

#[test]
fn epsilon_is_that_of_the_request() -> Result<(), Error> {
    // A softmin that waits when the kernel is bound to another epsilon keeps its own.
    fn run<B: Backend<Elem = f64>>(backend: &B) -> Result<Vec<Vec<f64>>, Error> {
        let mut solve = Loop::new(backend)?;
        let mut outs = Vec::new();
        for epsilon in [0.05, 0.5, 5.0] {
            solve.kernel.rebind(epsilon)?;
            let mut out = backend.alloc(12, 1)?;
            let request = SoftMin {
                side: Side::Source,
                potential: &solve.potentials.target,
                log_weights: solve.problem.marginal(Side::Target).log_weights(),
                shift: &solve.potentials.source,
                active: &ActiveColumns::all(1),
            };
            solve.kernel.softmin(request, &mut out)?;
            outs.push(out);
        }
        backend.download(&outs.iter().collect::<Vec<_>>())
    }
    let expected = run(&ReferenceBackend::default())?;
    assert_ne!(expected[0], expected[1]);
    assert_eq!(run(&Deferred::new(ReferenceBackend::default()))?, expected);
    assert!(Loop::new(&Deferred::new(ReferenceBackend::default()))?.kernel.rebind(0.0).is_err());
    Ok(())
}

#[test]
fn what_nobody_wrote_fails_at_the_read_and_only_once() -> Result<(), Error> {
    let backend = Deferred::new(ReferenceBackend::<f64>::default());
    let double = Program::record(|[x]| [x + x])?;
    let unwritten = Err(Error::Backend(BackendFailure::Unwritten));
    let written = backend.upload(&[1.0, 2.0], 1)?;

    // As an operand, as an output that is read, as a shift, as what is read.
    let (empty, mut out) = (backend.alloc(2, 1)?, backend.alloc(2, 1)?);
    backend.map(&double, &[Operand::Vector(&empty)], &mut [&mut out])?;
    assert_eq!(backend.download(&[&written]), unwritten);
    assert_eq!(backend.download(&[&written])?, [[1.0, 2.0]]);

    backend.map(&double, &[Operand::Output(0)], &mut [&mut out])?;
    assert_eq!(backend.download(&[&written]), unwritten);
    assert_eq!(backend.download(&[&out]), unwritten);

    let mut solve = Loop::new(&backend)?;
    let (shift, mut softmin) = (backend.alloc(12, 1)?, backend.alloc(12, 1)?);
    let request = SoftMin {
        side: Side::Target,
        potential: &solve.potentials.source,
        log_weights: solve.problem.marginal(Side::Source).log_weights(),
        shift: &shift,
        active: &ActiveColumns::all(1),
    };
    solve.kernel.softmin(request, &mut softmin)?;
    assert_eq!(backend.read(&[]).err(), unwritten.clone().err());

    let number = backend.alloc_reduced(1)?;
    assert_eq!(backend.read(&[&number]).err(), unwritten.err());
    backend.map(&double, &[Operand::Vector(&written)], &mut [&mut out])?;
    assert_eq!(backend.download(&[&out])?, [[2.0, 4.0]]);
    Ok(())
}

#[test]
fn memory_of_columns_at_rest_is_poison() -> Result<(), Error> {
    let backend = Deferred::new(ReferenceBackend::<f64>::default());
    let cloud = TranslatedCloud::new(3, &[1.0], 1).source::<f64>()?;
    let geometry = backend.geometry(cloud.support(), cloud.support(), &SqEuclidean)?;
    let zeros = backend.upload(&[0.0; 6], 2)?;
    let (mut out, mut active) = (backend.alloc(3, 2)?, ActiveColumns::all(2));
    active.freeze(1);
    let request =
        SoftMin { side: Side::Source, potential: &zeros, log_weights: &zeros, shift: &zeros, active: &active };
    geometry.bind(1.0, 2)?.softmin(request, &mut out)?;
    let found = backend.download(&[&out])?.swap_remove(0);
    assert!(found[..3].iter().all(|value| value.is_finite()) && found[3..].iter().all(|value| value.is_nan()));
    Ok(())
}
