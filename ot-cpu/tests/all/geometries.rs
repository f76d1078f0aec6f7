//! What a request gets, what it is refused, and what is known of a geometry; derivatives of costs.

use std::sync::Arc;

use ot_conformance::Seeded;
use ot_core::{
    Backend, CostForm, CostFunction, CostMatrix, CostParameter, CostTangent, Error, Euclidean, Geometry,
    GeometryBuilder, HalfSqEuclidean, Host, Measure, PairWeight, PlanSide, PlanView, PointsView, Side, SqEuclidean,
    StridedMatrix, Support, WeightedPlan, WeightsView,
    cost::{GroundCost, MatrixView},
};
use ot_cpu::{CpuBackend, DenseGeometry, StreamingGeometry};

use super::support::{Lopsided, balanced, values, weights};

fn backend() -> CpuBackend<f64> {
    CpuBackend::new(2).unwrap()
}

fn points<'a>(coordinates: &'a [f64], dimension: usize) -> Support<'a, f64> {
    Support::Points(PointsView::new(coordinates, dimension).unwrap())
}

/// A cost that no geometry may keep.
#[derive(Debug)]
struct Tied;

impl GroundCost for Tied {
    fn form(&self) -> CostForm<'_> {
        CostForm::Generic
    }

    fn costs_f64(&self, x: &[f64], points: &[f64], out: &mut [f64]) {
        SqEuclidean.costs_f64(x, points, out);
    }

    fn costs_f32(&self, x: &[f32], points: &[f32], out: &mut [f32]) {
        SqEuclidean.costs_f32(x, points, out);
    }
}

#[test]
fn requests_are_checked_and_answered_by_kind() {
    let backend = backend();
    let (x, y) = ([0.0, 1.0, 2.0, 3.0], [0.5, 1.5]);
    let ask = |source: Support<'_, f64>, target: Support<'_, f64>, cost: &dyn GroundCost| {
        backend.geometry(source, target, cost).map(|geometry| format!("{geometry:?}"))
    };
    let is_streaming = |limit: usize, cost: &dyn GroundCost| {
        let geometry = backend.clone().with_dense_limit(limit).geometry(points(&x, 1), points(&y, 1), cost).unwrap();
        format!("{geometry:?}").starts_with("StreamingGeometry")
    };
    assert!(is_streaming(7, &SqEuclidean) && !is_streaming(8, &SqEuclidean));
    assert!(!is_streaming(0, &Tied), "a cost that cannot be kept is stored");

    let mismatch = Error::DimensionMismatch { source_dimension: 2, target_dimension: 1 };
    assert_eq!(ask(points(&x, 2), points(&y, 1), &SqEuclidean).err(), Some(mismatch));
    let plane = CostFunction::new(|x: &[f64], y: &[f64]| x[1] * y[1]).with_dimension(2);
    let length = ask(points(&x, 1), points(&y, 1), &plane).err();
    assert!(matches!(length, Some(Error::Length { expected: 2, found: 1, .. })), "{length:?}");
    assert_eq!(ask(points(&[], 1), points(&y, 1), &SqEuclidean).err(), Some(Error::EmptyMeasure));
    let far = ask(points(&[0.0], 1), points(&[1e160], 1), &SqEuclidean).err();
    assert!(matches!(far, Some(Error::CostOverflow { element: "f64", .. })), "{far:?}");
    let nan = CostFunction::new(|x: &[f64], y: &[f64]| if x[0] > 1.5 && y[0] > 1.0 { f64::NAN } else { 1.0 });
    let invalid = ask(points(&x, 1), points(&y, 1), &nan).err();
    assert!(matches!(invalid, Some(Error::Cost { source_index: 2, target_index: 1, .. })), "{invalid:?}");

    let matrix = CostMatrix::new(&[1.0, 2.0, 3.0, f64::INFINITY, 5.0, 6.0], 2, 3).unwrap();
    assert!(ask(Support::Indices(2), Support::Indices(3), &matrix).is_ok());
    let shape = ask(Support::Indices(3), Support::Indices(2), &matrix).err();
    assert!(matches!(shape, Some(Error::Length { expected: 3, found: 2, .. })), "{shape:?}");
    let unsupported = |result: Result<String, Error>| matches!(result, Err(Error::UnsupportedSupport { .. }));
    let of_indices = CostFunction::new(|x: &[f64], y: &[f64]| x[0] - y[0]).with_dimension(1);
    assert!(ask(Support::Indices(2), Support::Indices(3), &of_indices).is_ok());
    assert!(unsupported(ask(points(&x, 1), points(&y, 1), &matrix)));
    assert!(unsupported(ask(Support::Indices(2), Support::Indices(3), &SqEuclidean)));
    assert!(unsupported(ask(points(&x, 1), Support::Indices(3), &SqEuclidean)));
    let grid = Support::Foreign { kind: "grid", len: Some(4), support: &() };
    assert!(unsupported(ask(grid, points(&y, 1), &SqEuclidean)) && unsupported(ask(grid, grid, &SqEuclidean)));
}

