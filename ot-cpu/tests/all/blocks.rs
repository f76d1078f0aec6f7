//! Clouds of which the pairs are left out that are too far apart to matter: the properties of the conformance kit, and what is
//! left out, against double loops over all pairs.

use std::sync::Arc;

use ot_conformance::{GeometryCase, Seeded, SupportKind, standard_cases};
use ot_core::{
    ActiveColumns, Balanced, CTransform, Chebyshev, Cosine, CostFormula, DeviceWeights, Error, Euclidean, Geometry,
    GeometryBuilder, GroundCost, Host, Manhattan, Periodic, PlanSide, PlanView, PointsView, Real, RecordedPenalty,
    Separable, Side, SqEuclidean, Support, WeightsView,
};
use ot_cpu::{BlockSparseGeometry, CpuBackend, CpuScalar};

/// A backend that leaves out pairs wherever it can.
#[derive(Debug)]
struct Blocks<T>(CpuBackend<T>);

impl<T: CpuScalar> GeometryBuilder for Blocks<T> {
    type Device = Host<T>;

    fn geometry(
        &self,
        source: Support<'_, T>,
        target: Support<'_, T>,
        cost: &dyn GroundCost,
    ) -> Result<Arc<dyn Geometry<Host<T>>>, Error> {
        if let (Support::Points(x), Support::Points(y), Some(cost)) = (source, target, cost.shared()) {
            match BlockSparseGeometry::new(&self.0, x, y, cost) {
                Err(Error::MissingCapability(_)) => {}
                geometry => return geometry.map(|geometry| Arc::new(geometry) as Arc<_>),
            }
        }
        self.0.geometry(source, target, cost)
    }
}

fn cases<T: CpuScalar>() -> Result<Vec<GeometryCase<Host<T>>>, Error> {
    let blocks = Blocks(CpuBackend::<T>::new(2)?);
    let mut cases = standard_cases(&blocks, &[SupportKind::Points])?;
    let mut seeded = Seeded::new(5);
    let mut cloud = |len: usize, dimension: usize, shift: f64| -> Vec<f64> {
        (0..len * dimension).map(|_| shift + seeded.uniform(0.0, 1.0)).collect()
    };
    let torus = Periodic::new(Arc::new(SqEuclidean), vec![Some(1.0), None])?;
    let own = Separable::new([Arc::new(SqEuclidean) as Arc<dyn GroundCost>, Arc::new(Tilted)])?;
    let costs: [(&str, Arc<dyn GroundCost>, usize); 6] = [
        ("70 x 66, square in the plane", Arc::new(SqEuclidean), 2),
        ("70 x 66, distance in space", Arc::new(Euclidean), 3),
        ("70 x 66, cosine", Arc::new(Cosine), 3),
        ("70 x 66, Chebyshev", Arc::new(Chebyshev), 2),
        ("70 x 66, torus", Arc::new(torus), 2),
        ("70 x 66, a cost of one's own", Arc::new(own), 2),
    ];
    for (name, cost, dimension) in costs {
        let points = [cloud(70, dimension, 0.0), cloud(66, dimension, 0.25)];
        cases.push(GeometryCase::between_points(&blocks, name, points, dimension, cost)?);
    }
    Ok(cases)
}

/// (x - y)^2 + |x - y|, with bounds of its own.
#[derive(Clone, Debug)]
struct Tilted;

impl CostFormula for Tilted {
    fn cost<R: Real>(&self, x: &[R], y: &[R]) -> R {
        let apart = x[0] - y[0];
        apart * apart + apart.abs()
    }

    fn bound_between(&self, source: &ot_core::BoundingBox, target: &ot_core::BoundingBox) -> Option<f64> {
        let bound = |cost: &dyn GroundCost| cost.bound(source, target);
        Some((bound(&SqEuclidean)? + bound(&Manhattan)?) * (1.0 + 1e-15))
    }

    fn least_between(&self, source: &ot_core::BoundingBox, target: &ot_core::BoundingBox) -> Option<f64> {
        let least = |cost: &dyn GroundCost| cost.least(source, target);
        Some((least(&SqEuclidean)? + least(&Manhattan)?) * (1.0 - 1e-15))
    }
}

