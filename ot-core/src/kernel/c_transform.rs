//! The question that c-transforms answer.

use super::{ActiveColumns, PlanView};
use crate::{backend::Device, penalty::RecordedPenalty, side::Side};

/// The question for the potential of a side that is best for a given potential of the other, under the penalty of its
/// marginal:
///
/// ```text
/// out_i = argmax over f of -phi*(-f) - epsilon sum_j b_j h*((f + g_j - C_ij) / epsilon)
/// ```
///
/// For entropy and a prescribed marginal it is the softmin -epsilon log sum_j b_j exp((g_j - C_ij) / epsilon), for
/// entropy and another penalty the [`step`](crate::MarginalPenalty::step) of the softmin. An atom without partners gets
/// [`UNREACHABLE`](crate::UNREACHABLE), or what the penalty makes of it.
#[derive(Debug)]
pub struct CTransform<'a, D: Device> {
    /// The side that gets values.
    pub side: Side,
    /// Potentials and weights of both sides. The potential of `side` is a guess of the result.
    pub plan: PlanView<'a, D>,
    /// The penalty of the marginal of `side`.
    pub penalty: &'a RecordedPenalty,
    /// The columns wanted.
    pub active: &'a ActiveColumns,
}

impl<D: Device> Copy for CTransform<'_, D> {}
impl<D: Device> Clone for CTransform<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

/// What a c-transform is asked to tell of the plan that it enters with, that of the guess. A Gibbs kernel knows it
/// without another pass.
#[derive(Debug)]
pub struct Entering<'a, D: Device> {
    /// The densities of the marginal of the side. They steer: beyond exp(80) they are not told apart.
    pub density: &'a mut D::Vector,
    /// sum_ij a_i b_j (h*(z_ij) + h(0)): the mass of the plan if h is entropy.
    pub conjugate: Option<&'a mut D::Reduced>,
}
