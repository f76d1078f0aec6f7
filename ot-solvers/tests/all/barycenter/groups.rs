//! Terms that share a kernel, beside the same terms with a kernel each.

use std::{ops::ControlFlow, sync::Arc};

use ot_conformance::{CountedGeometry, ReferenceBackend};
use ot_core::{
    Axis, Balanced, End, Epsilon, Geometry, GeometryBuilder, Graph, Grid, GridHistogram, Histogram, Host, ImpliedCost,
    JointProblem, JointSolution, JointTerm, Kl, Measure, Problem, Progress, RecordedPenalty, Side, SqEuclidean,
    VertexHistogram,
};
use ot_cpu::HeatGeometry;
use ot_solvers::{Annealing, Barycenter, BoundedEntropy, BregmanProjections, DebiasedBarycenter, Relaxation};

use super::support::{Cloud, bump, l1, line, on, problem, shapes, uniform};
use crate::support::{assert_close, cpu};

/// The same problem, its terms over the geometries that `geometry` makes.
fn over<G: Geometry<Host<f64>> + 'static>(
    joint: &JointProblem<Host<f64>>,
    geometry: impl Fn(&JointTerm<Host<f64>>) -> Arc<G>,
) -> JointProblem<Host<f64>> {
    let again = |term: &JointTerm<Host<f64>>| {
        let marginals = Side::BOTH.map(|side| term.problem.marginal(side));
        let [a, b] = marginals.map(|marginal| {
            let weights = term.problem.backend().download(&[marginal.weights()]).unwrap().swap_remove(0);
            let columns = weights.len() / marginal.len();
            Histogram::batch(weights, columns).unwrap()
        });
        let [of_source, of_target] = marginals.map(|marginal| marginal.penalty());
        let epsilon = Epsilon::Absolute(term.problem.epsilon());
        let problem = Problem::unbalanced(geometry(term), &a, &b, epsilon, of_source, of_target).unwrap();
        JointTerm { problem, ..term.clone() }
    };
    JointProblem::new(joint.terms().iter().map(again).collect()).unwrap()
}

/// The same problem with a kernel for each term.
fn apart(joint: &JointProblem<Host<f64>>) -> JointProblem<Host<f64>> {
    over(joint, |term| Arc::new(CountedGeometry::new(Arc::clone(term.problem.geometry()))))
}

/// The same problem between points, on one kernel that leaves nothing out and rounds nothing.
fn exact(joint: &JointProblem<Host<f64>>, points: &Cloud) -> JointProblem<Host<f64>> {
    let backend = ReferenceBackend::<f64>::default();
    let geometry = backend.geometry(points.support(), points.support(), &SqEuclidean).unwrap();
    let shared = Arc::new(CountedGeometry::new(geometry));
    over(joint, |_| Arc::clone(&shared))
}

/// Are potentials and measures the same, to rounding of so many iterations?
#[track_caller]
fn assert_same(one: &JointSolution<Host<f64>>, other: &JointSolution<Host<f64>>) {
    assert_eq!(one.iterations(), other.iterations());
    for measure in 0..one.measures().len() {
        assert!(l1(&one.measure(measure).unwrap(), &other.measure(measure).unwrap()) < 1e-9);
    }
    for (one, other) in one.potentials().iter().zip(other.potentials()) {
        for (one, other) in [(&one.source, &other.source), (&one.target, &other.target)] {
            one.values().iter().zip(other.values()).for_each(|(one, other)| assert_close(*one, *other, 1e-9));
        }
    }
    for (one, other) in one.certificates().iter().zip(other.certificates()) {
        assert_close(one.dual, other.dual, 1e-9);
        assert_close(one.marginal_error, other.marginal_error, 1e-9);
    }
}

