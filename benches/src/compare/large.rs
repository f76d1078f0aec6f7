//! Clouds of a hundred thousand points and more: solves that are certified over all pairs, sweeps beside those that look at all
//! pairs, GeomLoss on two scales, and how the time of a solve grows with n.

use std::sync::Arc;

use ot_core::{
    ActiveColumns, Epsilon, Geometry, Host, Marginal, PointCloud, Potentials, Problem, Side, Solution, SqEuclidean,
    Sweep,
};
use ot_cpu::{BlockSparseGeometry, CpuBackend, CpuScalar, StreamingGeometry};
use ot_solvers::{Sinkhorn, Start};

use super::{
    Bench, Failure,
    figure::{Curve, logarithmic},
    ours::Ours,
    peers::Solver,
    problem::{Arrays, Cost, narrow},
    row::{Measured, Per, Reached, Row},
    timing::{median, time_once},
};
use crate::{memory::Peak, seeded::Seeded};

/// Our name in the tables.
const NAME: &str = "Sinkhorn, block-sparse";

/// The root of epsilon in mean distances between neighbours.
const BLUR: f64 = 2.0;

/// The marginal error asked for, over all pairs.
const TOLERANCE: f64 = 1e-6;

/// Sweeps that are timed.
const SWEEPS: usize = 5;

/// The error asked for where no peer sets it.
const COARSE: f64 = 1e-3;

pub(super) fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    for dimension in [2, 3] {
        let n = bench.options.pick(20_000, 100_000);
        let solution = solve::<f64>(bench, n, dimension)?.1;
        sweep(bench, n, dimension, &solution)?;
    }
    for n in bench.options.pick(vec![5000], vec![50_000, 100_000]) {
        for blur in [0.05, 0.01] {
            on_two_scales(bench, n, blur)?;
        }
    }
    growth(bench)
}

/// How the time of a solve grows with n, in the plane.
fn growth(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let sizes: &[usize] = bench.options.pick(&[5000, 10_000, 20_000, 40_000], &[20_000, 50_000, 200_000, 1_000_000]);
    let mut points = Vec::new();
    for &n in sizes {
        points.push((n as f64, solve::<f64>(bench, n, 2)?.0));
    }
    let logarithms: Vec<[f64; 2]> = points.iter().map(|&(n, seconds)| [n.ln(), seconds.ln()]).collect();
    bench.report.paragraph(format!(
        "In the plane, seconds grow as n to the power {:.2} (least squares over these sizes).",
        slope(&logarithms)
    ))?;
    let mut curves = vec![Curve { name: format!("{NAME}, in the plane, epsilon (2 spacings)^2"), points }];
    let geomloss = bench.options.pick(vec![2000, 5000], vec![10_000, 20_000, 50_000]);
    let pot = bench.options.pick(vec![500, 1000], vec![1000, 2000, 4000]);
    curves.extend(beside_in_the_plane::<f32>(bench, Solver::GeomLossMultiscale, &geomloss)?);
    curves.extend(beside_in_the_plane::<f64>(bench, Solver::PotSinkhorn, &pot)?);
    bench.report.picture(
        "large.svg",
        "seconds over the size of both clouds",
        &logarithmic(&curves, ["atoms", "seconds"]),
    )
}

/// A solve in space to the error that GeomLoss comes to on two scales, by its own schedule.
fn on_two_scales(bench: &mut Bench<'_>, n: usize, blur: f64) -> Result<(), Failure> {
    let arrays = Arrays::cube_and_blob(bench.options.seed, n, n, 3, blur);
    let budget = bench.options.budget();
    for peer in bench.peers.schedules(&[Solver::GeomLossMultiscale], &arrays, 0, budget)? {
        let row = reached::<f32>(bench, "cube and blob", &arrays, peer.as_ref().and_then(|peer| peer.error))?;
        bench.add(row.with_peer(peer))?;
    }
    Ok(())
}

