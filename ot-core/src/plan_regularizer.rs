//! The regularizer of the plan: a divergence to the product of the marginals.
//!
//! ```text
//! min_P  <P, C> + epsilon sum_ij a_i b_j h(p_ij) + laws of the marginals          p_ij = P_ij / (a_i b_j)
//! max_fg -sum_i a_i phi*(-f_i) - sum_j b_j psi*(-g_j) - epsilon sum_ij a_i b_j h*(z_ij)
//!                                                       z_ij = (f_i + g_j - C_ij) / epsilon
//! ```
//!
//! with a convex h on the densities p >= 0, and the plan p_ij = h*'(z_ij) (f-divergence regularisation: Dessein,
//! Papadakis, Rouas 2018; Terjek, Gonzalez-Sanchez 2022). A function h is written once, as a [`PlanFormula`] over
//! [`Real`], and becomes a [`PlanRegularizer`], the programs of which any kernel can run.
//!
//! | regularizer | h(p) | p = h*'(z) | h*(z) |
//! |---|---|---|---|
//! | [`Entropy`] | p log p - p + 1 | exp(z) | exp(z) - 1 |
//! | [`SquaredL2`] | p^2 / 2 | max(z, 0) | max(z, 0)^2 / 2 |

mod entropy;
mod response;
mod squared_l2;

use std::fmt::Debug;

pub use self::{
    entropy::Entropy,
    response::{RowDensity, respond},
    squared_l2::SquaredL2,
};
use crate::{
    dual::Dual,
    program::{Program, ProgramError},
    real::Real,
};

/// What kernels know of a plan regularizer by name, where they have loops of their own for it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlanKind {
    /// KL to the product of the marginals: Gibbs kernels.
    Entropy,
    /// Half the squared density.
    SquaredL2,
    /// Any other, known by its formulas alone.
    Other,
}

/// A convex function h of the densities of a plan, as formulas over [`Real`].
///
/// Formulas must give finite numbers for every finite argument (in f32 too): clamp exponents. Forbidden pairs are
/// left out by whoever runs them.
///
/// ```
/// use ot_core::{PlanFormula, PlanRegularizer, Real};
///
/// /// Tsallis entropy of order 3/2: h(p) = 2 (p^(3/2) - p), p = ((z + 2) / 3)^2 above z = -2.
/// #[derive(Clone, Debug)]
/// struct Tsallis;
///
/// impl PlanFormula for Tsallis {
///     fn value<R: Real>(&self, density: R) -> R {
///         R::constant(2.0) * (density.power(1.5) - density)
///     }
///     fn conjugate<R: Real>(&self, exponent: R) -> R {
///         root(exponent).power(3.0)
///     }
///     fn density<R: Real>(&self, exponent: R) -> R {
///         root(exponent).power(2.0)
///     }
/// }
///
/// fn root<R: Real>(exponent: R) -> R {
///     ((exponent + R::constant(2.0)) / R::constant(3.0)).max(R::constant(0.0))
/// }
///
/// // h' is the derivative of h, and the inverse of h*'.
/// assert_eq!(Tsallis.slope()?.evaluate::<f64>(&[1.0])?, [1.0]);
/// assert_eq!(PlanRegularizer::density(&Tsallis)?.evaluate::<f64>(&[1.0])?, [1.0]);
/// # Ok::<(), ot_core::ProgramError>(())
/// ```
pub trait PlanFormula: Clone + Debug + Send + Sync + 'static {
    /// What is known of the regularizer by name.
    fn kind(&self) -> PlanKind {
        PlanKind::Other
    }

    /// h(p), for p >= 0.
    fn value<R: Real>(&self, density: R) -> R;

    /// h*(z) = sup over p >= 0 of z p - h(p).
    fn conjugate<R: Real>(&self, exponent: R) -> R;

    /// h*'(z) >= 0, the density of a pair: never falling in z.
    fn density<R: Real>(&self, exponent: R) -> R;

    /// h(p) + h*(z) - z p >= 0, by which a pair of density p exceeds one at its best. Formulas in which nothing
    /// cancels are better than the sum that stands here.
    fn excess<R: Real>(&self, density: R, exponent: R) -> R {
        (self.value(density) + self.conjugate(exponent) - density * exponent).max(R::constant(0.0))
    }
}

/// A regularizer of the plan, ready for any backend. Object-safe; every [`PlanFormula`] is one.
pub trait PlanRegularizer: Debug + Send + Sync {
    /// What is known of the regularizer by name.
    fn kind(&self) -> PlanKind;

    /// p to h(p).
    ///
    /// # Errors
    /// A formula that cannot be recorded.
    fn value(&self) -> Result<Program, ProgramError>;

    /// z to h*(z).
    ///
    /// # Errors
    /// A formula that cannot be recorded.
    fn conjugate(&self) -> Result<Program, ProgramError>;

