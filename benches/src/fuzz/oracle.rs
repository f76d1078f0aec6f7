//! Answers that share no code with the solvers: slow, small, and as exact as they can be.

pub mod barycenter;
pub mod entropic;
pub mod line;
pub mod sum;
pub mod transport;
