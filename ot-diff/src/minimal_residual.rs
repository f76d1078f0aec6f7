//! Minimal residuals (Paige, Saunders 1975) for an operator that is self-adjoint in a weighted inner product and may have
//! eigenvalues of both signs, on any backend.
//!
//! Directions p whose images s = A p are orthonormal are made one from the other (Fletcher 1976):
//!
//! ```text
//! x <- x + <r, s> p      r <- r - <r, s> s
//! s' = A s - <A s, s> s - <A s, s_before> s_before      p' = s - <A s, s> p - <A s, s_before> p_before      both over |s'|
//! ```
//!
//! The numbers stay on the device, one for each column: every column is a system of its own. The host reads at checks. A solve whose
//! recomputed residual is not that of the recurrence begins again from where it is.

use ot_core::{Device, Error, Operand, Program, Real, Scalar, Status};

use crate::{
    LinearSolve, LinearSolver,
    algebra::numbers,
    conjugate_gradient::RESTING,
    space::{Space, worst},
};

/// Steps without a residual that is a tenth smaller after which the recurrence has stalled.
const PATIENCE: usize = 100;

/// What is so many roundings of what it was before a projection or an orthogonalisation is nothing.
const ROUNDING: f64 = 16.0;

/// How a system is solved.
pub(crate) struct MinimalResidual<'a, D: Device> {
    /// Where it is posed.
    pub(crate) space: Space<'a, D>,
    /// Limits and checks.
    pub(crate) settings: &'a LinearSolver,
}

/// The programs of one step.
struct Programs {
    inner: Program,
    advance: Program,
    descend: Program,
    multiply: Program,
}

/// What one run of the recurrence leaves.
struct Run<D: Device> {
    x: Vec<D::Vector>,
    steps: usize,
    /// Why it stopped, if not at the tolerance.
    status: Option<Status>,
}