#[test]
fn a_cost_that_f32_cannot_hold_is_no_forbidden_pair() {
    let backend = CpuBackend::<f32>::new(1).unwrap();
    let matrix = StridedMatrix::new(&[1.0, 1e60], 1, 2, 2, 1).unwrap();
    let found = DenseGeometry::from_matrix(&backend, MatrixView::F64(matrix)).err();
    assert!(matches!(found, Some(Error::CostOverflow { element: "f32", .. })), "{found:?}");
}

#[test]
fn a_streamed_cost_without_a_bound_is_checked() {
    #[derive(Clone, Debug)]
    struct Logarithm;
    impl ot_core::CostFormula for Logarithm {
        fn cost<R: ot_core::Real>(&self, x: &[R], y: &[R]) -> R {
            (x[0] * y[0]).ln()
        }
    }
    let (x, y) = ([1.0, 2.0, -3.0], [1.0, -1.0, 2.0]);
    let (x, y) = (PointsView::new(&x, 1).unwrap(), PointsView::new(&y, 1).unwrap());
    let found = StreamingGeometry::new(&backend(), x, y, Arc::new(Logarithm)).err();
    assert!(matches!(found, Some(Error::Cost { source_index: 0, target_index: 1, .. })), "{found:?}");
}

#[test]
fn statistics_are_the_statistics_of_the_cost() {
    let backend = backend();
    for scale in [1.0, 1e-75, 1e75] {
        let mut random = Seeded::new(3);
        let (n, m) = (37, 1100);
        let coordinates = [random.vector::<f64>(2 * n, 0.0, scale), random.vector::<f64>(2 * m, 0.0, scale)];
        let [x, y] = coordinates.each_ref().map(|x| PointsView::new(x, 2).unwrap());
        let (a, b) = (weights::<f64>(n, 2, true, 1), weights::<f64>(m, 2, false, 2));
        let [wa, wb] = [&a, &b].map(|weights| WeightsView::new(weights, 2).unwrap());
        let geometries: [Arc<dyn Geometry<Host<f64>>>; 2] = [
            Arc::new(DenseGeometry::from_points(&backend, x, y, &SqEuclidean).unwrap()),
            Arc::new(StreamingGeometry::new(&backend, x, y, Arc::new(SqEuclidean)).unwrap()),
        ];
        let mut pairs = Vec::new();
        for i in 0..n {
            let mut row = vec![0.0; m];
            SqEuclidean.costs_f64(x.point(i), y.coordinates(), &mut row);
            pairs.extend((0..m).map(|j| ((a[i] + a[n + i]) * (b[j] + b[m + j]), row[j] / (scale * scale))));
        }
        let mass: f64 = pairs.iter().map(|pair| pair.0).sum();
        let mean = pairs.iter().map(|(weight, cost)| weight * cost).sum::<f64>() / mass;
        let variance = pairs.iter().map(|(weight, cost)| weight * (cost - mean).powi(2)).sum::<f64>() / mass;
        for geometry in geometries {
            let statistics = geometry.cost_statistics(wa, wb).unwrap();
            let unit = scale * scale;
            assert!((statistics.mean / unit - mean).abs() < 1e-13, "{scale}");
            assert!((statistics.deviation / unit - variance.sqrt()).abs() < 1e-13, "{scale}");
            let least = pairs.iter().map(|pair| pair.1).fold(f64::INFINITY, f64::min);
            assert!((statistics.minimum / unit - least).abs() < 1e-13 && !statistics.forbidden);
            assert!(geometry.cost_bound().unwrap() >= statistics.maximum && !geometry.may_forbid());
            assert!((geometry.epsilon_of_blur(0.1).unwrap() - 0.02).abs() < 1e-15);
        }
    }
    let half: (f64, f64) = (0.3 * 0.3, 0.3);
    let line = [0.0, 1.0];
    let view = PointsView::new(&line, 1).unwrap();
    let blur =
        |cost: &dyn GroundCost| DenseGeometry::from_points(&backend, view, view, cost).unwrap().epsilon_of_blur(0.3);
    assert_eq!((blur(&HalfSqEuclidean), blur(&Euclidean), blur(&Lopsided)), (Some(half.0), Some(half.1), None));
}

