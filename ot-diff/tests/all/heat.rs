//! Derivatives in the weights of the edges of a graph, under its heat kernel.

use ot_core::{Error, Graph, Problem, Side, VertexHistogram};
use ot_cpu::{CpuBackend, HeatGeometry};
use ot_diff::{Gradient, LinearSolver, Linearised, Output, Tangent, value_and_gradient};

use crate::data::{assert_agree, difference, dot, noise, solve};

const TIME: f64 = 1.5;

/// A ring with a chord.
fn weights() -> Vec<f64> {
    vec![1.0, 0.5, 2.0, 1.5, 0.8, 1.2, 0.7]
}

fn graph(weights: &[f64]) -> Graph {
    let ends = [[0, 1], [1, 2], [2, 3], [3, 4], [4, 5], [5, 0], [1, 4]];
    Graph::new(6, ends.into_iter().zip(weights.iter().copied()).collect()).unwrap()
}

fn problem(weights: &[f64]) -> Problem<ot_core::Host<f64>> {
    let graph = graph(weights);
    let heat = HeatGeometry::<f64>::new(&CpuBackend::new(1).unwrap(), &graph, TIME, 4).unwrap();
    let histogram = |weights: [f64; 6]| VertexHistogram::new(&graph, weights.to_vec()).unwrap().normalized();
    let (a, b) = (histogram([3.0, 1.0, 0.5, 0.2, 0.1, 1.0]), histogram([0.1, 0.3, 2.0, 3.0, 1.0, 0.2]));
    Problem::new(heat.shared(), &a, &b, heat.epsilon()).unwrap()
}

/// The weights a step along a direction.
fn moved(direction: &[f64], step: f64) -> Vec<f64> {
    weights().iter().zip(direction).map(|(weight, direction)| weight + step * direction).collect()
}

#[test]
fn values_move_with_weights_of_edges() {
    let solution = solve(&problem(&weights()));
    let gradient = value_and_gradient(&solution).unwrap().1.edge_weights().unwrap();
    let direction = noise(3, 7);
    let expected = difference(1.0, |step| vec![solve(&problem(&moved(&direction, step))).certificate().dual]);
    assert_agree("the value", &[dot(&gradient, &direction)], &expected, 1e-7, 1e-3);
    assert!(matches!(value_and_gradient(&solution).unwrap().1.epsilon(), Err(Error::MissingCapability(_))));
}

#[test]
fn outputs_move_with_weights_of_edges() {
    let solution = solve(&problem(&weights()));
    let solver = LinearSolver::new().tolerance(1e-14);
    let mut linearised = Linearised::new(&solution).unwrap().with_solver(solver).unwrap();
    let direction = noise(4, 7);
    let outputs = [Output::Potential(Side::Source), Output::Product { side: Side::Target, values: noise(5, 6) }];
    for output in outputs {
        let expected = difference(1.0, |step| {
            Linearised::new(&solve(&problem(&moved(&direction, step)))).unwrap().value(&output).unwrap()
        });
        let tangent = Tangent::new().edge_weights(direction.clone());
        let forward = linearised.push_forward(&tangent).unwrap().of(&output).unwrap();
        assert_agree("an output", &forward, &expected, 1e-6, 1e-3);
        let seed = noise(6, forward.len());
        let backward = linearised.pull_back(&[(&output, &seed)]).unwrap().edge_weights().unwrap();
        assert_agree("its transpose", &[dot(&backward, &direction)], &[dot(&seed, &forward)], 1e-9, 1e-3);
    }
}
