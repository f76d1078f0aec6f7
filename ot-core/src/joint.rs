//! Problems of several plans that share unknown measures: barycenters, propagation on a graph.
//!
//! A barycenter has one unknown measure and a term for each input. Propagation (Solomon et al. 2014) has an unknown measure
//! for each free vertex and a term for each edge. Both are posed as a [`JointProblem`], answered as a [`JointSolution`], and
//! proven by [`certify_joint`], whose [`Certificate`](crate::Certificate) means the same as that of two marginals.

mod certificate;
mod problem;
mod solution;

pub use self::{
    certificate::certify_joint,
    problem::{End, JointProblem, JointTerm},
    solution::JointSolution,
};
