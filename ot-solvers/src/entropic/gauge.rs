//! The constant that balanced potentials leave free.

use std::sync::LazyLock;

use ot_core::{Device, Error, Fold, Operand, Potentials, Problem, Program, ProgramError, Side};

/// What a change of the constant computes.
struct Programs {
    /// A share of the mass: weights times potentials may leave the range of the element type.
    share: Program,
    difference: Program,
    add: Program,
    subtract: Program,
}

/// Recorded once.
static PROGRAMS: LazyLock<Result<Programs, ProgramError>> = LazyLock::new(|| {
    Ok(Programs {
        share: Program::record(|[weight, potential, mass]| [weight / mass * potential])?,
        difference: Program::record(|[source, target]| [target - source])?,
        add: Program::record(|[potential, shift]| [potential + shift])?,
        subtract: Program::record(|[potential, shift]| [potential - shift])?,
    })
});

/// Moves a constant between f and g so that <a, f> = <b, g>, in every column of a balanced
/// problem. Where a marginal is not prescribed the constant is not free, and nothing is done.
///
/// # Errors
/// A failure of the device.
pub(crate) fn fix_gauge<D: Device>(problem: &Problem<D>, potentials: &mut Potentials<D>) -> Result<(), Error> {
    if !problem.is_balanced() {
        return Ok(());
    }
    let (backend, columns) = (problem.backend(), problem.columns());
    let mass = |column: usize| Side::BOTH.map(|side| problem.marginal(side).mass(column)).iter().sum::<f64>();
    let masses = backend.upload_reduced(&(0..columns).map(mass).collect::<Vec<_>>())?;
    let Programs { share, difference, add, subtract } = PROGRAMS.as_ref().map_err(Clone::clone)?;
    let mut pairings = [backend.alloc_reduced(columns)?, backend.alloc_reduced(columns)?];
    for (side, pairing_of_side) in Side::BOTH.into_iter().zip(&mut pairings) {
        let marginal = problem.marginal(side);
        let vectors = [marginal.weights(), potentials.side(side)].map(Operand::Vector);
        let operands = [vectors[0], vectors[1], Operand::Reduced(&masses)];
        backend.reduce(share, Fold::Sum, marginal.len(), &operands, &mut [pairing_of_side])?;
    }

    let mut shift = backend.alloc_reduced(columns)?;
    backend.map_reduced(
        difference,
        &pairings.each_ref().map(|pairing| Operand::Reduced(pairing)),
        &mut [&mut shift],
    )?;

    backend.map(add, &[Operand::Output(0), Operand::Reduced(&shift)], &mut [&mut potentials.source])?;
    backend.map(subtract, &[Operand::Output(0), Operand::Reduced(&shift)], &mut [&mut potentials.target])
}
