//! Pairs on the line and along slices.

use ot_core::{Backend, Error, Host, Measure, Scalar, Status, Support};

use super::{
    Problems,
    layout::Layout,
    shared::{PAIRS, each_pair, for_each},
    table::{PairResult, PairValue},
    watch::Watch,
};
use crate::{
    exact::{LineTransport, QuantileFunction, SlicedWasserstein, Slices},
    unit::power_of_two,
};

pub(super) fn solve<T: Scalar>(
    problems: &Problems<'_, T>,
    pairs: &[(usize, usize)],
    watch: &Watch<'_>,
) -> Result<Vec<Option<PairResult>>, Error> {
    let measures: Vec<_> = problems.measures().collect();
    let sort = |index: usize| QuantileFunction::of(measures[index], 0).map_err(problems.of_measure(index));
    let solve = |source: &QuantileFunction, target: &QuantileFunction| {
        let transport = LineTransport::new(source, target, problems.cost)?;
        let cost = transport.transport_cost()?;
        let value = PairValue { value: cost, transport_cost: Some(cost), gap: None, status: Status::Converged };
        Ok(PairResult {
            value,
            plan: if problems.keeps.plans { Some(transport.plan()?) } else { None },
            potentials: problems.keeps.potentials.then(|| transport.potentials()),
        })
    };
    let backend: &dyn Backend<Host<T>> = problems.backend;
    backend.scope(|| {
        if let Layout::List(_) = problems.layout {
            // Each measure is of one pair: it is sorted there, and not kept.
            return each_pair(
                problems.backend,
                pairs,
                watch,
                || (),
                |(): &mut (), (i, j)| solve(&sort(i)?, &sort(problems.place_of_target(j))?),
            );
        }
        // Each measure is sorted once.
        let sorted = for_each(problems.backend, measures.len(), PAIRS, || (), |(): &mut (), index| sort(index))?;
        each_pair(
            problems.backend,
            pairs,
            watch,
            || (),
            |(): &mut (), (i, j)| solve(&sorted[i], &sorted[problems.place_of_target(j)]),
        )
    })
}

pub(super) fn solve_slices<T: Scalar>(
    problems: &Problems<'_, T>,
    settings: &SlicedWasserstein,
    pairs: &[(usize, usize)],
    watch: &Watch<'_>,
) -> Result<Vec<Option<PairResult>>, Error> {
    let measures: Vec<_> = problems.measures().collect();
    let unit = power_of_two(measures.iter().map(|measure| largest_coordinate(*measure)).fold(0.0, f64::max));
    let backend: &dyn Backend<Host<T>> = problems.backend;
    backend.scope(|| {
        // Each measure is projected and sorted once.
        let arrange = |(): &mut (), index: usize| {
            Slices::new(settings, measures[index], unit).map_err(problems.of_measure(index))
        };
        let slices = for_each(problems.backend, measures.len(), PAIRS, || (), arrange)?;
        let solve = |(): &mut (), (i, j): (usize, usize)| {
            let value = slices[i].distance_to(&slices[problems.place_of_target(j)], settings)?.power()?;
            Ok(PairResult::of(PairValue { value, transport_cost: None, gap: None, status: Status::Converged }))
        };
        each_pair(problems.backend, pairs, watch, || (), solve)
    })
}

/// The largest size of a coordinate; zero of what has none.
fn largest_coordinate<T: Scalar>(measure: &dyn Measure<T>) -> f64 {
    let Support::Points(points) = measure.support() else { return 0.0 };
    points.coordinates().iter().fold(0.0, |largest, coordinate| coordinate.to_f64().abs().max(largest))
}