/// A peer on the clouds of the plane, at the sizes that it manages: rows, and its curve. GeomLoss sets the error by its
/// schedule; POT is asked for ours.
fn beside_in_the_plane<T: CpuScalar>(
    bench: &mut Bench<'_>,
    solver: Solver,
    sizes: &[usize],
) -> Result<Option<Curve>, Failure> {
    let budget = bench.options.budget();
    let mut points = Vec::new();
    for &n in sizes {
        let arrays = Clouds::<f32>::new(bench.options.seed, n, 2)?.arrays();
        let peer = match solver {
            Solver::GeomLossMultiscale => bench.peers.schedule(solver, &arrays, 0, budget)?.map(|peer| (peer, true)),
            _ => {
                let reached = bench.peers.solve(solver, &arrays, TOLERANCE, 1, budget)?;
                reached.map(|reached| (reached.measured, reached.met))
            }
        };
        let Some((measured, met)) = peer else { continue };
        if met {
            points.push((n as f64, measured.seconds));
        }
        let error = match solver {
            Solver::GeomLossMultiscale => measured.error,
            _ => Some(TOLERANCE),
        };
        let row = reached::<T>(bench, "cube and bent cube", &arrays, error)?;
        bench.add(row.with_reached(Some(Reached { measured, met })))?;
    }
    Ok((!points.is_empty()).then(|| Curve { name: format!("{}, in the plane", solver.name()), points }))
}

/// Our solve to an error, the kernel chosen by the backend.
fn reached<T: CpuScalar>(bench: &Bench<'_>, case: &str, arrays: &Arrays, error: Option<f64>) -> Result<Row, Failure> {
    let (ours, remark) =
        Ours::<T>::new(arrays, bench.options.threads, 0)?.solve("Sinkhorn", error.unwrap_or(COARSE), 1)?;
    let row = Row::new("large", case, arrays.shape(), bench.options.threads, Per::Solve, ours);
    Ok(Row { d: Some(arrays.dimension()), epsilon: Some(arrays.epsilon), dtype: T::NAME, ..row }.with_remark(remark))
}

/// Two clouds of the unit cube, the second denser towards the origin, and an epsilon of their spacing.
struct Clouds<T: CpuScalar> {
    source: PointCloud<'static, T>,
    target: PointCloud<'static, T>,
    epsilon: f64,
}

impl<T: CpuScalar> Clouds<T> {
    fn new(seed: u64, n: usize, dimension: usize) -> Result<Self, Failure> {
        let mut random = Seeded::new(seed);
        let mut cloud = |bend: fn(f64) -> f64| -> Result<PointCloud<'static, T>, Failure> {
            let points = random.draw(n * dimension, |random| bend(random.uniform()));
            Ok(PointCloud::uniform(narrow::<T>(&points), dimension)?)
        };
        let (source, target) = (cloud(|x| x)?, cloud(|x| 0.5 * (x + x * x))?);
        let spacing = (n as f64).powf(-1.0 / dimension as f64);
        Ok(Self { source, target, epsilon: (BLUR * spacing).powi(2) })
    }

    fn problem(&self, geometry: Arc<dyn Geometry<Host<T>>>) -> Result<Problem<Host<T>>, Failure> {
        Ok(Problem::new(geometry, &self.source, &self.target, Epsilon::Absolute(self.epsilon))?)
    }
}

impl Clouds<f32> {
    /// The same problem by half squares, at half of epsilon.
    fn arrays(&self) -> Arrays {
        let [x, y] = [&self.source, &self.target].map(|cloud| cloud.points());
        let wide = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<_>>();
        let weights = |n: usize| vec![1.0 / n as f64; n];
        Arrays {
            source: weights(x.len()),
            target: weights(y.len()),
            columns: 1,
            cost: Cost::HalfSquares { x: wide(x.coordinates()), y: wide(y.coordinates()), dimension: x.dimension() },
            epsilon: 0.5 * self.epsilon,
            rho: None,
        }
    }
}

