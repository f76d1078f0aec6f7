//! Point clouds on ever coarser scales, and potentials from one scale to the next finer (Mérigot 2011; Schmitzer 2019;
//! Feydy 2020).
//!
//! A [`Hierarchy`] is one cloud and its clusters; a [`Scale`] is two clouds on one scale, between which a problem is
//! cheap. With clusters of s points an iteration costs 1 / s^2 of one between the points, and to extend one potential
//! 1 / (2 s). Potentials are smooth at the scale of sqrt(epsilon): most iterations are done between clusters, and few
//! between points.

mod halving;
mod hierarchy;
mod scale;

pub(crate) use self::{
    halving::halve,
    hierarchy::{Cloud, Hierarchy},
    scale::Scale,
};
