//! A regularizer as a value: its formulas, recorded once.

use std::{fmt, sync::Arc};

use super::{Regularizer, RegularizerKind};
use crate::{
    dual::Dual,
    error::Error,
    power_of_two::product,
    program::{Program, ProgramError},
    real::Real,
};

/// The exponent above which a density of entropy is infinite for every purpose, in f64.
const LARGEST_EXPONENT: f64 = 700.0;

/// A regularizer with its formulas recorded as programs: what a problem holds and kernels run. Cloning is cheap.
///
/// Made of any [`Regularizer`] by [`new`](Self::new), and a regularizer itself, with the same formulas.
#[derive(Clone)]
pub struct RecordedRegularizer {
    programs: Arc<Programs>,
}

/// The programs of one regularizer, and two numbers of it.
struct Programs {
    kind: RegularizerKind,
    value: Program,
    slope: Program,
    conjugate: Program,
    density: Program,
    density_and_slope: Program,
    fenchel_gap: Program,
    value_at_zero: f64,
    slope_at_zero: f64,
}

impl RecordedRegularizer {
    /// Records the formulas of a regularizer.
    ///
    /// # Errors
    /// [`Error::Program`] for a formula that cannot be recorded.
    pub fn new(regularizer: &impl Regularizer) -> Result<Self, Error> {
        regularizer.recorded()
    }

    /// What [`Regularizer::recorded`] does for a formula.
    pub(super) fn record(regularizer: &impl Regularizer) -> Result<Self, ProgramError> {
        let value = Program::record(|[density]| [regularizer.value(density)])?;
        let slope = Program::record(|[density]| [regularizer.value(Dual::variable(density)).derivative])?;
        let [value_at_zero] = value.call([0.0_f64])?;
        let [slope_at_zero] = match regularizer.kind() {
            RegularizerKind::Entropy => [f64::NEG_INFINITY],
            _ => slope.call([0.0_f64])?,
        };
        let programs = Programs {
            kind: regularizer.kind(),
            conjugate: Program::record(|[exponent]| [regularizer.conjugate(exponent)])?,
            density: Program::record(|[exponent]| [regularizer.density(exponent)])?,
            density_and_slope: Program::record(|[exponent]| {
                let Dual { value, derivative } = regularizer.density(Dual::variable(exponent));
                [value, derivative]
            })?,
            fenchel_gap: Program::record(|[density, exponent]| [regularizer.fenchel_gap(density, exponent)])?,
            value,
            slope,
            value_at_zero,
            slope_at_zero,
        };
        Ok(Self { programs: Arc::new(programs) })
    }

    /// What is known of the regularizer by name.
    #[must_use]
    pub fn kind(&self) -> RegularizerKind {
        self.programs.kind
    }

    /// z to h*'(z).
    #[must_use]
    pub fn density(&self) -> &Program {
        &self.programs.density
    }

    /// z to (h*'(z), h*''(z)).
    #[must_use]
    pub fn density_and_slope(&self) -> &Program {
        &self.programs.density_and_slope
    }

    /// p to h(p).
    #[must_use]
    pub fn value(&self) -> &Program {
        &self.programs.value
    }

    /// z to h*(z).
    #[must_use]
    pub fn conjugate(&self) -> &Program {
        &self.programs.conjugate
    }

    /// h(0), the price of a pair without mass.
    #[must_use]
    pub fn value_at_zero(&self) -> f64 {
        self.programs.value_at_zero
    }

    /// epsilon h(0) mass(a) mass(b), the price of no plan at all, of both masses. It is out of range only where no order of its
    /// factors is within.
    #[must_use]
    pub fn value_of_nothing(&self, epsilon: f64, [a, b]: [f64; 2]) -> f64 {
        let at_zero = self.value_at_zero();
        product([epsilon, at_zero.abs(), a, b]).copysign(at_zero)
    }

    /// h'(0): a pair with z at most this carries nothing. Minus infinity for entropy.
    #[must_use]
    pub fn slope_at_zero(&self) -> f64 {
        self.programs.slope_at_zero
    }

    /// x h*'(z) with x = exp(log_scaling), without overflow on the way where the regularizer is entropy.
    #[must_use]
    pub fn scaled_density_at(&self, exponent: f64, log_scaling: f64) -> f64 {
        match self.programs.kind {
            RegularizerKind::Entropy => (exponent + log_scaling).min(LARGEST_EXPONENT).exp(),
            _ if log_scaling == f64::NEG_INFINITY => 0.0,
            _ => log_scaling.exp() * self.density_at(exponent),
        }
    }

    /// a b x h*'(z) with x = exp(log_scaling): the mass of an entry of a plan, where densities between tiny masses are larger
    /// than any number. It overflows or vanishes only if it is out of range itself.
    #[must_use]
    pub fn mass_at(&self, [a, b]: [f64; 2], exponent: f64, log_scaling: f64) -> f64 {
        match a * b {
            _ if !(a > 0.0 && b > 0.0) => 0.0,
            _ if self.programs.kind == RegularizerKind::Entropy => entropic_mass([a, b], exponent + log_scaling),
            weight if weight.is_normal() => weight * self.scaled_density_at(exponent, log_scaling),
            _ if log_scaling == f64::NEG_INFINITY => 0.0,
            _ => product([a, b, log_scaling.exp(), self.density_at(exponent)]),
        }
    }

