//! One unknown measure in the course of an iteration: the projection onto plans that agree on it.
//!
//! The best potentials of all ends of p, for given potentials of the other ends, are
//!
//! ```text
//! g_k = s_k - s,      s = sum_k lambda_k s_k / sum_k lambda_k,      p = m exp(-s / epsilon)
//! ```
//!
//! with the softmins s_k: p is the weighted geometric mean of the marginals. An over-relaxed half-step of each end on its
//! own, as towards the marginal m, followed by the subtraction of the mean, is the over-relaxed step towards these. So any
//! kernel's own sweep serves.

use ot_core::{Backend, Device, Error, Fold, JointProblem, LOG_ZERO, Marginal, Operand, Program, Real, Scalar, Side};

use super::term::{Pace, Term};

/// The state of one unknown measure.
#[derive(Debug)]
pub(super) struct Unknown<D: Device> {
    /// Where it stands: (term, side).
    ends: Vec<(usize, Side)>,
    /// lambda of each end over their sum, for each column.
    parts: Vec<D::Reduced>,
    /// The mass of the reference in each column: that of p where a given end prescribes it.
    mass: D::Reduced,
    is_prescribed: bool,
    /// sum_k part_k g_k.
    mean: D::Vector,
    /// Residuals of the marginals of the ends, where a check wants them.
    residuals: Vec<D::Reduced>,
    /// The masses of the atoms, after a projection.
    masses: D::Vector,
    programs: Programs,
}

/// The formulas of a projection.
#[derive(Debug)]
struct Programs {
    /// (g, part) to part g.
    first: Program,
    /// (sum, g, part) to sum + part g.
    next: Program,
    /// (g, mean, omega) to g - mean, and g where omega is 0.
    centre: Program,
    /// (moved g, entering g, moved mean, m, omega, epsilon) to m |density of the plan - density of p|.
    residual: Program,
    /// (s_k, s) to s_k - s.
    subtract: Program,
    /// (s, log m) to s where m > 0.
    reached: Program,
    /// (s, log m, shift, epsilon) to m exp((shift - s) / epsilon).
    mass: Program,
    /// (p, sum of p, mass) to p scaled to the mass.
    scale: Program,
    /// p to p.
    identity: Program,
}

impl Programs {
    fn record<T: Scalar>() -> Result<Self, Error> {
        let largest = T::MAX.ln();
        Ok(Self {
            first: Program::record(|[g, part]| [part * g])?,
            next: Program::record(|[sum, g, part]| [sum + part * g])?,
            centre: Program::record(|[g, mean, omega]| [g - omega.select(mean, 0.0)])?,
            residual: Program::record(|[moved, entering, mean, m, omega, epsilon]| {
                [m.select(m * (density(moved - entering, omega, epsilon) - density(mean, omega, epsilon)).abs(), 0.0)]
            })?,
            subtract: Program::record(|[own, mean]| [own - mean])?,
            reached: Program::record(|[s, log_m]| [(log_m - 0.5 * LOG_ZERO).select(s, T::MAX)])?,
            mass: Program::record(move |[s, log_m, shift, epsilon]| {
                [((shift - s) / epsilon + log_m).min(largest).exp()]
            })?,
            scale: Program::record(|[p, sum, mass]| [p * (mass / sum)])?,
            identity: Program::record(|[p]| [p])?,
        })
    }
}

/// exp(-step / (omega epsilon)), the density at the end of a step of this length, within what both element types hold.
fn density<R: Real>(step: R, omega: R, epsilon: R) -> R {
    (-omega.select(step / omega, 0.0) / epsilon).clamp(-80.0, 80.0).exp()
}

impl<D: Device> Unknown<D> {
    pub(super) fn new(problem: &JointProblem<D>, measure: usize) -> Result<Self, Error> {
        let (columns, len) = (problem.columns(), problem.unknown()[measure]);
        let ends: Vec<(usize, Side)> = problem.ends_of(measure).collect();
        let (first, side) = ends[0];
        let (first, backend) = (&problem.terms()[first].problem, problem.terms()[first].problem.backend());
        let total = |column: usize| ends.iter().map(|&(term, _)| problem.terms()[term].weight(column)).sum::<f64>();
        let parts = |&(term, _): &(usize, Side)| {
            let part = |column: usize| problem.terms()[term].weight(column) / total(column);
            backend.upload_reduced(&(0..columns).map(part).collect::<Vec<_>>())
        };
        let mass = |column: usize| first.marginal(side).mass(column);
        Ok(Self {
            parts: ends.iter().map(parts).collect::<Result<_, _>>()?,
            mass: backend.upload_reduced(&(0..columns).map(mass).collect::<Vec<_>>())?,
            is_prescribed: problem.has_balanced_end(),
            mean: backend.alloc(len, columns)?,
            residuals: ends.iter().map(|_| backend.alloc_reduced(columns)).collect::<Result<_, _>>()?,
            masses: backend.filled(0.0, len, columns)?,
            programs: Programs::record::<D::Elem>()?,
            ends,
        })
    }

    /// The terms that it belongs to, and where it stands.
    pub(super) fn ends(&self) -> &[(usize, Side)] {
        &self.ends
    }

    /// The residual of the marginal of each end at the iterate that the last checked step entered with.
    pub(super) fn residuals(&self) -> &[D::Reduced] {
        &self.residuals
    }

    /// The masses of the atoms after a [projection](Self::project).
    pub(super) fn masses(&self) -> &D::Vector {
        &self.masses
    }

