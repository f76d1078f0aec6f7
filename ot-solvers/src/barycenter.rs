//! Barycenters: measures in the middle of others, over any kernel.
//!
//! ```text
//! min over p   sum_k lambda_k min_P <P, C_k> + epsilon KL(P | a_k m^T)
//! ```
//!
//! where P has the marginals a_k and p, and m is a fixed reference measure on the support of p. What is asked is a
//! [`JointProblem`](ot_core::JointProblem), which [`Barycenter`] makes of inputs; [`BregmanProjections`] solves it, as it
//! solves any other problem of unknown measures between given ones. The reference m makes the problem one of convex
//! optimisation with two blocks of dual variables, and blurs: p has the width of the entropy.
//!
//! [`BoundedEntropy`] bounds the blur, [`DebiasedBarycenter`] takes it out, [`FreeSupport`] moves the points of a cloud instead of
//! weighing those of a support, and [`BarycentricCoordinates`] asks which weights make a given histogram.

mod bregman;
mod coordinates;
mod debiased;
mod free_support;
mod front;
mod group;
mod inputs;
mod iteration;
mod rate;
mod sharpening;
mod unknown;

pub(crate) use self::inputs::{Reweighted, require_mass};
pub use self::{
    bregman::{BregmanProjections, BregmanRun},
    coordinates::{BarycentricCoordinates, CoordinateLoss, Coordinates},
    debiased::{DebiasedBarycenter, DebiasedRun, DebiasedSolution},
    free_support::{FreeSupport, FreeSupportRun, FreeSupportSolution, InnerTransport},
    front::barycenter,
    inputs::Barycenter,
    sharpening::{BoundedEntropy, BoundedEntropyRun, EntropyBound},
};
