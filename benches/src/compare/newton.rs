//! Small epsilon: Newton's method beside Sinkhorn's iteration, over nine families of problems.

mod families;

use std::sync::Arc;

use ot_core::{CostMatrix, Epsilon, GeometryBuilder, Histogram, Host, Measure, Problem, Side, Solution};
use ot_cpu::CpuBackend;
use ot_solvers::{ExactTransport, HandOver, Newton, NewtonReport, Sinkhorn, Start};

use self::families::Family;
use super::{
    Bench, Failure,
    figure::{Curve, logarithmic},
    peers::Solver,
    problem::Arrays,
    recompute::recompute,
    row::{Measured, Per, Reached, Row},
    timing::{median, time, time_once},
};

/// The tolerance of both.
const TOLERANCE: f64 = 1e-9;
/// Repetitions of what is compared with a peer; the median counts.
const REPEATS: usize = 3;
/// Iterations after which Sinkhorn's is given up.
const ITERATIONS: usize = 6000;

/// Epsilons, as shares of the largest cost.
const EPSILONS: [f64; 3] = [1e-3, 1e-4, 1e-5];
/// Families that stand for the others where all of them would take too long.
const FEW: [Family; 4] = [Family::UniformClouds, Family::Clusters, Family::RandomCosts, Family::Distances];

pub(super) fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    for n in bench.options.pick(vec![500], vec![1000, 2000, 4000]) {
        for epsilon in EPSILONS {
            for family in Family::ALL {
                draws(bench, family, n, epsilon)?;
            }
        }
    }
    for n in bench.options.pick(vec![], vec![1000, 2000]) {
        for epsilon in EPSILONS {
            for family in Family::ALL {
                beside_sinkhorn(bench, family, n, epsilon)?;
            }
        }
    }
    let atoms = bench.options.pick(500, 2000);
    for epsilon in EPSILONS {
        for family in FEW {
            beside_regot(bench, family, atoms, epsilon)?;
        }
    }
    for n in bench.options.pick(vec![500], vec![500, 1000, 2000]) {
        for epsilon in [1e-1, 1e-2, 1e-3, 1e-4, 1e-5] {
            for family in FEW {
                crossover(bench, family, n, epsilon)?;
            }
        }
    }
    figure(bench)
}

/// Sinkhorn's iteration that may hand over, beside itself to the end and Newton's method from the start: passes of each, and
/// seconds as parts of those of the faster.
fn crossover(bench: &mut Bench<'_>, family: Family, n: usize, epsilon: f64) -> Result<(), Failure> {
    let posed = Posed::new(family.draw(bench.options.seed, n, epsilon), bench.options.threads)?;
    let sinkhorn = Sinkhorn::new().tolerance(TOLERANCE).max_iterations(ITERATIONS);
    let (seconds, (solution, report)) =
        time_once(|| Ok::<_, Failure>(sinkhorn.run(&posed.problem()?).solve_with_report()?))?;
    let (alone, plain) = time_once(|| posed.sinkhorn())?;
    let (of_newton, (_, newton)) = time_once(|| posed.newton())?;
    let ours = Measured {
        error: Some(posed.error(&solution)?),
        iterations: Some(solution.iterations()),
        ..Measured::seconds("Sinkhorn with its hand-over, dense", seconds)
    };
    let handed_over = report.newton.map_or("to the end".to_owned(), |newton| {
        format!("handed over after {} iterations, {} passes", report.iterations, newton.passes())
    });
    let best = alone.min(of_newton);
    let note = format!(
        "{handed_over}; alone {} iterations ({}), Newton {} and {} passes; seconds over the faster of both {:.2}, alone {:.2}, \
         Newton {:.2}",
        plain.iterations(),
        plain.status(),
        newton.start_iterations,
        newton.passes(),
        seconds / best,
        alone / best,
        of_newton / best,
    );
    let case = format!("crossover, {}", family.name());
    let row = Row::new("newton", case, posed.arrays.shape(), bench.options.threads, Per::Solve, ours);
    bench.add(Row { epsilon: Some(epsilon), ..row }.with_note(note))
}