    /// The mean of the potentials of the ends.
    pub(super) fn mean(&self) -> &D::Vector {
        &self.mean
    }

    /// The mass of the reference in each column.
    pub(super) fn mass(&self) -> &D::Reduced {
        &self.mass
    }

    /// The masses of the atoms, to be written, and their sum.
    pub(super) fn masses_and_mass(&mut self) -> (&mut D::Vector, &D::Reduced) {
        (&mut self.masses, &self.mass)
    }

    pub(super) fn into_masses(self) -> D::Vector {
        self.masses
    }

    /// One step: that of all ends, and the subtraction of the mean.
    pub(super) fn advance(&mut self, terms: &mut [Term<'_, D>], pace: Pace<'_, D>, epsilon: f64) -> Result<(), Error> {
        self.step(terms, pace)?;
        let backend = terms[self.ends[0].0].problem().backend();
        if pace.at_check {
            for (&(term, side), residual) in self.ends.iter().zip(&mut self.residuals) {
                let Term { potentials, entering, .. } = &terms[term];
                let marginal = terms[term].problem().marginal(side);
                let operands = [
                    Operand::Vector(potentials.side(side)),
                    Operand::Vector(entering.side(side)),
                    Operand::Vector(&self.mean),
                    Operand::Vector(marginal.weights()),
                    Operand::Reduced(pace.relaxation),
                    Operand::Constant(epsilon),
                ];
                backend.reduce(&self.programs.residual, Fold::Sum, marginal.len(), &operands, &mut [residual])?;
            }
        }
        let operands = [Operand::Output(0), Operand::Vector(&self.mean), Operand::Reduced(pace.relaxation)];
        for &(term, side) in &self.ends {
            backend.map(&self.programs.centre, &operands, &mut [terms[term].potentials.side_mut(side)])?;
        }
        Ok(())
    }

    /// All ends on their own, the given ends of their terms before them, and their mean.
    pub(super) fn step(&mut self, terms: &mut [Term<'_, D>], pace: Pace<'_, D>) -> Result<(), Error> {
        for &(term, side) in &self.ends {
            terms[term].advance(side, pace)?;
        }
        self.average(terms[self.ends[0].0].problem().backend(), |term, side| terms[term].potentials.side(side))
    }

    /// Subtracts the mean, so that the potentials cancel.
    pub(super) fn cancel(&mut self, terms: &mut [Term<'_, D>]) -> Result<(), Error> {
        let backend = terms[self.ends[0].0].problem().backend();
        self.average(backend, |term, side| terms[term].potentials.side(side))?;
        let operands = [Operand::Output(0), Operand::Vector(&self.mean)];
        for &(term, side) in &self.ends {
            backend.map(&self.programs.subtract, &operands, &mut [terms[term].potentials.side_mut(side)])?;
        }
        Ok(())
    }

    /// The exact step, after which each plan has the marginal p, and p itself.
    pub(super) fn project(&mut self, terms: &mut [Term<'_, D>], epsilon: f64) -> Result<(), Error> {
        for &(term, side) in &self.ends {
            terms[term].transform(side)?;
            terms[term].accept(side)?;
        }
        let (first, side) = self.ends[0];
        let problem = terms[first].problem();
        let (backend, reference) = (problem.backend(), problem.marginal(side));
        self.cancel(terms)?;
        self.weigh(backend, reference, problem.columns(), epsilon)
    }

    /// p = m exp(-s / epsilon), of the mass that is prescribed, if one is.
    fn weigh(
        &mut self,
        backend: &dyn Backend<D>,
        reference: &Marginal<D>,
        columns: usize,
        epsilon: f64,
    ) -> Result<(), Error> {
        let Self { mass, mean, masses, programs, .. } = self;
        let [s, log_m] = [&*mean, reference.log_weights()].map(Operand::Vector);
        if !self.is_prescribed {
            let operands = [s, log_m, Operand::Constant(0.0), Operand::Constant(epsilon)];
            return backend.map(&programs.mass, &operands, &mut [masses]);
        }
        let (mut least, mut sum) = (backend.alloc_reduced(columns)?, backend.alloc_reduced(columns)?);
        backend.reduce(&programs.reached, Fold::Min, reference.len(), &[s, log_m], &mut [&mut least])?;
        let operands = [s, log_m, Operand::Reduced(&least), Operand::Constant(epsilon)];
        backend.map(&programs.mass, &operands, &mut [masses])?;
        backend.reduce(&programs.identity, Fold::Sum, reference.len(), &[Operand::Vector(masses)], &mut [&mut sum])?;
        let operands = [Operand::Output(0), Operand::Reduced(&sum), Operand::Reduced(mass)];
        backend.map(&programs.scale, &operands, &mut [masses])
    }

    /// sum_k part_k v_k over the ends.
    fn average<'v>(
        &mut self,
        backend: &dyn Backend<D>,
        vector: impl Fn(usize, Side) -> &'v D::Vector,
    ) -> Result<(), Error> {
        for (index, (&(term, side), part)) in self.ends.iter().zip(&self.parts).enumerate() {
            let [vector, part] = [Operand::Vector(vector(term, side)), Operand::Reduced(part)];
            match index {
                0 => backend.map(&self.programs.first, &[vector, part], &mut [&mut self.mean])?,
                _ => {
                    backend.map(&self.programs.next, &[Operand::Output(0), vector, part], &mut [&mut self.mean])?;
                }
            }
        }
        Ok(())
    }
}
