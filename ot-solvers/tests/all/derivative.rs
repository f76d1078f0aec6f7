//! Derivatives of the converged solve, written over the contract alone: backend operations, `KernelOp` and its
//! capabilities. They are checked against differences of full solves, and against each other.
//!
//! `fixed_point` linearises Sinkhorn's iteration where it rests and `conjugate_gradient` solves what comes of it;
//! `implicit` differentiates potentials, forward and reverse, and `envelope` the value.
mod algebra;
mod conjugate_gradient;
mod data;
mod envelope;
mod fixed_point;
mod gradient;
mod implicit;
mod properties;
