//! Kernels on grids: the properties of every kernel, and what grids alone are asked.

use std::sync::Arc;

use ot_conformance::{GeometryCase, Seeded, conformance_geometry};
use ot_core::{
    ActiveColumns, Axis, Balanced, CTransform, CostBetween, CostFormula, CostFunction, DeviceWeights, Error, Euclidean,
    Geometry, GeometryBuilder, Grid, GridHistogram, GroundCost, HalfSqEuclidean, Host, Measure, PlanSide, PlanView,
    PointCloud, Real, RecordedPenalty, RecordedRegularizer, Scalar, Separable, Side, SqEuclidean, SquaredL2,
    SumOfPowers, Support, UNREACHABLE, WeightsView,
};
use ot_cpu::{CpuBackend, CpuScalar, GridGeometry, LineCounts};

/// Later is cheap, earlier is dear, and waiting earns something: neither even nor positive.
#[derive(Clone, Debug)]
struct Clock;

impl CostFormula for Clock {
    fn cost<R: Real>(&self, x: &[R], y: &[R]) -> R {
        let later = y[0] - x[0];
        later.max(-3.0 * later) - 0.25
    }
}

fn axis(len: usize, origin: f64, spacing: f64) -> Axis {
    Axis::new(len, origin, spacing).unwrap()
}

/// Two grids and a cost between them.
struct Pair {
    name: &'static str,
    axes: [Vec<Axis>; 2],
    cost: Arc<dyn GroundCost>,
}

impl Pair {
    fn grids<T: Scalar>(&self) -> [Grid<T>; 2] {
        self.axes.each_ref().map(|axes| Grid::new(axes.iter().copied()).unwrap())
    }
}

/// Every kind of axis and of cost.
fn pairs() -> Vec<Pair> {
    let pair = |name, source: &[Axis], target: &[Axis], cost: Arc<dyn GroundCost>| Pair {
        name,
        axes: [source.to_vec(), target.to_vec()],
        cost,
    };
    let circle = |len: usize, origin: f64| axis(len, origin, 0.2).with_period(2.0).unwrap();
    let mixed: [Arc<dyn GroundCost>; 2] = [Arc::new(SqEuclidean), Arc::new(Clock)];
    vec![
        pair("line", &[axis(23, 0.0, 0.1)], &[axis(23, 0.0, 0.1)], Arc::new(SqEuclidean)),
        pair(
            "image",
            &[axis(5, 0.0, 0.3), axis(18, -1.0, 0.1)],
            &[axis(7, 0.2, 0.2), axis(4, 0.0, 0.35)],
            Arc::new(HalfSqEuclidean),
        ),
        pair(
            "volume",
            &[axis(3, 0.0, 0.5), axis(1, 0.3, 1.0), axis(4, 0.0, 0.4)],
            &[axis(2, 0.1, 0.7), axis(3, 0.0, 0.3), axis(2, 0.0, 1.0)],
            Arc::new(SqEuclidean),
        ),
        pair(
            "torus",
            &[circle(7, 0.1), axis(3, 0.0, 0.3)],
            &[circle(9, 0.0), axis(4, 0.1, 0.2)],
            Arc::new(SqEuclidean),
        ),
        pair(
            "blocks",
            &[axis(6, 0.0, 0.3), axis(5, 0.0, 0.2)],
            &[axis(4, 0.1, 0.3), axis(6, 0.0, 0.2)],
            Arc::new(SumOfPowers::new(1.0).unwrap()),
        ),
        pair("cubes", &[axis(19, 0.0, 0.1)], &[axis(17, 0.5, 0.1)], Arc::new(SumOfPowers::new(3.0).unwrap())),
        pair(
            "mixed",
            &[axis(4, 0.0, 0.3), axis(5, 0.0, 0.2)],
            &[axis(5, 0.1, 0.3), axis(3, 0.3, 0.2)],
            Arc::new(Separable::new(mixed).unwrap()),
        ),
    ]
}

fn cases<T: CpuScalar>(names: &[&str]) -> Result<Vec<GeometryCase<Host<T>>>, Error> {
    let backend = CpuBackend::<T>::new(2)?;
    let of_pair = |pair: Pair| {
        let [x, y] = pair.axes.each_ref().map(Vec::as_slice);
        GeometryCase::between_grids(&backend, pair.name, [x, y], pair.cost)
    };
    pairs().into_iter().filter(|pair| names.contains(&pair.name)).map(of_pair).collect()
}

