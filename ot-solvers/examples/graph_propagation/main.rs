//! Who follows whom: a karate club splits between its instructor and an officer (Zachary 1977). Of these two it is known
//! where they stand, on a scale from 0 to 1; where their friends stand is propagated along friendships (Solomon et al. 2014),
//! as a distribution on the scale for each of them: friends have near distributions, the nearer the better friends they are.
//!
//! ```text
//! cargo run --release --example graph_propagation
//! ```

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a program")]

mod karate_club;

use std::{error::Error, process::ExitCode, time::Instant};

use clap::Parser;
use ot_core::{Axis, Epsilon, Grid, GridHistogram, ImpliedCost, SqEuclidean, VertexHistogram};
use ot_cpu::{CpuBackend, HeatGeometry};
use ot_solvers::{BregmanProjections, Propagation, PropagationSolution, SinkhornDivergence};

use crate::karate_club::KarateClub;

/// The instructor and the officer.
const LEADERS: [usize; 2] = [0, 33];

/// Propagates opinions through a karate club, by optimal transport along its friendships.
#[derive(Debug, Parser)]
#[command(name = "graph_propagation")]
struct Arguments {
    /// Nodes of the scale of opinions
    #[arg(long, default_value_t = 33, value_parser = clap::value_parser!(u32).range(3..=512))]
    nodes: u32,

    /// Width of the blur, in units of the scale
    #[arg(long, default_value_t = 0.03)]
    blur: f64,

    /// Marginal error at which the propagation counts as converged
    #[arg(long, default_value_t = 1e-4)]
    tolerance: f64,
}

fn main() -> ExitCode {
    match propagate(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn propagate(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let clock = Instant::now();
    let club = KarateClub::load()?;
    let backend = CpuBackend::<f64>::with_available_threads()?;
    let scale = Grid::new([Axis::cells(arguments.nodes as usize, 0.0, 1.0)?])?;
    let opinion = |centre: f64| {
        let nodes = scale.axes()[0].coordinates();
        let weights: Vec<f64> = nodes.map(|x| (-((x - centre) / 0.05).powi(2) / 2.0).exp() + 1e-6).collect();
        GridHistogram::new(&scale, weights).map(GridHistogram::normalized)
    };
    let (instructor, officer, reference) = (opinion(0.1)?, opinion(0.9)?, GridHistogram::uniform(&scale)?);
    let epsilon = Epsilon::Blur(arguments.blur);
    let problem = Propagation::new(&backend, &club.graph, &reference, &SqEuclidean, epsilon)
        .given(LEADERS[0], &instructor)?
        .given(LEADERS[1], &officer)?
        .problem()?;
    let solution = problem.solve(&BregmanProjections::new().tolerance(arguments.tolerance))?;
    let means = means(&solution, &scale)?;

    println!("member  opinion  0{:^24}1  went with", "");
    for (member, mean) in means.iter().enumerate() {
        let place = (mean * 25.0).round().clamp(0.0, 25.0) as usize;
        let side = if club.with_officer[member] { "officer" } else { "instructor" };
        println!("{member:>6}  {mean:>7.3}  {}*{}  {side}", "-".repeat(place), "-".repeat(25 - place));
    }
    let right = means.iter().zip(&club.with_officer).filter(|(mean, officer)| (**mean > 0.5) == **officer).count();
    println!("told rightly         {right} of {} members, of whom two were given", means.len());
    println!("status               {}", solution.joint().status());
    println!("iterations           {}", solution.joint().iterations());
    println!("marginal error       {:.1e}", solution.joint().certificate().marginal_error);
    println!("gap                  {:.1e}", solution.joint().certificate().gap);
    println!(
        "between the clubs    {:.3} in squared friendships, by heat on the graph",
        between_clubs(&backend, &club)?
    );
    println!("seconds              {:.2}", clock.elapsed().as_secs_f64());
    Ok(())
}

/// The mean opinion of each member.
fn means(
    solution: &PropagationSolution<'_, ot_core::Host<f64>>,
    scale: &Grid<f64>,
) -> Result<Vec<f64>, Box<dyn Error>> {
    let mean = |masses: Vec<f64>| masses.iter().zip(scale.axes()[0].coordinates()).map(|(p, x)| p * x).sum();
    let members = solution.joint().problem().unknown().len() + LEADERS.len();
    (0..members).map(|member| Ok(mean(solution.measure(member)?.ok_or("no such member")?))).collect()
}

/// The divergence between the two clubs as uniform distributions of members, under the heat kernel of the friendships.
fn between_clubs(backend: &CpuBackend<f64>, club: &KarateClub) -> Result<f64, Box<dyn Error>> {
    let heat = HeatGeometry::new(backend, &club.graph, 1.0, 10)?;
    let members = |officer: bool| {
        let weights: Vec<f64> = club.with_officer.iter().map(|with| f64::from(u8::from(*with == officer))).collect();
        VertexHistogram::new(&club.graph, weights).map(VertexHistogram::normalized)
    };
    let (instructor, officer) = (members(false)?, members(true)?);
    Ok(SinkhornDivergence::new().between(&heat, &instructor, &officer, &ImpliedCost, heat.epsilon())?.value())
}
