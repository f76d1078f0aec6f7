//! Conjugate gradients (Hestenes, Stiefel 1952) for an operator that is self-adjoint and
//! non-negative in a weighted inner product, on any backend.
//!
//! ```text
//! alpha = <r, r> / <p, A p>      x <- x + alpha p      r <- r - alpha A p
//! beta  = <r', r'> / <r, r>      p <- r' + beta p               <x, y> = sum_j omega_j x_j y_j
//! ```
//!
//! alpha and beta stay on the device, one for each column: every column is a system of its own.
//! The host reads only every [`CHECK_INTERVAL`] steps, to see whether all of them are solved.

use ot_core::{Backend, Device, Error, Fold, Operand, Program, Real};

/// Steps between two reads.
const CHECK_INTERVAL: usize = 10;

/// The squared residual, relative to that of zero, at which a system is solved.
const SOLVED: f64 = 1e-32;

/// The most steps.
const MAX_STEPS: usize = 1000;

/// The inner product, and what is known of the null space.
#[derive(Debug)]
pub struct ConjugateGradient<'a, D: Device> {
    /// Where the vectors live.
    pub backend: &'a dyn Backend<D>,
    /// omega, one for each row and column.
    pub weights: &'a D::Vector,
    /// Is the operator zero on constants? Then they are projected out of every residual.
    pub constants_vanish: bool,
}

/// The programs of one step.
struct Programs {
    inner: Program,
    advance: Program,
    descend: Program,
    quotient: Program,
    mean: Program,
    centre: Program,
    turn: Program,
}

impl Programs {
    fn record() -> Result<Self, Error> {
        Ok(Self {
            inner: Program::record(|[omega, x, y]| [omega * x * y])?,
            advance: Program::record(|[x, alpha, p]| [x + alpha * p])?,
            descend: Program::record(|[r, alpha, image]| [r - alpha * image])?,
            // A direction of no curvature is one of no residual: the column is solved.
            quotient: Program::record(|[above, below]| [below.select(above / below, 0.0)])?,
            mean: Program::record(|[omega, x]| [omega * x, omega])?,
            centre: Program::record(|[x, total, mass]| [x - total / mass])?,
            turn: Program::record(|[p, beta, r]| [r + beta * p])?,
        })
    }
}

impl<D: Device> ConjugateGradient<'_, D> {
    /// Solves A x = right-hand side from x = 0. `operator(x, out)` writes A x.
    ///
    /// Panics if the systems are not solved to rounding within [`MAX_STEPS`].
    pub fn solve(
        &self,
        right_hand_side: &D::Vector,
        mut operator: impl FnMut(&D::Vector, &mut D::Vector) -> Result<(), Error>,
    ) -> Result<D::Vector, Error> {
        let backend = self.backend;
        let (rows, columns) = backend.shape(right_hand_side);
        let programs = Programs::record()?;
        let number = || backend.alloc_reduced(columns);

        let mut x = backend.filled(0.0, rows, columns)?;
        let mut r = backend.copied(right_hand_side)?;
        let [mut total, mut mass] = [number()?, number()?];
        self.project(&programs, &mut r, &mut total, &mut mass)?;
        let mut p = backend.copied(&r)?;
        let mut image = backend.alloc(rows, columns)?;
        let [mut squared, mut next, mut curvature] = [number()?, number()?, number()?];
        let [mut alpha, mut beta] = [number()?, number()?];

        self.inner(&programs, &r, &r, &mut squared)?;
        let first = backend.read(&[&squared])?.swap_remove(0);
        for step in 1..=MAX_STEPS {
            operator(&p, &mut image)?;
            self.inner(&programs, &p, &image, &mut curvature)?;
            let fraction = [Operand::Reduced(&squared), Operand::Reduced(&curvature)];
            backend.map_reduced(&programs.quotient, &fraction, &mut [&mut alpha])?;

            let length = Operand::Reduced(&alpha);
            backend.map(&programs.advance, &[Operand::Output(0), length, Operand::Vector(&p)], &mut [&mut x])?;
            backend.map(&programs.descend, &[Operand::Output(0), length, Operand::Vector(&image)], &mut [&mut r])?;
            self.project(&programs, &mut r, &mut total, &mut mass)?;

            self.inner(&programs, &r, &r, &mut next)?;
            let fraction = [Operand::Reduced(&next), Operand::Reduced(&squared)];
            backend.map_reduced(&programs.quotient, &fraction, &mut [&mut beta])?;
            let turned = [Operand::Output(0), Operand::Reduced(&beta), Operand::Vector(&r)];
            backend.map(&programs.turn, &turned, &mut [&mut p])?;
            std::mem::swap(&mut squared, &mut next);

            if step % CHECK_INTERVAL == 0 {
                let now = backend.read(&[&squared])?.swap_remove(0);
                if now.iter().zip(&first).all(|(now, first)| *now <= SOLVED * first) {
                    return Ok(x);
                }
            }
        }
        panic!("conjugate gradients did not solve the linearised fixed point in {MAX_STEPS} steps");
    }

    /// out = <x, y>.
    fn inner(&self, programs: &Programs, x: &D::Vector, y: &D::Vector, out: &mut D::Reduced) -> Result<(), Error> {
        let (rows, _) = self.backend.shape(x);
        let operands = [self.weights, x, y].map(Operand::Vector);
        self.backend.reduce(&programs.inner, Fold::Sum, rows, &operands, &mut [out])
    }

    /// x <- x - <1, x> / <1, 1>, if constants vanish.
    fn project(
        &self,
        programs: &Programs,
        x: &mut D::Vector,
        total: &mut D::Reduced,
        mass: &mut D::Reduced,
    ) -> Result<(), Error> {
        if !self.constants_vanish {
            return Ok(());
        }
        let (rows, _) = self.backend.shape(x);
        let operands = [Operand::Vector(self.weights), Operand::Vector(&*x)];
        self.backend.reduce(&programs.mean, Fold::Sum, rows, &operands, &mut [&mut *total, &mut *mass])?;
        let operands = [Operand::Output(0), Operand::Reduced(&*total), Operand::Reduced(&*mass)];
        self.backend.map(&programs.centre, &operands, &mut [x])
    }
}