conformance_geometry!(grids_f64, cases::<f64>(&["line", "image", "volume", "torus", "blocks", "cubes", "mixed"]));
conformance_geometry!(grids_f32, cases::<f32>(&["line", "image", "torus", "mixed"]));

/// A softmin of the source under uniform weights.
fn softmin<T: CpuScalar>(geometry: &GridGeometry<T>, epsilon: f64, potential: &[T], weights: &[T]) -> Vec<T> {
    let backend = Geometry::backend(geometry);
    let [rows, others] = Side::BOTH.map(|side| geometry.len(side));
    let other = DeviceWeights::new(backend.as_ref(), WeightsView::new(weights, 1).unwrap()).unwrap();
    let own =
        DeviceWeights::new(backend.as_ref(), WeightsView::new(&vec![T::from_f64(1.0); rows], 1).unwrap()).unwrap();
    assert_eq!(others, potential.len());
    let (g, zero) = (backend.upload(potential, 1).unwrap(), backend.filled(0.0, rows, 1).unwrap());
    let plan = PlanView { source: PlanSide::new(&zero, &own), target: PlanSide::new(&g, &other) };
    let mut kernel = geometry.bind_entropic(epsilon, 1).unwrap();
    let mut out = backend.alloc(rows, 1).unwrap();
    let balanced = RecordedPenalty::new(&Balanced).unwrap();
    let request = CTransform { side: Side::Source, plan, penalty: &balanced, active: &ActiveColumns::all(1) };
    kernel.c_transform(backend.as_ref(), request, &mut out, None).unwrap();
    out.values().to_vec()
}

/// -epsilon log sum_j b_j exp((g_j - C_ij) / epsilon), term by term.
fn naive(costs: &[f64], epsilon: f64, potential: &[f64], weights: &[f64]) -> Vec<f64> {
    let row = |costs: &[f64]| {
        let terms = costs.iter().zip(potential).zip(weights).filter(|(_, weight)| **weight > 0.0);
        let exponents: Vec<f64> = terms.map(|((cost, g), weight)| (g - cost) / epsilon + weight.ln()).collect();
        let top = exponents.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        -epsilon * (top + exponents.iter().map(|exponent| (exponent - top).exp()).sum::<f64>().ln())
    };
    costs.chunks_exact(potential.len()).map(row).collect()
}

/// Potentials of a displacement by a third of the image, with a fold and some noise, of `size` epsilon.
fn steep(shape: [usize; 2], size: f64, epsilon: f64) -> Vec<f64> {
    let mut seeded = Seeded::new(7);
    let noise = seeded.vector::<f64>(shape[0] * shape[1], -2.0, 2.0);
    let of_node = |index: usize| {
        let (x, y) = ((index / shape[1]) as f64 / shape[0] as f64, (index % shape[1]) as f64 / shape[1] as f64);
        let folded = (x - 0.6).abs() + 0.3 * (5.0 * y).sin() + 0.5 * x * y;
        epsilon * (size * folded + noise[index])
    };
    (0..shape[0] * shape[1]).map(of_node).collect()
}

#[test]
fn softmins_are_exact_at_any_epsilon() {
    // Pixels, down to a fraction of one: products where they fit, and sums of exponentials where not.
    let shape = [37, 61];
    let grid = Grid::<f64>::pixels(&shape).unwrap();
    let costs =
        CostBetween::new(Support::Grid(&grid), Support::Grid(&grid), &SqEuclidean).unwrap().table_f64().unwrap().0;
    let backend = CpuBackend::new(1).unwrap();
    let weights = Seeded::new(3).weights::<f64>(grid.len(), true);
    let mut seen = LineCounts::default();
    for (epsilon, size) in [(0.02, 2500.0), (1.0, 2500.0), (4.0, 2500.0), (64.0, 100.0), (1e4, 3.0)] {
        let geometry = GridGeometry::new(&backend, &grid, &grid, &SqEuclidean).unwrap();
        let potential = steep(shape, size, epsilon);
        let found = softmin(&geometry, epsilon, &potential, &weights);
        let expected = naive(&costs, epsilon, &potential, &weights);
        for (found, expected) in found.iter().zip(&expected) {
            let error = (found - expected).abs() / epsilon;
            assert!(
                error <= 1e-12 * (expected / epsilon / 2500.0).abs().max(1.0),
                "{epsilon}: {found} is not {expected}, by {error:e}"
            );
        }
        let counts = geometry.counts();
        assert_eq!(counts.stabilised, 0);
        assert!(counts.tilted + counts.joined + counts.direct >= 61 + 37, "{counts:?}");
        seen += counts;
    }
    assert!(seen.tilted > 0 && seen.direct > 0, "both ways are tried: {seen:?}");
}