/// So many iterations, whatever is reached, as observed in both ways.
#[track_caller]
fn assert_same_way(joint: &JointProblem<Host<f64>>, iterations: usize) {
    let settings = BregmanProjections::new().tolerance(1e-14).max_iterations(iterations).annealing(Annealing::Off);
    // A relaxation that is predicted looks at the terms of one geometry together.
    let settings = settings.relaxation(Relaxation::Fixed(1.3));
    let run = |joint: &JointProblem<Host<f64>>| {
        let mut seen = Vec::new();
        let mut observer = |progress: &Progress| {
            seen.push((progress.marginal_error.unwrap(), progress.dual.unwrap()));
            ControlFlow::Continue(())
        };
        let solution = settings.run(joint).observer(&mut observer).solve().unwrap();
        (solution, seen)
    };
    let ((together, seen), (single, seen_single)) = (run(joint), run(&apart(joint)));
    assert_same(&together, &single);
    assert_eq!(seen.len(), seen_single.len());
    for (one, other) in seen.iter().zip(&seen_single) {
        assert_close(one.0, other.0, 1e-9);
        assert_close(one.1, other.1, 1e-9);
    }
}

/// Does the same problem converge to the same, whatever a kernel rounds and leaves out on its way?
#[track_caller]
fn assert_same_end(joint: &JointProblem<Host<f64>>) {
    let settings = BregmanProjections::new().tolerance(1e-10);
    let (together, single) = (settings.solve(joint).unwrap(), settings.solve(&apart(joint)).unwrap());
    assert!(together.status().is_converged() && single.status().is_converged());
    assert!(l1(&together.measure(0).unwrap(), &single.measure(0).unwrap()) < 1e-8);
}

/// Weights of zero among the columns of a batch, which come to rest one by one.
#[test]
fn batches_of_weights() {
    let (points, lambda) = (line(30, 1.0), [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.2, 0.3, 0.5]]);
    let reference = uniform(&points);
    let joint = problem(&cpu(2), &shapes(&points), lambda.as_flattened(), &reference, 0.02);
    let joint = exact(&joint, &reference);
    assert_same_way(&joint, 25);
    assert_same_end(&joint);
}

#[test]
fn images() {
    let (backend, grid) = (cpu(2), Grid::new([12, 9].map(|len| Axis::new(len, 0.0, 0.1).unwrap())).unwrap());
    let image = |x: f64, y: f64| {
        let weight = |i: usize| {
            let (u, v) = (0.1 * (i / 9) as f64, 0.1 * (i % 9) as f64);
            (-20.0 * ((u - x).powi(2) + (v - y).powi(2))).exp()
        };
        GridHistogram::new(&grid, (0..108).map(weight).collect::<Vec<_>>()).unwrap().normalized()
    };
    let (images, reference) = ([image(0.2, 0.2), image(0.9, 0.3), image(0.5, 0.7)], image(0.5, 0.4));
    let joint = Barycenter::new(&backend, &reference, &SqEuclidean, Epsilon::Absolute(0.02))
        .inputs(&[&images[0], &images[1], &images[2]], &[0.5, 0.2, 0.3])
        .and_then(Barycenter::problem);
    assert_same_end(&joint.unwrap());
}

#[test]
fn a_diffusion() {
    let ring = Graph::new(40, (0..40).map(|i| ([i, (i + 1) % 40], 1.0)).collect()).unwrap();
    let heat = HeatGeometry::<f64>::new(&cpu(2), &ring, 4.0, 10).unwrap();
    let bump = |centre: f64| {
        let weights = (0..40).map(|i| (-0.05 * (f64::from(i) - centre).powi(2)).exp() + 1e-6).collect::<Vec<_>>();
        VertexHistogram::new(&ring, weights).unwrap().normalized()
    };
    let (inputs, reference) = ([bump(10.0), bump(18.0), bump(25.0)], bump(20.0));
    let joint = Barycenter::new(&heat, &reference, &ImpliedCost, heat.epsilon())
        .inputs(&[&inputs[0], &inputs[1], &inputs[2]], &[0.5, 0.2, 0.3])
        .and_then(Barycenter::problem)
        .unwrap();
    assert_same_way(&joint, 20);
    assert_same_end(&joint);
}