ot_conformance::conformance_geometry!(double, cases::<f64>());
ot_conformance::conformance_geometry!(single, cases::<f32>());

/// Two clouds with their weights and potentials.
struct Clouds {
    name: &'static str,
    dimension: usize,
    points: [Vec<f64>; 2],
    weights: [Vec<f64>; 2],
    potentials: [Vec<f64>; 2],
}

/// Clouds that a bound must hold for: clusters far apart, an outlier, duplicates, collinear points, weights over twelve decades,
/// clouds that do not meet, up to eight dimensions; with potentials near those of a solution, and with wild ones.
fn hostile(seed: u64) -> Vec<Clouds> {
    let mut random = Seeded::new(seed);
    let names = ["uniform", "clusters", "outlier", "duplicates", "line", "decades", "apart", "eight axes"];
    let mut all = Vec::new();
    for name in names {
        let dimension = if name == "eight axes" { 8 } else { 2 };
        let mut cloud = |len: usize, side: usize| -> Vec<f64> {
            let mut points = Vec::new();
            for i in 0..len {
                let shift = match name {
                    "clusters" => [0.0, 40.0, 41.0, 300.0][i % 4],
                    "outlier" if i == 7 => 1e4,
                    "apart" => 25.0 * side as f64,
                    _ => 0.0,
                };
                let first = random.uniform(0.0, 1.0);
                for axis in 0..dimension {
                    points.push(match name {
                        "duplicates" => f64::from(i as u32 % 5),
                        "line" => first * (1 + axis) as f64,
                        _ => shift + random.uniform(0.0, 1.0),
                    });
                }
            }
            points
        };
        let points = [cloud(301, 0), cloud(215, 1)];
        let weights = [301, 215].map(|len| {
            let raw = (0..len).map(|_| if name == "decades" { 10_f64.powf(random.uniform(-12.0, 0.0)) } else { 1.0 });
            let raw: Vec<f64> = raw.collect();
            let total: f64 = raw.iter().sum();
            raw.into_iter().map(|weight| weight / total).collect::<Vec<f64>>()
        });
        for height in [0.0, 1.0, 30.0] {
            let potentials = [301, 215].map(|len| (0..len).map(|_| random.uniform(-height, height)).collect());
            all.push(Clouds { name, dimension, points: points.clone(), weights: weights.clone(), potentials });
        }
    }
    all
}

impl Clouds {
    fn geometry(&self) -> BlockSparseGeometry<f64> {
        let [x, y] = self.points.each_ref().map(|points| PointsView::new(points, self.dimension).unwrap());
        BlockSparseGeometry::new(&CpuBackend::new(1).unwrap(), x, y, Arc::new(SqEuclidean)).unwrap()
    }

    /// All costs, row after row.
    fn costs(&self) -> Vec<f64> {
        let (cost, columns): (&dyn GroundCost, usize) = (&SqEuclidean, self.weights[1].len());
        let mut costs = vec![0.0; self.weights[0].len() * columns];
        for (x, row) in self.points[0].chunks(self.dimension).zip(costs.chunks_mut(columns)) {
            cost.costs_f64(x, &self.points[1], row);
        }
        costs
    }
}

#[test]
fn pairs_that_matter_are_kept() {
    for clouds in hostile(1) {
        let (geometry, costs) = (clouds.geometry(), clouds.costs());
        let [f, g] = &clouds.potentials;
        for (epsilon, delta) in [(1e-3, 1e-9), (0.05, 1e-3), (2.0, 1e-12), (1e9, 1e-3)] {
            let level = epsilon * f64::ln(delta);
            let matters = |(index, cost): (usize, &f64)| f[index / g.len()] + g[index % g.len()] - cost > level;
            let least = costs.iter().enumerate().filter(|&pair| matters(pair)).count() as u64;
            let kept = geometry.kept_pairs([f, g], epsilon, delta);
            assert!(kept >= least && kept <= costs.len() as u64, "{}: {kept} of {least}", clouds.name);
            assert!(epsilon < 1e9 || kept == costs.len() as u64, "{}: nothing is negligible", clouds.name);
        }
    }
}

