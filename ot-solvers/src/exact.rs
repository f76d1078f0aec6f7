//! Transport without entropy: Kantorovich's linear programme, solved and proven.
//!
//! ```text
//! min <P, C>  over  P >= 0,  P 1 = a,  P^T 1 = b
//! max <a, f> + <b, g>  over  f_i + g_j <= C_ij
//! ```
//!
//! A solution carries the plan, sparse, and the potentials that prove it: [`certify_optimality`] rechecks them from the input alone.
//!
//! [`ExactTransport`] takes any cost between two discrete measures: a matrix, few pairs ([`SparseCosts`]), a cost of
//! points evaluated when needed. It runs in three steps:
//!
//! 1. First potentials: those of entropic transport at a small epsilon, coarse to fine, between point clouds, annealed
//!    between grids; the minima of rows and columns otherwise; or those of the caller.
//! 2. The network simplex on the few arcs of each atom that have the least reduced cost under them. Between large clouds in the
//!    plane potentials and arcs make each other better before, by entropic transport on the arcs alone.
//! 3. All pairs priced under the potentials of the simplex. Those of negative reduced cost join its arcs, and step 2
//!    goes on, until there are none.
//!
//! No step stores the costs. Between few atoms, of at most 2^18 pairs, there is one step: the network simplex on all pairs, over a
//! table of their costs ([`ExactWorkspace`] keeps its memory). Flows are whole numbers and every pivot descends, so neither ties nor weights of many
//! decades matter.

mod assignment;
mod boxes;
mod candidates;
mod certificate;
mod circle;
mod column_generation;
mod costs;
mod forest;
mod geometric;
mod gridded;
mod line;
mod masses;
mod network_simplex;
mod plan;
mod polish;
mod sliced;
mod small;
mod sparse_costs;
pub(crate) mod sum;
mod transport;

pub use self::{
    assignment::{Assignment, assign},
    certificate::{OptimalityCertificate, certify_optimality},
    circle::CircleTransport,
    line::{LineTransport, QuantileFunction, QuantileMap, line_costs},
    plan::SparsePlan,
    sliced::{SlicedDistance, SlicedWasserstein},
    small::ExactWorkspace,
    sparse_costs::SparseCosts,
    transport::{ExactRun, ExactSolution, ExactTransport, Guide, SearchReport},
};
pub(crate) use self::{
    masses::{balanced_weights, check_histogram, single_weights},
    sliced::Slices,
    small::has_few_pairs,
};
