//! What a builder makes of supports and costs, and what it must refuse.

use std::sync::Arc;

use ot_core::{
    CostFunction, CostMatrix, Elem, Error, Euclidean, GeometryBuilder, GroundCost, HalfSqEuclidean, Manhattan,
    PointsView, Scalar, Side, SqEuclidean, Support,
};

use crate::{
    case::{GeometryCase, SupportKind},
    scene::Scene,
    seeded::{Seeded, elements},
    verdict::{Trial, Verdict},
};

/// Clouds far from the origin have the costs of their differences.
pub fn moving_both_clouds_changes_nothing<G: GeometryBuilder>(builder: &G, kinds: &[SupportKind]) -> Verdict {
    if !kinds.contains(&SupportKind::Points) {
        return Ok(());
    }
    let trial = Trial::new("moving both clouds changes nothing", Elem::<G>::NAME);
    let costs: [Arc<dyn GroundCost>; 3] = [Arc::new(SqEuclidean), Arc::new(Euclidean), Arc::new(Manhattan)];
    for cost in costs {
        // Multiples of 1/256, exact beside 64 too.
        let mut seeded = Seeded::new(13);
        let mut cloud = |len: usize| (0..2 * len).map(|_| 64.0 + (seeded.bits() % 256) as f64 / 256.0).collect();
        let case = GeometryCase::between_points(builder, format!("{cost:?}"), [cloud(31), cloud(18)], 2, cost)?;
        for epsilon in case.epsilons(&[1e-3, 0.1, 10.0]) {
            let mut scene = Scene::balanced(&case, epsilon, 1)?;
            let active = scene.all();
            for side in Side::BOTH {
                let expected = scene.reference.c_transform(side, &active, false)?.potential;
                let found = scene.tested.c_transform(side, &active, false)?.potential;
                let trial = trial.at(format_args!("{}, {side}, epsilon {epsilon:e}", case.name()));
                scene.compare_potential(&trial, &found, &expected, &active)?;
            }
        }
    }
    Ok(())
}

/// A blur of width sigma is an epsilon of 2 sigma^2 for squares, half of it for half squares, sigma for distances, where
/// a geometry has one; a cost matrix has none.
pub fn blurs_are_epsilons<G: GeometryBuilder>(builder: &G, kinds: &[SupportKind]) -> Verdict {
    let trial = Trial::new("blurs are epsilons", Elem::<G>::NAME);
    let costs: [(Arc<dyn GroundCost>, f64); 3] =
        [(Arc::new(SqEuclidean), 0.5), (Arc::new(HalfSqEuclidean), 0.25), (Arc::new(Euclidean), 0.5)];
    for (cost, expected) in costs.into_iter().filter(|_| kinds.contains(&SupportKind::Points)) {
        let case = GeometryCase::between_points(builder, format!("{cost:?}"), [vec![0.0], vec![1.0]], 1, cost)?;
        if let Some(found) = case.geometry().epsilon_of_blur(0.5) {
            trial.close(case.name(), found, expected, 1e-14)?;
        }
    }
    if kinds.contains(&SupportKind::Indices) {
        let matrix = GeometryCase::of_matrix(builder, "matrix", &[1.0], 1, 1)?;
        trial.holds(matrix.geometry().epsilon_of_blur(0.5).is_none(), || "a matrix has a blur".into())?;
    }
    Ok(())
}

/// What no geometry can be built from is refused, with an error that says what was wrong.
pub fn bad_geometries_are_refused<G: GeometryBuilder>(builder: &G, kinds: &[SupportKind]) -> Verdict {
    let is_support: fn(&Error) -> bool = |error| matches!(error, Error::UnsupportedSupport { .. });
    let is_length: fn(&Error) -> bool = |error| matches!(error, Error::Length { .. });

    let narrow = elements::<Elem<G>>(&[0.0, 1.0, 2.0, 3.0]);
    let (plane, space) = (PointsView::new(&narrow, 2)?, PointsView::new(&narrow, 4)?);
    let (plane, space) = (Support::Points(plane), Support::Points(space));
    let matrix = CostMatrix::new(vec![1.0, 2.0, 3.0, 4.0], 2, 2)?;
    let continuous = Support::Foreign { kind: "a continuous measure", len: None, support: &() };
    if kinds.contains(&SupportKind::Points) {
        let distance = 4.0 * <Elem<G> as Scalar>::LARGEST_COST.sqrt();
        let far = elements::<Elem<G>>(&[0.0, distance, -distance, 0.0]);
        let far = Support::Points(PointsView::new(&far, 2)?);
        let broken = elements::<Elem<G>>(&[0.0, f64::NAN, 0.0, 0.0]);
        let broken = Support::Points(PointsView::new(&broken, 2)?);
        let empty = Support::Points(PointsView::new(&[], 2)?);
        let nan = CostFunction::new(|x: &[f64], y: &[f64]| if x[0] > y[0] { f64::NAN } else { 0.0 });
        let line = CostFunction::new(|x: &[f64], _: &[f64]| x[0]).with_dimension(1);
        refuse(builder, "dimensions", plane, space, &SqEuclidean, |error| {
            matches!(error, Error::DimensionMismatch { .. })
        })?;
        refuse(builder, "the dimension of a cost", plane, plane, &line, is_length)?;
        refuse(builder, "indices without a matrix", Support::Indices(2), plane, &SqEuclidean, is_support)?;
        refuse(builder, "a continuous measure", continuous, plane, &SqEuclidean, is_support)?;
        refuse(builder, "NaN as a coordinate", plane, broken, &SqEuclidean, |error| {
            matches!(error, Error::Coordinate { .. })
        })?;
        refuse(builder, "no points", empty, plane, &SqEuclidean, |error| matches!(error, Error::EmptyMeasure))?;
        refuse(builder, "NaN as a cost", plane, plane, &nan, |error| matches!(error, Error::Cost { .. }))?;
        refuse(builder, "points far apart", plane, far, &SqEuclidean, |error| {
            matches!(error, Error::CostOverflow { .. })
        })?;
    }
    if kinds.contains(&SupportKind::Indices) {
        refuse(builder, "the size of a matrix", Support::Indices(3), Support::Indices(2), &matrix, is_length)?;
        refuse(builder, "a matrix of a continuous measure", continuous, Support::Indices(2), &matrix, is_support)?;
        let fits = builder.geometry(Support::Indices(2), Support::Indices(2), &matrix)?;
        let trial = Trial::new("bad geometries are refused", Elem::<G>::NAME);
        trial.holds(Side::BOTH.map(|side| fits.len(side)) == [2, 2], || "a matrix of another size".into())?;
    }
    Ok(())
}

/// Asks for a geometry that should be refused.
fn refuse<'a, G: GeometryBuilder>(
    builder: &G,
    what: &str,
    source: Support<'a, Elem<G>>,
    target: Support<'a, Elem<G>>,
    cost: &dyn GroundCost,
    is_expected: fn(&Error) -> bool,
) -> Verdict {
    let error = builder.geometry(source, target, cost).err();
    let trial = Trial::new("bad geometries are refused", Elem::<G>::NAME).at(what);
    trial.holds(error.as_ref().is_some_and(is_expected), || format!("gave {error:?}"))
}