#[test]
fn what_is_left_out_is_within_the_part_told() {
    let mut most = 0.0_f64;
    for clouds in hostile(2) {
        let costs = clouds.costs();
        let [a, b] = [0, 1].map(|side| WeightsView::new(&clouds.weights[side], 1).unwrap());
        for (epsilon, part) in [(0.01, 0.1), (0.2, 1e-2), (3.0, 1e-5)] {
            let geometry = clouds.geometry().with_left_out(part).unwrap();
            let backend = geometry.backend();
            let mut kernel = geometry.bind_entropic(epsilon, 1).unwrap();
            assert_eq!(kernel.left_out(), part);
            let [wa, wb] = [a, b].map(|weights| DeviceWeights::new(backend.as_ref(), weights).unwrap());
            let [f, g] = clouds.potentials.each_ref().map(|values| backend.upload(values, 1).unwrap());
            let plan = PlanView { source: PlanSide::new(&f, &wa), target: PlanSide::new(&g, &wb) };
            let active = ActiveColumns::all(1);
            let [mut source, mut target] = [backend.copied(&f).unwrap(), backend.copied(&g).unwrap()];
            let balanced = RecordedPenalty::new(&Balanced).unwrap();
            let out = [&mut source, &mut target];
            kernel.c_transforms(backend.as_ref(), [&balanced; 2], plan, &active, out, None).unwrap();
            let mut single = backend.copied(&f).unwrap();
            let request = CTransform { side: Side::Source, plan, penalty: &balanced, active: &active };
            kernel.c_transform(backend.as_ref(), request, &mut single, None).unwrap();
            for (side, found) in [(Side::Source, &source), (Side::Target, &target), (Side::Source, &single)] {
                let columns = clouds.weights[1].len();
                let (weights, potential) =
                    (&clouds.weights[side.opposite().index()], &clouds.potentials[side.opposite().index()]);
                for (i, found) in found.column(0).iter().enumerate() {
                    let cost = |j: usize| side.of([costs.get(i * columns + j), costs.get(j * columns + i)]).unwrap();
                    let exponents: Vec<f64> =
                        (0..weights.len()).map(|j| (potential[j] - cost(j)) / epsilon + weights[j].ln()).collect();
                    let largest = exponents.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let sum: f64 = exponents.iter().map(|exponent| (exponent - largest).exp()).sum();
                    // A softmin over some of the terms is higher, by the logarithm of the part that is left.
                    let left_out = 1.0 - (-(found / epsilon) - largest - sum.ln()).exp();
                    let rounding = 1e-13 * (1.0 + largest.abs() + found.abs() / epsilon);
                    assert!(left_out >= -rounding, "{} {epsilon}: {left_out} is no part", clouds.name);
                    assert!(left_out <= part + rounding, "{} {epsilon}: {left_out} of {part}", clouds.name);
                    most = most.max(left_out);
                }
            }
        }
    }
    assert!(most > 1e-6, "something is left out");
}

/// P^T diag(1) P v at an epsilon by the kernel's two products, the inexact one first.
fn products(clouds: &Clouds, epsilon: f64, threads: usize) -> [Vec<f64>; 2] {
    let [x, y] = clouds.points.each_ref().map(|points| PointsView::new(points, clouds.dimension).unwrap());
    let geometry = BlockSparseGeometry::new(&CpuBackend::new(threads).unwrap(), x, y, Arc::new(SqEuclidean)).unwrap();
    let (backend, mut kernel) = (geometry.backend(), geometry.bind_entropic(epsilon, 1).unwrap());
    let [wa, wb] = clouds
        .weights
        .each_ref()
        .map(|weights| DeviceWeights::new(backend.as_ref(), WeightsView::new(weights, 1).unwrap()).unwrap());
    let [f, g] = clouds.potentials.each_ref().map(|values| backend.upload(values, 1).unwrap());
    let plan = PlanView { source: PlanSide::new(&f, &wa), target: PlanSide::new(&g, &wb) };
    let values: Vec<f64> = (0..clouds.weights[1].len()).map(|j| f64::from(j as u32).sin()).collect();
    let diagonal = backend.upload(&vec![1.0; clouds.weights[0].len()], 1).unwrap();
    let values = backend.upload(&values, 1).unwrap();
    let mut out = [(); 2].map(|()| backend.alloc(clouds.weights[1].len(), 1).unwrap());
    let product = kernel.plan_product().unwrap();
    // Once more by what is kept from the first time.
    for _ in 0..2 {
        product.inexact_normal_product(Side::Target, plan, &diagonal, &values, &mut out[0]).unwrap();
    }
    product.normal_product(Side::Target, plan, &diagonal, &values, &mut out[1]).unwrap();
    out.map(|out| out.values().to_vec())
}

