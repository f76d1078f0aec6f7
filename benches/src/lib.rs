//! Measurements of the framework: what it withstands, and how fast it is beside its peers.

pub mod compare;
pub mod conversions;
pub mod fuzz;
pub mod machine;
pub mod memory;
pub mod robustness;
pub mod seeded;
