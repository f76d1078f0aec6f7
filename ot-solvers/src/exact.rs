//! Transport without entropy: Kantorovich's linear programme, solved and proven.
//!
//! ```text
//! min <P, C>  over  P >= 0,  P 1 = a,  P^T 1 = b
//! ```
//!
//! A solution carries the plan, sparse, and the potentials that prove it.

mod plan;

pub use plan::SparsePlan;
