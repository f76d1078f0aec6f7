//! How far apart are the wines of two marks? Distances between the chemical profiles of the quality classes of red
//! wines (Cortez et al. 2009), by exact optimal transport, each with its proof.
//!
//! A class is the uniform measure on its wines, a wine a point of eleven measurements, each in units of its standard
//! deviation over all wines. W_2 between two classes is the root of the least mean squared distance that carries one
//! to the other.
//!
//! ```text
//! cargo run --release --example exact_ot
//! ```

#![expect(clippy::print_stdout, reason = "this is a program")]

mod wines;

use std::{error::Error, time::Instant};

use ot_core::{Side, SqEuclidean};
use ot_cpu::CpuBackend;
use ot_solvers::{ExactSolution, ExactTransport, certify_optimality};

use crate::wines::{Class, wines};

fn main() -> Result<(), Box<dyn Error>> {
    let classes = wines();
    let backend = CpuBackend::<f64>::with_available_threads()?;
    let total: usize = classes.values().map(Class::len).sum();
    println!("{total} wines, {} marks; W_2 between the profiles of each, in standard deviations\n", classes.len());

    let clock = Instant::now();
    print!("   mark  wines");
    classes.keys().for_each(|mark| print!("{mark:>8}"));
    println!();
    let mut largest: Option<Pair<'_>> = None;
    for (&one, source) in &classes {
        print!("{one:>7} {:>6}", source.len());
        for (&other, target) in &classes {
            if other <= one {
                print!("{:>8}", if other == one { "0" } else { "" });
                continue;
            }
            let (a, b) = (source.cloud()?, target.cloud()?);
            let solution = ExactTransport::new().solve(&backend, &a, &b, &SqEuclidean)?;
            print!("{:8.3}", solution.certificate().primal.sqrt());
            let pair = Pair { marks: [one, other], source, target, solution };
            if largest.as_ref().is_none_or(|largest| pair.len() > largest.len()) {
                largest = Some(pair);
            }
        }
        println!();
    }
    println!("\nall in {:.2} s on {} threads", clock.elapsed().as_secs_f64(), backend.threads());
    largest.map_or(Ok(()), |pair| pair.report())
}

/// Two classes and the plan between them.
struct Pair<'a> {
    marks: [usize; 2],
    source: &'a Class,
    target: &'a Class,
    solution: ExactSolution,
}

impl Pair<'_> {
    /// Pairs of wines.
    fn len(&self) -> usize {
        self.source.len() * self.target.len()
    }

    /// What is proven, computed here once more from the wines, the plan and the potentials alone.
    fn report(&self) -> Result<(), Box<dyn Error>> {
        let Self { marks: [one, other], source, target, solution } = self;
        let (a, b) = (source.cloud()?, target.cloud()?);
        let [f, g] = Side::BOTH.map(|side| solution.potential(side));
        let proof = certify_optimality::<f64>(&a, &b, &SqEuclidean, solution.plan(), f, g)?;
        let report = solution.report();
        println!("\nmarks {one} and {other}: {} x {} wines", source.len(), target.len());
        println!("status                  {}, {} pivots in {} rounds", solution.status(), report.pivots, report.rounds);
        println!("entries of the plan     {}", solution.plan().entries().len());
        println!("primal <P, C>           {:.15}", proof.primal);
        println!("dual <a, f> + <b, g>    {:.15}", proof.dual);
        println!("smallest reduced cost   {:.1e}", proof.smallest_reduced_cost);
        println!("slackness violated by   {:.1e}", proof.largest_complementarity_violation);
        println!("marginals off by        {:.1e} and {:.1e}", proof.source_residual, proof.target_residual);
        println!("proven optimal          {}", if proof.proves(1e-12) { "yes, to 1e-12" } else { "no" });
        Ok(())
    }
}
