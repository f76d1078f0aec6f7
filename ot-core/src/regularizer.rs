//! The regularizer of the plan: a divergence to the product of the marginals.
//!
//! ```text
//! min_P  <P, C> + epsilon sum_ij a_i b_j h(p_ij) + penalties of the marginals          p_ij = P_ij / (a_i b_j)
//! max_fg -sum_i a_i phi*(-f_i) - sum_j b_j psi*(-g_j) - epsilon sum_ij a_i b_j h*(z_ij)
//!                                                       z_ij = (f_i + g_j - C_ij) / epsilon
//! ```
//!
//! with a convex h on the densities p >= 0, and the plan p_ij = h*'(z_ij) (f-divergence regularisation: Dessein,
//! Papadakis, Rouas 2018; Terjek, Gonzalez-Sanchez 2022). A function h is written once, as a [`Regularizer`] over
//! [`Real`]. A problem records it as a [`RecordedRegularizer`], the programs of which any kernel can run.
//!
//! | regularizer | h(p) | p = h*'(z) | h*(z) |
//! |---|---|---|---|
//! | [`Entropy`] | p log p - p + 1 | exp(z) | exp(z) - 1 |
//! | [`SquaredL2`] | p^2 / 2 | max(z, 0) | max(z, 0)^2 / 2 |

mod entropy;
mod recorded;
mod row;
mod squared_l2;

use std::fmt::Debug;

pub use self::{
    entropy::Entropy,
    recorded::{RecordedRegularizer, entropic_mass},
    row::{RowDensity, c_transform_of_row},
    squared_l2::SquaredL2,
};
use crate::{error::Error, real::Real};

/// What kernels know of a regularizer by name, where they have loops of their own for it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegularizerKind {
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
/// use ot_core::{Real, RecordedRegularizer, Regularizer};
///
/// /// Tsallis entropy of order 3/2: h(p) = 2 (p^(3/2) - p), p = ((z + 2) / 3)^2 above z = -2.
/// #[derive(Clone, Debug)]
/// struct Tsallis;
///
/// impl Regularizer for Tsallis {
///     fn value<R: Real>(&self, density: R) -> R {
///         2.0 * (density.power(1.5) - density)
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
///     ((exponent + 2.0) / 3.0).max(0.0)
/// }
///
/// // h' is the derivative of h, and the inverse of h*'.
/// let tsallis = RecordedRegularizer::new(&Tsallis)?;
/// assert_eq!((tsallis.slope_at(1.0), tsallis.density_at(1.0)), (1.0, 1.0));
/// # Ok::<(), ot_core::Error>(())
/// ```
pub trait Regularizer: Clone + Debug + Send + Sync + 'static {
    /// What is known of the regularizer by name. The default is [`RegularizerKind::Other`]: its formulas.
    fn kind(&self) -> RegularizerKind {
        RegularizerKind::Other
    }

    /// h(p), for p >= 0.
    fn value<R: Real>(&self, density: R) -> R;

    /// h*(z) = sup over p >= 0 of z p - h(p).
    fn conjugate<R: Real>(&self, exponent: R) -> R;

    /// h*'(z) >= 0, the density of a pair: never falling in z.
    fn density<R: Real>(&self, exponent: R) -> R;

    /// The Fenchel gap h(p) + h*(z) - z p >= 0, which is 0 at p = h*'(z). Formulas in which nothing cancels are more
    /// accurate than the default, which is the sum as it stands.
    fn fenchel_gap<R: Real>(&self, density: R, exponent: R) -> R {
        (self.value(density) + self.conjugate(exponent) - density * exponent).max(0.0)
    }

    /// The formulas, recorded. The default records them; a recorded regularizer gives itself.
    ///
    /// # Errors
    /// [`Error::Program`] for a formula that cannot be recorded.
    fn recorded(&self) -> Result<RecordedRegularizer, Error> {
        Ok(RecordedRegularizer::record(self)?)
    }
}
