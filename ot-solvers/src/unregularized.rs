//! Transport without entropy, with penalties on the marginals.

mod majorize_minimize;
mod penalty;
mod proximal;
mod units;

pub use self::{
    majorize_minimize::{MajorizeMinimize, MajorizeMinimizeRun, UnregularizedPlan},
    penalty::MassPenalty,
};