/// The marginal error over passes, at the epsilon of the problem, of three ways to it.
fn figure(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let epsilon = 1e-4;
    let n = bench.options.pick(300, 1000);
    let posed = Posed::new(Family::UniformClouds.draw(bench.options.seed, n, epsilon), bench.options.threads)?;
    let problem = posed.problem()?;
    let sinkhorn = Sinkhorn::new().tolerance(TOLERANCE).max_iterations(ITERATIONS);
    let [a, b] = &posed.marginals;
    let exact = ExactTransport::new().solve(&posed.backend, a, b, &posed.cost)?;
    let [source, target] = Side::BOTH.map(|side| exact.potential(side).to_vec());
    let newton = Newton::new().tolerance(TOLERANCE);
    let solutions = [
        ("Sinkhorn's iteration alone", posed.sinkhorn()?),
        ("Sinkhorn's iteration, handing over to Newton's method", sinkhorn.solve(&problem)?),
        ("Newton's method from exact potentials", newton.run(&problem).start(Start::Host { source, target }).solve()?),
    ];
    let curves = solutions.map(|(name, solution)| {
        let at_epsilon = solution.history().iter().filter(|progress| progress.epsilon == Some(epsilon));
        let points = at_epsilon.filter_map(|progress| Some((progress.done as f64, progress.marginal_error?)));
        Curve { name: name.to_owned(), points: points.filter(|(done, error)| *done > 0.0 && *error > 0.0).collect() }
    });
    let axes = ["passes over all pairs, annealing and listings included", "marginal error"];
    bench.report.picture("newton_error.svg", "Marginal error over passes", &logarithmic(&curves, axes))
}

/// Draws of one family: as many as fit into half an hour.
fn seeds(n: usize) -> u64 {
    match n {
        0..=1000 => 20,
        1001..=2000 => 8,
        _ => 3,
    }
}

/// Many draws of one family: the passes of the worst.
fn draws(bench: &mut Bench<'_>, family: Family, n: usize, epsilon: f64) -> Result<(), Failure> {
    let (mut seconds, mut passes, mut unmet) = (Vec::new(), Vec::new(), Vec::new());
    let (mut worst_error, mut shape) = (0.0_f64, (n, n));
    for draw in 0..bench.options.pick(3, seeds(n)) {
        let seed = bench.options.seed + draw;
        let posed = Posed::new(family.draw(seed, n, epsilon), bench.options.threads)?;
        let (taken, (solution, report)) = time_once(|| posed.newton())?;
        worst_error = worst_error.max(posed.error(&solution)?);
        if !solution.status().is_converged() {
            unmet.push(format!("seed {seed}: {}", solution.status()));
        }
        shape = posed.arrays.shape();
        seconds.push(taken);
        passes.push(report.passes());
    }
    let mean = (passes.iter().map(|&passes| (passes as f64).ln()).sum::<f64>() / passes.len() as f64).exp();
    let ours = Measured {
        iterations: passes.iter().copied().max(),
        error: Some(worst_error),
        ..Measured::seconds("Newton, dense", median(seconds))
    };
    let case = format!("{}, worst of {} draws", family.name(), passes.len());
    let note = format!("passes {mean:.1} in the geometric mean; not converged: {}", unmet.len());
    let row = Row::new("newton", case, shape, bench.options.threads, Per::Solve, ours);
    let row = Row { epsilon: Some(epsilon), ..row }.with_note(note);
    bench.add(row.with_remark((!unmet.is_empty()).then(|| unmet.join("; "))))
}

