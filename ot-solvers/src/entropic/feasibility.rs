//! A cut that forbidden pairs violate, found by Sinkhorn's iteration at an epsilon as large as the costs.
//!
//! Whether a plan exists is a question of the finite pairs alone, so that epsilon is free: where it is as large as the costs, the
//! iteration settles in a few sweeps. Where no plan has the prescribed marginals the potentials diverge, at one speed in each of
//! several blocks of atoms (Baradat, Ventre 2022): columns are met, and the density of a row tends to the mass of the targets of
//! its block over that of its sources. So rows of the least densities are the sources of a cut: all targets that any of them may
//! send to have less mass than they. One hard c-transform over these rows names the targets. So a cut that is told is proven.

use ot_core::{ActiveColumns, Device, Error, KernelOp, LOG_ZERO, Potentials, Problem, Scalar, Side, Sweep};

/// The sweeps of a first search, and of a second.
pub(crate) const CUT_SWEEPS: [usize; 2] = [20, 400];
/// Sets of rows that are tried, the most separate ones first.
const TRIES: usize = 4;

/// Is it for a balanced problem with forbidden pairs, on a kernel with a hard c-transform?
pub(crate) fn may_be_infeasible<D: Device, K: KernelOp<D> + ?Sized>(problem: &Problem<D>, kernel: &mut K) -> bool {
    let geometry = problem.geometry();
    problem.is_balanced()
        && geometry.may_forbid()
        && geometry.fixed_epsilon().is_none()
        && kernel.hard_transform().is_some()
}

/// Looks for a cut in some columns that leaves every plan more than the tolerance from its marginals. Costs so many sweeps, and
/// a hard c-transform for each set of rows that is tried. The kernel keeps its epsilon.
///
/// # Errors
/// [`Error::Infeasible`] with the cut; [`Error::OutOfMemory`], a failure of the device.
pub(crate) fn refuse_violated_cuts<D: Device, K: KernelOp<D> + ?Sized>(
    kernel: &mut K,
    problem: &Problem<D>,
    columns: &[usize],
    tolerance: f64,
    sweeps: usize,
) -> Result<(), Error> {
    let own = kernel.epsilon();
    let large = problem.geometry().cost_bound().filter(|bound| bound.is_finite()).map_or(own, |bound| bound.max(own));
    kernel.rebind(large)?;
    let found = violated_cut(kernel, problem, columns, tolerance, sweeps);
    kernel.rebind(own)?;
    found
}

fn violated_cut<D: Device, K: KernelOp<D> + ?Sized>(
    kernel: &mut K,
    problem: &Problem<D>,
    columns: &[usize],
    tolerance: f64,
    sweeps: usize,
) -> Result<(), Error> {
    let (backend, active) = (problem.backend(), ActiveColumns::all(problem.columns()));
    let [a, b] = Side::BOTH.map(|side| problem.marginal(side));
    let epsilon = kernel.epsilon();
    let zeros = || -> Result<Potentials<D>, Error> {
        let [source, target] = [a.len(), b.len()].map(|len| backend.filled(0.0, len, problem.columns()));
        Ok(Potentials { source: source?, target: target?, epsilon })
    };
    let (mut potentials, mut scratch) = (zeros()?, zeros()?);
    let relaxation = backend.upload_reduced(&vec![1.0; problem.columns()])?;
    kernel.recenter(problem.view(&potentials))?;
    for _ in 0..sweeps {
        let sweep = Sweep {
            source: a,
            target: b,
            potentials: &mut potentials,
            relaxation: &relaxation,
            active: &active,
            scratch: &mut scratch,
            by_products: None,
        };
        kernel.sweep(backend, sweep)?;
    }
    let mut density = backend.alloc(a.len(), problem.columns())?;
    kernel.density(backend, Side::Source, problem.view(&potentials), &active, &mut density, None)?;
    let read = backend.download(&[&density, a.weights(), b.weights()])?;
    for &column in columns {
        let of_column = |index: usize, len: usize| -> Vec<f64> {
            let (values, first) = (&read[index], column.min(read[index].len() / len - 1) * len);
            values[first..][..len].iter().map(|value| value.to_f64()).collect()
        };
        let (density, sources) = (of_column(0, a.len()), of_column(1, a.len()));
        let targets = of_column(2, b.len());
        let least = tolerance * a.mass(column);
        for rows in least_densities(&density, &sources) {
            let reached = reachable(kernel, problem, column, &rows)?;
            let mass: f64 = rows.iter().map(|&row| sources[row as usize]).sum();
            let reachable = targets.iter().zip(reached).filter(|(_, is_reached)| *is_reached).map(|(b, _)| b).sum();
            if mass - reachable > least {
                return Err(Error::Infeasible { sources: rows, mass, reachable });
            }
        }
    }
    Ok(())
}

/// Rows of the least densities, cut off where densities of rows that follow each other differ most, all below one.
fn least_densities(density: &[f64], weights: &[f64]) -> Vec<Vec<u32>> {
    let mut rows: Vec<u32> = (0..density.len() as u32).filter(|&row| weights[row as usize] > 0.0).collect();
    let of = |row: u32| density[row as usize];
    rows.sort_by(|&one, &other| of(one).total_cmp(&of(other)).then(one.cmp(&other)));
    let mut ends: Vec<usize> = (1..rows.len()).filter(|&end| of(rows[end - 1]) < 1.0).collect();
    // Densities of blocks differ by factors.
    let step = |end: usize| of(rows[end]) / of(rows[end - 1]).max(f64::MIN_POSITIVE);
    ends.sort_by(|&one, &other| step(other).total_cmp(&step(one)).then(one.cmp(&other)));
    ends.truncate(TRIES);
    // All rows are a cut where some target has no partner.
    ends.push(rows.len());
    let sets = ends.into_iter().map(|end| {
        let mut set = rows[..end].to_vec();
        set.sort_unstable();
        set
    });
    sets.collect()
}

/// Which targets any of these rows may send to.
fn reachable<D: Device, K: KernelOp<D> + ?Sized>(
    kernel: &mut K,
    problem: &Problem<D>,
    column: usize,
    rows: &[u32],
) -> Result<Vec<bool>, Error> {
    let (backend, columns) = (problem.backend(), problem.columns());
    let [n, m] = Side::BOTH.map(|side| problem.marginal(side).len());
    let mut log_weights = vec![D::Elem::from_f64(LOG_ZERO); n * columns];
    rows.iter().for_each(|&row| log_weights[column * n + row as usize] = D::Elem::from_f64(0.0));
    let (log_weights, potential) = (backend.upload(&log_weights, columns)?, backend.filled(0.0, n, columns)?);
    let (mut out, mut nearest) = (backend.alloc(m, columns)?, Vec::new());
    let hard = kernel.hard_transform().ok_or(Error::MissingCapability("hard c-transform"))?;
    hard.hard_c_transform(Side::Target, &potential, &log_weights, &mut out, Some(&mut nearest))?;
    Ok(nearest[column * m..][..m].iter().map(|&row| row != u32::MAX).collect())
}
