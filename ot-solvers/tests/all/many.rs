//! Many problems are the problems one by one.

use std::ops::ControlFlow;

use ot_conformance::Seeded;
use ot_core::{
    Cosine, CostMatrix, Epsilon, Error, Euclidean, Histogram, Kl, Phase, PointCloud, Progress, Side, SqEuclidean,
    Status,
};
use ot_solvers::{
    ExactTransport, Method, PairTable, Sinkhorn, SinkhornDivergence, SlicedWasserstein, cross, pairwise, zip,
};

use crate::support::{assert_close, cloud, cpu, largest_difference, relaxed};

/// Clouds of different sizes.
fn ragged() -> Vec<PointCloud<'static, f64>> {
    [12, 20, 7, 15].into_iter().enumerate().map(|(k, len)| cloud(k as u64, len, 0.2 * k as f64, 1.0)).collect()
}

/// Histograms on one grid of points, with weights of zero.
fn shared(count: u64) -> Vec<PointCloud<'static, f64>> {
    let points: Vec<f64> = (0..30).flat_map(|k| [f64::from(k % 6), f64::from(k / 6)]).collect();
    let weights = |seed| Seeded::new(seed).weights::<f64>(30, true);
    (0..count).map(|seed| PointCloud::new(points.clone(), 2, weights(seed)).unwrap()).collect()
}

fn all_values(table: &PairTable) -> Vec<f64> {
    assert!(table.is_converged());
    table.values().unwrap()
}

#[test]
fn exact_pairs_are_single_solves_for_any_number_of_threads() -> Result<(), Error> {
    for clouds in [ragged(), shared(5)] {
        let tables = [1, 2, 5].map(|threads| {
            pairwise(&cpu(threads), &clouds, &SqEuclidean, &Method::exact()).keep_plans().keep_potentials().solve()
        });
        let [one, two, five] = tables.map(Result::unwrap);
        assert_eq!((all_values(&one), one.gaps()), (all_values(&two), two.gaps()));
        assert_eq!(all_values(&one), all_values(&five));
        for (i, a) in clouds.iter().enumerate() {
            for (j, b) in clouds.iter().enumerate() {
                let single = ExactTransport::new().solve(&cpu(1), a, b, &SqEuclidean)?;
                assert_close(one.value(i, j).unwrap(), single.certificate().primal, 1e-14);
                assert!(one.pair(i, j).unwrap().gap.unwrap() < 1e-12);
                let plan = one.plan(i, j).unwrap();
                assert_eq!(plan, two.plan(i, j).unwrap());
                for (side, own) in [(Side::Source, a), (Side::Target, b)] {
                    let weights = own.weights_view().values();
                    assert!(largest_difference(&plan.marginal(side), weights) < 1e-14);
                    let potentials = |table: &PairTable| table.potential(i, j, side).unwrap().to_vec();
                    assert_eq!(potentials(&one), potentials(&five));
                    assert_eq!(potentials(&one).len(), weights.len());
                }
            }
        }
    }
    Ok(())
}

#[test]
fn cross_and_zip_are_parts_of_pairwise() -> Result<(), Error> {
    let clouds = ragged();
    let (backend, method) = (cpu(2), Method::exact());
    let all = pairwise(&backend, &clouds, &Euclidean, &method).solve()?;
    let (few, others) = clouds.split_at(1);
    let table = cross(&backend, few, others, &Euclidean, &method).solve()?;
    assert_eq!(table.shape(), (1, 3));
    assert_eq!(table.values().unwrap(), all.values().unwrap()[1..4]);
    let pairs = [(&clouds[0], &clouds[2]), (&clouds[1], &clouds[3])];
    let listed = zip(&backend, &pairs, &Euclidean, &method).solve()?;
    assert_eq!(listed.shape(), (2, 1));
    assert_eq!(listed.values().unwrap(), [all.value(0, 2).unwrap(), all.value(1, 3).unwrap()]);
    assert_eq!((listed.value(2, 0), listed.value(0, 1)), (None, None));
    Ok(())
}

