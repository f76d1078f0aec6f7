//! Entropic transport: Sinkhorn's iteration and what stands around it.

mod annealing;
mod bounds;
mod column;
mod gauge;
mod hand_over;
mod iteration;
mod multiscale;
mod relaxation;
mod sinkhorn;
mod start;
mod update;

pub use self::{
    annealing::Annealing,
    bounds::{UnregularizedBounds, unregularized_bounds},
    hand_over::HandOver,
    relaxation::Relaxation,
    sinkhorn::{Run, Sinkhorn, SinkhornReport},
    start::Start,
    update::Update,
};
pub(crate) use self::{
    column::{Column, Goal, SECOND_CHANCES, STAGE_ITERATIONS, choose_columns, verdict},
    gauge::fix_gauge,
    relaxation::Observed,
};
