//! Grids as supports: solved on their axes as on their nodes, by every solver that knows points.

use std::sync::Arc;

use ot_conformance::Seeded;
use ot_core::{
    Axis, Epsilon, Error, Grid, GridHistogram, GroundCost, Kl, Measure, Periodic, PointCloud, Problem, Side,
    SqEuclidean, SquaredL2, SumOfPowers,
};
use ot_cpu::DenseGeometry;
use ot_solvers::{ExactTransport, Sinkhorn, SinkhornDivergence, transport};

use crate::support::{Cpu, SIDES, cpu, largest_difference, penalty};

/// A batch of random histograms with zeros.
fn histograms(seed: u64, axes: &[Axis], columns: usize) -> GridHistogram<'static, f64> {
    let grid = Grid::new(axes.iter().copied()).unwrap();
    let mut seeded = Seeded::new(seed);
    let weights: Vec<f64> = (0..columns).flat_map(|_| seeded.weights::<f64>(grid.len(), true)).collect();
    GridHistogram::batch(&grid, weights, columns).unwrap()
}

/// The same histograms on the nodes as points.
fn as_cloud<'a>(histogram: &'a GridHistogram<'_, f64>) -> PointCloud<'a, f64> {
    let (points, weights) = (histogram.grid().points().unwrap(), histogram.weights_view());
    PointCloud::batch(points.coordinates(), points.dimension(), weights.values(), weights.columns()).unwrap()
}

