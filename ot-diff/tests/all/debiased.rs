//! Derivatives of debiased barycenters: differences of solves, the transpose of each other, and one input alone.

use ot_conformance::{DeferredBuilder, ReferenceBackend};
use ot_core::{Device, Epsilon, GeometryBuilder, PointCloud, PointsView, Side, SqEuclidean, Support};
use ot_cpu::CpuBackend;
use ot_diff::{
    BarycenterTangent, Gradient, LinearSolver, LinearisedBarycenter, Tangent, debiased_barycenter_and_pullback,
};
use ot_solvers::{Barycenter, DebiasedBarycenter, DebiasedSolution};

use crate::{
    barycenter::Inputs,
    data::{DIMENSION, assert_agree, difference, dot, noise},
};

/// Of differences of solves.
const DIFFERENCES: f64 = 1e-6;
/// Of a transpose.
const TRANSPOSE: f64 = 1e-9;

/// Inputs near a support whose points are apart, so that the deconvolution is well posed, and all of whose atoms get mass.
pub fn inputs(lambda: &[f64], count: usize) -> Inputs {
    let near = |seed: u64, x: &[f64]| -> Vec<f64> {
        x.iter().zip(noise(seed, x.len())).map(|(x, moved)| x + 0.2 * moved).collect()
    };
    let positive = |seed: u64| -> Vec<f64> {
        let weights: Vec<f64> = noise(seed, 5).into_iter().map(|x| 1.5 + 0.5 * x).collect();
        let total: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| 1.3 * weight / total).collect()
    };
    let support = vec![0.0, 0.0, 1.0, 0.1, 0.1, 1.1, 1.2, 1.0, 2.0, 0.4];
    Inputs {
        points: (0..count as u64).map(|index| near(1 + index, &support)).collect(),
        weights: (0..count as u64).map(|index| positive(11 + index)).collect(),
        reference: positive(22),
        lambda: lambda.to_vec(),
        epsilon: 0.3,
        strengths: vec![None; count],
        support,
    }
}

fn solve<D: Device<Elem = f64>>(inputs: &Inputs, builder: &dyn GeometryBuilder<Device = D>) -> DebiasedSolution<D> {
    let support = Support::Points(PointsView::new(&inputs.support, DIMENSION).unwrap());
    let geometry = builder.geometry(support, support, &SqEuclidean).unwrap();
    let settings = DebiasedBarycenter::new().tolerance(1e-12).inner_tolerance(1e-13).check_interval(50);
    let solution = settings.run(&inputs.problem(builder)).geometry(geometry).solve().unwrap();
    assert!(solution.gaps().iter().all(|gap| *gap < 1e-11), "{:?}", solution.gaps());
    solution
}

fn linearised<D: Device<Elem = f64>>(solution: &DebiasedSolution<D>) -> LinearisedBarycenter<D> {
    let solver = LinearSolver::new().tolerance(1e-12);
    LinearisedBarycenter::debiased(solution).unwrap().with_solver(solver).unwrap()
}

fn tangent(direction: &Inputs) -> BarycenterTangent<f64> {
    let moves = direction.support.iter().any(|moves| *moves != 0.0);
    let both = || {
        let points = direction.support.clone();
        Tangent::new().points(Side::Source, points.clone()).points(Side::Target, points)
    };
    if moves { direction.tangent().own(both()) } else { direction.tangent() }
}

/// The change of the barycenter is a difference of barycenters, and the pull-back is the transpose of it.
fn changes_are_differences<D: Device<Elem = f64>>(
    builder: &dyn GeometryBuilder<Device = D>,
    problems: &[(&str, Inputs)],
) {
    for (name, inputs) in problems {
        let mut barycenter = linearised(&solve(inputs, builder));
        let measure = barycenter.measure().unwrap();
        assert!(measure.iter().all(|p| *p > 0.01), "{name}: {measure:?}");
        let cotangent = noise(41, measure.len());
        let mut masses = inputs.rest();
        masses.weights.iter_mut().flatten().for_each(|weight| *weight = 0.02);
        for (what, direction) in inputs.directions().into_iter().chain([("masses", masses)]) {
            let tangent = tangent(&direction);
            let change = barycenter.push_forward(&tangent).unwrap();
            assert!(change.solve().residual < 1e-11, "{name} in {what}: {:?}", change.solve());
            let found = change.measure().unwrap();
            let expected =
                difference(inputs.epsilon, |step| solve(&inputs.moved(&direction, step), builder).measure().to_vec());
            assert_agree(&format!("{name} in {what}"), &found, &expected, DIFFERENCES, 1e-2);
            let mut gradient = barycenter.pull_back(&cotangent).unwrap();
            let pulled = gradient.along(&tangent).unwrap();
            let expected = dot(&found, &cotangent);
            assert_agree(&format!("transpose of {name} in {what}"), &[pulled], &[expected], TRANSPOSE, 1e-2);
        }
        let mut gradient = barycenter.pull_back(&cotangent).unwrap();
        let own: Vec<f64> =
            Side::BOTH.into_iter().flat_map(|side| gradient.own().unwrap().points(side).unwrap()).collect();
        assert!(own.iter().any(|slope| slope.abs() > 1e-3));
        assert!(gradient.reference().unwrap().iter().all(|slope| *slope == 0.0));
    }
}

