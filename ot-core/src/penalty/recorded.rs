//! A penalty as a value: its formulas, recorded once.

use std::{fmt, sync::Arc};

use super::{MarginalPenalty, PenaltyKind, bounded_exp};
use crate::{
    error::Error,
    program::{Program, ProgramError},
    real::Real,
};

/// A penalty with its formulas recorded as programs: what a problem holds. Cloning is cheap.
///
/// Made of any [`MarginalPenalty`] by [`new`](Self::new). It is a penalty itself, with the same formulas, so that it can
/// stand wherever one is asked for.
///
/// ```
/// use ot_core::{Kl, MarginalPenalty, RecordedPenalty};
///
/// let penalty = RecordedPenalty::new(&Kl::new(0.5)?)?;
/// assert_eq!(penalty.step().call([3.0, 0.25])?, [MarginalPenalty::step(&Kl::new(0.5)?, 3.0, 0.25)]);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone)]
pub struct RecordedPenalty {
    programs: Arc<Programs>,
}

/// The programs of one penalty. In all of them f is the entering potential, s the softmin, a the weight, r the density
/// of the plan's marginal.
struct Programs {
    kind: PenaltyKind,
    density_bounds: [f64; 2],
    potential_bounds: [f64; 2],
    step: Program,
    conjugate: Program,
    value: Program,
    subdifferential: Program,
    relaxed: Program,
    relaxed_step: Program,
    residual: Program,
    residual_of_softmin: Program,
    residual_and_mass_of_softmin: Program,
    dual: Program,
}

/// The derivatives of the formulas of a penalty in one of their parameters theta, as programs with the inputs of the
/// formulas.
///
/// By the envelope theorem d phi*(q) / dtheta = -d phi(r) / dtheta at the density r = phi*'(q).
#[derive(Clone, Debug)]
pub struct PenaltyDerivative {
    /// (s, epsilon) to d step(s) / dtheta.
    pub step: Program,
    /// q to d phi*(q) / dtheta.
    pub conjugate: Program,
    /// r to d phi(r) / dtheta.
    pub value: Program,
}

impl RecordedPenalty {
    /// Records the formulas of a penalty.
    ///
    /// # Errors
    /// [`Error::Program`] for a formula that cannot be recorded.
    pub fn new(penalty: &impl MarginalPenalty) -> Result<Self, Error> {
        penalty.recorded()
    }

    /// What [`MarginalPenalty::recorded`] does for a formula.
    pub(super) fn record(penalty: &impl MarginalPenalty) -> Result<Self, ProgramError> {
        let bounds = penalty.potential_bounds();
        let step = Program::record(|[softmin, epsilon]| [penalty.step(softmin, epsilon)])?;
        let conjugate = Program::record(|[slope]| [penalty.conjugate(slope)])?;
        let subdifferential =
            Program::record(|[potential, epsilon]| penalty.conjugate_subdifferential(potential, epsilon))?;
        let programs = Programs {
            kind: penalty.kind(),
            density_bounds: penalty.density_bounds(),
            potential_bounds: bounds,
            value: Program::record(|[density]| [penalty.value(density)])?,
            relaxed: Program::record(|[f, stepped, omega]| [relaxed(f, stepped, omega, bounds)])?,
            relaxed_step: Program::try_record(|[f, s, omega, epsilon]| {
                let [stepped] = step.call([s, epsilon])?;
                Ok([relaxed(f, stepped, omega, bounds)])
            })?,
            residual: Program::try_record(|[f, r, a, epsilon]| {
                Ok([a * distance(r, subdifferential.call([f, epsilon])?)])
            })?,
            residual_of_softmin: Program::try_record(|inputs| {
                of_softmin(&subdifferential, inputs).map(|[residual, _]| [residual])
            })?,
            residual_and_mass_of_softmin: Program::try_record(|inputs| of_softmin(&subdifferential, inputs))?,
            dual: Program::try_record(|[f, a]| {
                let [conjugate] = conjugate.call([-f])?;
                Ok([-(a * conjugate)])
            })?,
            step,
            conjugate,
            subdifferential,
        };
        Ok(Self { programs: Arc::new(programs) })
    }

    /// What is known of the penalty by name.
    #[must_use]
    pub fn kind(&self) -> PenaltyKind {
        self.programs.kind
    }

    /// The densities outside which phi is infinite.
    #[must_use]
    pub fn density_bounds(&self) -> [f64; 2] {
        self.programs.density_bounds
    }

    /// The potentials outside which phi*(-f) is infinite.
    #[must_use]
    pub fn potential_bounds(&self) -> [f64; 2] {
        self.programs.potential_bounds
    }

    /// (s, epsilon) to step(s).
    #[must_use]
    pub fn step(&self) -> &Program {
        &self.programs.step
    }

    /// q to phi*(q).
    #[must_use]
    pub fn conjugate(&self) -> &Program {
        &self.programs.conjugate
    }

    /// r to phi(r).
    #[must_use]
    pub fn value(&self) -> &Program {
        &self.programs.value
    }

    /// (f, epsilon) to the subdifferential of phi* at -f, [low, high].
    #[must_use]
    pub fn conjugate_subdifferential(&self) -> &Program {
        &self.programs.subdifferential
    }

