//! The factors of a coupling, and passes over their rows.

use ot_core::{
    Error,
    host::{for_each_chunk, try_zeros},
};

/// Workers, as a function that runs jobs 0, 1, ... and waits.
pub(super) type Parallel<'a> = &'a dyn Fn(usize, &(dyn Fn(usize) + Sync));

/// The most tasks that rows are cut into.
const TASKS: usize = 32;
/// The fewest numbers that are worth a task.
const TASK_NUMBERS: usize = 1 << 13;
/// Lanes of an inner product.
const LANES: usize = 8;

/// Q diag(1/g) R^T between probability vectors a and b, as Q_ik = a_i shares_ik, R_jk = b_j shares_jk.
#[derive(Clone, Debug)]
pub(super) struct Coupling {
    /// Row by row; each sums to one.
    pub(super) shares: [Vec<f64>; 2],
    /// g: the sums of the columns of Q and of those of R.
    pub(super) masses: Vec<f64>,
}

impl Coupling {
    /// The product coupling a b^T, in so many equal components.
    pub(super) fn product([n, m]: [usize; 2], rank: usize) -> Result<Self, Error> {
        let share = 1.0 / rank as f64;
        let shares = |len: usize| -> Result<Vec<f64>, Error> {
            let mut shares = try_zeros(len.saturating_mul(rank), "the factors of a coupling")?;
            shares.fill(share);
            Ok(shares)
        };
        Ok(Self { shares: [shares(n)?, shares(m)?], masses: vec![share; rank] })
    }

    pub(super) fn rank(&self) -> usize {
        self.masses.len()
    }
}

/// 1 / g, or 0 for a component that has no mass left.
pub(super) fn reciprocal(mass: f64) -> f64 {
    if mass > f64::MIN_POSITIVE { 1.0 / mass } else { 0.0 }
}

/// The inner product of two slices of one length, in a fixed order.
pub(super) fn dot(x: &[f64], y: &[f64]) -> f64 {
    let ((x, x_rest), (y, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (x, y) in x.iter().zip(y) {
        for lane in 0..LANES {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    let rest: f64 = x_rest.iter().zip(y_rest).map(|(x, y)| x * y).sum();
    lanes.iter().sum::<f64>() + rest
}

/// Rows of one task, by the shape alone.
fn task_rows(rows: usize, width: usize) -> usize {
    rows.div_ceil(TASKS).max(TASK_NUMBERS.div_ceil(width.max(1)))
}

/// So many sums, to which `visit(row, row of values, sums)` adds.
pub(super) fn sums_of_rows(
    parallel: Parallel<'_>,
    values: &[f64],
    width: usize,
    sums: usize,
    visit: impl Fn(usize, &[f64], &mut [f64]) + Sync,
) -> Vec<f64> {
    let rows = task_rows(values.len() / width, width);
    let tasks = values.len().div_ceil(rows * width);
    let mut partial = vec![0.0; tasks * sums];
    let pieces = values.chunks(rows * width).zip(partial.chunks_exact_mut(sums));
    for_each_chunk(parallel, tasks, pieces, |task, (values, sums)| {
        for (row, values) in values.chunks_exact(width).enumerate() {
            visit(task * rows + row, values, sums);
        }
    });
    let mut total = vec![0.0; sums];
    for partial in partial.chunks_exact(sums) {
        total.iter_mut().zip(partial).for_each(|(total, part)| *total += part);
    }
    total
}

/// Writes or changes rows of so many numbers.
pub(super) fn write_rows(
    parallel: Parallel<'_>,
    out: &mut [f64],
    width: usize,
    write: impl Fn(usize, &mut [f64]) + Sync,
) {
    let rows = task_rows(out.len() / width, width);
    let tasks = out.len().div_ceil(rows * width);
    for_each_chunk(parallel, tasks, out.chunks_mut(rows * width), |task, out| {
        for (row, out) in out.chunks_exact_mut(width).enumerate() {
            write(task * rows + row, out);
        }
    });
}
