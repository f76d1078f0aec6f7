//! Entropic transport between the measures of each pair: in batches of columns over shared supports, else pair by pair.

use std::sync::Arc;

use ot_core::{
    Backend, CostForm, CostMatrix, Epsilon, Error, Geometry, GroundCost, Histogram, Host, MatrixView, Measure, Problem,
    Scalar, Side, Solution, Support, WeightsView,
};

use super::{
    Problems,
    batches::{Batch, Column, Masses, batches},
    method::Entropic,
    of_pair,
    shared::{each_pair, for_each, is_shared, shared_matrix},
    table::{PairResult, PairValue},
    watch::Watch,
};

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
    if Side::BOTH.iter().all(|&side| is_shared(problems.side(side).iter().copied())) {
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

/// The costs between the atoms of both supports, in the ways that batches read them.
struct Costs<'a, T: Scalar> {
    /// Between all atoms.
    geometry: Arc<dyn Geometry<Host<T>>>,
    /// As a matrix, of which parts can be taken.
    matrix: Option<MatrixView<'a>>,
}

fn in_batches<T: Scalar>(
    problems: &Problems<'_, T>,
    settings: &Entropic,
    pairs: &[(usize, usize)],
    watch: &Watch<'_>,
) -> Result<Vec<Option<PairResult>>, Error> {
    let [source, target]: [Support<'_, T>; 2] = Side::BOTH.map(|side| problems.side(side)[0].support());
    // Atoms without weight have potentials too, which are told of all atoms.
    let table = if problems.keeps.potentials { None } else { shared_matrix(problems)? };
    let matrix = match (&table, problems.cost.form()) {
        (Some(table), _) => matrix_of(table.form()),
        (None, form) if !problems.keeps.potentials => matrix_of(form),
        _ => None,
    };
    let costs = Costs { geometry: problems.builder.geometry(source, target, problems.cost)?, matrix };
    let is_cut = costs.matrix.is_some();
    let masses = |side: Side| {
        let mass = |measure: &&dyn Measure<T>| {
            let weights = weights(*measure)?;
            Ok(if is_cut { Masses::of(weights) } else { vec![true; weights.len()] })
        };
        problems.side(side).iter().map(mass).collect::<Result<Vec<_>, Error>>()
    };
    let [of_sources, of_targets] = Side::BOTH.map(masses);
    let masses = Masses { sides: [of_sources?, of_targets?] };
    let batches = batches(problems.layout, pairs, &masses);
    let solve = |settings: &Entropic, batch: &Batch| {
        if watch.is_cancelled() {
            return Ok(None);
        }
        let kept = masses.kept(batch, pairs);
        let results = one_batch(problems, settings, pairs, &costs, batch, &kept)?;
        watch.done(batch.columns.len());
        Ok(Some(results))
    };
    let backend: &dyn Backend<Host<T>> = problems.backend;
    let of_batches = backend.scope(|| {
        // The first batch tells the others a rate.
        let Some((first, others)) = batches.split_first() else { return Ok(Vec::new()) };
        let first = solve(settings, first)?;
        let rate = first.as_ref().and_then(|(_, rate)| *rate);
        let settings = Entropic { sinkhorn: settings.sinkhorn.clone().expecting(rate), ..settings.clone() };
        let others =
            for_each(problems.backend, others.len(), 1, || (), |(): &mut (), index| solve(&settings, &others[index]))?;
        Ok::<_, Error>(std::iter::once(first).chain(others).collect())
    })?;
    let mut found: Vec<Option<PairResult>> = pairs.iter().map(|_| None).collect();
    for (batch, results) in batches.iter().zip(of_batches) {
        for (column, result) in batch.columns.iter().zip(results.into_iter().flat_map(|(results, _)| results)) {
            found[column.pair] = Some(if column.is_turned { result.turned() } else { result });
        }
    }
    Ok(found)
}

/// The matrix that a cost is.
fn matrix_of(form: CostForm<'_>) -> Option<MatrixView<'_>> {
    match form {
        CostForm::Matrix(matrix) => Some(matrix),
        _ => None,
    }
}

/// The results of a batch, on the atoms that are kept of both sides, and the rate of the plain iteration.
fn one_batch<T: Scalar>(
    problems: &Problems<'_, T>,
    settings: &Entropic,
    pairs: &[(usize, usize)],
    costs: &Costs<'_, T>,
    batch: &Batch,
    kept: &[Vec<usize>; 2],
) -> Result<(Vec<PairResult>, Option<f64>), Error> {
    let atoms = Side::BOTH.map(|side| costs.geometry.len(side));
    let is_whole = [0, 1].iter().all(|&side: &usize| kept[side].len() == atoms[side]);
    let geometry = match costs.matrix.filter(|_| !is_whole) {
        Some(matrix) => {
            let [rows, columns] = kept.each_ref().map(Vec::len);
            let part = part::<T>(matrix, kept)?;
            problems.builder.geometry(Support::Indices(rows), Support::Indices(columns), &part)?
        }
        None => Arc::clone(&costs.geometry),
    };
    let histograms = |side: Side| -> Result<Histogram<'static, T>, Error> {
        let of_columns = if batch.common == Some(side) { &batch.columns[..1] } else { &batch.columns[..] };
        let mut values = Vec::with_capacity(of_columns.len() * kept[side.index()].len());
        for column in of_columns {
            let weights = weights(ends(problems, pairs, *column)[side.index()])?.values();
            values.extend(kept[side.index()].iter().map(|&atom| weights[atom]));
        }
        Histogram::batch(values, of_columns.len())
    };
    let named = |error| in_batch(error, pairs, batch, kept);
    let [a, b] = Side::BOTH.map(histograms);
    let problem = problem(settings, geometry, [&a?, &b?]).map_err(named)?;
    let (solution, report) = settings.sinkhorn.run(&problem).solve_with_report().map_err(named)?;
    Ok((results(&solution, problems.keeps.potentials)?, report.rate))
}

/// The measures between which a column is solved.
fn ends<'a, T: Scalar>(
    problems: &Problems<'a, T>,
    pairs: &[(usize, usize)],
    column: Column,
) -> [&'a dyn Measure<T>; 2] {
    let [source, target] = problems.pair(pairs[column.pair]);
    if column.is_turned { [target, source] } else { [source, target] }
}