#[test]
fn entropic_pairs_are_single_solves() -> Result<(), Error> {
    let epsilon = Epsilon::Absolute(0.3);
    let (backend, sinkhorn) = (cpu(2), Sinkhorn::new().tolerance(1e-10));
    for clouds in [ragged(), shared(4)] {
        let balanced = Method::entropic_with(epsilon, sinkhorn.clone());
        let relaxing = Method::unbalanced_with(epsilon, &Kl::new(0.7)?, sinkhorn.clone())?;
        for (method, penalty) in [(balanced, None), (relaxing, Some(Kl::new(0.7)?))] {
            let table = pairwise(&backend, &clouds, &SqEuclidean, &method).keep_potentials().solve()?;
            for (i, j) in [(0, 0), (0, 3), (2, 1)] {
                let penalties = [(); 2].map(|()| match penalty {
                    None => crate::support::penalty(ot_core::Balanced),
                    Some(kl) => crate::support::penalty(kl),
                });
                let problem = relaxed(&backend, [&clouds[i], &clouds[j]], &SqEuclidean, epsilon, penalties);
                let single = sinkhorn.solve(&problem)?;
                let pair = table.pair(i, j).unwrap();
                assert_close(pair.value, single.certificate().primal, 1e-8);
                assert_close(pair.transport_cost.unwrap(), single.certificate().transport_cost.unwrap(), 1e-7);
                assert!(pair.gap.unwrap() < 1e-7 && pair.status.is_converged());
                assert_eq!(table.potential(i, j, Side::Target).unwrap().len(), clouds[j].points().len());
            }
        }
    }
    Ok(())
}

/// A rule of epsilon is one number for all pairs.
#[test]
fn divergences_vanish_between_equal_measures_and_are_those_of_single_solves() -> Result<(), Error> {
    let clouds = ragged();
    let backend = cpu(2);
    let settings = SinkhornDivergence::new().sinkhorn(Sinkhorn::new().tolerance(1e-10));
    let epsilon = Epsilon::Absolute(0.1);
    let method = Method::divergence_with(epsilon, settings.clone());
    let table = pairwise(&backend, &clouds, &SqEuclidean, &method).solve()?;
    for i in 0..clouds.len() {
        assert!(table.value(i, i).unwrap().abs() < 1e-9);
    }
    let single = settings.between(&backend, &clouds[1], &clouds[2], &SqEuclidean, epsilon)?;
    assert_close(table.value(2, 1).unwrap(), single.value(), 1e-8);
    let relative = Method::divergence(Epsilon::RelativeToMean(0.1));
    assert!(pairwise(&backend, &clouds, &SqEuclidean, &relative).solve()?.value(0, 1).unwrap() > 0.0);
    Ok(())
}

#[test]
fn the_line_and_slices() -> Result<(), Error> {
    let mut random = Seeded::new(4);
    let mut line = |len: usize| {
        let points: Vec<f64> = (0..len).map(|_| random.normal()).collect();
        PointCloud::new(points, 1, random.weights::<f64>(len, false)).unwrap()
    };
    let (clouds, backend) = ([line(9), line(14), line(9)], cpu(2));
    let table = pairwise(&backend, &clouds, &SqEuclidean, &Method::line()).keep_plans().solve()?;
    let exact = pairwise(&backend, &clouds, &SqEuclidean, &Method::exact()).solve()?;
    assert!(largest_difference(&all_values(&table), &all_values(&exact)) < 1e-13);
    assert_eq!(table.plan(1, 0).unwrap().shape(), (14, 9));

    let (clouds, slices) = (ragged(), SlicedWasserstein::new(2.0).directions(16).seed(3));
    let table = pairwise(&backend, &clouds, &SqEuclidean, &Method::sliced(slices.clone())).solve()?;
    let single = slices.between(&backend, &clouds[0], &clouds[2])?;
    assert_close(table.value(2, 0).unwrap(), single.power()?, 1e-14);
    assert_close(table.distances(2.0).unwrap()[2], single.distance(), 1e-14);
    assert_eq!((table.gaps(), table.transport_costs()), (None, None));
    Ok(())
}