/// The problem on the axes, and the one between the nodes with all costs stored.
fn both(
    [a, b]: [&GridHistogram<'_, f64>; 2],
    cost: &dyn GroundCost,
    stored: &dyn GroundCost,
    epsilon: Epsilon,
) -> [Problem<ot_core::Host<f64>>; 2] {
    use ot_core::GeometryBuilder;
    let (backend, x, y) = (cpu(2), as_cloud(a), as_cloud(b));
    let grid = backend.geometry(a.support(), b.support(), cost).unwrap();
    assert!(format!("{grid:?}").starts_with("GridGeometry"));
    let dense = DenseGeometry::from_points(&backend, x.points(), y.points(), stored).unwrap();
    [Problem::new(grid, a, b, epsilon).unwrap(), Problem::new(Arc::new(dense), &x, &y, epsilon).unwrap()]
}

/// Potentials, values and epsilon of both are the same to 1e-10.
fn assert_same([grid, dense]: [Problem<ot_core::Host<f64>>; 2]) {
    assert!((grid.epsilon() / dense.epsilon() - 1.0).abs() < 1e-12, "{} and {}", grid.epsilon(), dense.epsilon());
    let [grid, dense] = [grid, dense].map(|problem| {
        let solution = Sinkhorn::new().tolerance(1e-11).solve(&problem).unwrap();
        assert!(solution.status().is_converged(), "{}: {:?}", solution.status(), solution.certificate());
        solution
    });
    for side in SIDES {
        let difference = largest_difference(&grid.potential(side).unwrap(), &dense.potential(side).unwrap());
        assert!(difference < 1e-10, "potentials of the {side} differ by {difference}");
        let difference = largest_difference(
            &grid.plan().unwrap().marginal(side).unwrap(),
            &dense.plan().unwrap().marginal(side).unwrap(),
        );
        assert!(difference < 1e-10, "marginals of the {side} differ by {difference}");
    }
    for (grid, dense) in grid.certificates().iter().zip(dense.certificates()) {
        let of = |certificate: &ot_core::Certificate| {
            [certificate.dual, certificate.primal, certificate.mass, certificate.transport_cost.unwrap()]
        };
        assert!(largest_difference(&of(grid), &of(dense)) < 1e-10, "{grid:?} and {dense:?}");
    }
}

fn axis(len: usize, origin: f64, spacing: f64) -> Axis {
    Axis::new(len, origin, spacing).unwrap()
}

#[test]
fn axes_solve_like_nodes() {
    let line = [histograms(1, &[axis(40, 0.0, 0.02)], 1), histograms(2, &[axis(31, 0.1, 0.03)], 1)];
    let image = [
        histograms(3, &[axis(9, 0.0, 0.1), axis(14, 0.0, 0.07)], 3),
        histograms(4, &[axis(12, 0.05, 0.08), axis(7, 0.1, 0.1)], 1),
    ];
    let volume = [
        histograms(5, &[axis(4, 0.0, 0.2), axis(5, 0.0, 0.2), axis(6, 0.0, 0.1)], 1),
        histograms(6, &[axis(5, 0.0, 0.2), axis(1, 0.5, 1.0), axis(2, 0.1, 0.5)], 1),
    ];
    for [a, b] in [&line, &image, &volume] {
        for epsilon in [Epsilon::Absolute(0.01), Epsilon::RelativeToMean(0.1), Epsilon::Blur(0.1)] {
            assert_same(both([a, b], &SqEuclidean, &SqEuclidean, epsilon));
        }
        let power = SumOfPowers::new(1.5).unwrap();
        assert_same(both([a, b], &power, &power, Epsilon::Absolute(0.02)));
    }
}

#[test]
fn a_torus_solves_like_nearest_images() {
    let circle = |len: usize, origin: f64| axis(len, origin, 1.0 / len as f64).with_period(1.0).unwrap();
    let a = histograms(7, &[circle(8, 0.0), axis(6, 0.0, 0.1)], 1);
    let b = histograms(8, &[circle(10, 0.3), axis(5, 0.0, 0.1)], 1);
    let torus = Periodic::new(Arc::new(SqEuclidean), vec![Some(1.0), None]).unwrap();
    assert_same(both([&a, &b], &SqEuclidean, &torus, Epsilon::Absolute(0.02)));
    // The exact solver reads the nodes, and the cost between their nearest images.
    let (x, y) = (as_cloud(&a), as_cloud(&b));
    let on_grid = ExactTransport::new().solve(&cpu(1), &a, &b, &SqEuclidean).unwrap();
    let on_points = ExactTransport::new().solve(&cpu(1), &x, &y, &torus).unwrap();
    assert!((on_grid.certificate().primal - on_points.certificate().primal).abs() < 1e-14);
}

#[test]
fn relaxed_marginals_and_other_regularizers_are_the_same() {
    use ot_core::GeometryBuilder;
    let a = histograms(9, &[axis(7, 0.0, 0.1), axis(8, 0.0, 0.1)], 1);
    let b = histograms(10, &[axis(6, 0.1, 0.1), axis(9, 0.0, 0.1)], 1);
    let (backend, x, y) = (cpu(1), as_cloud(&a), as_cloud(&b));
    let kl = penalty(Kl::new(0.3).unwrap());
    let values = |a: &dyn Measure<f64>, b: &dyn Measure<f64>| {
        let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
        let relaxed = Problem::unbalanced(geometry.clone(), a, b, Epsilon::Absolute(0.02), &kl, &kl).unwrap();
        let squared =
            Problem::new(geometry, a, b, Epsilon::Absolute(0.2)).unwrap().with_regularizer(&SquaredL2).unwrap();
        [relaxed, squared].map(|problem| {
            let solution = Sinkhorn::new().tolerance(1e-10).solve(&problem).unwrap();
            assert!(solution.status().is_converged(), "{}", solution.status());
            solution.certificate().dual
        })
    };
    let difference = largest_difference(&values(&a, &b), &values(&x, &y));
    assert!(difference < 1e-10, "{difference}");
}

#[test]
fn front_functions_take_grids() -> Result<(), Error> {
    let backend: Cpu = cpu(1);
    let a = histograms(11, &[axis(10, 0.0, 0.1), axis(9, 0.0, 0.1)], 1);
    let b = histograms(12, &[axis(8, 0.1, 0.1), axis(11, 0.0, 0.1)], 1);
    let (x, y) = (as_cloud(&a), as_cloud(&b));
    let epsilon = Epsilon::Absolute(0.01);
    let measures: [[&dyn Measure<f64>; 2]; 3] = [[&a, &b], [&x, &b], [&x, &y]];
    let costs = measures.map(|[a, b]| {
        let solution = transport(&backend, a, b, &SqEuclidean, epsilon).unwrap();
        let divergence = SinkhornDivergence::new().between(&backend, a, b, &SqEuclidean, epsilon).unwrap();
        let exact = ExactTransport::new().solve(&backend, a, b, &SqEuclidean).unwrap();
        [solution.certificate().dual, divergence.value(), exact.certificate().primal]
    });
    assert!(largest_difference(&costs[0], &costs[2]) < 1e-6, "{costs:?}");
    assert!(largest_difference(&costs[1], &costs[2]) < 1e-6, "{costs:?}");
    assert!((costs[0][2] - costs[2][2]).abs() < 1e-14, "{costs:?}");
    Ok(())
}

#[test]
fn single_pixels_in_far_corners_are_transported() {
    let grid = Grid::<f64>::pixels(&[20, 30]).unwrap();
    let lit = |node: usize| {
        let mut weights = vec![0.0; grid.len()];
        weights[node] = 1.0;
        GridHistogram::new(&grid, weights).unwrap()
    };
    let solution = transport(&cpu(1), &lit(0), &lit(grid.len() - 1), &SqEuclidean, Epsilon::Absolute(0.5)).unwrap();
    assert!(solution.status().is_converged(), "{}", solution.status());
    let certificate = solution.certificate();
    assert!(
        (certificate.transport_cost.unwrap() - (19.0_f64.powi(2) + 29.0_f64.powi(2))).abs() < 1e-9,
        "{certificate:?}"
    );
    assert!(certificate.gap < 1e-9, "{certificate:?}");
    let potentials = [Side::Source, Side::Target].map(|side| solution.potential(side).unwrap());
    assert!(potentials.iter().flatten().all(|value| value.is_finite()));
}

/// Guided and priced on the axes, against the same between the pixels: values, proofs, and images of which half is not lit.
#[test]
fn exact_transport_on_axes_is_that_of_the_pixels() {
    let backend = cpu(2);
    let torus = |len: usize| axis(len, 0.0, 0.1).with_period(0.1 * len as f64).unwrap();
    let far = |len: usize| axis(len, 7.5, 0.13);
    let pixels = || vec![axis(28, 0.0, 1.0), axis(30, 0.0, 1.0)];
    let squares: Arc<dyn GroundCost> = Arc::new(SqEuclidean);
    let powers: Arc<dyn GroundCost> = Arc::new(SumOfPowers::new(1.5).unwrap());
    let cases = [
        (pixels(), pixels(), squares.clone()),
        (pixels(), vec![far(28), far(29)], squares.clone()),
        (vec![axis(28, 0.0, 0.1), axis(29, 0.0, 0.1)], vec![axis(29, 0.0, 0.1), far(28)], powers),
        (vec![torus(28), axis(29, 0.0, 0.1)], vec![torus(28), axis(28, 0.0, 0.1)], squares),
    ];
    for (case, (source, target, cost)) in (0..).zip(cases) {
        let (a, b) = (histograms(20 + case, &source, 1), histograms(40 + case, &target, 1));
        let on_axes = ExactTransport::new().solve(&backend, &a, &b, cost.as_ref()).unwrap();
        assert!(
            on_axes.status().is_converged() && on_axes.certificate().proves(1e-12),
            "{case}: {:?}",
            on_axes.certificate()
        );
        assert!(on_axes.report().guided, "{case}: {:?}", on_axes.report());
        // Periodic axes belong to the grid alone; their pixels have the cost of nearest images.
        let images: Arc<dyn GroundCost> = match source[0].period() {
            Some(period) => Arc::new(Periodic::new(cost, vec![Some(period), None]).unwrap()),
            None => cost,
        };
        let (x, y) = (as_cloud(&a), as_cloud(&b));
        let on_pixels = ExactTransport::new().solve(&backend, &x, &y, images.as_ref()).unwrap();
        let [left, right] = [&on_axes, &on_pixels].map(|solution| solution.certificate().primal);
        assert!((left - right).abs() <= 1e-12 * right, "{case}: {left} and {right}");
    }
}

#[test]
fn images_of_different_mass_need_a_penalty() {
    use ot_core::GeometryBuilder;
    let axes = [axis(8, 0.0, 0.1), axis(9, 0.0, 0.1)];
    let (a, b) = (histograms(30, &axes, 1), histograms(31, &axes, 1));
    let heavy: Vec<f64> = b.weights_view().values().iter().map(|weight| 2.5 * weight).collect();
    let heavy = GridHistogram::new(b.grid(), heavy).unwrap();
    let (backend, x, y) = (cpu(1), as_cloud(&a), as_cloud(&heavy));
    let epsilon = Epsilon::Absolute(0.02);
    let refused = transport(&backend, &a, &heavy, &SqEuclidean, epsilon);
    assert!(matches!(refused, Err(Error::MassMismatch { .. })));
    let kl = penalty(Kl::new(0.3).unwrap());
    let value = |a: &dyn Measure<f64>, b: &dyn Measure<f64>| {
        let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
        let problem = Problem::unbalanced(geometry, a, b, epsilon, &kl, &kl).unwrap();
        let solution = Sinkhorn::new().tolerance(1e-10).solve(&problem).unwrap();
        assert!(solution.status().is_converged(), "{}", solution.status());
        [solution.certificate().dual, solution.certificate().mass]
    };
    let difference = largest_difference(&value(&a, &heavy), &value(&x, &y));
    assert!(difference < 1e-9, "{difference}");
}
