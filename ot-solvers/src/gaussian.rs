//! Transport between Gaussians, in closed form.
//!
//! For N(m_a, A) and N(m_b, B) and the squared Euclidean distance (Dowson, Landau 1982; Olkin, Pukelsheim 1982)
//!
//! ```text
//! W_2^2 = |m_a - m_b|^2 + tr A + tr B - 2 tr (A^1/2 B A^1/2)^1/2
//! T(x)  = m_b + A^-1/2 (A^1/2 B A^1/2)^1/2 A^-1/2 (x - m_a)
//! ```
//!
//! Everything here is computed in the form of Procrustes (Bhatia, Jain, Lim 2019): with roots A = R R^T, B = S S^T,
//!
//! ```text
//! W_2^2 - |m_a - m_b|^2 = min over orthogonal U of |R - S U|^2,        U the polar factor of S^T R,
//! ```
//!
//! a sum of squares, so that nothing cancels between close covariances and no inverse or ridge is needed for singular ones.
//! z -> (R z, S U z) with z standard normal is the optimal coupling.
//!
//! The formulas hold between elliptical distributions of one kind (all Student distributions of a number of degrees of freedom,
//! say) in place of Gaussians, with their covariances; and between any distributions with these moments W_2 is at least as large (Gelbrich 1990).

mod barycenter;
mod distribution;
mod map;
mod polar;
mod roots;

pub(crate) use self::roots::optimal_map;
pub use self::{
    barycenter::{BuresBarycenter, BuresBarycenterSolution},
    distribution::Gaussian,
    map::AffineMap,
};

/// Matrices of this module.
pub(crate) type Matrix = nalgebra::DMatrix<f64>;
/// Vectors of this module.
pub(crate) type Vector = nalgebra::DVector<f64>;
