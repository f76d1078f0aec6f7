//! The cases that the geometries of a builder are tried on.

use std::sync::Arc;

use ot_core::{
    CostFormula, Elem, Error, GeometryBuilder, GroundCost, HalfSqEuclidean, Manhattan, PNorm, PowerOfDistance, Real,
    SqEuclidean,
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
        (
            "14 x 25, a formula with two parameters",
            [cloud(14, 2), cloud(25, 2)],
            2,
            Arc::new(Slope { grade: 0.7, lift: 1.5 }),
        ),
        ("20 x 18, norm 3", [cloud(20, 5), cloud(18, 5)], 5, Arc::new(PNorm::new(3.0)?)),
    ];
    let case = |(name, points, dimension, cost)| GeometryCase::between_points(builder, name, points, dimension, cost);
    clouds.into_iter().map(case).collect()
}

/// A cost of the author's own, with parameters: |x - y|^2 and a price on the height gained, exp(grade h) lift.
#[derive(Clone, Debug)]
struct Slope {
    grade: f64,
    lift: f64,
}

impl CostFormula for Slope {
    fn cost<R: Real>(&self, x: &[R], y: &[R]) -> R {
        let [square] = R::fold_coordinates(x, y, [-0.0], |[sum], x, y| [sum + (x - y) * (x - y)]);
        let height = y[1] - x[1];
        square + (x[1].parameter(0, self.grade) * height).exp() * x[1].parameter(1, self.lift)
    }

    fn fixed_dimension(&self) -> Option<usize> {
        Some(2)
    }
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
