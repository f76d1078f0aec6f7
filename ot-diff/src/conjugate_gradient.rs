//! Conjugate gradients (Hestenes, Stiefel 1952) for an operator that is self-adjoint and non-negative in a weighted inner
//! product, on any backend.
//!
//! ```text
//! alpha = <r, z> / <p, A p>      x <- x + alpha p      r <- r - alpha A p      z = M r
//! beta  = <r', z'> / <r, z>      p <- z' + beta p              <x, y> = sum_j omega_j x_j y_j
//! ```
//!
//! alpha and beta stay on the device, one for each column: every column is a system of its own. The host reads at checks.

use ot_core::{Backend, Device, Error, Fold, Operand, Program, Real, Status};

use crate::{LinearSolve, LinearSolver, Preconditioner, algebra::update};

/// The squared residual, relative to the right-hand side, at which a column rests.
const RESTING: f64 = 1e-34;

/// Steps without a smaller residual after which a solve has stalled.
const PATIENCE: usize = 50;

/// The inner product, and what is known of the null space.
pub(crate) struct ConjugateGradient<'a, D: Device> {
    /// Where the vectors live.
    pub(crate) backend: &'a dyn Backend<D>,
    /// omega, one for each row and column.
    pub(crate) weights: &'a D::Vector,
    /// Is the operator zero on constants? Then they are projected out of every residual.
    pub(crate) constants_vanish: bool,
    /// Limits and checks.
    pub(crate) settings: &'a LinearSolver,
    /// M.
    pub(crate) preconditioner: Option<&'a mut dyn Preconditioner<D>>,
}

/// The programs of one step.
struct Programs {
    inner: Program,
    advance: Program,
    descend: Program,
    length: Program,
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
            length: Program::record(|[above, below, resting]| {
                [(above - resting).select(below.select(above / below, 0.0), 0.0)]
            })?,
            quotient: Program::record(|[above, below]| [below.select(above / below, 0.0)])?,
            mean: Program::record(|[omega, x]| [omega * x, omega])?,
            centre: Program::record(|[x, total, mass]| [x - mass.select(total / mass, 0.0)])?,
            turn: Program::record(|[p, beta, r]| [r + beta * p])?,
        })
    }
}

