//! The cases that the geometries of a builder are tried on.

use std::sync::Arc;

use ot_core::{
    Elem, Error, GeometryBuilder, GroundCost, HalfSqEuclidean, Manhattan, PNorm, PowerOfDistance, SqEuclidean,
};

use crate::{
    case::{GeometryCase, SupportKind},
    seeded::Seeded,
};

/// The cases of some kinds of supports: one pair, one row, one column, sizes that are no multiple of any block,
/// coincident points, costs of several forms, forbidden pairs and negative costs.
///
/// # Errors
/// What the builder refuses to build.
pub fn standard_cases<G: GeometryBuilder + ?Sized>(
    builder: &G,
    kinds: &[SupportKind],
) -> Result<Vec<GeometryCase<G::Device>>, Error> {
    let mut cases = Vec::new();
    if kinds.contains(&SupportKind::Points) {
        cases.extend(clouds(builder)?);
    }
    if kinds.contains(&SupportKind::Indices) {
        cases.extend(matrices(builder)?);
    }
    Ok(cases)
}

/// Costs between points.
fn clouds<G: GeometryBuilder + ?Sized>(builder: &G) -> Result<Vec<GeometryCase<G::Device>>, Error> {
    let mut seeded = Seeded::new(11);
    let mut cloud = |len: usize, dimension: usize| seeded.vector::<Elem<G>>(len * dimension, -1.0, 1.0);
    let half: Arc<dyn GroundCost> = Arc::new(HalfSqEuclidean);
    let square: Arc<dyn GroundCost> = Arc::new(SqEuclidean);
    let same = cloud(21, 2);
    let clouds = [
        ("1 x 1, half square", [cloud(1, 1), cloud(1, 1)], 1, Arc::clone(&half)),
        ("1 x 9, square", [cloud(1, 2), cloud(9, 2)], 2, Arc::clone(&square)),
        ("9 x 1, half square", [cloud(9, 3), cloud(1, 3)], 3, Arc::clone(&half)),
        ("33 x 65, square", [cloud(33, 2), cloud(65, 2)], 2, Arc::clone(&square)),
        ("131 x 71, half square", [cloud(131, 3), cloud(71, 3)], 3, half),
        ("a cloud and itself, square", [same.clone(), same], 2, square),
        ("40 x 23, distance to the power 3/2", [cloud(40, 2), cloud(23, 2)], 2, Arc::new(PowerOfDistance::new(1.5)?)),
        ("19 x 30, Manhattan", [cloud(19, 4), cloud(30, 4)], 4, Arc::new(Manhattan)),
        ("20 x 18, norm 3", [cloud(20, 5), cloud(18, 5)], 5, Arc::new(PNorm::new(3.0)?)),
    ];
    let case = |(name, points, dimension, cost)| GeometryCase::between_points(builder, name, points, dimension, cost);
    clouds.into_iter().map(case).collect()
}

/// Cost matrices.
fn matrices<G: GeometryBuilder + ?Sized>(builder: &G) -> Result<Vec<GeometryCase<G::Device>>, Error> {
    let mut seeded = Seeded::new(12);
    let forbid = |index: usize, cost: f64| match (index / 19, index % 19) {
        (i, j) if i > 0 && j > 0 && (i + j) % 3 == 0 => f64::INFINITY,
        _ => cost,
    };
    let forbidden: Vec<f64> = (0..17 * 19).map(|index| forbid(index, seeded.uniform(0.0, 3.0))).collect();
    let negative: Vec<f64> = (0..12 * 7).map(|_| seeded.uniform(-1.0, 1.0)).collect();
    Ok(vec![
        GeometryCase::of_matrix(builder, "17 x 19, matrix with forbidden pairs", &forbidden, 17, 19)?,
        GeometryCase::of_matrix(builder, "12 x 7, matrix with negative costs", &negative, 12, 7)?,
    ])
}