/// The costs between the atoms that are kept.
fn part<T: Scalar>(matrix: MatrixView<'_>, [rows, columns]: &[Vec<usize>; 2]) -> Result<CostMatrix<'static, T>, Error> {
    let mut row = vec![T::from_f64(0.0); matrix.columns()];
    let mut values = Vec::with_capacity(rows.len() * columns.len());
    for &i in rows {
        matrix.copy_row(i, &mut row);
        values.extend(columns.iter().map(|&j| row[j]));
    }
    CostMatrix::new(values, rows.len(), columns.len())
}

/// An error that names a column of a batch, on all atoms.
fn in_batch(error: Error, pairs: &[(usize, usize)], batch: &Batch, kept: &[Vec<usize>; 2]) -> Error {
    let pair = |column: usize| of_pair(pairs[batch.columns[column].pair]);
    match error {
        Error::MassMismatch { column, source_mass, target_mass, tolerance } => {
            let [source_mass, target_mass] = match batch.columns[column].is_turned {
                true => [target_mass, source_mass],
                false => [source_mass, target_mass],
            };
            pair(column)(Error::MassMismatch { column: 0, source_mass, target_mass, tolerance })
        }
        Error::Stranded { side, index, column } => {
            let index = kept[side.index()][index];
            let side = if batch.columns[column].is_turned { side.opposite() } else { side };
            pair(column)(Error::Stranded { side, index, column: 0 })
        }
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
