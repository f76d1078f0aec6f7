//! From transport to a kernel distance: Sinkhorn divergences between two measures on the line over the strength of the
//! entropy, drawn as an SVG.
//!
//! On the left stands transport without entropy, known from sorted points; on the right half the squared discrepancy of the kernel
//! -|x - y| (the energy distance). Divergences lead from the one to the other (Ramdas, Garcia, Cuturi 2017; Feydy et al.
//! 2019). What is not debiased ends elsewhere: the cost of the entropic plan at that of the independent coupling.
//!
//! ```text
//! cargo run --release --example divergence_limits -- divergence_limits.svg
//! ```

#![expect(clippy::print_stdout, reason = "this is a program")]

mod chart;

use std::{env, error::Error, fs};

use ot_core::{Epsilon, Euclidean, PointCloud, Side};
use ot_cpu::CpuBackend;
use ot_solvers::{DivergenceForm, MaximumMeanDiscrepancy, SelfTerm, Sinkhorn, SinkhornDivergence};

use crate::chart::{Chart, Curve, Level};

/// Points of either measure.
const POINTS: usize = 80;

/// Epsilons, and how they are spread over powers of ten.
const EPSILONS: i32 = 61;
const LOWEST_POWER: f64 = -3.0;
const POWERS: f64 = 6.0;

fn main() -> Result<(), Box<dyn Error>> {
    let output = env::args().nth(1).unwrap_or_else(|| "divergence_limits.svg".into());
    let backend = CpuBackend::<f64>::with_available_threads()?;
    let (x, y) = (bumps([0.1, 0.35]), bumps([0.3, 0.8]));
    let transport = x.iter().zip(&y).map(|(x, y)| (x - y).abs()).sum::<f64>() / POINTS as f64;
    let pairs = x.iter().flat_map(|x| y.iter().map(move |y| (x - y).abs()));
    let independent = pairs.sum::<f64>() / (POINTS * POINTS) as f64;
    let [a, b] = [PointCloud::uniform(x, 1)?, PointCloud::uniform(y, 1)?];
    let half_energy = 0.5 * MaximumMeanDiscrepancy::energy(1.0)?.between(&backend, &a, &b)?.squared();

    let epsilons: Vec<f64> =
        (0..EPSILONS).map(|k| 10_f64.powf(LOWEST_POWER + POWERS * f64::from(k) / f64::from(EPSILONS - 1))).collect();
    let [mut full, mut sharp, mut biased] = [const { Vec::new() }; 3];
    let settings = SinkhornDivergence::new().sinkhorn(Sinkhorn::new().max_iterations(100_000));
    for &epsilon in &epsilons {
        let problem = |x, y| settings.problem(&backend, x, y, &Euclidean, Epsilon::Absolute(epsilon));
        let whole = settings.between(&backend, &a, &b, &Euclidean, Epsilon::Absolute(epsilon))?;
        // The three solutions serve both forms.
        let [source, target] = Side::BOTH.map(|side| SelfTerm::Frozen(whole.self_term(side)));
        let of_costs = settings.clone().form(DivergenceForm::Sharp).solve(&problem(&a, &b)?, source, target)?;
        full.push(whole.value());
        sharp.push(of_costs.value());
        biased.push(whole.cross().certificate().transport_cost.unwrap_or(f64::NAN));
    }

    let curve = |name, colour, values| Curve { name, colour, points: epsilons.iter().copied().zip(values).collect() };
    let chart = Chart {
        title: "Sinkhorn divergences between transport and energy distance",
        horizontal: "epsilon",
        vertical: "value",
        curves: vec![
            curve("cost of the entropic plan, not debiased", "#b8bcc4", biased.clone()),
            curve("full divergence", "#1f6feb", full.clone()),
            curve("sharp divergence", "#d4572a", sharp.clone()),
        ],
        levels: vec![
            Level { name: "transport without entropy", value: transport },
            Level { name: "half the squared energy distance", value: half_energy },
            Level { name: "cost of the independent coupling", value: independent },
        ],
    };
    fs::write(&output, chart.to_svg())?;

    println!("transport without entropy  {transport:.6}   half the squared energy distance  {half_energy:.6}");
    println!("{:>10} {:>10} {:>10} {:>12}", "epsilon", "full", "sharp", "not debiased");
    for index in (0..epsilons.len()).step_by(5) {
        println!("{:>10.1e} {:>10.6} {:>10.6} {:>12.6}", epsilons[index], full[index], sharp[index], biased[index]);
    }
    println!("written to {output}");
    Ok(())
}

/// Sorted points in two bumps about the centres.
fn bumps(centres: [f64; 2]) -> Vec<f64> {
    let spread = |k: usize| {
        let share = (k as f64 + 0.5) / (POINTS / 2) as f64;
        0.04 * (share / (1.0 - share)).ln()
    };
    let mut points: Vec<f64> =
        centres.iter().flat_map(|centre| (0..POINTS / 2).map(move |k| centre + spread(k))).collect();
    points.sort_by(f64::total_cmp);
    points
}
