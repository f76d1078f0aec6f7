//! What measures have in common.

use std::sync::Mutex;

use ot_core::{
    CostBetween, CostForm, CostMatrix, Error, GroundCost, HostBackend, Measure, Scalar, host::for_each_chunk,
};

use super::{Problems, of_pair, table::PairResult, watch::Watch};

/// Pairs of one task, whatever the threads.
pub(super) const PAIRS: usize = 4;

/// The most pairs of atoms whose costs are evaluated once for all problems.
const MOST_PAIRS: usize = 1 << 22;

/// Have all measures the atoms of the first?
pub(super) fn is_shared<'a, T: Scalar>(mut measures: impl Iterator<Item = &'a dyn Measure<T>>) -> bool {
    let Some(first) = measures.next() else { return false };
    measures.all(|measure| first.support().is_same(&measure.support()))
}

/// Refuses a matrix that is not the same transposed.
pub(super) fn check_symmetric(cost: &dyn GroundCost) -> Result<(), Error> {
    let CostForm::Matrix(matrix) = cost.form() else { return Ok(()) };
    let is_symmetric = matrix.rows() == matrix.columns()
        && (0..matrix.rows()).all(|i| {
            (0..i).all(|j| {
                let [one, other] = [matrix.get(i, j), matrix.get(j, i)];
                one == other || one.is_nan() || other.is_nan()
            })
        });
    if is_symmetric { Ok(()) } else { Err(Error::Disagreement { what: "the costs of a pair taken either way" }) }
}

/// The costs of a support that all measures share, where it pays to evaluate them once; `None` of a cost that is a matrix.
pub(super) fn shared_matrix<T: Scalar>(problems: &Problems<'_, T>) -> Result<Option<CostMatrix<'static, f64>>, Error> {
    let first = problems.lists[0][0].support();
    let atoms = first.len().unwrap_or(usize::MAX);
    let is_matrix = matches!(problems.cost.form(), CostForm::Matrix(_));
    if is_matrix || atoms.saturating_mul(atoms) > MOST_PAIRS || !is_shared(problems.measures()) {
        return Ok(None);
    }
    let costs = CostBetween::new(first, first, problems.cost)?;
    costs.bound_in::<f64>()?;
    let (entries, summary) = costs.table_f64()?;
    // An infinite cost that forbids no pair is an overflow, which a matrix could not tell.
    if summary.forbids() && !problems.cost.may_forbid() {
        return Ok(None);
    }
    CostMatrix::new(entries, atoms, atoms).map(Some)
}

/// Runs `job` for each of so many items, so many a task, with a memory that no two tasks use at once. The results in order, or
/// the first failure by index. What a memory was used for before must not show in a result.
pub(super) fn for_each<T: Scalar, Memory: Send, R: Send>(
    backend: &dyn HostBackend<T>,
    items: usize,
    items_of_task: usize,
    fresh: impl Fn() -> Memory + Sync,
    job: impl Fn(&mut Memory, usize) -> Result<R, Error> + Sync,
) -> Result<Vec<R>, Error> {
    let memories: Mutex<Vec<Memory>> = Mutex::new(Vec::new());
    let lock = || memories.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut results: Vec<Option<Result<R, Error>>> = (0..items).map(|_| None).collect();
    let parallel = |tasks: usize, task: &(dyn Fn(usize) + Sync)| backend.parallel(tasks, task);
    for_each_chunk(parallel, items.div_ceil(items_of_task), results.chunks_mut(items_of_task), |task, results| {
        let kept = lock().pop();
        let mut memory = kept.unwrap_or_else(&fresh);
        for (place, result) in results.iter_mut().enumerate() {
            *result = Some(job(&mut memory, task * items_of_task + place));
        }
        lock().push(memory);
    });
    results.into_iter().flatten().collect()
}

/// The result of each pair, as [`for_each`] finds it; none of the pairs that are left when the observer has cancelled. A
/// refusal names the measure that is none, or else the pair.
pub(super) fn each_pair<T: Scalar, Memory: Send>(
    backend: &dyn HostBackend<T>,
    pairs: &[(usize, usize)],
    watch: &Watch<'_>,
    fresh: impl Fn() -> Memory + Sync,
    solve: impl Fn(&mut Memory, (usize, usize)) -> Result<PairResult, Error> + Sync,
) -> Result<Vec<Option<PairResult>>, Error> {
    for_each(backend, pairs.len(), PAIRS, fresh, |memory, index| {
        if watch.is_cancelled() {
            return Ok(None);
        }
        let result = solve(memory, pairs[index]).map_err(|error| match error {
            Error::OfMeasure { .. } => error,
            error => of_pair(pairs[index])(error),
        })?;
        watch.done(1);
        Ok(Some(result))
    })
}