#[test]
fn single_precision_is_that_of_the_potentials() {
    let shape = [37, 61];
    let grid = Grid::<f64>::pixels(&shape).unwrap();
    let costs =
        CostBetween::new(Support::Grid(&grid), Support::Grid(&grid), &SqEuclidean).unwrap().table_f64().unwrap().0;
    let narrow = Grid::<f32>::pixels(&shape).unwrap();
    let geometry = GridGeometry::new(&CpuBackend::new(1).unwrap(), &narrow, &narrow, &SqEuclidean).unwrap();
    for epsilon in [0.1, 1.0, 4.0, 64.0, 1e4] {
        let potential: Vec<f32> = steep(shape, 300.0, epsilon).into_iter().map(|g| g as f32).collect();
        let wide: Vec<f64> = potential.iter().copied().map(f64::from).collect();
        let weights = vec![1.0_f32; grid.len()];
        let found = softmin(&geometry, epsilon, &potential, &weights);
        let expected = naive(&costs, epsilon, &wide, &vec![1.0; grid.len()]);
        let largest = expected.iter().chain(&wide).fold(0.0_f64, |most, value| most.max(value.abs()));
        for (found, expected) in found.iter().zip(expected) {
            let error = (f64::from(*found) - expected).abs();
            assert!(
                error <= 4.0 * f64::from(f32::EPSILON) * (largest + epsilon),
                "{epsilon}: {found} is not {expected}"
            );
        }
    }
}

#[test]
fn tables_are_stabilised_and_distances_take_running_sums() {
    let shape = [29, 40];
    let grid = Grid::<f64>::pixels(&shape).unwrap();
    let backend = CpuBackend::new(1).unwrap();
    for (exponent, is_recursive) in [(1.5, false), (1.0, true)] {
        let cost = SumOfPowers::new(exponent).unwrap();
        let costs = CostBetween::new(Support::Grid(&grid), Support::Grid(&grid), &cost).unwrap().table_f64().unwrap().0;
        let mut seen = LineCounts::default();
        for epsilon in [0.01, 0.1, 30.0] {
            let geometry = GridGeometry::new(&backend, &grid, &grid, &cost).unwrap();
            let potential = steep(shape, 200.0, epsilon);
            let weights = vec![1.0; grid.len()];
            let found = softmin(&geometry, epsilon, &potential, &weights);
            for (found, expected) in found.iter().zip(naive(&costs, epsilon, &potential, &weights)) {
                assert!(
                    (found - expected).abs() <= 4e-12 * (epsilon + expected.abs()),
                    "{epsilon}: {found} is not {expected}"
                );
            }
            seen += geometry.counts();
        }
        let LineCounts { stabilised, direct, recursive, tilted, joined, .. } = seen;
        assert_eq!((tilted, joined), (0, 0));
        let are_counted =
            if is_recursive { recursive > 0 && stabilised + direct == 0 } else { stabilised > 0 && direct > 0 };
        assert!(are_counted, "{seen:?}");
    }
}

#[test]
fn unlit_nodes_and_far_corners_are_numbers() {
    // One lit pixel against another in the far corner, at an epsilon below one pixel squared.
    let shape = [40, 33];
    let grid = Grid::<f64>::pixels(&shape).unwrap();
    let geometry = GridGeometry::new(&CpuBackend::new(1).unwrap(), &grid, &grid, &SqEuclidean).unwrap();
    let mut weights = vec![0.0; grid.len()];
    weights[grid.len() - 1] = 1.0;
    // What no mass reaches has potentials beyond all others.
    let potential: Vec<f64> = weights.iter().map(|&weight| if weight > 0.0 { 3.0 } else { UNREACHABLE }).collect();
    let found = softmin(&geometry, 1e-3, &potential, &weights);
    for (index, found) in found.into_iter().enumerate() {
        let (x, y) = (39.0 - (index / 33) as f64, 32.0 - (index % 33) as f64);
        let expected = x * x + y * y - 3.0;
        assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{found} is not {expected}");
    }
    assert!(geometry.counts().unlit > 0);
    // Nothing is lit.
    let dark = GridHistogram::<f64>::without_mass(&grid).unwrap();
    let found = softmin(&geometry, 1.0, &vec![0.0; grid.len()], dark.weights_view().values());
    assert!(found.iter().all(|&value| value == UNREACHABLE));
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let shape = [70, 45];
    let grid = Grid::<f32>::pixels(&shape).unwrap();
    let potential: Vec<f32> = steep(shape, 100.0, 4.0).into_iter().map(|g| g as f32).collect();
    let weights: Vec<f32> = Seeded::new(5).weights::<f32>(grid.len(), true).into_iter().map(|w| w as f32).collect();
    let of = |threads: usize| {
        let backend = CpuBackend::new(threads).unwrap();
        let geometry = GridGeometry::new(&backend, &grid, &grid, &SqEuclidean).unwrap();
        softmin(&geometry, 4.0, &potential, &weights)
    };
    let expected = of(1);
    for threads in [2, 5] {
        assert_eq!(of(threads), expected, "{threads} threads");
    }
}