/// Terms turned either way, of two penalties, between two unknown measures and between none: six groups.
#[test]
fn groups_of_several_kinds() {
    let points = line(30, 1.0);
    let backend = cpu(1);
    let (inputs, reference) = (shapes(&points), uniform(&points));
    let geometry = backend.geometry(reference.support(), reference.support(), &SqEuclidean).unwrap();
    let term =
        |source: &dyn Measure<f64>, target: &dyn Measure<f64>, penalties: [&RecordedPenalty; 2], ends, weight| {
            let (geometry, epsilon) = (Arc::clone(&geometry), Epsilon::Absolute(0.02));
            let problem = Problem::unbalanced(geometry, source, target, epsilon, penalties[0], penalties[1]).unwrap();
            JointTerm { problem, weights: vec![weight], ends }
        };
    let [balanced, kl] =
        [RecordedPenalty::new(&Balanced), RecordedPenalty::new(&Kl::new(0.5).unwrap())].map(Result::unwrap);
    let (given, p, q) = (End::Given, End::Unknown(0), End::Unknown(1));
    let [left, right] = [-0.3, 0.4].map(|centre| on(&points, bump(centre, 0.2)));
    let joint = JointProblem::new(vec![
        term(&inputs[0], &reference, [&kl, &balanced], [given, p], 0.5),
        term(&reference, &left, [&balanced; 2], [p, given], 0.7),
        term(&inputs[1], &reference, [&kl, &balanced], [given, p], 0.3),
        term(&reference, &right, [&balanced; 2], [p, given], 0.2),
        term(&reference, &reference, [&balanced; 2], [q, p], 1.0),
        term(&inputs[2], &reference, [&balanced; 2], [given, q], 0.4),
        term(&left, &right, [&balanced; 2], [given, given], 0.1),
        term(&right, &left, [&balanced; 2], [given, given], 0.1),
        term(&reference, &reference, [&balanced; 2], [q, p], 0.5),
    ])
    .unwrap();
    assert_same_way(&exact(&joint, &reference), 25);
}

/// One sweep an iteration, whatever the number of inputs; a warm start is nearly there.
#[test]
fn an_iteration_is_one_sweep() {
    let points = line(40, 1.0);
    let reference = uniform(&points);
    let joint = exact(&problem(&cpu(1), &shapes(&points), &[0.5, 0.2, 0.3], &reference, 0.02), &reference);
    let counted = Arc::new(CountedGeometry::new(Arc::clone(joint.terms()[0].problem.geometry())));
    let joint = over(&joint, |_| Arc::clone(&counted));
    let settings = BregmanProjections::new().annealing(Annealing::Off).tolerance(1e-9);
    let solution = settings.solve(&joint).unwrap();
    assert!(solution.status().is_converged());
    assert_eq!(counted.passes().sweeps, solution.iterations());
    let warm = settings.run(&joint).start(solution.potentials()).solve().unwrap();
    assert!(warm.status().is_converged() && warm.iterations() <= 5, "{}", warm.iterations());
    assert_eq!(counted.passes().sweeps, solution.iterations() + warm.iterations());
}

#[test]
fn sharpened_and_debiased_barycenters() {
    let points = line(32, 1.0);
    let lambda = [[0.5, 0.2, 0.3], [0.1, 0.4, 0.5]];
    let reference = uniform(&points);
    let joint = exact(&problem(&cpu(1), &shapes(&points), lambda.as_flattened(), &reference, 0.02), &reference);
    let sharpened = BoundedEntropy::new().max_iterations(15);
    assert_same(&sharpened.solve(&joint).unwrap(), &sharpened.solve(&apart(&joint)).unwrap());
    let debiased = DebiasedBarycenter::new().max_iterations(15);
    let geometry = Arc::clone(joint.terms()[0].problem.geometry());
    let single = debiased.run(&apart(&joint)).geometry(geometry).solve().unwrap();
    let together = debiased.solve(&joint).unwrap();
    assert!(l1(together.measure(), single.measure()) < 1e-9);
    together.gaps().iter().zip(single.gaps()).for_each(|(one, other)| assert_close(*one, *other, 1e-6));
}
