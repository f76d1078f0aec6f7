//! Sinkhorn divergences between the measures of each pair: the self term of each measure is solved once.

use ot_core::{Backend, Error, Host, Scalar, Side};

use super::{
    Problems,
    entropic::common_epsilon,
    method::Divergence,
    of_pair,
    shared::for_each,
    table::{PairResult, PairValue},
    watch::Watch,
};
use crate::divergence::SelfTerm;

pub(super) fn solve<T: Scalar>(
    problems: &Problems<'_, T>,
    Divergence { divergence, epsilon }: &Divergence,
    pairs: &[(usize, usize)],
    watch: &Watch<'_>,
) -> Result<Vec<Option<PairResult>>, Error> {
    let epsilon = common_epsilon(problems, *epsilon, pairs)?;
    let measures: Vec<_> = problems.measures().collect();
    let backend: &dyn Backend<Host<T>> = problems.backend;
    let between =
        |i: usize, j: usize| divergence.problem(problems.builder, measures[i], measures[j], problems.cost, epsilon);
    backend.scope(|| {
        let terms = for_each(
            problems.backend,
            measures.len(),
            || (),
            |(), index| {
                between(index, index)
                    .and_then(|problem| divergence.self_term(&problem))
                    .map_err(problems.of_measure(index))
            },
        )?;
        for_each(
            problems.backend,
            pairs.len(),
            || (),
            |(), index| {
                if watch.is_cancelled() {
                    return Ok(None);
                }
                let (i, j) = (pairs[index].0, problems.place_of_target(pairs[index].1));
                let solve = || {
                    let [source, target] = [&terms[i], &terms[j]].map(SelfTerm::Frozen);
                    let found = divergence.solve(&between(i, j)?, source, target)?;
                    let potential = |side| {
                        let values = found.cross().potential(side)?;
                        Ok::<_, Error>(values.iter().map(|value| value.to_f64()).collect::<Vec<_>>())
                    };
                    let value = PairValue {
                        value: found.value(),
                        transport_cost: found.cross().certificate().transport_cost,
                        gap: Some(found.error_bound()),
                        status: found.status(),
                    };
                    let potentials = match problems.keeps.potentials {
                        true => Some([potential(Side::Source)?, potential(Side::Target)?]),
                        false => None,
                    };
                    Ok(PairResult { potentials, ..PairResult::of(value) })
                };
                let result = solve().map_err(of_pair(pairs[index]))?;
                watch.done(1);
                Ok(Some(result))
            },
        )
    })
}
