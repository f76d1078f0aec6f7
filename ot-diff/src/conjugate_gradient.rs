//! Conjugate gradients (Hestenes, Stiefel 1952) for an operator that is self-adjoint and non-negative in a weighted inner
//! product, on any backend.
//!
//! ```text
//! alpha = <r, z> / <p, A p>      x <- x + alpha p      r <- r - alpha A p      z = M r
//! beta  = <r', z'> / <r, z>      p <- z' + beta p              <x, y> = sum_j omega_j x_j y_j
//! ```
//!
//! A vector is one of the device, or some of one shape, the blocks, whose inner products are added up with a factor for each. alpha and beta
//! stay on the device, one for each column: every column is a system of its own. The host reads at checks.

use ot_core::{Backend, Device, Error, Fold, Operand, Program, Real, Status};

use crate::{
    LinearSolve, LinearSolver, Preconditioner,
    algebra::{numbers, update},
};

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
    /// The factor of each block in each column; none for a single block.
    pub(crate) parts: &'a [D::Reduced],
    /// The orthogonal projection onto the space in which the system is posed, if it is not the whole.
    pub(crate) projection: Option<&'a dyn Projection<D>>,
    /// Limits and checks.
    pub(crate) settings: &'a LinearSolver,
    /// M, of a single block.
    pub(crate) preconditioner: Option<&'a mut dyn Preconditioner<D>>,
}

/// An orthogonal projection.
pub(crate) trait Projection<D: Device> {
    /// x <- Pi x.
    fn project(&self, x: &mut [D::Vector]) -> Result<(), Error>;
}

/// The complement of constants, block by block: x - <1, x> / <1, 1>.
pub(crate) struct WithoutConstants<'a, D: Device> {
    pub(crate) backend: &'a dyn Backend<D>,
    /// omega.
    pub(crate) weights: &'a D::Vector,
}

impl<D: Device> Projection<D> for WithoutConstants<'_, D> {
    fn project(&self, x: &mut [D::Vector]) -> Result<(), Error> {
        let mean = Program::record(|[omega, x]| [omega * x, omega])?;
        for x in x {
            let (rows, columns) = self.backend.shape(x);
            let [mut total, mut mass] = [self.backend.alloc_reduced(columns)?, self.backend.alloc_reduced(columns)?];
            let operands = [Operand::Vector(self.weights), Operand::Vector(&*x)];
            self.backend.reduce(&mean, Fold::Sum, rows, &operands, &mut [&mut total, &mut mass])?;
            update(self.backend, x, [Operand::Reduced(&total), Operand::Reduced(&mass)], |x, [total, mass]| {
                x - mass.select(total / mass, 0.0)
            })?;
        }
        Ok(())
    }
}

/// The programs of one step.
struct Programs {
    inner: Program,
    advance: Program,
    descend: Program,
    length: Program,
    quotient: Program,
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
            turn: Program::record(|[p, beta, r]| [r + beta * p])?,
        })
    }
}