    /// (f, stepped, omega) to f + omega (stepped - f) within the potential bounds, and f where omega is 0.
    #[must_use]
    pub fn relaxed(&self) -> &Program {
        &self.programs.relaxed
    }

    /// (f, r, a, epsilon) to a times the distance of r to the subdifferential of phi* at -f.
    #[must_use]
    pub fn residual(&self) -> &Program {
        &self.programs.residual
    }

    /// (f, a) to -a phi*(-f).
    #[must_use]
    pub fn dual(&self) -> &Program {
        &self.programs.dual
    }

    /// (f, s, omega, epsilon) to [`relaxed`](Self::relaxed) of step(s): for a sweep that fuses a Gibbs kernel with it.
    #[must_use]
    pub fn relaxed_step(&self) -> &Program {
        &self.programs.relaxed_step
    }

    /// (f, s, a, epsilon) to the [`residual`](Self::residual) of the density exp((f - s) / epsilon).
    #[must_use]
    pub fn residual_of_softmin(&self) -> &Program {
        &self.programs.residual_of_softmin
    }

    /// The values of the parameters that the formulas name ([`Real::parameter`]): the strength rho.
    #[must_use]
    pub fn parameters(&self) -> &[f64] {
        let Programs { step, conjugate, value, .. } = self.programs.as_ref();
        let all = [step, conjugate, value].map(Program::parameters);
        all.into_iter().max_by_key(|parameters| parameters.len()).unwrap_or_default()
    }

    /// The derivatives of step, conjugate and value in one of the [parameters](Self::parameters).
    ///
    /// # Errors
    /// [`Error::Program`] for a derivative that cannot be recorded.
    pub fn parameter_derivative(&self, parameter: usize) -> Result<PenaltyDerivative, Error> {
        Ok(PenaltyDerivative {
            step: self.step().parameter_derivative(parameter)?,
            conjugate: self.conjugate().parameter_derivative(parameter)?,
            value: self.value().parameter_derivative(parameter)?,
        })
    }

    /// The same, and a exp((f - s) / epsilon).
    #[must_use]
    pub fn residual_and_mass_of_softmin(&self) -> &Program {
        &self.programs.residual_and_mass_of_softmin
    }
}

/// The same formulas, with the same parameters and bounds.
impl PartialEq for RecordedPenalty {
    fn eq(&self, other: &Self) -> bool {
        let bounds = |Self { programs }: &Self| (programs.kind, programs.density_bounds, programs.potential_bounds);
        let formulas = |Self { programs }: &Self| {
            let Programs { step, conjugate, value, subdifferential, .. } = programs.as_ref();
            [step.clone(), conjugate.clone(), value.clone(), subdifferential.clone()]
        };
        Arc::ptr_eq(&self.programs, &other.programs)
            || (bounds(self) == bounds(other) && formulas(self) == formulas(other))
    }
}

impl fmt::Debug for RecordedPenalty {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Programs { kind, density_bounds, .. } = self.programs.as_ref();
        formatter
            .debug_struct("RecordedPenalty")
            .field("kind", kind)
            .field("density_bounds", density_bounds)
            .finish_non_exhaustive()
    }
}

/// The formulas of the programs.
impl MarginalPenalty for RecordedPenalty {
    fn kind(&self) -> PenaltyKind {
        self.programs.kind
    }

    fn density_bounds(&self) -> [f64; 2] {
        self.programs.density_bounds
    }

    fn potential_bounds(&self) -> [f64; 2] {
        self.programs.potential_bounds
    }

    fn step<R: Real>(&self, softmin: R, epsilon: R) -> R {
        only(self.programs.step.call([softmin, epsilon]))
    }

    fn conjugate<R: Real>(&self, slope: R) -> R {
        only(self.programs.conjugate.call([slope]))
    }

    fn value<R: Real>(&self, density: R) -> R {
        only(self.programs.value.call([density]))
    }

    fn conjugate_subdifferential<R: Real>(&self, potential: R, epsilon: R) -> [R; 2] {
        let both = self.programs.subdifferential.call([potential, epsilon]);
        both.unwrap_or([R::constant(f64::NAN); 2])
    }

    fn recorded(&self) -> Result<RecordedPenalty, Error> {
        Ok(self.clone())
    }
}

/// The output of a program that was recorded with one; its arity is known.
fn only<R: Real>(outputs: Result<[R; 1], ProgramError>) -> R {
    outputs.map_or(R::constant(f64::NAN), |[output]| output)
}

/// f + omega (stepped - f) brought back within the bounds of the potential, and f where omega is 0.
fn relaxed<R: Real>(f: R, stepped: R, omega: R, [low, high]: [f64; 2]) -> R {
    let moved = f + omega * (stepped - f);
    let above = if low.is_finite() { moved.max(low) } else { moved };
    let within = if high.is_finite() { above.min(high) } else { above };
    omega.select(within, f)
}

/// From (f, s, a, epsilon): the residual of the density that a softmin tells, and its mass.
fn of_softmin<R: Real>(subdifferential: &Program, [f, s, a, epsilon]: [R; 4]) -> Result<[R; 2], ProgramError> {
    let density = bounded_exp((f - s) / epsilon);
    Ok([a * distance(density, subdifferential.call([f, epsilon])?), a * density])
}

/// The distance of a density to an interval.
fn distance<R: Real>(density: R, [low, high]: [R; 2]) -> R {
    (low - density).max(density - high).max(0.0)
}