/// Uniform clouds in the plane, of as many atoms on both sides, with potentials whose densities are about one at an epsilon.
fn plane(len: usize, epsilon: f64) -> Clouds {
    let mut random = Seeded::new(6);
    let points = [(); 2].map(|()| (0..2 * len).map(|_| random.uniform(0.0, 1.0)).collect());
    let weights = [(); 2].map(|()| vec![1.0 / len as f64; len]);
    // The integral of exp(-|x|^2 / epsilon) is pi epsilon.
    let potentials = [(); 2].map(|()| vec![-0.5 * epsilon * (std::f64::consts::PI * epsilon).ln(); len]);
    Clouds { name: "plane", dimension: 2, points, weights, potentials }
}

#[test]
fn inexact_products_keep_what_matters_in_single_precision() {
    let clouds = plane(1000, 2e-3);
    let [inexact, exact] = products(&clouds, 2e-3, 1);
    let largest = exact.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let worst = inexact.iter().zip(&exact).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
    // A twentieth of epsilon over the largest cost for each tile, of which a few stand at the edge.
    assert!(worst > 0.0 && worst <= 1e-3 * largest, "{worst} of {largest}");
    assert_eq!(products(&clouds, 2e-3, 3)[0], inexact, "threads");
}

#[test]
fn inexact_products_leave_out_no_more_where_too_much_matters_to_be_kept() {
    for epsilon in [0.1, 1.0] {
        let [inexact, exact] = products(&plane(1500, epsilon), epsilon, 2);
        let largest = exact.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        let worst = inexact.iter().zip(&exact).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
        assert!(worst <= 1e-3 * largest, "{epsilon}: {worst} of {largest}");
    }
}

#[test]
fn costs_without_bounds_between_boxes_are_refused_or_streamed() {
    let line: Vec<f64> = (0..300).map(f64::from).collect();
    let points = PointsView::new(&line, 1).unwrap();
    let backend = CpuBackend::<f64>::new(1).unwrap().with_dense_limit(0).with_block_limit(100);
    let unknown = ot_core::CostFunction::new(|x: &[f64], y: &[f64]| (x[0] - y[0]).abs());
    let refused = BlockSparseGeometry::new(&backend, points, points, unknown.shared().unwrap());
    assert!(matches!(refused, Err(Error::MissingCapability(_))), "{refused:?}");
    let name = |cost: &dyn GroundCost, points: &[f64], dimension: usize| {
        let support = Support::Points(PointsView::new(points, dimension).unwrap());
        format!("{:?}", backend.geometry(support, support, cost).unwrap())
    };
    assert!(name(&SqEuclidean, &line, 1).starts_with("BlockSparseGeometry"));
    assert!(name(&unknown, &line, 1).starts_with("StreamingGeometry"));
    // Boxes tell nothing of a few points in eight dimensions, nor of coincident ones.
    let mut random = Seeded::new(3);
    let wide = random.vector::<f64>(8 * 300, 0.0, 1.0);
    assert!(name(&SqEuclidean, &wide, 8).starts_with("StreamingGeometry"));
    assert!(name(&SqEuclidean, &[1.0; 600], 2).starts_with("StreamingGeometry"));
    let part = BlockSparseGeometry::new(&backend, points, points, Arc::new(SqEuclidean)).unwrap().with_left_out(0.5);
    assert!(matches!(part, Err(Error::Parameter { .. })));
}
