//! What the command line may say.

use std::path::PathBuf;

use clap::Parser;

/// Recolours a photograph with the palette of another, by entropic optimal transport.
///
/// The distinct colours of each photograph are a measure on the unit cube of red, green
/// and blue, each colour weighing what share of the pixels wear it. The transport plan
/// between the two measures sends each colour of the source to a mean of colours of the
/// target. What is written is one picture: source, palette and result side by side.
#[derive(Debug, Parser)]
#[command(name = "color_transfer")]
pub struct Arguments {
    /// Photograph to recolour, in PNG or JPEG
    #[arg(
        long,
        value_name = "IMAGE",
        default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/photographs/rocket.png")
    )]
    pub source: PathBuf,

    /// Photograph whose palette is taken, in PNG or JPEG
    #[arg(
        long,
        value_name = "IMAGE",
        default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/photographs/coffee.png")
    )]
    pub target: PathBuf,

    /// Picture to write, in PNG or JPEG by its extension
    #[arg(long, value_name = "IMAGE", default_value = "color_transfer.png")]
    pub output: PathBuf,

    /// Entropic regularization, as a share of the mean cost between the two palettes
    ///
    /// Small values keep the contrast of the target's palette and take more iterations;
    /// large values draw every colour towards the target's mean.
    #[arg(
        long,
        value_name = "SHARE",
        default_value = "1e-2",
        value_parser = positive,
        allow_negative_numbers = true
    )]
    pub epsilon: f64,

    /// Longest side of the photographs, in pixels: larger ones are downscaled to it
    ///
    /// The work grows with the product of the two palettes' sizes, so up to the fourth
    /// power of this.
    #[arg(
        long,
        value_name = "PIXELS",
        default_value_t = 256,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub size: u32,

    /// Number of threads to compute with [default: one for each core]
    #[arg(long, value_name = "COUNT", value_parser = at_least_one)]
    pub threads: Option<usize>,

    /// Violation of the marginals, in total mass, under which the iterations stop
    #[arg(
        long,
        value_name = "MASS",
        default_value = "1e-3",
        value_parser = positive,
        allow_negative_numbers = true
    )]
    pub tolerance: f64,
}

/// Reads a finite number above zero.
fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| String::from("it is not a number"))?;
    if number.is_finite() && number > 0.0 { Ok(number) } else { Err(String::from("it must be finite and above zero")) }
}

/// Reads a whole number above zero.
fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err(String::from("it must be at least one")),
        Ok(number) => Ok(number),
        Err(_) => Err(String::from("it is not a whole number")),
    }
}
