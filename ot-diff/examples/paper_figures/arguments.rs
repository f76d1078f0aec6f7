//! What the command line may say.

use std::path::PathBuf;

use clap::Parser;

/// Draws how Sinkhorn losses between samples of one law decay, and whether they are positive.
///
/// The figures of the appendix of Genevay, Peyre, Cuturi (2017), for the loss 2 W(x, y) - W(x, x) - W(y, y) with the transport cost W of
/// the entropic plan, under the cost |x - y|^(3/2).
#[derive(Debug, Parser)]
#[command(name = "paper_figures")]
pub struct Arguments {
    /// The smallest number of points in a sample
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(2..))]
    pub smallest: u32,

    /// The largest number of points in a sample
    #[arg(long, value_name = "N", default_value_t = 480, value_parser = clap::value_parser!(u32).range(3..))]
    pub largest: u32,

    /// Numbers of points in between, both ends included
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u16).range(2..))]
    pub sizes: u16,

    /// Pairs of samples of each size, of which the mean is told
    #[arg(long, value_name = "PAIRS", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub repeats: u16,

    /// Pairs of small random measures of the second figure, for each epsilon
    #[arg(long, value_name = "PAIRS", default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..))]
    pub pairs: u16,

    /// Seed of all samples
    #[arg(long, default_value_t = 2017)]
    pub seed: u64,

    /// Figure of the decay, in SVG
    #[arg(long, value_name = "FIGURE", default_value = "sinkhorn_decay.svg")]
    pub decay: PathBuf,

    /// Figure of the signs, in SVG
    #[arg(long, value_name = "FIGURE", default_value = "sinkhorn_positivity.svg")]
    pub positivity: PathBuf,
}
