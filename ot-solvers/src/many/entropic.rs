//! Entropic transport between the measures of each pair: in batches of columns over a shared support, else pair by pair.

use std::sync::Arc;

use ot_core::{
    Backend, Epsilon, Error, Geometry, Histogram, Host, Measure, Problem, Scalar, Side, Solution, Support, WeightsView,
};

use super::{
    Problems,
    method::Entropic,
    of_pair,
    shared::{each_pair, is_shared},
    table::{PairResult, PairValue},
    watch::Watch,
};

/// Columns of a batch: enough for its products to be bound by arithmetic.
const WIDTH: usize = 64;

/// Pairs that a rule of epsilon is asked of.
const ASKED: usize = 8;

pub(super) fn solve<T: Scalar>(
    problems: &Problems<'_, T>,
    settings: &Entropic,
    pairs: &[(usize, usize)],
    watch: &Watch<'_>,
) -> Result<Vec<Option<PairResult>>, Error> {
    let epsilon = common_epsilon(problems, settings.epsilon, pairs)?;
    let settings = Entropic { epsilon, ..settings.clone() };
    if is_shared(problems.measures()) {
        in_batches(problems, &settings, pairs, watch)
    } else {
        one_by_one(problems, &settings, pairs, watch)
    }
}

/// One epsilon for all pairs: the mean of what a rule gives between the first pairs of different measures.
pub(super) fn common_epsilon<T: Scalar>(
    problems: &Problems<'_, T>,
    epsilon: Epsilon,
    pairs: &[(usize, usize)],
) -> Result<Epsilon, Error> {
    if let Epsilon::Absolute(_) = epsilon {
        return Ok(epsilon);
    }
    let differ = |pair: &&(usize, usize)| pair.0 != problems.place_of_target(pair.1);
    let asked: Vec<_> = match pairs.iter().any(|pair| differ(&pair)) {
        true => pairs.iter().filter(differ).take(ASKED).collect(),
        false => pairs.iter().take(1).collect(),
    };
    let mut sum = 0.0;
    for &&pair in &asked {
        let [source, target] = problems.pair(pair);
        let resolve = || {
            let geometry = problems.builder.geometry(source.support(), target.support(), problems.cost)?;
            let [a, b] = [weights(source)?, weights(target)?];
            let statistics = if epsilon.needs_statistics() { Some(geometry.cost_statistics(a, b)?) } else { None };
            epsilon.resolve(geometry.as_ref(), statistics.as_ref())
        };
        sum += resolve().map_err(of_pair(pair))?;
    }
    Ok(Epsilon::Absolute(sum / asked.len() as f64))
}

/// The weights of a measure.
fn weights<T: Scalar>(measure: &dyn Measure<T>) -> Result<WeightsView<'_, T>, Error> {
    measure.weights().ok_or(Error::UnsupportedSupport { what: "a discrete problem", found: measure.support().kind() })
}

/// The problem between two measures.
fn problem<T: Scalar>(
    settings: &Entropic,
    geometry: Arc<dyn Geometry<Host<T>>>,
    [source, target]: [&dyn Measure<T>; 2],
) -> Result<Problem<Host<T>>, Error> {
    match &settings.penalties {
        Some([of_source, of_target]) => {
            Problem::unbalanced(geometry, source, target, settings.epsilon, of_source, of_target)
        }
        None => Problem::new(geometry, source, target, settings.epsilon),
    }
}

fn one_by_one<T: Scalar>(
    problems: &Problems<'_, T>,
    settings: &Entropic,
    pairs: &[(usize, usize)],
    watch: &Watch<'_>,
) -> Result<Vec<Option<PairResult>>, Error> {
    let backend: &dyn Backend<Host<T>> = problems.backend;
    backend.scope(|| {
        let solve = |(): &mut (), pair: (usize, usize)| {
            let [source, target] = problems.pair(pair);
            let geometry = problems.builder.geometry(source.support(), target.support(), problems.cost)?;
            let solution = settings.sinkhorn.solve(&problem(settings, geometry, [source, target])?)?;
            Ok(results(&solution, problems.keeps.potentials)?.swap_remove(0))
        };
        each_pair(problems.backend, pairs, watch, || (), solve)
    })
}

fn in_batches<T: Scalar>(
    problems: &Problems<'_, T>,
    settings: &Entropic,
    pairs: &[(usize, usize)],
    watch: &Watch<'_>,
) -> Result<Vec<Option<PairResult>>, Error> {
    let support: Support<'_, T> = problems.lists[0][0].support();
    let geometry = problems.builder.geometry(support, support, problems.cost)?;
    let mut found = Vec::with_capacity(pairs.len());
    for batch in pairs.chunks(WIDTH) {
        if watch.is_cancelled() {
            found.extend(batch.iter().map(|_| None));
            continue;
        }
        let mut sides = [Vec::new(), Vec::new()];
        for &pair in batch {
            for (values, measure) in sides.iter_mut().zip(problems.pair(pair)) {
                values.extend_from_slice(weights(measure)?.values());
            }
        }
        let [a, b] = sides.map(|values| Histogram::batch(values, batch.len()));
        let problem = problem(settings, Arc::clone(&geometry), [&a?, &b?]).map_err(|error| in_batch(error, batch))?;
        let solution = settings.sinkhorn.solve(&problem)?;
        found.extend(results(&solution, problems.keeps.potentials)?.into_iter().map(Some));
        watch.done(batch.len());
    }
    Ok(found)
}

/// An error that names a column of a batch.
fn in_batch(error: Error, batch: &[(usize, usize)]) -> Error {
    match error {
        Error::MassMismatch { column, source_mass, target_mass, tolerance } => {
            of_pair(batch[column])(Error::MassMismatch { column: 0, source_mass, target_mass, tolerance })
        }
        Error::Stranded { side, index, column } => of_pair(batch[column])(Error::Stranded { side, index, column: 0 }),
        other => other,
    }
}

/// The results of all columns.
fn results<T: Scalar>(solution: &Solution<Host<T>>, keeps_potentials: bool) -> Result<Vec<PairResult>, Error> {
    let potentials = match keeps_potentials {
        true => Some([solution.potential(Side::Source)?, solution.potential(Side::Target)?]),
        false => None,
    };
    let columns = solution.problem().columns();
    let of_column = |column: usize| {
        let certificate = &solution.certificates()[column];
        let potentials = potentials.as_ref().map(|sides| {
            sides.each_ref().map(|values| {
                let len = values.len() / columns;
                values[column * len..][..len].iter().map(|value| value.to_f64()).collect()
            })
        });
        let value = PairValue {
            value: certificate.primal,
            transport_cost: certificate.transport_cost,
            gap: Some(certificate.gap),
            status: solution.statuses()[column],
        };
        PairResult { potentials, ..PairResult::of(value) }
    };
    Ok((0..columns).map(of_column).collect())
}
