//! The constant that balanced potentials leave free.

use ot_core::{Device, Error, Fold, Operand, Potentials, Problem, Program, Side};

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
    let pairing = Program::record(|[weight, potential]| [weight * potential])?;
    let mut pairings = [backend.alloc_reduced(columns)?, backend.alloc_reduced(columns)?];
    for (side, pairing_of_side) in Side::BOTH.into_iter().zip(&mut pairings) {
        let marginal = problem.marginal(side);
        let operands = [Operand::Vector(marginal.weights()), Operand::Vector(potentials.side(side))];
        backend.reduce(&pairing, Fold::Sum, marginal.len(), &operands, &mut [pairing_of_side])?;
    }

    let masses: Vec<f64> = (0..columns)
        .map(|column| problem.marginal(Side::Source).mass(column) + problem.marginal(Side::Target).mass(column))
        .collect();
    let masses = backend.upload_reduced(&masses)?;
    let half_difference = Program::record(|[source, target, masses]| [(target - source) / masses])?;
    let mut shift = backend.alloc_reduced(columns)?;
    let operands = [Operand::Reduced(&pairings[0]), Operand::Reduced(&pairings[1]), Operand::Reduced(&masses)];
    backend.map_reduced(&half_difference, &operands, &mut [&mut shift])?;

    let add = Program::record(|[potential, shift]| [potential + shift])?;
    let subtract = Program::record(|[potential, shift]| [potential - shift])?;
    backend.map(&add, &[Operand::Output(0), Operand::Reduced(&shift)], &mut [&mut potentials.source])?;
    backend.map(&subtract, &[Operand::Output(0), Operand::Reduced(&shift)], &mut [&mut potentials.target])
}
