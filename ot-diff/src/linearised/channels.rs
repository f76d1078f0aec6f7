//! Sums of products u_i v_j, the factors of pairs under one plan.
//!
//! With G_ij = exp((s_i + t_j - C_ij) / epsilon) and the marginals mu, nu of the plan,
//!
//! ```text
//! P_ij = mu_i G_ij nu_j      T_ij = G_ij nu_j      S_ji = mu_i G_ij
//! ```
//!
//! so that what a gradient has of all three is one pass over the pairs of G. No weight is divided by.

use ot_core::{Device, Error, PairWeight, Side};

use crate::{
    algebra::{Sided, joined},
    frame::Frame,
};

/// u and v, of some channels each.
#[derive(Debug)]
pub(super) struct Channels<D: Device> {
    vectors: Sided<Vec<D::Vector>>,
}

impl<D: Device> Channels<D> {
    pub(super) fn new() -> Self {
        Self { vectors: Sided { source: Vec::new(), target: Vec::new() } }
    }

    /// One more product, or several: of as many channels on either side.
    pub(super) fn push(&mut self, product: Sided<D::Vector>) {
        self.vectors.source.push(product.source);
        self.vectors.target.push(product.target);
    }

    /// All of them side by side.
    pub(super) fn joined(&self, frame: &Frame<D>) -> Result<Sided<D::Vector>, Error> {
        Sided::try_new(|side: Side| joined(frame.backend(), frame.shape(side), &self.vectors[side]))
    }
}

/// The factor sum_k u_ik v_jk.
pub(super) fn factor<D: Device>(product: &Sided<D::Vector>) -> PairWeight<'_, D> {
    PairWeight { product: Some((&product.source, &product.target)), ..PairWeight::constant(0.0) }
}