#[test]
fn changes_are_differences_on_a_deferred_device() {
    let builder = DeferredBuilder::new(ReferenceBackend::<f64>::default());
    changes_are_differences(&builder, &[("two inputs", inputs(&[0.4, 0.6], 2))]);
}

#[test]
fn changes_are_differences_over_stored_costs() {
    let problems = [("three inputs", inputs(&[0.2, 0.5, 0.3], 3)), ("a batch", inputs(&[0.4, 0.6, 0.7, 0.3], 2))];
    changes_are_differences(&CpuBackend::<f64>::new(2).unwrap(), &problems);
}

/// The debiased barycenter of one measure is that measure, whatever epsilon and the points are.
#[test]
fn one_input_is_its_own_barycenter() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let mut one = inputs(&[1.0], 1);
    one.points[0].clone_from(&one.support);
    let (p, barycenter) = debiased_barycenter_and_pullback(&solve(&one, &backend)).unwrap();
    assert_agree("p", &p, &one.weights[0], 1e-7, 1e-2);
    let mut barycenter = barycenter.with_solver(LinearSolver::new().tolerance(1e-12)).unwrap();
    let cotangent = noise(51, 5);
    let mut gradient = barycenter.pull_back(&cotangent).unwrap();
    assert_agree("weights", &gradient.input(0).unwrap().weights(Side::Source).unwrap(), &cotangent, 1e-6, 1e-2);
    assert_agree("epsilon", &[gradient.epsilon().unwrap()], &[0.0], 1e-6, 1e-2);
    let both: Vec<f64> = gradient
        .support()
        .unwrap()
        .iter()
        .zip(gradient.input(0).unwrap().points(Side::Source).unwrap())
        .map(|(support, input)| support + input)
        .collect();
    assert_agree("points", &both, &[0.0; 10], 1e-6, 1e-2);
    let moves = vec![0.02, -0.01, 0.03, -0.05, 0.01];
    let along = BarycenterTangent::new().input(0, Tangent::new().weights(Side::Source, moves.clone()));
    assert_agree("forward", &barycenter.push_forward(&along).unwrap().measure().unwrap(), &moves, 1e-6, 1e-2);
}

/// Transports of p are told beside it.
#[test]
fn transports_have_the_marginal_p() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let solution = solve(&inputs(&[0.4, 0.6], 2), &backend);
    assert_eq!(solution.transports().len(), 2);
    for transport in solution.transports().iter().chain(solution.own_transport()) {
        assert!(transport.certificate().marginal_error < 1e-11);
        let marginal = transport.plan().unwrap().marginal(Side::Target).unwrap();
        assert_agree("marginal", &marginal, solution.measure(), 1e-9, 1e-2);
    }
}

/// Between two translates of one bump, the barycenter is a translate: it moves with lambda by their distance, and keeps its width.
#[test]
fn translates_keep_their_width() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let points: Vec<f64> = (0..41).map(|i| 0.05 * f64::from(i)).collect();
    let bump = |centre: f64| {
        let weights: Vec<f64> = points.iter().map(|x| (-50.0 * (x - centre) * (x - centre)).exp()).collect();
        PointCloud::new(&points, 1, weights).unwrap().normalized()
    };
    let (left, right, support) = (bump(0.7), bump(1.3), PointCloud::uniform(&points, 1).unwrap());
    let inputs = Barycenter::new(&backend, &support, &SqEuclidean, Epsilon::Absolute(0.05));
    let problem = inputs.inputs(&[&left, &right], &[0.5, 0.5]).unwrap().problem().unwrap();
    let settings = DebiasedBarycenter::new().tolerance(1e-6).inner_tolerance(1e-10);
    let (_, mut barycenter) = debiased_barycenter_and_pullback(&settings.solve(&problem).unwrap()).unwrap();
    let change = barycenter.push_forward(&BarycenterTangent::new().lambda(vec![-1.0, 1.0])).unwrap();
    assert!(change.solve().status.is_converged(), "{:?}", change.solve());
    let change = change.measure().unwrap();
    let moment = |power: i32| points.iter().zip(&change).map(|(x, change)| change * (x - 1.0).powi(power)).sum::<f64>();
    assert_agree("moments", &[0, 1, 2].map(moment), &[0.0, 0.6, 0.0], 1e-5, 1.0);
}
