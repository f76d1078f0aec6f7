//! Ours and its peers side by side, on the same arrays, to the same error.
//!
//! - Inputs come from a seed. Peers get them as files and run in processes of their own (see [`peers`]); without
//!   their environment ours still runs, and what was left out is told.
//! - Both clocks run from arrays on the host to potentials, the building of kernels included; what peers compile is
//!   compiled before. Times are medians.
//! - Errors and values of both sides are recomputed here in `f64`, entry by entry, from the potentials returned (see
//!   [`recompute`]): the two-sided relative L1 error of the marginals, and the dual objective. The threshold of a
//!   peer is tightened until its recomputed error meets the tolerance; where it never does, the row says so and the
//!   ratio is a lower bound.
//! - Limits are measured in the same process (see [`roof`]).

mod barycenter;
mod batch;
mod best;
mod dense;
mod diff;
mod discrepancy;
mod divergence;
mod exact;
mod figure;
#[cfg(feature = "gpu")]
mod gpu;
mod grid;
mod heat;
mod large;
mod many;
mod monolith;
mod newton;
mod ours;
mod peak;
pub mod peers;
mod points;
mod posed;
mod problem;
mod quadratic;
pub mod recompute;
pub mod roof;
pub mod row;
mod stochastic;
mod timing;
mod unbalanced;

use std::{error::Error, path::Path};

use clap::ValueEnum;

use self::{
    peers::{Peers, Solver},
    roof::Roof,
    row::{Reached, Report, Row},
};

/// What went wrong where nothing can be measured.
pub type Failure = Box<dyn Error + Send + Sync>;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Suite {
    /// A stored cost, to 1e-9.
    Dense,
    /// Many histograms on one stored cost.
    Batch,
    /// Clouds in space, costs recomputed.
    Points,
    /// Marginals that are penalised; sampled sources.
    Unbalanced,
    /// Losses between clouds: Sinkhorn divergences and maximum mean discrepancies.
    Divergence,
    /// Transport without entropy.
    Exact,
    /// Many small problems, and single ones.
    Many,
    /// Small epsilon, over nine families.
    Newton,
    /// Derivatives, implicit and unrolled.
    Diff,
    /// Barycenters on a fixed support, and of clouds with free points.
    Barycenter,
    /// Images and volumes.
    Grid,
    /// Clouds of a hundred thousand points and more.
    Large,
    /// Diffusions on a mesh.
    Heat,
    /// Clouds on a GPU, with the feature `gpu`.
    #[cfg(feature = "gpu")]
    Gpu,
    /// What the machine can do.
    Roof,
}

/// How large the problems are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sizes {
    /// A minute or two for each suite.
    Quick,
    /// The sizes of the published tables.
    Full,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The suite.
    pub suite: Suite,
    /// The seed of the inputs.
    pub seed: u64,
    /// Threads of either side.
    pub threads: usize,
    /// How large the problems are.
    pub sizes: Sizes,
}

impl Options {
    /// The one or the other, by the sizes asked for.
    fn pick<T>(&self, quick: T, full: T) -> T {
        match self.sizes {
            Sizes::Quick => quick,
            Sizes::Full => full,
        }
    }

    /// Seconds that one measurement of a peer may take.
    fn budget(&self) -> f64 {
        self.pick(20.0, 180.0)
    }
}

/// What a suite works with.
struct Bench<'a> {
    options: Options,
    peers: Peers,
    roof: Roof,
    report: &'a mut Report,
}

impl Bench<'_> {
    fn add(&mut self, row: Row) -> Result<(), Failure> {
        self.report.add(row)
    }

    /// A row beside each peer that runs, or alone if none does.
    fn add_beside(
        &mut self,
        row: &Row,
        solvers: &[Solver],
        mut ask: impl FnMut(&mut Peers, Solver) -> Result<Option<Reached>, Failure>,
    ) -> Result<(), Failure> {
        let mut alone = true;
        for &solver in solvers {
            if let Some(peer) = ask(&mut self.peers, solver)? {
                alone = false;
                self.add(row.clone().with_reached(Some(peer)))?;
            }
        }
        if alone { self.add(row.clone()) } else { Ok(()) }
    }
}

/// Runs a suite. Row after row goes to the report; what was left out is returned.
///
/// # Errors
/// What the library refuses, or the file system. A peer that fails is left out, and is no error.
pub fn run(options: Options, root: &Path, report: &mut Report) -> Result<Vec<String>, Failure> {
    let peers = Peers::new(root, options.threads);
    let mut bench = Bench { options, peers, roof: Roof::new(options.threads), report };
    match options.suite {
        Suite::Dense => dense::run(&mut bench)?,
        Suite::Batch => batch::run(&mut bench)?,
        Suite::Points => points::run(&mut bench)?,
        Suite::Unbalanced => {
            unbalanced::run(&mut bench)?;
            quadratic::run(&mut bench)?;
            stochastic::run(&mut bench)?;
        }
        Suite::Divergence => {
            divergence::run(&mut bench)?;
            discrepancy::run(&mut bench)?;
        }
        Suite::Exact => exact::run(&mut bench)?,
        Suite::Many => many::run(&mut bench)?,
        Suite::Newton => newton::run(&mut bench)?,
        Suite::Diff => diff::run(&mut bench)?,
        Suite::Barycenter => barycenter::run(&mut bench)?,
        Suite::Grid => grid::run(&mut bench)?,
        Suite::Large => large::run(&mut bench)?,
        Suite::Heat => heat::run(&mut bench)?,
        #[cfg(feature = "gpu")]
        Suite::Gpu => gpu::run(&mut bench)?,
        Suite::Roof => roof::run(&mut bench)?,
    }
    Ok(bench.peers.left_out().to_vec())
}