/// A whole solve, from points to a certificate. Returns its seconds.
fn solve<T: CpuScalar>(bench: &mut Bench<'_>, n: usize, dimension: usize) -> Result<(f64, Solution<Host<T>>), Failure> {
    let clouds = Clouds::<T>::new(bench.options.seed, n, dimension)?;
    let backend = CpuBackend::<T>::new(bench.options.threads)?;
    let peak = Peak::start();
    let (seconds, (solution, geometry)) = time_once(|| {
        let (x, y) = (clouds.source.points(), clouds.target.points());
        let geometry = BlockSparseGeometry::new(&backend, x, y, Arc::new(SqEuclidean))?;
        let problem = clouds.problem(Arc::new(geometry.clone()))?;
        let start = Start::multiscale(&backend, &problem, &clouds.source, &clouds.target, &SqEuclidean)?;
        Ok((Sinkhorn::new().tolerance(TOLERANCE).run(&problem).start(start).solve()?, geometry))
    })?;
    let (bytes, certificate) = (peak.bytes(), solution.certificate());
    let measured = Measured {
        iterations: Some(solution.iterations()),
        error: Some(certificate.marginal_error + certificate.rounding),
        value: Some(certificate.dual),
        ..Measured::seconds(NAME, seconds)
    };
    let [f, g] = [solution.potential(Side::Source)?, solution.potential(Side::Target)?];
    let kept = geometry.kept_pairs([&f, &g], clouds.epsilon, 1e-9) as f64 / n as f64;
    let note = format!(
        "{}; gap {:.1e}; {kept:.0} pairs an atom at 1e-9; peak {:.0} MiB above the input",
        solution.status(),
        certificate.gap,
        bytes as f64 / f64::from(1 << 20)
    );
    let row = Row::new("large", "cube and bent cube", (n, n), bench.options.threads, Per::Solve, measured);
    bench.add(Row { d: Some(dimension), epsilon: Some(clouds.epsilon), dtype: T::NAME, ..row }.with_note(note))?;
    Ok((seconds, solution))
}

/// A sweep at the solution beside one that looks at all pairs.
fn sweep(bench: &mut Bench<'_>, n: usize, dimension: usize, at: &Solution<Host<f64>>) -> Result<(), Failure> {
    let clouds = Clouds::<f64>::new(bench.options.seed, n, dimension)?;
    let backend = CpuBackend::<f64>::new(bench.options.threads)?;
    let (x, y) = (clouds.source.points(), clouds.target.points());
    let streaming = StreamingGeometry::new(&backend, x, y, Arc::new(SqEuclidean))?;
    let blocks = at.problem().clone();
    let ours = Measured::seconds(NAME, sweep_seconds(&blocks, at, SWEEPS)?);
    let dense = Measured::seconds("all pairs", sweep_seconds(&clouds.problem(Arc::new(streaming))?, at, 1)?);
    let row = Row::new("large", "a sweep", (n, n), bench.options.threads, Per::Iteration, ours).with_peer(dense);
    bench.add(Row { d: Some(dimension), epsilon: Some(clouds.epsilon), ..row })
}

/// The median seconds of a sweep from the potentials of a solution, after one that does not count.
fn sweep_seconds(problem: &Problem<Host<f64>>, at: &Solution<Host<f64>>, sweeps: usize) -> Result<f64, Failure> {
    let backend = problem.backend();
    let potentials = at.potentials();
    let copied = || -> Result<Potentials<Host<f64>>, Failure> {
        let (source, target) = (backend.copied(&potentials.source)?, backend.copied(&potentials.target)?);
        Ok(Potentials { source, target, epsilon: potentials.epsilon })
    };
    let (mut moving, mut scratch) = (copied()?, copied()?);
    let (active, relaxation) = (ActiveColumns::all(1), backend.upload_reduced(&[1.0])?);
    let mut kernel = problem.bind()?;
    let (source, target): (&Marginal<_>, &Marginal<_>) =
        (problem.marginal(Side::Source), problem.marginal(Side::Target));
    let mut seconds = Vec::new();
    for _ in 0..=sweeps {
        let sweep = Sweep {
            source,
            target,
            potentials: &mut moving,
            relaxation: &relaxation,
            active: &active,
            scratch: &mut scratch,
            by_products: None,
        };
        seconds.push(time_once(|| Ok(kernel.sweep(backend, sweep)?))?.0);
    }
    seconds.remove(0);
    Ok(median(seconds))
}

/// The slope of the line of least squares through some points.
fn slope(points: &[[f64; 2]]) -> f64 {
    let mean = |axis: usize| points.iter().map(|point| point[axis]).sum::<f64>() / points.len() as f64;
    let [x, y] = [mean(0), mean(1)];
    let product: f64 = points.iter().map(|point| (point[0] - x) * (point[1] - y)).sum();
    product / points.iter().map(|point| (point[0] - x).powi(2)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_of_a_line() {
        assert!((slope(&[[0.0, 1.0], [1.0, 2.5], [2.0, 4.0]]) - 1.5).abs() < 1e-15);
    }
}
