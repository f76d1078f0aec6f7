//! Pairs on the line and along slices.

use ot_core::{Backend, Error, Host, Scalar, Status};

use super::{
    Problems, of_pair,
    shared::for_each,
    table::{PairResult, PairValue},
    watch::Watch,
};
use crate::exact::{LineTransport, QuantileFunction, SlicedWasserstein};

pub(super) fn solve<T: Scalar>(
    problems: &Problems<'_, T>,
    pairs: &[(usize, usize)],
    watch: &Watch<'_>,
) -> Result<Vec<Option<PairResult>>, Error> {
    let measures: Vec<_> = problems.measures().collect();
    let backend: &dyn Backend<Host<T>> = problems.backend;
    backend.scope(|| {
        // Each measure is sorted once.
        let sort = |(): &mut (), index: usize| QuantileFunction::of(measures[index], 0);
        let sorted = for_each(problems.backend, measures.len(), || (), sort)?;
        for_each(
            problems.backend,
            pairs.len(),
            || (),
            |(), index| {
                if watch.is_cancelled() {
                    return Ok(None);
                }
                let (i, j) = pairs[index];
                let solve = || {
                    let transport =
                        LineTransport::new(&sorted[i], &sorted[problems.place_of_target(j)], problems.cost)?;
                    let cost = transport.transport_cost()?;
                    let value =
                        PairValue { value: cost, transport_cost: Some(cost), gap: None, status: Status::Converged };
                    Ok(PairResult {
                        value,
                        plan: if problems.keeps.plans { Some(transport.plan()?) } else { None },
                        potentials: problems.keeps.potentials.then(|| transport.potentials()),
                    })
                };
                let result = solve().map_err(of_pair(pairs[index]))?;
                watch.done(1);
                Ok(Some(result))
            },
        )
    })
}

pub(super) fn solve_slices<T: Scalar>(
    problems: &Problems<'_, T>,
    settings: &SlicedWasserstein,
    pairs: &[(usize, usize)],
    watch: &Watch<'_>,
) -> Result<Vec<Option<PairResult>>, Error> {
    let backend: &dyn Backend<Host<T>> = problems.backend;
    backend.scope(|| {
        for_each(
            problems.backend,
            pairs.len(),
            || (),
            |(), index| {
                if watch.is_cancelled() {
                    return Ok(None);
                }
                let [source, target] = problems.pair(pairs[index]);
                let power = settings.between(problems.backend, source, target).and_then(|distance| distance.power());
                let value = power.map_err(of_pair(pairs[index]))?;
                watch.done(1);
                let status = Status::Converged;
                Ok(Some(PairResult::of(PairValue { value, transport_cost: None, gap: None, status })))
            },
        )
    })
}
