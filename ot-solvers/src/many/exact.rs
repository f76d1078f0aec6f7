//! Exact transport between the measures of each pair.

use ot_core::{Backend, Error, GroundCost, Histogram, Host, Measure, Scalar, Side};

use super::{
    Problems,
    shared::{each_pair, shared_matrix},
    table::{PairResult, PairValue},
    watch::Watch,
};
use crate::exact::{ExactRun, ExactSolution, ExactTransport, ExactWorkspace};

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

/// The weights of a measure, on indices.
fn indexed<T: Scalar>(measure: &dyn Measure<T>) -> Result<Histogram<'_, T>, Error> {
    let unsupported = || Error::UnsupportedSupport { what: "a discrete problem", found: measure.support().kind() };
    Histogram::new(measure.weights().ok_or_else(unsupported)?.values())
}