#[test]
fn an_observer_counts_pairs_and_cancels() -> Result<(), Error> {
    let clouds = shared(6);
    let mut told = Vec::new();
    let mut observer = |progress: &Progress| {
        told.push((progress.phase, progress.done, progress.of));
        if progress.done < 5 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let method = Method::exact();
    let table = pairwise(&cpu(1), &clouds, &SqEuclidean, &method).observer(&mut observer).solve()?;
    assert_eq!(told, (1..=5).map(|done| (Phase::Pairs, done, Some(21))).collect::<Vec<_>>());
    assert_eq!((table.status(0, 4), table.status(5, 5)), (Some(Status::Converged), Some(Status::Cancelled)));
    assert!(table.value(0, 4).is_some() && table.value(5, 5).is_none());
    assert!(table.values().is_none() && !table.is_converged());
    assert_eq!(table.unconverged().next(), Some(((0, 5), Status::Cancelled)));
    assert_eq!(table.unconverged().count(), 16);
    assert!(table.to_string().starts_with("6 x 6, 5 of 21 pairs converged, values "), "{table}");
    assert_eq!((table.transport_cost(1, 0), table.gap(1, 0)), (table.value(0, 1), table.gap(0, 1)));
    assert_eq!(table.distance(0, 1, 2.0), table.value(0, 1).map(f64::sqrt));
    assert_eq!((table.transport_cost(5, 5), table.gap(0, 9), table.distance(9, 0, 2.0)), (None, None, None));
    Ok(())
}

#[test]
fn refusals_name_the_measure_or_the_pair() -> Result<(), Error> {
    let backend = cpu(1);
    let method = Method::exact();
    let (good, heavy) = (Histogram::new(vec![0.5, 0.5])?, Histogram::new(vec![1.5, 0.5])?);
    let cost = CostMatrix::new(vec![0.0, 1.0, 1.0, 0.0], 2, 2)?;
    let batch = Histogram::batch(vec![0.5; 4], 2)?;
    let refused = pairwise(&backend, &[good.clone(), batch], &cost, &method).solve().err();
    let Some(Error::OfMeasure { list: "the sources", index: 1, error }) = &refused else { panic!("{refused:?}") };
    assert_eq!(**error, Error::Length { what: "columns of a measure", expected: 1, found: 2 });

    let list = [good.clone(), good.clone()];
    for method in [Method::exact(), Method::entropic(Epsilon::Absolute(0.1))] {
        let refused = cross(&backend, &list[..1], &[good.clone(), heavy.clone()], &cost, &method).solve().err();
        let Some(Error::OfPair { first: 0, second: 1, error }) = &refused else { panic!("{refused:?}") };
        assert!(matches!(**error, Error::MassMismatch { column: 0, .. }), "{error}");
        assert!(refused.unwrap().to_string().starts_with("pair (0, 1): "));
    }
    let skew = CostMatrix::new(vec![0.0, 1.0, 2.0, 0.0], 2, 2)?;
    assert!(matches!(pairwise(&backend, &list, &skew, &method).solve(), Err(Error::Disagreement { .. })));
    assert_eq!(cross(&backend, &list, &list, &skew, &method).solve()?.value(0, 1), Some(0.0));
    assert_eq!(pairwise(&backend, &list[..0], &cost, &method).solve().err(), Some(Error::EmptyBatch));
    Ok(())
}

#[test]
fn entropic_values_between_tiny_masses_are_numbers() -> Result<(), Error> {
    // Products of two of these masses are below the smallest number.
    let points = [vec![-1.3, -4.1], vec![-1.7], vec![3.7, -0.8]];
    let weights = [vec![1.75, 0.5], vec![2.25], vec![0.75, 1.5]];
    let clouds = points.into_iter().zip(weights).map(|(points, weights)| {
        PointCloud::new(
            points.into_iter().map(|x: f64| x * 1e-106).collect::<Vec<_>>(),
            1,
            weights.into_iter().map(|weight| weight * 1e-298).collect::<Vec<f64>>(),
        )
    });
    let clouds = clouds.collect::<Result<Vec<_>, _>>()?;
    let epsilon = Epsilon::Absolute(0.6160778047598916);
    let table = pairwise(&cpu(1), &clouds, &Cosine, &Method::entropic_with(epsilon, Sinkhorn::new())).solve()?;
    for (i, j) in [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)] {
        let found = table.pair(i, j).unwrap();
        assert!(found.status.is_converged() && found.value.is_finite() && found.gap.unwrap() < 1e-300, "{found:?}");
        assert!(found.value.abs() < 1e-295, "{found:?}");
    }
    Ok(())
}
