//! The named programs that a solver's loop runs for one law.

use super::{Regularizer, bounded_exp};
use crate::{
    program::{Program, ProgramError},
    real::Real,
};

/// The programs of one law, recorded once. In all of them f is the entering potential, s the
/// softmin, a the weight; the density of the plan's marginal is r = exp((f - s) / epsilon).
#[derive(Clone, Debug)]
pub struct LawPrograms {
    step: Program,
    relaxed_step: Program,
    residual: Program,
    residual_and_mass: Program,
    dual: Program,
}

impl LawPrograms {
    /// Records the programs of a law.
    ///
    /// # Errors
    /// A formula that cannot be recorded.
    pub fn record(law: &dyn Regularizer) -> Result<Self, ProgramError> {
        let (step, demand, conjugate) = (law.step()?, law.demand()?, law.conjugate()?);
        Ok(Self {
            relaxed_step: Program::try_record(|[f, s, omega, epsilon]| {
                let [stepped] = step.call([s, epsilon])?;
                Ok([omega.select(within(f + omega * (stepped - f), law.potential_bounds()), f)])
            })?,
            residual: Program::try_record(|inputs| unmet(&demand, inputs).map(|[residual, _]| [residual]))?,
            residual_and_mass: Program::try_record(|inputs| unmet(&demand, inputs))?,
            dual: Program::try_record(|[f, a]| {
                let [conjugate] = conjugate.call([-f])?;
                Ok([-(a * conjugate)])
            })?,
            step,
        })
    }

    /// (s, epsilon) to step(s).
    #[must_use]
    pub fn step(&self) -> &Program {
        &self.step
    }

    /// (f, s, omega, epsilon) to f + omega (step(s) - f), and f where omega is 0.
    #[must_use]
    pub fn relaxed_step(&self) -> &Program {
        &self.relaxed_step
    }

    /// (f, s, a, epsilon) to a |r - demanded|, the distance of the density to what the law demands.
    #[must_use]
    pub fn residual(&self) -> &Program {
        &self.residual
    }

    /// (f, s, a, epsilon) to (a |r - demanded|, a r).
    #[must_use]
    pub fn residual_and_mass(&self) -> &Program {
        &self.residual_and_mass
    }

    /// (f, a) to -a phi*(-f).
    #[must_use]
    pub fn dual(&self) -> &Program {
        &self.dual
    }
}

/// A potential brought back within the bounds of its law.
fn within<R: Real>(potential: R, [low, high]: [f64; 2]) -> R {
    let above = if low.is_finite() { potential.max(R::constant(low)) } else { potential };
    if high.is_finite() { above.min(R::constant(high)) } else { above }
}

/// From (f, s, a, epsilon): a times the distance of the density to what is demanded, and a r.
fn unmet<R: Real>(demand: &Program, [f, s, a, epsilon]: [R; 4]) -> Result<[R; 2], ProgramError> {
    let density = bounded_exp((f - s) / epsilon);
    let [low, high] = demand.call([f, epsilon])?;
    Ok([a * (low - density).max(density - high).max(R::constant(0.0)), a * density])
}
