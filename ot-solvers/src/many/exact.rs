//! Exact transport between the measures of each pair.

use ot_core::{Backend, CostBetween, CostForm, CostMatrix, Error, GroundCost, Histogram, Host, Measure, Scalar, Side};

use super::{
    Problems, of_pair,
    shared::{for_each, is_shared},
    table::{PairResult, PairValue},
    watch::Watch,
};
use crate::exact::{ExactRun, ExactSolution, ExactTransport, ExactWorkspace};

/// The most pairs of atoms whose costs are evaluated once for all problems.
const MOST_PAIRS: usize = 1 << 22;

pub(super) fn solve<T: Scalar>(
    problems: &Problems<'_, T>,
    settings: &ExactTransport,
    pairs: &[(usize, usize)],
    watch: &Watch<'_>,
) -> Result<Vec<Option<PairResult>>, Error> {
    let matrix = shared_matrix(problems)?;
    let job = |workspace: &mut ExactWorkspace, index: usize| {
        if watch.is_cancelled() {
            return Ok(None);
        }
        let [source, target] = problems.pair(pairs[index]);
        let solved = match &matrix {
            Some(matrix) => {
                let [a, b] = [indexed(source)?, indexed(target)?];
                one(problems, settings, [&a, &b], matrix, workspace)
            }
            None => one(problems, settings, [source, target], problems.cost, workspace),
        };
        let result = solved.map_err(of_pair(pairs[index]))?;
        watch.done(1);
        Ok(Some(result))
    };
    let backend: &dyn Backend<Host<T>> = problems.backend;
    backend.scope(|| for_each(problems.backend, pairs.len(), ExactWorkspace::new, job))
}

/// One pair.
fn one<T: Scalar>(
    problems: &Problems<'_, T>,
    settings: &ExactTransport,
    [source, target]: [&dyn Measure<T>; 2],
    cost: &dyn GroundCost,
    workspace: &mut ExactWorkspace,
) -> Result<PairResult, Error> {
    let run = ExactRun::new(settings, problems.builder, problems.backend, [source, target], cost);
    let solution: &ExactSolution = run.solve_in(workspace)?;
    let certificate = solution.certificate();
    let value = PairValue {
        value: certificate.primal,
        transport_cost: Some(certificate.primal),
        gap: Some(certificate.suboptimality().max(0.0)),
        status: solution.status(),
    };
    Ok(PairResult {
        plan: problems.keeps.plans.then(|| solution.plan().clone()),
        potentials: problems.keeps.potentials.then(|| Side::BOTH.map(|side| solution.potential(side).to_vec())),
        ..PairResult::of(value)
    })
}

/// The costs of a support that all measures share, where it pays to evaluate them once.
fn shared_matrix<T: Scalar>(problems: &Problems<'_, T>) -> Result<Option<CostMatrix<'static, f64>>, Error> {
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

/// The weights of a measure, on indices.
fn indexed<T: Scalar>(measure: &dyn Measure<T>) -> Result<Histogram<'_, T>, Error> {
    let unsupported = || Error::UnsupportedSupport { what: "a discrete problem", found: measure.support().kind() };
    Histogram::new(measure.weights().ok_or_else(unsupported)?.values())
}