#[test]
fn an_atom_with_mass_and_no_partner_is_stranded_in_its_column() {
    let inf = f64::INFINITY;
    let costs = [1.0, inf, 2.0, inf, 1.0, inf, 3.0, inf, 1.0];
    let matrix = StridedMatrix::new(&costs, 3, 3, 3, 1).unwrap();
    let geometry = DenseGeometry::from_matrix(&backend(), MatrixView::F64(matrix)).unwrap();
    let statistics = |a: &[f64], b: &[f64]| {
        let (a, b) = (WeightsView::new(a, a.len() / 3).unwrap(), WeightsView::new(b, b.len() / 3).unwrap());
        geometry.cost_statistics(a, b)
    };
    let found = statistics(&[1.0; 3], &[1.0; 3]).unwrap();
    assert_eq!((found.mean, found.minimum, found.maximum, found.forbidden), (8.0 / 5.0, 1.0, 3.0, true));
    assert!(statistics(&[1.0, 0.0, 1.0], &[1.0, 0.0, 1.0]).is_ok());
    let stranded = |side, index, column| Some(Error::Stranded { side, index, column });
    assert_eq!(statistics(&[1.0; 3], &[1.0, 0.0, 1.0]).err(), stranded(Side::Source, 1, 0));
    let second = [1.0, 1.0, 1.0, 1.0, 0.0, 0.0];
    assert_eq!(statistics(&second, &[1.0; 3]).err(), stranded(Side::Target, 1, 1));
}

/// A plan between two small clouds under a cost, and functions of it.
struct Setup {
    backend: CpuBackend<f64>,
    x: Vec<f64>,
    y: Vec<f64>,
    a: Vec<f64>,
    b: Vec<f64>,
    f: Vec<f64>,
    g: Vec<f64>,
    r: Vec<f64>,
    s: Vec<f64>,
}

const EPSILON: f64 = 0.3;
const WEIGHT: [f64; 2] = [0.7, -0.4];
const N: usize = 9;
const M: usize = 12;

fn setup() -> Setup {
    let mut random = Seeded::new(21);
    let mut numbers = |len: usize| random.vector::<f64>(len, 0.0, 1.0);
    let (x, y, f, g, r, s) = (numbers(2 * N), numbers(2 * M), numbers(N), numbers(M), numbers(N), numbers(M));
    Setup { backend: backend(), x, y, a: weights(N, 1, true, 1), b: weights(M, 1, false, 2), f, g, r, s }
}

impl Setup {
    fn geometry(&self, streaming: bool) -> Arc<dyn Geometry<Host<f64>>> {
        let (x, y) = (PointsView::new(&self.x, 2).unwrap(), PointsView::new(&self.y, 2).unwrap());
        if streaming {
            Arc::new(StreamingGeometry::new(&self.backend, x, y, Arc::new(Lopsided)).unwrap())
        } else {
            Arc::new(DenseGeometry::from_points(&self.backend, x, y, &Lopsided).unwrap())
        }
    }

    fn cost(&self, i: usize, j: usize, x: &[f64], y: &[f64]) -> f64 {
        let mut out = [0.0];
        Lopsided.costs_f64(&x[2 * i..2 * i + 2], &y[2 * j..2 * j + 2], &mut out);
        out[0]
    }

