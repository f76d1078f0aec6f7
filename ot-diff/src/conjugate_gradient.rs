//! Conjugate gradients (Hestenes, Stiefel 1952) for an operator that is self-adjoint and non-negative in a weighted inner
//! product, on any backend.
//!
//! ```text
//! alpha = <r, z> / <p, A p>      x <- x + alpha p      r <- r - alpha A p      z = M r
//! beta  = <r', z'> / <r, z>      p <- z' + beta p
//! ```
//!
//! alpha and beta stay on the device, one for each column: every column is a system of its own. The host reads at checks.

use ot_core::{Device, Error, Operand, Program, Real, Status};

use crate::{
    LinearSolve, LinearSolver, Preconditioner,
    space::{Space, worst},
};

/// The squared residual, relative to the right-hand side, at which a column rests.
pub(crate) const RESTING: f64 = 1e-34;

/// Steps without a smaller residual after which a solve has stalled.
const PATIENCE: usize = 50;

/// How a system is solved.
pub(crate) struct ConjugateGradient<'a, D: Device> {
    /// Where it is posed.
    pub(crate) space: Space<'a, D>,
    /// Limits and checks.
    pub(crate) settings: &'a LinearSolver,
    /// M, of a single block.
    pub(crate) preconditioner: Option<&'a mut dyn Preconditioner<D>>,
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
    fn record<D: Device>() -> Result<Self, Error> {
        Ok(Self {
            inner: Space::<D>::product()?,
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
        let space = self.space;
        let backend = space.backend;
        let (rows, columns) = backend.shape(space.weights);
        let programs = Programs::record::<D>()?;
        let number = || backend.alloc_reduced(columns);
        let vector =
            || right_hand_side.iter().map(|_| backend.filled(0.0, rows, columns)).collect::<Result<Vec<_>, _>>();
        let copied = |x: &[D::Vector]| x.iter().map(|x| backend.copied(x)).collect::<Result<Vec<_>, _>>();
        let tolerance = self.settings.tolerance_for::<D::Elem>();

        let mut asked = copied(right_hand_side)?;
        space.project(&mut asked)?;
        let (mut image, mut x, mut r) = (vector()?, vector()?, copied(&asked)?);
        let [mut squared, mut next, mut norm, mut curvature] = [number()?, number()?, number()?, number()?];
        let [mut alpha, mut beta] = [number()?, number()?];
        space.inner(&programs.inner, &asked, &asked, &mut norm)?;
        let scale = backend.read(&[&norm])?.swap_remove(0);
        if let Some(start) = start {
            x = copied(start)?;
            operator(&x, &mut image)?;
            space.subtract(&mut r, &image)?;
        }
        let resting = backend.upload_reduced(&scale.iter().map(|scale| RESTING * scale).collect::<Vec<_>>())?;

        let mut z = match self.preconditioner {
            Some(_) => Some(vector()?),
            None => None,
        };
        self.precondition(&r, z.as_deref_mut())?;
        let mut p = copied(z.as_ref().unwrap_or(&r))?;
        space.inner(&programs.inner, &r, z.as_ref().unwrap_or(&r), &mut squared)?;

        let worst = |read: &[f64]| worst(read, &scale);
        space.inner(&programs.inner, &r, &r, &mut norm)?;
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
            space.inner(&programs.inner, &p, &image, &mut curvature)?;
            let fraction = [&squared, &curvature, &resting].map(Operand::Reduced);
            backend.map_reduced(&programs.length, &fraction, &mut [&mut alpha])?;

            let length = Operand::Reduced(&alpha);
            for (((x, r), p), image) in x.iter_mut().zip(&mut r).zip(&p).zip(&image) {
                backend.map(&programs.advance, &[Operand::Output(0), length, Operand::Vector(p)], &mut [x])?;
                backend.map(&programs.descend, &[Operand::Output(0), length, Operand::Vector(image)], &mut [r])?;
            }
            space.project(&mut r)?;
            self.precondition(&r, z.as_deref_mut())?;

            space.inner(&programs.inner, &r, z.as_ref().unwrap_or(&r), &mut next)?;
            let fraction = [&next, &squared].map(Operand::Reduced);
            backend.map_reduced(&programs.quotient, &fraction, &mut [&mut beta])?;
            for (p, z) in p.iter_mut().zip(z.as_ref().unwrap_or(&r)) {
                let turned = [Operand::Output(0), Operand::Reduced(&beta), Operand::Vector(z)];
                backend.map(&programs.turn, &turned, &mut [p])?;
            }
            std::mem::swap(&mut squared, &mut next);

            if steps % self.settings.check_interval == 0 || steps == self.settings.max_steps {
                space.inner(&programs.inner, &r, &r, &mut norm)?;
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
        space.subtract(&mut asked, &image)?;
        space.inner(&programs.inner, &asked, &asked, &mut norm)?;
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
                preconditioner.precondition(self.space.backend, r, z)?;
            }
            self.space.project(z)?;
        }
        Ok(())
    }
}
