//! How the two potentials take turns.

use ot_core::{Backend, Error, Fold, KernelOp, Operand, PlanSide, PlanView, Sweep, family::simultaneous_responses};

/// The order of the two half-steps.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Update {
    /// f from g, then g from the new f: Sinkhorn's iteration.
    #[default]
    Alternating,
    /// Both from the entering pair, and averaged with it: f <- (f + step(softmin(g))) / 2 and
    /// likewise g (Knight, Ruiz, Ucar 2014; Feydy 2019). Treats the sides alike, and is the update
    /// for a measure against itself, where it converges in a few iterations. Over-relaxation does
    /// not apply.
    Symmetric,
}

/// One averaged iteration. `sweep.relaxation` holds 1/2 in the columns that move.
///
/// # Errors
/// A failure of the device.
pub(crate) fn averaged_sweep<B: Backend, K: KernelOp<B> + ?Sized>(
    kernel: &mut K,
    backend: &B,
    sweep: Sweep<'_, B>,
) -> Result<(), Error> {
    let epsilon = kernel.epsilon();
    if let Some(family) = kernel.family() {
        return simultaneous_responses(family, epsilon, backend, sweep);
    }
    let Sweep { source, target, potentials, relaxation, active, scratch, by_products } = sweep;
    let epsilon = Operand::Constant(epsilon);
    let plan = PlanView {
        source: PlanSide::new(&potentials.source, source),
        target: PlanSide::new(&potentials.target, target),
    };
    kernel.softmins(plan, active, [&mut scratch.source, &mut scratch.target])?;
    if let Some(hints) = by_products {
        let operands = [&potentials.source, &scratch.source, source.weights()].map(Operand::Vector);
        let [f, s, a] = operands;
        let outputs = &mut [&mut hints.source_residual, &mut hints.mass];
        backend.reduce(source.law().residual_and_mass(), Fold::Sum, source.len(), &[f, s, a, epsilon], outputs)?;
        backend.reduce(source.law().dual(), Fold::Sum, source.len(), &[f, a], &mut [&mut hints.source_dual])?;
        let [g, t, b] = [&potentials.target, &scratch.target, target.weights()].map(Operand::Vector);
        let outputs = &mut [&mut hints.target_residual];
        backend.reduce(target.law().residual(), Fold::Sum, target.len(), &[g, t, b, epsilon], outputs)?;
        backend.reduce(target.law().dual(), Fold::Sum, target.len(), &[g, b], &mut [&mut hints.target_dual])?;
    }
    let half = Operand::Reduced(relaxation);
    let operands = [Operand::Output(0), Operand::Vector(&scratch.source), half, epsilon];
    backend.map(source.law().relaxed_step(), &operands, &mut [&mut potentials.source])?;
    let operands = [Operand::Output(0), Operand::Vector(&scratch.target), half, epsilon];
    backend.map(target.law().relaxed_step(), &operands, &mut [&mut potentials.target])
}
