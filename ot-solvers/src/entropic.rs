//! Entropic transport: Sinkhorn's iteration and what stands around it.

mod annealing;
mod bounds;
mod column;
mod feasibility;
mod gauge;
mod hand_over;
mod iteration;
mod multiscale;
mod relaxation;
mod run;
mod sinkhorn;
mod start;
mod update;

pub use self::{
    annealing::Annealing,
    bounds::{UnregularizedBounds, unregularized_bounds},
    hand_over::HandOver,
    relaxation::Relaxation,
    run::Run,
    sinkhorn::{Sinkhorn, SinkhornReport},
    start::Start,
    update::Update,
};
pub(crate) use self::{
    column::{Column, Goal, SECOND_CHANCES, STAGE_ITERATIONS, choose_columns, verdict},
    feasibility::{CUT_SWEEPS, may_be_infeasible, refuse_violated_cuts},
    gauge::fix_gauge,
    relaxation::Observed,
};
