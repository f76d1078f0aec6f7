//! What the command line may say.

use std::path::PathBuf;

use clap::Parser;

/// Draws the barycenters between four pictures, by entropic optimal transport.
///
/// Each tile of the sheet is a barycenter of the four corners. The left half shows barycenters as the entropy leaves them, the right
/// half those of no more entropy than the corners have.
#[derive(Debug, Parser)]
#[command(name = "image_barycenter")]
pub struct Arguments {
    /// Four pictures, dark on light, in PNG or JPEG: upper left, upper right, lower left, lower right; four shapes are drawn if
    /// none are given
    #[arg(long, value_name = "IMAGE", num_args = 4)]
    pub corners: Vec<PathBuf>,

    /// Picture to write, in PNG or JPEG by its extension
    #[arg(long, value_name = "IMAGE", default_value = "image_barycenter.png")]
    pub output: PathBuf,

    /// Side of a picture, in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 64, value_parser = clap::value_parser!(u32).range(8..=512))]
    pub size: u32,

    /// Tiles along a side of the sheet
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=16))]
    pub tiles: u32,

    /// Entropic regularization, in squared pixels
    #[arg(long, value_name = "SQUARES", default_value_t = 3.0, value_parser = positive)]
    pub epsilon: f64,

    /// Marginal error at which a barycenter counts as converged
    #[arg(long, value_name = "ERROR", default_value = "1e-4", value_parser = positive)]
    pub tolerance: f64,

    /// Threads; as many as can run at once if not given
    #[arg(long)]
    pub threads: Option<usize>,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if value > 0.0 && f64::is_finite(value) => Ok(value),
        _ => Err("expected a finite number above 0".into()),
    }
}
