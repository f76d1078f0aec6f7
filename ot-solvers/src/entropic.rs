//! Entropic transport: Sinkhorn's iteration and what stands around it.

mod annealing;
mod bounds;
mod gauge;
mod iteration;
mod multiscale;
mod relaxation;
mod sinkhorn;
mod start;
mod update;

pub(crate) use self::gauge::fix_gauge;
pub use self::{
    annealing::Annealing,
    bounds::{UnregularizedBounds, unregularized_bounds},
    relaxation::Relaxation,
    sinkhorn::{Run, Sinkhorn},
    start::Start,
    update::Update,
};