/// One solve by each.
fn beside_sinkhorn(bench: &mut Bench<'_>, family: Family, n: usize, epsilon: f64) -> Result<(), Failure> {
    let posed = Posed::new(family.draw(bench.options.seed, n, epsilon), bench.options.threads)?;
    let (seconds, (solution, report)) = time_once(|| posed.newton())?;
    let ours = Measured {
        error: Some(posed.error(&solution)?),
        iterations: Some(report.passes()),
        ..Measured::seconds("Newton, dense", seconds)
    };
    let (seconds, plain) = time_once(|| posed.sinkhorn())?;
    let peer = Measured {
        error: Some(posed.error(&plain)?),
        iterations: Some(plain.iterations()),
        ..Measured::seconds("Sinkhorn, dense", seconds)
    };
    let note = format!(
        "{}; start {} iterations, {} sweeps, {} listings, {} directions, {} linear steps, {} factors; gap {:.1e}; \
         Sinkhorn: {}",
        solution.status(),
        report.start_iterations,
        report.sweeps,
        report.listings,
        report.directions,
        report.linear_steps,
        report.factors,
        solution.certificate().gap,
        plain.status(),
    );
    let row = Row::new("newton", family.name(), posed.arrays.shape(), bench.options.threads, Per::Solve, ours);
    bench.add(Row { epsilon: Some(epsilon), ..row }.with_peer(peer).with_note(note))
}

/// Newton's method beside another one that is sparse, which starts from zero and anneals nothing.
fn beside_regot(bench: &mut Bench<'_>, family: Family, n: usize, epsilon: f64) -> Result<(), Failure> {
    let posed = Posed::new(family.draw(bench.options.seed, n, epsilon), bench.options.threads)?;
    let (seconds, (solution, report)) = time(REPEATS, || posed.newton())?;
    let ours = Measured {
        error: Some(posed.error(&solution)?),
        iterations: Some(report.passes()),
        ..Measured::seconds("Newton, dense", seconds)
    };
    let peer = bench.peers.schedule(Solver::RegotSsns, &posed.arrays, 0, bench.options.budget())?;
    let reached = peer.map(|measured| {
        let met = measured.error.is_some_and(|error| error <= TOLERANCE);
        Reached { measured, met }
    });
    let row = Row::new("newton", family.name(), posed.arrays.shape(), bench.options.threads, Per::Solve, ours);
    bench.add(Row { epsilon: Some(epsilon), ..row }.with_reached(reached))
}

/// A drawn problem, before the clock runs.
struct Posed {
    arrays: Arrays,
    backend: CpuBackend<f64>,
    cost: CostMatrix<'static, f64>,
    marginals: [Histogram<'static, f64>; 2],
}

impl Posed {
    fn new(arrays: Arrays, threads: usize) -> Result<Self, Failure> {
        let (rows, columns) = arrays.shape();
        Ok(Self {
            backend: CpuBackend::new(threads)?,
            cost: CostMatrix::new(Arc::unwrap_or_clone(arrays.matrix()?), rows, columns)?,
            marginals: [Histogram::new(arrays.source.clone())?, Histogram::new(arrays.target.clone())?],
            arrays,
        })
    }

    fn problem(&self) -> Result<Problem<Host<f64>>, Failure> {
        let [a, b] = &self.marginals;
        let geometry = self.backend.geometry(a.support(), b.support(), &self.cost)?;
        Ok(Problem::new(geometry, a, b, Epsilon::Absolute(self.arrays.epsilon))?)
    }

    fn newton(&self) -> Result<(Solution<Host<f64>>, NewtonReport), Failure> {
        Ok(Newton::new().tolerance(TOLERANCE).run(&self.problem()?).solve_with_report()?)
    }

    fn sinkhorn(&self) -> Result<Solution<Host<f64>>, Failure> {
        Ok(Sinkhorn::new()
            .tolerance(TOLERANCE)
            .max_iterations(ITERATIONS)
            .hand_over(HandOver::Never)
            .solve(&self.problem()?)?)
    }

    /// The marginal error, recomputed.
    fn error(&self, solution: &Solution<Host<f64>>) -> Result<f64, Failure> {
        let [f, g] = Side::BOTH.map(|side| solution.potential(side));
        Ok(recompute(&self.arrays, &f?, &g?, self.backend.threads()).error)
    }
}
