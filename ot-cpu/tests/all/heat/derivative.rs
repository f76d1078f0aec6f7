//! Derivatives of the implied cost in the weights of edges.

use ot_conformance::Seeded;
use ot_core::{
    CostParameter, CostTangent, DeviceWeights, Geometry, Graph, PairWeight, PlanSide, PlanView, Side, WeightedPlan,
    WeightsView,
};

use super::{dense, heat, surfaces::random_graph};

const TIME: f64 = 2.0;
const STEPS: usize = 4;

/// The graph with one weight changed.
fn with_weight(graph: &Graph, edge: usize, change: f64) -> Graph {
    let mut edges = graph.edges().to_vec();
    edges[edge].1 += change;
    Graph::new(graph.len(), edges).unwrap().with_masses(graph.masses().to_vec()).unwrap()
}

/// -epsilon log K.
fn costs(graph: &Graph) -> Vec<Vec<f64>> {
    let all: Vec<usize> = (0..graph.len()).collect();
    let table = dense::columns(graph, TIME, STEPS, &all);
    table.iter().map(|column| column.iter().map(|entry| -4.0 * TIME * entry.0.ln()).collect()).collect()
}

#[test]
fn derivatives_are_differences_of_costs() {
    let graph = random_graph(9, 8, 11);
    let n = graph.len();
    let mut seeded = Seeded::new(5);
    let mut numbers =
        |len: usize, low: f64, high: f64| -> Vec<f64> { (0..len).map(|_| seeded.uniform(low, high)).collect() };
    let (f, g, r, s) = (numbers(n, -3.0, 3.0), numbers(n, -3.0, 3.0), numbers(n, -1.0, 1.0), numbers(n, -1.0, 1.0));
    let (a, b, direction) = (numbers(n, 0.1, 1.0), numbers(n, 0.1, 1.0), numbers(graph.edges().len(), -1.0, 1.0));
    let geometry = heat::<f64>(&graph, TIME, STEPS);
    let (backend, epsilon) = (Geometry::backend(&geometry), 4.0 * TIME);
    let weights = |values: &[f64]| DeviceWeights::new(backend.as_ref(), WeightsView::new(values, 1).unwrap()).unwrap();
    let (of_a, of_b) = (weights(&a), weights(&b));
    let upload = |values: &[f64]| backend.upload(values, 1).unwrap();
    let [at_f, at_g, at_r, at_s] = [&f, &g, &r, &s].map(|values| upload(values));
    let plan = PlanView { source: PlanSide::new(&at_f, &of_a), target: PlanSide::new(&at_g, &of_b) };
    let weight = PairWeight {
        constant: 0.5,
        source: Some(&at_r),
        target: Some(&at_s),
        product: Some((&at_s, &at_r)),
        cost: 0.0,
    };
    let pairs = WeightedPlan { plan, weight };

    // sum_ij P_ij w_ij (C_ij(w + h) - C_ij(w - h)) / 2h, edge by edge.
    let base = costs(&graph);
    let masses = |i: usize, j: usize| {
        let factor = 0.5 + r[i] + s[j] + s[i] * r[j];
        a[i] * b[j] * ((f[i] + g[j] - base[i][j]) / epsilon).exp() * factor
    };
    let (mut back, mut forward) = (Vec::new(), vec![0.0; n]);
    for (edge, (_, weight)) in graph.edges().iter().enumerate() {
        let step = 1e-4 * weight;
        let (above, below) = (costs(&with_weight(&graph, edge, step)), costs(&with_weight(&graph, edge, -step)));
        let slope = |i: usize, j: usize| (above[i][j] - below[i][j]) / (2.0 * step);
        back.push((0..n * n).map(|pair| masses(pair / n, pair % n) * slope(pair / n, pair % n)).sum::<f64>());
        for (i, out) in forward.iter_mut().enumerate() {
            *out += (0..n).map(|j| masses(i, j) * slope(i, j) * direction[edge]).sum::<f64>();
        }
    }

    let mut kernel = geometry.bind_entropic(epsilon, 1).unwrap();
    let derivative = kernel.cost_derivative().unwrap();
    assert_eq!(derivative.shape(CostParameter::EdgeWeights), Some((graph.edges().len(), 1)));
    assert_eq!(derivative.shape(CostParameter::Scale), None);
    let mut out = backend.alloc(graph.edges().len(), 1).unwrap();
    derivative.pull_back(pairs, CostParameter::EdgeWeights, &mut out).unwrap();
    let found = out.values().to_vec();
    let size = back.iter().fold(0.0_f64, |size, x| size.max(x.abs()));
    assert!(found.iter().zip(&back).all(|(x, y)| (x - y).abs() < 1e-6 * size), "{found:?} {back:?}");

    let values = backend.upload(&direction, 1).unwrap();
    let tangent = CostTangent { parameter: CostParameter::EdgeWeights, values: &values };
    let mut out = backend.alloc(n, 1).unwrap();
    derivative.push_forward(Side::Source, pairs, tangent, &mut out).unwrap();
    let size = forward.iter().fold(0.0_f64, |size, x| size.max(x.abs()));
    assert!(out.values().iter().zip(&forward).all(|(x, y)| (x - y).abs() < 1e-6 * size), "{out:?} {forward:?}");
}
