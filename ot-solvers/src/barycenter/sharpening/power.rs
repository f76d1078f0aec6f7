//! The projection onto a bound of entropy: the power of a measure that has just so much.

use ot_core::{Backend, Device, Error, Fold, LOG_ZERO, Operand, Program, Real};

use crate::barycenter::{group::Group, unknown::Unknown};

/// The projection onto the bound.
#[derive(Debug)]
pub(super) struct Power<D: Device> {
    bounds: D::Reduced,
    beta: D::Reduced,
    /// log p' up to a constant, 0 at its largest.
    logarithm: D::Vector,
    largest: D::Reduced,
    /// sum of p'^beta, of p'^beta log p', of p'^beta (log p')^2.
    sums: [D::Reduced; 3],
    programs: Programs,
}

/// The formulas of the projection.
#[derive(Debug)]
struct Programs {
    /// (s, log m, epsilon) to log p' up to a constant; of an atom outside m, whatever s is there, that of nothing.
    logarithm: Program,
    /// (l, largest l) to their difference, within what a square holds.
    below: Program,
    /// x to x.
    identity: Program,
    /// (l, beta) to the terms of the sums.
    sums: Program,
    /// (beta, sums, bound) to a beta that is nearer: Newton's step within a factor of two, and never below 1.
    beta: Program,
    /// (l, beta, sum, mass) to p.
    mass: Program,
    /// (l, beta, sum, mass, log m, epsilon) to epsilon log(p / m).
    step: Program,
}

/// Newton's steps towards beta in each iteration.
const STEPS: usize = 5;

impl<D: Device> Power<D> {
    pub(super) fn new(backend: &dyn Backend<D>, len: usize, bounds: &[f64]) -> Result<Self, Error> {
        let columns = bounds.len();
        let number = || backend.alloc_reduced(columns);
        Ok(Self {
            bounds: backend.upload_reduced(bounds)?,
            beta: backend.upload_reduced(&vec![1.0; columns])?,
            logarithm: backend.alloc(len, columns)?,
            largest: number()?,
            sums: [number()?, number()?, number()?],
            programs: Programs {
                logarithm: Program::record(|[s, log_m, epsilon]| {
                    [(log_m - 0.5 * LOG_ZERO).select(log_m - s / epsilon, LOG_ZERO)]
                })?,
                below: Program::record(|[l, largest]| [(l - largest).max(-1e4)])?,
                identity: Program::record(|[x]| [x])?,
                sums: Program::record(|[l, beta]| {
                    let power = (beta * l).exp();
                    [power, power * l, power * l * l]
                })?,
                beta: Program::record(|[beta, sum, first, second, bound]| {
                    let mean = first / sum;
                    let entropy = sum.ln() - beta * mean;
                    let slope = beta * (second / sum - mean * mean);
                    let step = slope.select((entropy - bound) / slope, 0.0);
                    [(beta + step).max(0.5 * beta).min(2.0 * beta).max(1.0)]
                })?,
                mass: Program::record(|[l, beta, sum, mass]| [(beta * l).exp() * (mass / sum)])?,
                step: Program::record(|[l, beta, sum, mass, log_m, epsilon]| {
                    let logarithm = beta * l + (mass / sum).ln() - log_m;
                    [(log_m - 0.5 * LOG_ZERO).select(epsilon * logarithm, 0.0)]
                })?,
            },
        })
    }

    /// beta of each column.
    pub(super) fn powers(&self, backend: &dyn Backend<D>) -> Result<Vec<f64>, Error> {
        Ok(backend.read(&[&self.beta])?.swap_remove(0))
    }

    /// p from the mean softmin in `unknown`, and potentials at which each plan has the marginal p, from the softmins s_k in
    /// `groups`.
    pub(super) fn project(
        &mut self,
        backend: &dyn Backend<D>,
        unknown: &mut Unknown<'_, D>,
        groups: &mut [Group<D>],
        epsilon: f64,
    ) -> Result<(), Error> {
        let Self { bounds, beta, logarithm, largest, sums, programs } = self;
        let reference = unknown.reference();
        let (len, log_m) = (reference.len(), reference.log_weights());
        let operands = [Operand::Vector(unknown.mean()), Operand::Vector(log_m), Operand::Constant(epsilon)];
        backend.map(&programs.logarithm, &operands, &mut [logarithm])?;
        backend.reduce(&programs.identity, Fold::Max, len, &[Operand::Vector(logarithm)], &mut [largest])?;
        backend.map(&programs.below, &[Operand::Output(0), Operand::Reduced(largest)], &mut [logarithm])?;
        for _ in 0..STEPS {
            let [sum, one, two] = sums;
            let operands = [Operand::Vector(logarithm), Operand::Reduced(beta)];
            backend.reduce(&programs.sums, Fold::Sum, len, &operands, &mut [&mut *sum, &mut *one, &mut *two])?;
            let operands = [Operand::Output(0), Operand::Reduced(sum), Operand::Reduced(one), Operand::Reduced(two)];
            let operands = [&operands[..], &[Operand::Reduced(bounds)]].concat();
            backend.map_reduced(&programs.beta, &operands, &mut [beta])?;
        }
        let [sum, one, two] = sums;
        let operands = [Operand::Vector(logarithm), Operand::Reduced(beta)];
        backend.reduce(&programs.sums, Fold::Sum, len, &operands, &mut [&mut *sum, one, two])?;
        let (masses, mass) = unknown.masses_and_mass();
        let operands =
            [Operand::Vector(logarithm), Operand::Reduced(beta), Operand::Reduced(sum), Operand::Reduced(mass)];
        backend.map(&programs.mass, &operands, &mut [masses])?;
        let operands = [
            Operand::Output(0),
            Operand::Reduced(beta),
            Operand::Reduced(sum),
            Operand::Reduced(mass),
            Operand::Vector(log_m),
            Operand::Constant(epsilon),
        ];
        backend.map(&programs.step, &operands, &mut [logarithm])?;
        unknown.add(logarithm, groups)
    }
}