    fn mass(&self, i: usize, j: usize) -> f64 {
        self.a[i] * self.b[j] * ((self.f[i] + self.g[j] - self.cost(i, j, &self.x, &self.y)) / EPSILON).exp()
    }

    fn factor(&self, i: usize, j: usize) -> f64 {
        WEIGHT[0] + self.r[i] + self.s[j] + WEIGHT[1] * self.cost(i, j, &self.x, &self.y)
    }

    /// sum_ij P_ij w_ij C_ij(x, y), with P and w at rest.
    fn sum(&self, x: &[f64], y: &[f64], factor: impl Fn(usize, usize) -> f64) -> f64 {
        (0..N * M).map(|k| (k / M, k % M)).map(|(i, j)| self.mass(i, j) * factor(i, j) * self.cost(i, j, x, y)).sum()
    }
}

#[test]
fn derivatives_of_the_cost_are_central_differences() {
    let setup = setup();
    let backend = &setup.backend;
    let (source, target) = (balanced(backend, &setup.a, 1), balanced(backend, &setup.b, 1));
    let upload = |values: &[f64]| backend.upload(values, 1).unwrap();
    let (f, g, r, s) = (upload(&setup.f), upload(&setup.g), upload(&setup.r), upload(&setup.s));
    let plan = PlanView {
        source: PlanSide::new(&f, source.device_weights()),
        target: PlanSide::new(&g, target.device_weights()),
    };
    let weight = PairWeight { constant: WEIGHT[0], source: Some(&r), target: Some(&s), product: None, cost: WEIGHT[1] };
    let pairs = WeightedPlan { plan, weight };
    let mut random = Seeded::new(5);
    for streaming in [false, true] {
        let mut kernel = setup.geometry(streaming).bind_entropic(EPSILON, 1).unwrap();
        let derivative = kernel.cost_derivative().unwrap();
        for moving in Side::BOTH {
            let parameter = CostParameter::Points(moving);
            let (len, step) = (if moving == Side::Source { N } else { M }, 1e-5);
            assert_eq!(derivative.shape(parameter), Some((len, 2)));
            // Coordinate by coordinate, and point by point.
            let tangent = random.vector::<f64>(2 * len, -1.0, 1.0);
            let direction: Vec<f64> = (0..2 * len).map(|k| tangent[(k % 2) * len + k / 2]).collect();
            let at = |amount: f64| -> [Vec<f64>; 2] {
                let moved = |points: &[f64]| points.iter().zip(&direction).map(|(x, t)| x + amount * t).collect();
                match moving {
                    Side::Source => [moved(&setup.x), setup.y.clone()],
                    Side::Target => [setup.x.clone(), moved(&setup.y)],
                }
            };
            let sum_at = |amount: f64| {
                let [x, y] = at(amount);
                setup.sum(&x, &y, |i, j| setup.factor(i, j))
            };
            let slope = (sum_at(step) - sum_at(-step)) / (2.0 * step);

            let mut out = backend.alloc(len, 2).unwrap();
            derivative.pull_back(pairs, parameter, &mut out).unwrap();
            let pulled: f64 = values(&out).iter().zip(&tangent).map(|(gradient, t)| gradient * t).sum();
            assert!((pulled - slope).abs() < 1e-8, "{moving}: {pulled} {slope}");

            let tangent_vector = backend.upload(&tangent, 2).unwrap();
            let along = CostTangent { parameter, values: &tangent_vector };
            for (side, atoms) in [(Side::Source, N), (Side::Target, M)] {
                let mut pushed = backend.alloc(atoms, 1).unwrap();
                derivative.push_forward(side, pairs, along, &mut pushed).unwrap();
                for (atom, found) in values(&pushed).iter().enumerate() {
                    let here = |i: usize, j: usize| if side == Side::Source { i == atom } else { j == atom };
                    let sum_at = |amount: f64| {
                        let [x, y] = at(amount);
                        setup.sum(&x, &y, |i, j| if here(i, j) { setup.factor(i, j) } else { 0.0 })
                    };
                    let slope = (sum_at(step) - sum_at(-step)) / (2.0 * step);
                    assert!((found - slope).abs() < 1e-8, "{moving} {side} {atom}: {found} {slope}");
                }
            }

            let mut bent = backend.alloc(len, 2).unwrap();
            derivative.curvature(pairs, parameter, along, &mut bent).unwrap();
            let bent: f64 = values(&bent).iter().zip(&tangent).map(|(bend, t)| bend * t).sum();
            let plain = |amount: f64| {
                let [x, y] = at(amount);
                setup.sum(&x, &y, |i, j| setup.factor(i, j))
            };
            let second = (plain(1e-3) - 2.0 * plain(0.0) + plain(-1e-3)) / 1e-6;
            assert!((bent - second).abs() < 1e-5 && bent.abs() > 1e-2, "{moving}: {bent} {second}");
        }

        let parameter = CostParameter::Matrix;
        let mut out = backend.alloc(M, N).unwrap();
        if streaming {
            assert_eq!(derivative.shape(parameter), None);
            let refused = derivative.pull_back(pairs, parameter, &mut out);
            assert!(matches!(refused, Err(Error::MissingCapability(_))));
        } else {
            derivative.pull_back(pairs, parameter, &mut out).unwrap();
            for (index, found) in values(&out).iter().enumerate() {
                let (i, j) = (index / M, index % M);
                assert!((found - setup.mass(i, j) * setup.factor(i, j)).abs() < 1e-14);
            }
            let tangent = random.vector::<f64>(N * M, -1.0, 1.0);
            let tangent_vector = backend.upload(&tangent, N).unwrap();
            let along = CostTangent { parameter, values: &tangent_vector };
            let mut pushed = backend.alloc(M, 1).unwrap();
            derivative.push_forward(Side::Target, pairs, along, &mut pushed).unwrap();
            for (j, found) in values(&pushed).iter().enumerate() {
                let expected: f64 = (0..N).map(|i| setup.mass(i, j) * setup.factor(i, j) * tangent[i * M + j]).sum();
                assert!((found - expected).abs() < 1e-14, "{j}: {found} {expected}");
            }
        }
    }
}

