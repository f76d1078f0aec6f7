//! Problems whose answers are known in closed form, for tests, benchmarks and documentation.
//!
//! | problem | what is known | source |
//! |---|---|---|
//! | [`TranslatedCloud`] | the cost is the squared length of the shift | Brenier 1991: translations are gradients of convex functions |
//! | [`Diracs`] | mass, potentials and value, balanced or with Kullback-Leibler penalties | one equation in one unknown |
//! | [`Quantiles`] | the optimal cost on the line | Monge 1781; Villani 2003, theorem 2.18 |
//! | [`Gaussians`] | plan, cost and value at every epsilon | Janati, Muzellec, Peyre, Cuturi 2020; del Barrio, Loubes 2020 |
//! | [`UnbalancedGaussians`] | mass and value with Kullback-Leibler penalties | Janati, Muzellec, Peyre, Cuturi 2020 |
//! | [`Bures`] | the squared distance of Gaussians in the plane | Dowson, Landau 1982 |
//!
//! Values are those of the objective of [`Problem`](ot_core::Problem): the entropy is
//! sum P log(P / ab) - P + ab.

mod diracs;
mod gaussians;
mod line;

pub use self::{
    diracs::Diracs,
    gaussians::{Bures, Gaussians, UnbalancedGaussians},
    line::{Quantiles, TranslatedCloud},
};
