//! Writes the page of conversions: what others call their numbers, and how ours become them.
//!
//! ```text
//! cargo run -p benches --bin conversions > docs/conversions.md
//! ```

#![expect(clippy::print_stdout, reason = "this is a program")]

use std::{error::Error, process::ExitCode};

use benches::conversions::{Measured, TOLERATED};

/// What stands above the tables.
const HEAD: &str = "\
# Conversions

Made by `cargo run -p benches --bin conversions > docs/conversions.md`.

Libraries of optimal transport disagree on what a number is called and which factor it has. Each line of the tables is one
number, measured: theirs by `benches/peers/conversions.py` on a problem of six points against five with uneven weights, ours
computed by this program on the same problem and converted as the line says. `cargo test -p benches` holds them together.

Ours, in one place: the problem is `<P, C> + epsilon KL(P | a b^T)`, with `KL(P | R) = sum P log(P / R) - P + R` and
`P = a b^T exp((f + g - C) / epsilon)`; `SqEuclidean` is `|x - y|^2` and `HalfSqEuclidean` half of it; `transport_cost` is
`<P, C>`, `primal` and `dual` are the two objectives, equal at the optimum.

| what | here | POT | OTT-JAX | GeomLoss |
| --- | --- | --- | --- | --- |
| strength of the entropy | `Epsilon::Absolute(e)` | `reg = e` | `epsilon = e` | `blur = e^(1/p)` |
| penalty of a marginal | `Kl::new(rho)` | `reg_m = rho` | `tau = rho / (rho + epsilon)`: `Kl::from_tau` | `reach = rho^(1/p)`: `Kl::from_reach` |
| entropy against | `a b^T` | counting measure; `a b^T` in `solve` and `sinkhorn_unbalanced` | counting measure; `a b^T` in `reg_ot_cost` | `a b^T` |
| squared distance | either, by name | no half | no half | half |
| divergence | `Full`, `Sharp`, `Genevay` | `Sharp`, clipped at zero | `Full` | `Full` |
| MMD | squared | - | - | half of the square |

No counterpart here: Laplacian kernels and Hausdorff divergences of GeomLoss; `entropic_partial_wasserstein` of POT, whose
entropy is that of the moved mass alone (that of `PartialTransport` counts what rests too).
";

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let measured = Measured::read()?;
    println!("{HEAD}");
    let versions: Vec<String> = measured.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    println!("Measured with {}.", versions.join(", "));
    let conversions = measured.conversions()?;
    let mut peer = "";
    for conversion in &conversions {
        if conversion.peer != peer {
            peer = conversion.peer;
            println!("\n## {peer}\n\n| theirs | ours | theirs measured | ours converted | relative difference |");
            println!("| --- | --- | --- | --- | --- |");
        }
        let (theirs, ours) = (conversion.theirs, conversion.ours);
        let (measured, converted) = (conversion.measured, conversion.converted);
        println!("| {theirs} | {ours} | {measured:.12} | {converted:.12} | {:.0e} |", conversion.difference());
    }
    let held = conversions.iter().all(|conversion| conversion.difference() <= TOLERATED);
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
