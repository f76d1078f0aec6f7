//! Single precision: the same derivatives, to 1e-3.

use ot_conformance::ReferenceBackend;
use ot_core::{
    Device, Epsilon, GeometryBuilder, Measure, PointCloud, PointsView, Problem, Scalar, Side, SqEuclidean, Support,
};
use ot_cpu::CpuBackend;
use ot_diff::{Gradient, LinearSolver, Linearised, LinearisedBarycenter, LinearisedFreeSupport, value_and_gradient};
use ot_solvers::{Annealing, BoundedEntropy, BregmanProjections, DebiasedBarycenter, EntropyBound, Sinkhorn};

use crate::{
    barycenter::Inputs,
    data::{DIMENSION, Data, assert_agree, narrow, noise, solve, wide},
    debiased::inputs,
    laws::{along_all, problems},
};

/// Agreement of f32 with f64.
const SINGLE: f64 = 1e-3;

/// The gradients of the value and of every output along every direction.
fn derivatives<D: Device>(builder: &dyn GeometryBuilder<Device = D>, data: &Data) -> Vec<f64> {
    let solution = solve(&data.problem(builder));
    let mut all = along_all(&mut value_and_gradient(&solution).unwrap().1, data);
    let mut linearised = Linearised::new(&solution).unwrap().with_solver(LinearSolver::new()).unwrap();
    for (_, output) in data.outputs() {
        let len = linearised.value(&output).unwrap().len();
        let seed = match len == data.batch() {
            true => vec![0.8; len],
            false => noise(31 + len as u64, len),
        };
        let mut cotangent = linearised.pull_back(&[(&output, &narrow(&seed))]).unwrap();
        assert!(cotangent.solve().residual < 1e-4, "{:?}", cotangent.solve());
        all.extend(along_all(&mut cotangent, data));
        for (_, direction) in data.directions() {
            all.extend(wide(linearised.push_forward(&direction.tangent()).unwrap().of(&output).unwrap()));
        }
    }
    all
}

#[test]
fn single_precision_agrees_with_double() {
    for (name, data) in problems() {
        let expected = derivatives(&ReferenceBackend::<f64>::default(), &data);
        for limit in [usize::MAX, 0] {
            let backend = CpuBackend::<f32>::new(1).unwrap().with_dense_limit(limit);
            assert_agree(name, &derivatives(&backend, &data), &expected, SINGLE, 1.0);
        }
    }
}

/// A tolerance that the element type reaches.
fn tolerance<D: Device>() -> f64 {
    if D::Elem::EPSILON < 1e-10 { 1e-12 } else { 1e-6 }
}

/// Gradients of a function of a barycenter.
fn of_barycenter<D: Device>(mut barycenter: LinearisedBarycenter<D>) -> Vec<f64> {
    let seed = narrow(&noise(71, barycenter.measure().unwrap().len()));
    let mut gradient = barycenter.pull_back(&seed).unwrap();
    assert!(gradient.solve().status.is_converged(), "{:?}", gradient.solve());
    let mut all = gradient.lambda();
    all.push(gradient.epsilon().unwrap());
    all.extend(gradient.entropy_bound());
    all.extend(wide(gradient.support().unwrap()));
    all.extend(wide(gradient.input(0).unwrap().points(Side::Source).unwrap()));
    all
}

/// The gradients of all forms of barycenters.
fn of_barycenters<D: Device>(builder: &dyn GeometryBuilder<Device = D>) -> Vec<(&'static str, Vec<f64>)> {
    let plain = Inputs::new(&[None; 3], &[0.2, 0.5, 0.3]).problem(builder);
    let projections = BregmanProjections::new().tolerance(tolerance::<D>()).annealing(Annealing::Off);
    let blurred = projections.solve(&plain).unwrap();
    let bounded = BoundedEntropy::new().tolerance(tolerance::<D>()).bound(EntropyBound::At(vec![1.1]));
    let sharp = bounded.run(&plain).start(&blurred).solve().unwrap();
    assert!(sharp.powers().unwrap()[0] > 1.01, "{:?}", sharp.powers());
    let apart = inputs(&[0.4, 0.6], 2);
    let support = narrow::<D::Elem>(&apart.support);
    let support = Support::Points(PointsView::new(&support, DIMENSION).unwrap());
    let geometry = builder.geometry(support, support, &SqEuclidean).unwrap();
    let settings = DebiasedBarycenter::new().tolerance(1e-5).inner_tolerance(tolerance::<D>());
    let debiased = settings.run(&apart.problem(builder)).geometry(geometry).solve().unwrap();
    vec![
        ("plain", of_barycenter(LinearisedBarycenter::new(&blurred).unwrap())),
        ("sharpened", of_barycenter(LinearisedBarycenter::new(&sharp).unwrap())),
        ("debiased", of_barycenter(LinearisedBarycenter::debiased(&debiased).unwrap())),
        ("points", of_points(builder)),
    ]
}

/// The gradient of a function of the points of a barycenter, held at points near it.
fn of_points<D: Device>(builder: &dyn GeometryBuilder<Device = D>) -> Vec<f64> {
    let cloud = |seed: u64, len: usize| {
        let points = noise(seed, DIMENSION * len).into_iter().map(|x| 1.5 * x).collect::<Vec<_>>();
        PointCloud::uniform(narrow::<D::Elem>(&points), DIMENSION).unwrap()
    };
    let source =
        PointCloud::uniform(narrow::<D::Elem>(&[-0.6, -0.5, 0.7, -0.4, -0.5, 0.6, 0.5, 0.7]), DIMENSION).unwrap();
    let transport = |input: PointCloud<'_, D::Elem>| {
        let geometry = builder.geometry(source.support(), input.support(), &SqEuclidean).unwrap();
        let problem = Problem::new(geometry, &source, &input, Epsilon::Absolute(0.2)).unwrap();
        std::sync::Arc::new(Sinkhorn::new().tolerance(tolerance::<D>()).solve(&problem).unwrap())
    };
    let transports = [transport(cloud(1, 4)), transport(cloud(2, 5))];
    let mut points = LinearisedFreeSupport::new(&transports, &[0.4, 0.6]).unwrap();
    let mut gradient = points.pull_back(&narrow(&noise(72, 8))).unwrap();
    assert!(gradient.solve().residual < 1e-4, "{:?}", gradient.solve());
    let mut all = gradient.lambda();
    all.push(gradient.epsilon().unwrap());
    all.extend(wide(gradient.input(1).unwrap().points(Side::Target).unwrap()));
    all
}

#[test]
fn barycenters_agree_with_double() {
    let expected = of_barycenters(&ReferenceBackend::<f64>::default());
    for limit in [usize::MAX, 0] {
        let found = of_barycenters(&CpuBackend::<f32>::new(1).unwrap().with_dense_limit(limit));
        for ((name, found), (_, expected)) in found.iter().zip(&expected) {
            assert_agree(name, found, expected, 5.0 * SINGLE, 1.0);
        }
    }
}