impl<D: Device> ConjugateGradient<'_, D> {
    /// Solves A x = right-hand side, from zero or from a start. `operator(x, out)` writes A x.
    pub(crate) fn solve(
        mut self,
        right_hand_side: &[D::Vector],
        start: Option<&[D::Vector]>,
        mut operator: impl FnMut(&[D::Vector], &mut [D::Vector]) -> Result<(), Error>,
    ) -> Result<(Vec<D::Vector>, LinearSolve), Error> {
        let backend = self.backend;
        let (rows, columns) = backend.shape(self.weights);
        let programs = Programs::record()?;
        let number = || backend.alloc_reduced(columns);
        let vector =
            || right_hand_side.iter().map(|_| backend.filled(0.0, rows, columns)).collect::<Result<Vec<_>, _>>();
        let copied = |x: &[D::Vector]| x.iter().map(|x| backend.copied(x)).collect::<Result<Vec<_>, _>>();
        let tolerance = self.settings.tolerance_for::<D::Elem>();

        let mut asked = copied(right_hand_side)?;
        self.project(&mut asked)?;
        let (mut image, mut x, mut r) = (vector()?, vector()?, copied(&asked)?);
        let [mut squared, mut next, mut norm, mut curvature] = [number()?, number()?, number()?, number()?];
        let [mut alpha, mut beta] = [number()?, number()?];
        self.inner(&programs, &asked, &asked, &mut norm)?;
        let scale = backend.read(&[&norm])?.swap_remove(0);
        if let Some(start) = start {
            x = copied(start)?;
            operator(&x, &mut image)?;
            self.subtract(&mut r, &image)?;
        }
        let resting = backend.upload_reduced(&scale.iter().map(|scale| RESTING * scale).collect::<Vec<_>>())?;

        let mut z = match self.preconditioner {
            Some(_) => Some(vector()?),
            None => None,
        };
        self.precondition(&r, z.as_deref_mut())?;
        let mut p = copied(z.as_ref().unwrap_or(&r))?;
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
            for (((x, r), p), image) in x.iter_mut().zip(&mut r).zip(&p).zip(&image) {
                backend.map(&programs.advance, &[Operand::Output(0), length, Operand::Vector(p)], &mut [x])?;
                backend.map(&programs.descend, &[Operand::Output(0), length, Operand::Vector(image)], &mut [r])?;
            }
            self.project(&mut r)?;
            self.precondition(&r, z.as_deref_mut())?;

            self.inner(&programs, &r, z.as_ref().unwrap_or(&r), &mut next)?;
            let fraction = [&next, &squared].map(Operand::Reduced);
            backend.map_reduced(&programs.quotient, &fraction, &mut [&mut beta])?;
            for (p, z) in p.iter_mut().zip(z.as_ref().unwrap_or(&r)) {
                let turned = [Operand::Output(0), Operand::Reduced(&beta), Operand::Vector(z)];
                backend.map(&programs.turn, &turned, &mut [p])?;
            }
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
        self.subtract(&mut asked, &image)?;
        self.inner(&programs, &asked, &asked, &mut norm)?;
        let residual = worst(&backend.read(&[&norm])?[0]);
        if !residual.is_finite() {
            x.iter_mut().try_for_each(|x| backend.fill(0.0, x))?;
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
    fn precondition(&mut self, r: &[D::Vector], z: Option<&mut [D::Vector]>) -> Result<(), Error> {
        if let (Some(preconditioner), Some(z)) = (self.preconditioner.as_deref_mut(), z) {
            for (r, z) in r.iter().zip(&mut *z) {
                preconditioner.precondition(self.backend, r, z)?;
            }
            self.project(z)?;
        }
        Ok(())
    }

    /// out = <x, y>.
    fn inner(&self, programs: &Programs, x: &[D::Vector], y: &[D::Vector], out: &mut D::Reduced) -> Result<(), Error> {
        let (rows, columns) = self.backend.shape(self.weights);
        let product = |x, y, out: &mut D::Reduced| {
            let operands = [self.weights, x, y].map(Operand::Vector);
            self.backend.reduce(&programs.inner, Fold::Sum, rows, &operands, &mut [out])
        };
        let [x, y] = match (x, y) {
            ([x], [y]) => return product(x, y, out),
            blocks => [blocks.0, blocks.1],
        };
        let mut of_block = self.backend.alloc_reduced(columns)?;
        self.backend.write_reduced(&vec![0.0; columns], out)?;
        for ((x, y), part) in x.iter().zip(y).zip(self.parts) {
            product(x, y, &mut of_block)?;
            let operands = [&*out, &of_block, part].map(Operand::Reduced);
            *out = numbers(self.backend, columns, operands, |[sum, product, part]| sum + part * product)?;
        }
        Ok(())
    }

    /// x <- Pi (x - y).
    fn subtract(&self, x: &mut [D::Vector], y: &[D::Vector]) -> Result<(), Error> {
        for (x, y) in x.iter_mut().zip(y) {
            update(self.backend, x, [Operand::Vector(y)], |x, [y]| x - y)?;
        }
        self.project(x)
    }

    /// x <- Pi x.
    fn project(&self, x: &mut [D::Vector]) -> Result<(), Error> {
        self.projection.map_or(Ok(()), |projection| projection.project(x))
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
