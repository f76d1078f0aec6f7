//! Kernels that know less of their cost than those of clouds and matrices: what they can be asked has derivatives all the same.

use ot_core::{
    Axis, Epsilon, GeometryBuilder, Grid, GridHistogram, HalfSqEuclidean, Histogram, Host, Measure, PointCloud,
    Problem, Side, WeightsView,
};
use ot_cpu::CpuBackend;
use ot_diff::{Gradient, LinearSolver, Linearised, Output, Tangent};
use ot_solvers::SparseCosts;

use crate::data::{assert_agree, difference, dot, noise, solve};

/// Outputs of a problem as its data move along a direction: forward against differences, and reverse against forward.
fn outputs_move(
    what: &str,
    tangent: &Tangent<f64>,
    outputs: &[Output<f64>],
    scale: f64,
    problem: impl Fn(f64) -> Problem<Host<f64>>,
) {
    let solver = LinearSolver::new().tolerance(1e-13);
    let mut linearised = Linearised::new(&solve(&problem(0.0))).unwrap().with_solver(solver).unwrap();
    for output in outputs {
        let expected =
            difference(scale, |step| Linearised::new(&solve(&problem(step))).unwrap().value(output).unwrap());
        let forward = linearised.push_forward(tangent).unwrap().of(output).unwrap();
        assert_agree(&format!("{output:?} {what}"), &forward, &expected, 1e-7, 1e-2);
        let seed = noise(6, forward.len());
        let reverse = linearised.pull_back(&[(output, &seed)]).unwrap().along(tangent).unwrap();
        assert_agree(&format!("transpose of {output:?} {what}"), &[reverse], &[dot(&seed, &forward)], 1e-10, 1e-2);
    }
}

/// On a grid: potentials and products in the weights and epsilon; in the nodes what a cloud of them has.
#[test]
fn grids_have_derivatives_in_weights_epsilon_and_nodes() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let axes = [4, 3].map(|len| Axis::new(len, 0.0, 0.4).unwrap());
    let grid = Grid::new(axes).unwrap();
    let positive = |seed| noise(seed, 12).into_iter().map(|x| 1.2 + x).collect::<Vec<f64>>();
    let [a, b] = [1, 2].map(|seed| GridHistogram::new(&grid, positive(seed)).unwrap().normalized());
    let geometry = backend.geometry(a.support(), b.support(), &HalfSqEuclidean).unwrap();
    let problem = Problem::new(geometry, &a, &b, Epsilon::Absolute(0.1)).unwrap();
    let outputs = [
        Output::Potential(Side::Source),
        Output::Potential(Side::Target),
        Output::TransportCost,
        Output::Product { side: Side::Source, values: noise(3, 12) },
    ];
    for side in Side::BOTH {
        let moves = noise(4, 12);
        let mean = moves.iter().sum::<f64>() / 12.0;
        let moves: Vec<f64> = moves.into_iter().map(|x| 0.05 * (x - mean)).collect();
        let weights = side.of([&a, &b]).weights().unwrap().values().to_vec();
        outputs_move("on a grid", &Tangent::new().weights(side, moves.clone()), &outputs, 0.1, |step| {
            let moved: Vec<f64> = weights.iter().zip(&moves).map(|(weight, moved)| weight + step * moved).collect();
            problem.with_weights(side, WeightsView::new(&moved, 1).unwrap()).unwrap()
        });
    }
    outputs_move("in epsilon, on a grid", &Tangent::new().epsilon(1.0), &outputs, 0.1, |step| {
        problem.with_epsilon(0.1 + step).unwrap()
    });
    let cloud = |histogram: &GridHistogram<'_, f64>| {
        let weights = histogram.weights().unwrap().values().to_vec();
        PointCloud::new(grid.points().unwrap().coordinates().to_vec(), 2, weights).unwrap()
    };
    let (x, y) = (cloud(&a), cloud(&b));
    let nodes = backend.geometry(x.support(), y.support(), &HalfSqEuclidean).unwrap();
    let nodes = Problem::new(nodes, &x, &y, Epsilon::Absolute(0.1)).unwrap();
    let gradients = [&problem, &nodes].map(|problem| {
        let mut linearised = Linearised::new(&solve(problem)).unwrap();
        let mut pulled = linearised.pull_back(&[(&outputs[0], &noise(5, 12))]).unwrap();
        Side::BOTH.map(|side| pulled.points(side).unwrap())
    });
    for side in Side::BOTH {
        let [on_grid, of_nodes] = gradients.each_ref().map(|sides| side.of(sides.each_ref()));
        assert_agree("in the nodes", on_grid, of_nodes, 1e-8, 1e-2);
    }
}

/// Over listed pairs: every output in weights and epsilon.
#[test]
fn listed_pairs_have_derivatives_in_weights_and_epsilon() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    // Every target within two places of the source, so that no pair of measures is cut apart.
    let near = |i: u32| (0..6_u32).filter(move |j| i.abs_diff(*j) <= 2);
    let costs = noise(11, 36);
    let pairs: Vec<(u32, u32, f64)> = (0..6)
        .flat_map(|i| near(i).map(move |j| (i, j)))
        .map(|(i, j)| (i, j, 1.0 + costs[(6 * i + j) as usize]))
        .collect();
    let cost = SparseCosts::new(6, 6, pairs).unwrap();
    let even = |seed| {
        let weights: Vec<f64> = noise(seed, 6).into_iter().map(|x| 1.0 + 0.1 * x).collect();
        let mass: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / mass).collect::<Vec<f64>>()
    };
    let [a, b] = [12, 13].map(|seed| Histogram::new(even(seed)).unwrap());
    let geometry = backend.geometry(a.support(), b.support(), &cost).unwrap();
    let problem = Problem::new(geometry, &a, &b, Epsilon::Absolute(0.4)).unwrap();
    let outputs = [
        Output::Potential(Side::Source),
        Output::TransportCost,
        Output::Product { side: Side::Target, values: noise(14, 6) },
    ];
    outputs_move("in epsilon", &Tangent::new().epsilon(1.0), &outputs, 0.4, |step| {
        problem.with_epsilon(0.4 + step).unwrap()
    });
    let moves: Vec<f64> = [1.0, -1.0, 0.5, -0.5, 0.3, -0.3].map(|x| 0.03 * x).to_vec();
    outputs_move("in weights", &Tangent::new().weights(Side::Target, moves.clone()), &outputs, 0.4, |step| {
        let moved: Vec<f64> = even(13).iter().zip(&moves).map(|(weight, moved)| weight + step * moved).collect();
        problem.with_weights(Side::Target, WeightsView::new(&moved, 1).unwrap()).unwrap()
    });
}