#[test]
fn builders_choose_grids_and_fall_back_on_points() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let grid = Grid::pixels(&[3, 4]).unwrap();
    let torus = Grid::new([axis(3, 0.0, 1.0).with_period(3.0).unwrap(), axis(4, 0.0, 1.0)]).unwrap();
    let cloud = PointCloud::uniform(vec![0.0, 0.5, 1.0, 1.5], 2).unwrap();
    let kind = |source: Support<'_, f64>, target: Support<'_, f64>, cost: &dyn GroundCost| {
        let geometry = backend.geometry(source, target, cost)?;
        Ok(format!("{geometry:?}").split(' ').next().unwrap_or_default().to_owned())
    };
    let (on_grid, on_torus) = (Support::Grid(&grid), Support::Grid(&torus));
    assert_eq!(kind(on_grid, on_grid, &SqEuclidean), Ok("GridGeometry".into()));
    assert_eq!(kind(on_torus, on_torus, &SqEuclidean), Ok("GridGeometry".into()));
    for (source, target, cost) in [
        (on_grid, on_grid, &Euclidean as &dyn GroundCost),
        (on_torus, on_torus, &Euclidean),
        (on_grid, cloud.support(), &SqEuclidean),
        (on_torus, cloud.support(), &SqEuclidean),
    ] {
        assert_eq!(kind(source, target, cost), Ok("DenseGeometry".into()));
    }
    let periods = Error::PeriodMismatch { axis: 0, source_period: None, target_period: Some(3.0) };
    assert_eq!(kind(on_grid, on_torus, &SqEuclidean), Err(periods));
    let line = Grid::pixels(&[5]).unwrap();
    let dimensions = Error::DimensionMismatch { source_dimension: 2, target_dimension: 1 };
    assert_eq!(kind(on_grid, Support::Grid(&line), &SqEuclidean), Err(dimensions));
    let far = Grid::new([axis(2, 0.0, 1e160)]).unwrap();
    assert!(matches!(kind(Support::Grid(&far), Support::Grid(&far), &SqEuclidean), Err(Error::CostOverflow { .. })));
    let near = Grid::new([axis(2, 0.0, 1e-170)]).unwrap();
    assert!(matches!(kind(Support::Grid(&near), Support::Grid(&near), &SqEuclidean), Err(Error::CostUnderflow { .. })));
    let along: Arc<dyn GroundCost> = Arc::new(
        CostFunction::new(|x: &[f64], y: &[f64]| if x[0] > y[0] { f64::INFINITY } else { 1.0 }).with_dimension(1),
    );
    let forbidding = Separable::new([along, Arc::new(SqEuclidean)]).unwrap();
    assert_eq!(kind(on_grid, on_grid, &forbidding), Ok("DenseGeometry".into()));
    let refused = GridGeometry::new(&backend, &grid, &grid, &Euclidean).err();
    assert!(matches!(refused, Some(Error::MissingCapability(_))), "{refused:?}");
}

#[test]
fn other_regularizers_get_the_nodes_as_points() {
    let pair = &pairs()[1];
    let [x, y] = pair.grids::<f64>();
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let geometry = GridGeometry::new(&backend, &x, &y, pair.cost.as_ref()).unwrap();
    let kernel = geometry.bind(&RecordedRegularizer::new(&SquaredL2).unwrap(), 0.5, 1).unwrap();
    assert_eq!((kernel.len(Side::Source), kernel.len(Side::Target)), (x.len(), y.len()));
}