impl<D: Device> MinimalResidual<'_, D> {
    /// Solves A x = right-hand side from zero. `operator(x, out)` writes A x.
    pub(crate) fn solve(
        &self,
        right_hand_side: Vec<D::Vector>,
        mut operator: impl FnMut(&[D::Vector], &mut [D::Vector]) -> Result<(), Error>,
    ) -> Result<(Vec<D::Vector>, LinearSolve), Error> {
        let Self { space, settings } = self;
        let programs = Programs {
            inner: Space::<D>::product()?,
            advance: Program::record(|[x, alpha, p]| [x + alpha * p])?,
            descend: Program::record(|[r, alpha, image]| [r - alpha * image])?,
            multiply: Program::record(|[x, factor]| [x * factor])?,
        };
        let tolerance = settings.tolerance_for::<D::Elem>();
        let mut asked = right_hand_side;
        let whole = self.squared(&programs, &asked)?;
        // Twice, so that what is left of the null space is small against what is asked, and not against what was given.
        space.project(&mut asked)?;
        space.project(&mut asked)?;
        let rounding = (ROUNDING * D::Elem::EPSILON).powi(2);
        let left = self.squared(&programs, &asked)?;
        let asks = |(left, whole): (&f64, &f64)| if *left <= rounding * whole { 0.0 } else { 1.0 };
        let asks = left.iter().zip(&whole).map(asks).collect::<Vec<_>>();
        let factor = space.backend.upload_reduced(&asks)?;
        for asked in &mut asked {
            let operands = [Operand::Output(0), Operand::Reduced(&factor)];
            space.backend.map(&programs.multiply, &operands, &mut [asked])?;
        }
        let scale: Vec<f64> = left.iter().zip(&asks).map(|(left, asks)| left * asks).collect();
        let (mut x, mut image) = (self.zeros(&asked)?, self.zeros(&asked)?);
        let (mut steps, mut residual) = (0, worst(&scale, &scale));
        let mut r = self.copied(&asked)?;
        while residual > tolerance {
            let run = self.run(&programs, x, self.copied(&r)?, &scale, settings.max_steps - steps, &mut operator)?;
            (x, steps) = (run.x, steps + run.steps);
            operator(&x, &mut image)?;
            r = self.copied(&asked)?;
            space.subtract(&mut r, &image)?;
            let before = residual;
            residual = worst(&self.squared(&programs, &r)?, &scale);
            if !residual.is_finite() {
                x.iter_mut().try_for_each(|x| space.backend.fill(0.0, x))?;
                return Ok((x, LinearSolve { residual: 1.0, steps, status: Status::NotFinite }));
            }
            let status = match run.status {
                Some(Status::IterationLimit) => Status::IterationLimit,
                _ => Status::Stalled,
            };
            if residual > tolerance && (status == Status::IterationLimit || residual > 0.5 * before) {
                return Ok((x, LinearSolve { residual, steps, status }));
            }
        }
        Ok((x, LinearSolve { residual, steps, status: Status::Converged }))
    }

    /// The recurrence from x, whose residual is r, until half of the tolerance, in so many steps at most.
    fn run(
        &self,
        programs: &Programs,
        mut x: Vec<D::Vector>,
        mut r: Vec<D::Vector>,
        scale: &[f64],
        most: usize,
        operator: &mut impl FnMut(&[D::Vector], &mut [D::Vector]) -> Result<(), Error>,
    ) -> Result<Run<D>, Error> {
        let Self { space, settings } = self;
        let (backend, columns) = (space.backend, scale.len());
        let number = || backend.alloc_reduced(columns);
        let tolerance = settings.tolerance_for::<D::Elem>();
        let resting = backend.upload_reduced(&scale.iter().map(|scale| RESTING * scale).collect::<Vec<_>>())?;
        let [mut squared, mut overlap, mut norm] = [number()?, number()?, number()?];
        // The direction and its image, those before, and those to come.
        let mut p = self.copied(&r)?;
        let mut s = self.zeros(&r)?;
        let [mut p_before, mut s_before, mut s_next] = [self.zeros(&r)?, self.zeros(&r)?, self.zeros(&r)?];
        operator(&p, &mut s)?;
        space.project(&mut s)?;
        let mut length = self.length(programs, &s)?;
        self.normalise(programs, &length, &mut p, &mut s)?;
        let (mut steps, mut best, mut best_step) = (0, f64::INFINITY, 0);
        loop {
            if steps == most {
                return Ok(Run { x, steps, status: Some(Status::IterationLimit) });
            }
            steps += 1;
            space.inner(&programs.inner, &r, &r, &mut squared)?;
            space.inner(&programs.inner, &r, &s, &mut overlap)?;
            let operands = [&overlap, &squared, &resting].map(Operand::Reduced);
            let alpha = numbers(backend, columns, operands, |[overlap, squared, resting]| {
                (squared - resting).select(overlap, 0.0)
            })?;
            self.add(&programs.advance, &mut x, &alpha, &p)?;
            self.add(&programs.descend, &mut r, &alpha, &s)?;
            if steps % settings.check_interval == 0 || steps == most {
                space.inner(&programs.inner, &r, &r, &mut norm)?;
                let residual = worst(&backend.read(&[&norm])?[0], scale);
                if residual <= 0.5 * tolerance || !residual.is_finite() {
                    return Ok(Run { x, steps, status: None });
                }
                if residual < 0.9 * best {
                    (best, best_step) = (residual, steps);
                }
                if steps - best_step > PATIENCE.max(2 * settings.check_interval) {
                    return Ok(Run { x, steps, status: Some(Status::Stalled) });
                }
            }
            operator(&s, &mut s_next)?;
            space.project(&mut s_next)?;
            length = self.length(programs, &s_next)?;
            let mut p_next = self.copied(&s)?;
            for (p, s) in [(&p, &s), (&p_before, &s_before)] {
                space.inner(&programs.inner, &s_next, s, &mut overlap)?;
                self.add(&programs.descend, &mut s_next, &overlap, s)?;
                self.add(&programs.descend, &mut p_next, &overlap, p)?;
            }
            self.normalise(programs, &length, &mut p_next, &mut s_next)?;
            p_before = std::mem::replace(&mut p, p_next);
            std::mem::swap(&mut s_before, &mut s);
            std::mem::swap(&mut s, &mut s_next);
        }
    }

    /// p and s over |s|; zero in columns where |s|^2 is nothing against what it was.
    fn normalise(
        &self,
        programs: &Programs,
        before: &D::Reduced,
        p: &mut [D::Vector],
        s: &mut [D::Vector],
    ) -> Result<(), Error> {
        let (backend, columns) = (self.space.backend, self.space.backend.shape(self.space.weights).1);
        let squared = self.length(programs, s)?;
        let rounding = Operand::Constant((ROUNDING * D::Elem::EPSILON).powi(2));
        let operands = [Operand::Reduced(&squared), Operand::Reduced(before), rounding];
        let factor = numbers(backend, columns, operands, |[squared, before, rounding]| {
            (squared - rounding * before).select(squared.select(1.0 / squared.sqrt(), 0.0), 0.0)
        })?;
        for x in p.iter_mut().chain(s) {
            backend.map(&programs.multiply, &[Operand::Output(0), Operand::Reduced(&factor)], &mut [x])?;
        }
        Ok(())
    }

    /// <x, x>, on the device.
    fn length(&self, programs: &Programs, x: &[D::Vector]) -> Result<D::Reduced, Error> {
        let mut squared = self.space.backend.alloc_reduced(self.space.backend.shape(self.space.weights).1)?;
        self.space.inner(&programs.inner, x, x, &mut squared)?;
        Ok(squared)
    }

    /// x <- x + factor y, or x - factor y.
    fn add(&self, program: &Program, x: &mut [D::Vector], factor: &D::Reduced, y: &[D::Vector]) -> Result<(), Error> {
        for (x, y) in x.iter_mut().zip(y) {
            let operands = [Operand::Output(0), Operand::Reduced(factor), Operand::Vector(y)];
            self.space.backend.map(program, &operands, &mut [x])?;
        }
        Ok(())
    }

    /// <x, x> of each column.
    fn squared(&self, programs: &Programs, x: &[D::Vector]) -> Result<Vec<f64>, Error> {
        Ok(self.space.backend.read(&[&self.length(programs, x)?])?.swap_remove(0))
    }

    fn copied(&self, x: &[D::Vector]) -> Result<Vec<D::Vector>, Error> {
        x.iter().map(|x| self.space.backend.copied(x)).collect()
    }

    fn zeros(&self, like: &[D::Vector]) -> Result<Vec<D::Vector>, Error> {
        let (rows, columns) = self.space.backend.shape(self.space.weights);
        like.iter().map(|_| self.space.backend.filled(0.0, rows, columns)).collect()
    }
}