#[test]
fn a_measure_makes_a_geometry() {
    let cloud = ot_core::PointCloud::new(vec![0.0, 1.0, 3.0], 1, vec![0.2, 0.3, 0.5]).unwrap();
    let geometry = backend().geometry(cloud.support(), cloud.support(), &SqEuclidean).unwrap();
    assert_eq!((geometry.len(Side::Source), geometry.cost_bound().map(f64::round)), (3, Some(9.0)));
    assert_eq!(geometry.bind_entropic(-1.0, 1).err(), Some(Error::Epsilon(-1.0)));
    assert_eq!(geometry.bind_entropic(1.0, 0).err(), Some(Error::EmptyBatch));
    assert!(CpuBackend::<f64>::new(0).is_err());
}

/// Of a cloud with itself every pair is met once, and counts for two.
#[test]
fn costs_of_a_cloud_with_itself_are_sums_over_all_pairs() {
    let mut random = Seeded::new(5);
    for len in [1, 7, 8, 9, 40, 1100] {
        let points: Vec<f64> = (0..3 * len).map(|_| random.uniform(0.0, 1.0)).collect();
        let (one, other) = (random.weights::<f64>(len, true), random.weights::<f64>(len, true));
        for limit in [0, usize::MAX] {
            let backend = backend().with_dense_limit(limit);
            let geometry = backend.geometry(self::points(&points, 3), self::points(&points, 3), &Euclidean).unwrap();
            let mut kernel = geometry.bind_entropic(1.0, 1).unwrap();
            for (u, v) in [(&one, &one), (&one, &other)] {
                let mut expected = 0.0;
                for (x, u) in points.chunks(3).zip(u) {
                    for (y, v) in points.chunks(3).zip(v) {
                        expected += u * v * x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum::<f64>().sqrt();
                    }
                }
                let mut out = backend.alloc_reduced(1).unwrap();
                let [u, v] = [u, v].map(|weights| backend.upload(weights, 1).unwrap());
                kernel.transport_cost().unwrap().rank_one_cost(&u, &v, &mut out).unwrap();
                let found = backend.read(&[&out]).unwrap()[0][0];
                assert!((found - expected).abs() <= 1e-13 * (1.0 + expected), "{len} {limit}: {found} {expected}");
            }
        }
    }
}