    /// z to h*'(z).
    ///
    /// # Errors
    /// A formula that cannot be recorded.
    fn density(&self) -> Result<Program, ProgramError>;

    /// z to (h*'(z), h*''(z)).
    ///
    /// # Errors
    /// A formula that cannot be recorded.
    fn response(&self) -> Result<Program, ProgramError>;

    /// (p, z) to h(p) + h*(z) - z p.
    ///
    /// # Errors
    /// A formula that cannot be recorded.
    fn excess(&self) -> Result<Program, ProgramError>;

    /// p to h'(p).
    ///
    /// # Errors
    /// A formula that cannot be recorded.
    fn slope(&self) -> Result<Program, ProgramError>;
}

impl<F: PlanFormula> PlanRegularizer for F {
    fn kind(&self) -> PlanKind {
        PlanFormula::kind(self)
    }

    fn value(&self) -> Result<Program, ProgramError> {
        Program::record(|[density]| [PlanFormula::value(self, density)])
    }

    fn conjugate(&self) -> Result<Program, ProgramError> {
        Program::record(|[exponent]| [PlanFormula::conjugate(self, exponent)])
    }

    fn density(&self) -> Result<Program, ProgramError> {
        Program::record(|[exponent]| [PlanFormula::density(self, exponent)])
    }

    fn response(&self) -> Result<Program, ProgramError> {
        Program::record(|[exponent]| {
            let Dual { value, derivative } = PlanFormula::density(self, Dual::variable(exponent));
            [value, derivative]
        })
    }

    fn excess(&self) -> Result<Program, ProgramError> {
        Program::record(|[density, exponent]| [PlanFormula::excess(self, density, exponent)])
    }

    fn slope(&self) -> Result<Program, ProgramError> {
        Program::record(|[density]| [PlanFormula::value(self, Dual::variable(density)).derivative])
    }
}

/// The programs of one plan regularizer, recorded once, and two numbers of it.
#[derive(Clone, Debug)]
pub struct PlanPrograms {
    kind: PlanKind,
    conjugate: Program,
    density: Program,
    response: Program,
    excess: Program,
    slope: Program,
    empty: f64,
    threshold: f64,
}

impl PlanPrograms {
    /// Records the programs of a regularizer.
    ///
    /// # Errors
    /// A formula that cannot be recorded.
    pub fn record(regularizer: &dyn PlanRegularizer) -> Result<Self, ProgramError> {
        let (value, slope) = (regularizer.value()?, regularizer.slope()?);
        let [empty] = value.call([0.0_f64])?;
        let [threshold] = slope.call([0.0_f64])?;
        Ok(Self {
            kind: regularizer.kind(),
            conjugate: regularizer.conjugate()?,
            density: regularizer.density()?,
            response: regularizer.response()?,
            excess: regularizer.excess()?,
            slope,
            empty,
            threshold: if regularizer.kind() == PlanKind::Entropy { f64::NEG_INFINITY } else { threshold },
        })
    }

    /// What is known of the regularizer by name.
    #[must_use]
    pub fn kind(&self) -> PlanKind {
        self.kind
    }

    /// z to (h*'(z), h*''(z)).
    #[must_use]
    pub fn response(&self) -> &Program {
        &self.response
    }

    /// h(0), the price of a pair without mass.
    #[must_use]
    pub fn empty(&self) -> f64 {
        self.empty
    }

    /// h'(0): a pair with z at most this carries nothing.
    #[must_use]
    pub fn threshold(&self) -> f64 {
        self.threshold
    }

    /// h*'(z).
    #[must_use]
    pub fn density_at(&self, exponent: f64) -> f64 {
        first(self.density.call([exponent]))
    }

    /// h*(z) + h(0), which is 0 for a pair without mass.
    #[must_use]
    pub fn conjugate_at(&self, exponent: f64) -> f64 {
        first(self.conjugate.call([exponent])) + self.empty
    }

    /// h*'(z) and h*''(z).
    #[must_use]
    pub fn response_at(&self, exponent: f64) -> [f64; 2] {
        self.response.call([exponent]).unwrap_or([f64::NAN; 2])
    }

    /// h(p) + h*(z) - z p; infinite for mass on a forbidden pair, where z is minus infinity.
    #[must_use]
    pub fn excess_at(&self, density: f64, exponent: f64) -> f64 {
        match exponent {
            f64::NEG_INFINITY if density > 0.0 => f64::INFINITY,
            f64::NEG_INFINITY => 0.0,
            _ => first(self.excess.call([density, exponent])),
        }
    }

    /// h'(p).
    #[must_use]
    pub fn slope_at(&self, density: f64) -> f64 {
        if density > 0.0 { first(self.slope.call([density])) } else { self.threshold }
    }
}

/// The number of a program that was recorded with one output; a program of another shape gives no number.
fn first(outputs: Result<[f64; 1], ProgramError>) -> f64 {
    outputs.map_or(f64::NAN, |[number]| number)
}
