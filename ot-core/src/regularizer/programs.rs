//! The named programs that a solver's loop runs for one law.

use super::{LawKind, Regularizer, bounded_exp};
use crate::{
    program::{Program, ProgramError},
    real::Real,
};

/// The programs of one law, recorded once. In all of them f is the entering potential, s the
/// softmin, a the weight; the density of the plan's marginal is r = exp((f - s) / epsilon).
#[derive(Clone, Debug)]
pub struct LawPrograms {
    kind: LawKind,
    step: Program,
    relaxed_step: Program,
    relaxed: Program,
    demand: Program,
    residual: Program,
    residual_and_mass: Program,
    residual_of_density: Program,
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
            kind: law.kind(),
            relaxed: Program::record(|[f, stepped, omega]| {
                [omega.select(within(f + omega * (stepped - f), law.potential_bounds()), f)]
            })?,
            residual_of_density: Program::try_record(|[f, density, a, epsilon]| {
                Ok([a * distance(density, demand.call([f, epsilon])?)])
            })?,
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
            demand,
        })
    }

    /// What is known of the law by name.
    #[must_use]
    pub fn kind(&self) -> LawKind {
        self.kind
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

    /// (f, stepped, omega) to f + omega (stepped - f), and f where omega is 0.
    #[must_use]
    pub fn relaxed(&self) -> &Program {
        &self.relaxed
    }

    /// (f, epsilon) to the densities demanded, low and high.
    #[must_use]
    pub fn demand(&self) -> &Program {
        &self.demand
    }

    /// (f, r, a, epsilon) to a |r - demanded|, for a density r that is no matter of softmins.
    #[must_use]
    pub fn residual_of_density(&self) -> &Program {
        &self.residual_of_density
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
    let demanded = demand.call([f, epsilon])?;
    Ok([a * distance(density, demanded), a * density])
}

/// The distance of a density to an interval.
fn distance<R: Real>(density: R, [low, high]: [R; 2]) -> R {
    (low - density).max(density - high).max(R::constant(0.0))
}
