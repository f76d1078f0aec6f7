//! Exact transport between the measures of each pair.

use ot_core::{Backend, CostBetween, CostForm, CostMatrix, Error, GroundCost, Histogram, Host, Measure, Scalar, Side};

use super::{
    Problems,
    shared::{each_pair, is_shared},
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
    let solve = |workspace: &mut ExactWorkspace, pair: (usize, usize)| {
        let [source, target] = problems.pair(pair);
        match &matrix {
            Some(matrix) => {
                let [a, b] = [indexed(source)?, indexed(target)?];
                one(problems, settings, [&a, &b], matrix, workspace)
            }
            None => one(problems, settings, [source, target], problems.cost, workspace),
        }
    };
    let backend: &dyn Backend<Host<T>> = problems.backend;
    backend.scope(|| each_pair(problems.backend, pairs, watch, ExactWorkspace::new, solve))
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