    /// h*'(z).
    #[must_use]
    pub fn density_at(&self, exponent: f64) -> f64 {
        match self.programs.kind {
            RegularizerKind::Entropy => exponent.min(LARGEST_EXPONENT).exp(),
            _ => number(self.programs.density.call([exponent])),
        }
    }

    /// h*(z) + h(0), which is 0 for a pair without mass.
    #[must_use]
    pub fn conjugate_at(&self, exponent: f64) -> f64 {
        match self.programs.kind {
            RegularizerKind::Entropy => exponent.min(LARGEST_EXPONENT).exp(),
            _ => number(self.programs.conjugate.call([exponent])) + self.programs.value_at_zero,
        }
    }

    /// h*'(z) and h*''(z).
    #[must_use]
    pub fn density_and_slope_at(&self, exponent: f64) -> [f64; 2] {
        self.programs.density_and_slope.call([exponent]).unwrap_or([f64::NAN; 2])
    }

    /// h(p) + h*(z) - z p; infinite for mass on a forbidden pair, where z is minus infinity.
    #[must_use]
    pub fn fenchel_gap_at(&self, density: f64, exponent: f64) -> f64 {
        match exponent {
            f64::NEG_INFINITY if density > 0.0 => f64::INFINITY,
            f64::NEG_INFINITY => 0.0,
            _ => number(self.programs.fenchel_gap.call([density, exponent])),
        }
    }

    /// h(p) - h(0) - z p; infinite for mass on a forbidden pair, where z is minus infinity.
    #[must_use]
    pub fn rounded_value_at(&self, density: f64, exponent: f64) -> f64 {
        match (self.programs.kind, exponent) {
            (_, f64::NEG_INFINITY) => self.fenchel_gap_at(density, exponent),
            (RegularizerKind::Entropy, _) if density > 0.0 => density * (density.ln() - 1.0 - exponent),
            (RegularizerKind::Entropy, _) => 0.0,
            _ => number(self.programs.value.call([density])) - self.programs.value_at_zero - exponent * density,
        }
    }

    /// epsilon sum_ij a_i b_j (h*(z_ij) + h(0)) of a plan, as summed pair by pair, or, of entropy, from epsilon times its mass.
    #[must_use]
    pub fn conjugate_of_plan(&self, energy: f64, summed: f64) -> f64 {
        match self.programs.kind {
            // A sum in a short element type may overflow or vanish where this does not.
            RegularizerKind::Entropy if !summed.is_nan() => energy,
            _ => summed,
        }
    }

    /// What an error of the exponents makes of the mass of a plan: sum_ij a_i b_j h*''(z_ij), from the mass of the plan and
    /// the product of the masses of a and b. The mass of the plan for entropy, at most the product for squares, and the
    /// larger of both, which is no bound, for others.
    #[must_use]
    pub fn mass_per_exponent(&self, mass: f64, product: f64) -> f64 {
        match self.programs.kind {
            RegularizerKind::Entropy => mass,
            RegularizerKind::SquaredL2 => product,
            RegularizerKind::Other => mass.max(product),
        }
    }

    /// h'(p).
    #[must_use]
    pub fn slope_at(&self, density: f64) -> f64 {
        match self.programs.kind {
            // The formula keeps densities where f32 holds them.
            RegularizerKind::Entropy if density > 0.0 => density.ln(),
            _ if density > 0.0 => number(self.programs.slope.call([density])),
            _ => self.programs.slope_at_zero,
        }
    }
}

/// a b exp(z), which overflows or vanishes only if it is out of range itself.
#[must_use]
pub fn entropic_mass([a, b]: [f64; 2], exponent: f64) -> f64 {
    match a * b {
        weight if weight.is_normal() && exponent < LARGEST_EXPONENT => weight * exponent.exp(),
        _ => {
            let root = (0.5 * exponent).exp();
            product([a, b, root, root])
        }
    }
}

impl fmt::Debug for RecordedRegularizer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RecordedRegularizer").field("kind", &self.programs.kind).finish_non_exhaustive()
    }
}

/// The formulas of the programs.
impl Regularizer for RecordedRegularizer {
    fn kind(&self) -> RegularizerKind {
        self.programs.kind
    }

    fn value<R: Real>(&self, density: R) -> R {
        number(self.programs.value.call([density]))
    }

    fn conjugate<R: Real>(&self, exponent: R) -> R {
        number(self.programs.conjugate.call([exponent]))
    }

    fn density<R: Real>(&self, exponent: R) -> R {
        number(self.programs.density.call([exponent]))
    }

    fn fenchel_gap<R: Real>(&self, density: R, exponent: R) -> R {
        number(self.programs.fenchel_gap.call([density, exponent]))
    }

    fn recorded(&self) -> Result<RecordedRegularizer, Error> {
        Ok(self.clone())
    }
}

/// The output of a program that was recorded with one; its arity is known.
fn number<R: Real>(outputs: Result<[R; 1], ProgramError>) -> R {
    outputs.map_or(R::constant(f64::NAN), |[output]| output)
}
