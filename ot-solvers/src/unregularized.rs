//! Transport without entropy, with penalties on the marginals.

mod costs;
mod majorize_minimize;
mod penalty;

pub(crate) use self::costs::dense_costs;
pub use self::{
    majorize_minimize::{MajorizeMinimize, UnregularizedPlan},
    penalty::MarginalPenalty,
};
