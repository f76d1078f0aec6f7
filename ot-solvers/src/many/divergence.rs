//! Sinkhorn divergences between the measures of each pair: the self term of each measure is solved once.

use std::sync::Arc;

use ot_core::{Backend, Error, Host, Scalar, Side};

use super::{
    Problems,
    entropic::common_epsilon,
    method::Divergence,
    shared::{PAIRS, each_pair, for_each, is_shared},
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
    let geometry = match is_shared(problems.measures()) {
        true => {
            let support = measures[0].support();
            Some(problems.builder.geometry(support, support, problems.cost)?)
        }
        false => None,
    };
    let between = |i: usize, j: usize| match &geometry {
        Some(geometry) => divergence.problem_on(Arc::clone(geometry), measures[i], measures[j], epsilon),
        None => divergence.problem(problems.builder, measures[i], measures[j], problems.cost, epsilon),
    };
    backend.scope(|| {
        let terms = for_each(
            problems.backend,
            measures.len(),
            PAIRS,
            || (),
            |(), index| {
                between(index, index)
                    .and_then(|problem| divergence.self_term(&problem))
                    .map_err(problems.of_measure(index))
            },
        )?;
        let solve = |(): &mut (), (i, j): (usize, usize)| {
            let j = problems.place_of_target(j);
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
        each_pair(problems.backend, pairs, watch, || (), solve)
    })
}