impl<D: Device> ConjugateGradient<'_, D> {
    /// Solves A x = right-hand side, from zero or from a start. `operator(x, out)` writes A x.
    pub(crate) fn solve(
        mut self,
        right_hand_side: &D::Vector,
        start: Option<&D::Vector>,
        mut operator: impl FnMut(&D::Vector, &mut D::Vector) -> Result<(), Error>,
    ) -> Result<(D::Vector, LinearSolve), Error> {
        let backend = self.backend;
        let (rows, columns) = backend.shape(right_hand_side);
        let programs = Programs::record()?;
        let number = || backend.alloc_reduced(columns);
        let tolerance = self.settings.tolerance_for::<D::Elem>();

        let mut asked = backend.copied(right_hand_side)?;
        self.project(&programs, &mut asked)?;
        let mut image = backend.alloc(rows, columns)?;
        let (mut x, mut r) = (backend.filled(0.0, rows, columns)?, backend.copied(&asked)?);
        let [mut squared, mut next, mut norm, mut curvature] = [number()?, number()?, number()?, number()?];
        let [mut alpha, mut beta] = [number()?, number()?];
        self.inner(&programs, &asked, &asked, &mut norm)?;
        let scale = backend.read(&[&norm])?.swap_remove(0);
        if let Some(start) = start {
            backend.copy(start, &mut x)?;
            operator(&x, &mut image)?;
            update(backend, &mut r, [Operand::Vector(&image)], |r, [image]| r - image)?;
            self.project(&programs, &mut r)?;
        }
        let resting = backend.upload_reduced(&scale.iter().map(|scale| RESTING * scale).collect::<Vec<_>>())?;

        let mut z = match self.preconditioner {
            Some(_) => Some(backend.alloc(rows, columns)?),
            None => None,
        };
        self.precondition(&programs, &r, z.as_mut())?;
        let mut p = backend.copied(z.as_ref().unwrap_or(&r))?;
        self.inner(&programs, &r, z.as_ref().unwrap_or(&r), &mut squared)?;

        let worst = |read: &[f64]| worst(read, &scale);
        self.inner(&programs, &r, &r, &mut norm)?;
        let mut residual = worst(&backend.read(&[&norm])?[0]);
        let (mut best, mut best_step, mut steps, mut status) = (residual, 0, 0, None);
        // The recurrence is trusted to half of the tolerance; what is told is recomputed.
        while residual > 0.5 * tolerance && status.is_none() {
            if steps == self.settings.max_steps {
                status = Some(Status::IterationLimit);
                break;
            }
            steps += 1;
            operator(&p, &mut image)?;
            self.inner(&programs, &p, &image, &mut curvature)?;
            let fraction = [&squared, &curvature, &resting].map(Operand::Reduced);
            backend.map_reduced(&programs.length, &fraction, &mut [&mut alpha])?;

            let length = Operand::Reduced(&alpha);
            backend.map(&programs.advance, &[Operand::Output(0), length, Operand::Vector(&p)], &mut [&mut x])?;
            backend.map(&programs.descend, &[Operand::Output(0), length, Operand::Vector(&image)], &mut [&mut r])?;
            self.project(&programs, &mut r)?;
            self.precondition(&programs, &r, z.as_mut())?;

            self.inner(&programs, &r, z.as_ref().unwrap_or(&r), &mut next)?;
            let fraction = [&next, &squared].map(Operand::Reduced);
            backend.map_reduced(&programs.quotient, &fraction, &mut [&mut beta])?;
            let turned = [Operand::Output(0), Operand::Reduced(&beta), Operand::Vector(z.as_ref().unwrap_or(&r))];
            backend.map(&programs.turn, &turned, &mut [&mut p])?;
            std::mem::swap(&mut squared, &mut next);

            if steps % self.settings.check_interval == 0 || steps == self.settings.max_steps {
                self.inner(&programs, &r, &r, &mut norm)?;
                residual = worst(&backend.read(&[&norm])?[0]);
                if residual < best {
                    (best, best_step) = (residual, steps);
                }
                match residual.is_finite() {
                    false => status = Some(Status::NotFinite),
                    true if steps - best_step > PATIENCE.max(2 * self.settings.check_interval) => {
                        status = Some(Status::Stalled);
                    }
                    true => {}
                }
            }
        }

        operator(&x, &mut image)?;
        update(backend, &mut asked, [Operand::Vector(&image)], |asked, [image]| asked - image)?;
        self.project(&programs, &mut asked)?;
        self.inner(&programs, &asked, &asked, &mut norm)?;
        let residual = worst(&backend.read(&[&norm])?[0]);
        if !residual.is_finite() {
            backend.fill(0.0, &mut x)?;
            return Ok((x, LinearSolve { residual: 1.0, steps, status: Status::NotFinite }));
        }
        let status = match status {
            _ if residual <= tolerance => Status::Converged,
            Some(status) => status,
            None => Status::Stalled,
        };
        Ok((x, LinearSolve { residual, steps, status }))
    }

    /// z = M r.
    fn precondition(&mut self, programs: &Programs, r: &D::Vector, z: Option<&mut D::Vector>) -> Result<(), Error> {
        if let (Some(preconditioner), Some(z)) = (self.preconditioner.as_deref_mut(), z) {
            preconditioner.precondition(self.backend, r, z)?;
            self.project(programs, z)?;
        }
        Ok(())
    }

    /// out = <x, y>.
    fn inner(&self, programs: &Programs, x: &D::Vector, y: &D::Vector, out: &mut D::Reduced) -> Result<(), Error> {
        let (rows, _) = self.backend.shape(x);
        let operands = [self.weights, x, y].map(Operand::Vector);
        self.backend.reduce(&programs.inner, Fold::Sum, rows, &operands, &mut [out])
    }

    /// x <- x - <1, x> / <1, 1>, if constants vanish.
    fn project(&self, programs: &Programs, x: &mut D::Vector) -> Result<(), Error> {
        if !self.constants_vanish {
            return Ok(());
        }
        let (rows, columns) = self.backend.shape(x);
        let [mut total, mut mass] = [self.backend.alloc_reduced(columns)?, self.backend.alloc_reduced(columns)?];
        let operands = [Operand::Vector(self.weights), Operand::Vector(&*x)];
        self.backend.reduce(&programs.mean, Fold::Sum, rows, &operands, &mut [&mut total, &mut mass])?;
        let operands = [Operand::Output(0), Operand::Reduced(&total), Operand::Reduced(&mass)];
        self.backend.map(&programs.centre, &operands, &mut [x])
    }
}

/// The largest sqrt(squared / scale) of all columns, infinite for what is no number; a column that asks nothing has none.
fn worst(squared: &[f64], scale: &[f64]) -> f64 {
    let relative = squared.iter().zip(scale).map(|(&squared, &scale)| match scale > 0.0 {
        true => (squared / scale).sqrt(),
        false if scale.is_nan() => f64::INFINITY,
        false => 0.0,
    });
    relative.fold(0.0, |worst, next| if next.is_nan() { f64::INFINITY } else { f64::max(worst, next) })
}
