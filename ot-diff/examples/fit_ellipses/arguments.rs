//! What the command line may say.

use std::path::PathBuf;

use clap::Parser;

/// Fits three ellipsoids to the Iris flowers by gradients of Sinkhorn losses.
///
/// The experiment of section 4.1 of Genevay, Peyre, Cuturi (2017): the four measurements of 150 flowers are projected to
/// three principal components; a mixture of three ellipsoids, x = A_k z + w_k with z uniform in the unit ball, starts from
/// k-means and descends the loss 2 W(model, data) - W(model, model) - W(data, data), where W is the transport cost of
/// exactly L Sinkhorn iterations, differentiated as they are. A Gaussian discrepancy is the baseline.
#[derive(Debug, Parser)]
#[command(name = "fit_ellipses")]
pub struct Arguments {
    /// Sinkhorn's iterations of each loss
    #[arg(long, value_name = "L", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    pub iterations: u16,

    /// Steps of the descent
    #[arg(long, value_name = "STEPS", default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..))]
    pub steps: u16,

    /// Points drawn in each ellipsoid
    #[arg(long, value_name = "POINTS", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..))]
    pub points: u16,

    /// Seed of the points
    #[arg(long, default_value_t = 2017)]
    pub seed: u64,

    /// Picture to write, in PNG
    #[arg(long, value_name = "IMAGE", default_value = "fit_ellipses.png")]
    pub output: PathBuf,
}
