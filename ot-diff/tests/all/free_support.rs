//! Derivatives of the points of barycenters: differences of fixed points, the transpose of each other, and translations.

use std::sync::Arc;

use ot_core::{Epsilon, Error, GeometryBuilder, Host, Measure, PointCloud, Problem, Side, Solution, SqEuclidean};
use ot_cpu::CpuBackend;
use ot_diff::{FreeSupportTangent, Gradient, LinearSolver, LinearisedFreeSupport, Tangent};
use ot_solvers::{FreeSupport, InnerTransport, Sinkhorn};

use crate::data::{DIMENSION, assert_agree, difference, dot, noise};

/// Of differences of fixed points.
const DIFFERENCES: f64 = 1e-6;
/// Of a transpose.
const TRANSPOSE: f64 = 1e-9;

/// The data of a barycenter with free support, or a direction.
#[derive(Clone, Debug)]
struct Clouds {
    points: Vec<Vec<f64>>,
    masses: Vec<Vec<f64>>,
    weights: Vec<f64>,
    lambda: Vec<f64>,
    epsilon: f64,
}

impl Clouds {
    fn new(lambda: &[f64]) -> Self {
        let positive = |seed, len| -> Vec<f64> {
            let weights: Vec<f64> = noise(seed, len).into_iter().map(|x| 1.5 + x).collect();
            let total: f64 = weights.iter().sum();
            weights.into_iter().map(|weight| 1.3 * weight / total).collect()
        };
        let spread = |seed, len| noise(seed, DIMENSION * len).into_iter().map(|x| 1.5 * x).collect();
        let indices = 0..lambda.len();
        Self {
            points: indices.clone().map(|index| spread(1 + index as u64, 4 + index)).collect(),
            masses: indices.map(|index| positive(11 + index as u64, 4 + index)).collect(),
            weights: positive(21, 4),
            lambda: lambda.to_vec(),
            epsilon: 0.1,
        }
    }

    fn rest(&self) -> Self {
        let zeros = |x: &Vec<f64>| vec![0.0; x.len()];
        Self {
            points: self.points.iter().map(zeros).collect(),
            masses: self.masses.iter().map(zeros).collect(),
            weights: zeros(&self.weights),
            lambda: zeros(&self.lambda),
            epsilon: 0.0,
        }
    }

    fn directions(&self) -> Vec<(&'static str, Self)> {
        let without_mean = |seed, len: usize| -> Vec<f64> {
            let moves = noise(seed, len);
            let mean = moves.iter().sum::<f64>() / len as f64;
            moves.into_iter().map(|x| 0.1 * (x - mean)).collect()
        };
        let mut points = self.rest();
        points.points[1] = noise(31, points.points[1].len());
        let mut masses = self.rest();
        masses.masses[0] = without_mean(32, masses.masses[0].len());
        let weights = Self { weights: without_mean(33, self.weights.len()), ..self.rest() };
        vec![
            ("points", points),
            ("masses", masses),
            ("weights", weights),
            ("lambda", Self { lambda: noise(34, self.lambda.len()), ..self.rest() }),
            ("epsilon", Self { epsilon: 1.0, ..self.rest() }),
        ]
    }

    fn moved(&self, direction: &Self, step: f64) -> Self {
        let add = |x: &[f64], d: &[f64]| x.iter().zip(d).map(|(x, d)| x + step * d).collect::<Vec<_>>();
        let each = |x: &[Vec<f64>], d: &[Vec<f64>]| x.iter().zip(d).map(|(x, d)| add(x, d)).collect();
        Self {
            points: each(&self.points, &direction.points),
            masses: each(&self.masses, &direction.masses),
            weights: add(&self.weights, &direction.weights),
            lambda: add(&self.lambda, &direction.lambda),
            epsilon: self.epsilon + step * direction.epsilon,
        }
    }

    fn tangent(&self) -> FreeSupportTangent<f64> {
        let moves = |values: &[f64]| values.iter().any(|value| *value != 0.0);
        let mut tangent = FreeSupportTangent::new().epsilon(self.epsilon);
        if moves(&self.lambda) {
            tangent = tangent.lambda(self.lambda.clone());
        }
        if moves(&self.weights) {
            tangent = tangent.weights(self.weights.clone());
        }
        for (index, (points, masses)) in self.points.iter().zip(&self.masses).enumerate() {
            let mut of_input = Tangent::new();
            if moves(points) {
                of_input = of_input.points(Side::Target, points.clone());
            }
            if moves(masses) {
                of_input = of_input.weights(Side::Target, masses.clone());
            }
            if of_input != Tangent::new() {
                tangent = tangent.input(index, of_input);
            }
        }
        tangent
    }

    fn inputs(&self) -> Vec<PointCloud<'static, f64>> {
        let cloud =
            |(points, masses): (&Vec<f64>, &Vec<f64>)| PointCloud::new(points.clone(), DIMENSION, masses.clone());
        self.points.iter().zip(&self.masses).map(|pair| cloud(pair).unwrap()).collect()
    }

    fn transports(&self, points: &[f64]) -> Vec<Arc<Solution<Host<f64>>>> {
        let backend = CpuBackend::<f64>::new(1).unwrap();
        let source = PointCloud::new(points.to_vec(), DIMENSION, self.weights.clone()).unwrap();
        let solve = |input: &PointCloud<'static, f64>| {
            let geometry = backend.geometry(source.support(), input.support(), &SqEuclidean).unwrap();
            let problem = Problem::new(geometry, &source, input, Epsilon::Absolute(self.epsilon)).unwrap();
            Arc::new(Sinkhorn::new().tolerance(1e-14).solve(&problem).unwrap())
        };
        self.inputs().iter().map(solve).collect()
    }

    /// The fixed point of x = sum_k lambda_k T_k(x), from a start near it.
    fn fixed_point(&self, start: &[f64]) -> Vec<f64> {
        let total: f64 = self.lambda.iter().sum();
        let mut points = start.to_vec();
        for _ in 0..500 {
            let mut means = vec![0.0; points.len()];
            for ((solution, input), lambda) in self.transports(&points).iter().zip(&self.points).zip(&self.lambda) {
                let own = solution.plan().unwrap().barycentric_projection(Side::Source, input, DIMENSION).unwrap();
                means.iter_mut().zip(own).for_each(|(mean, own)| *mean += lambda / total * own);
            }
            for ((point, mean), _) in
                points.chunks(DIMENSION).zip(means.chunks_mut(DIMENSION)).zip(&self.weights).filter(|(_, b)| **b == 0.0)
            {
                mean.copy_from_slice(point);
            }
            let moved = points.iter().zip(&means).map(|(x, mean)| (x - mean).abs()).fold(0.0, f64::max);
            points = means;
            if moved < 1e-13 {
                return points;
            }
        }
        panic!("no fixed point: {points:?}")
    }

    /// Some points to start from.
    fn start(&self) -> Vec<f64> {
        vec![-0.6, -0.5, 0.7, -0.4, -0.5, 0.6, 0.5, 0.7]
    }
}

fn linearised(clouds: &Clouds, points: &[f64]) -> LinearisedFreeSupport<Host<f64>> {
    let solver = LinearSolver::new().tolerance(1e-11);
    LinearisedFreeSupport::new(&clouds.transports(points), &clouds.lambda).unwrap().with_solver(solver).unwrap()
}

/// The change of the points is a difference of fixed points, and the pull-back is the transpose of it.
#[test]
fn changes_are_differences() {
    // lambda counts relative to its sum.
    let clouds = Clouds::new(&[0.8, 1.2]);
    let points = clouds.fixed_point(&clouds.start());
    let mut free = linearised(&clouds, &points);
    let cotangent = noise(51, points.len());
    for (what, direction) in clouds.directions() {
        let tangent = direction.tangent();
        let change = free.push_forward(&tangent).unwrap();
        assert!(change.solve().status.is_converged(), "{what}: {:?}", change.solve());
        let expected = difference(clouds.epsilon, |step| clouds.moved(&direction, step).fixed_point(&points));
        assert_agree(what, change.points(), &expected, DIFFERENCES, 1e-2);
        let pulled = free.pull_back(&cotangent).unwrap().along(&tangent).unwrap();
        let expected = dot(change.points(), &cotangent);
        assert_agree(&format!("transpose in {what}"), &[pulled], &[expected], TRANSPOSE, 1e-2);
    }
}

/// Inputs that are shifted shift the points, each as far as its weight says.
#[test]
fn translations_carry_over() {
    let clouds = Clouds::new(&[0.4, 0.6]);
    let mut free = linearised(&clouds, &clouds.fixed_point(&clouds.start()));
    let shift = Tangent::new().points(Side::Target, [1.0, -2.0].repeat(5));
    let change = free.push_forward(&FreeSupportTangent::new().input(1, shift)).unwrap();
    assert_agree("points", change.points(), &[0.6, -1.2].repeat(4), 1e-9, 1.0);
    let mut gradient = free.pull_back(&[1.0, 0.0].repeat(4)).unwrap();
    let points = gradient.input(1).unwrap().points(Side::Target).unwrap();
    let total: f64 = points.iter().step_by(2).sum();
    assert!((total - 4.0 * 0.6).abs() < 1e-9, "{total}");
}

/// What the solver leaves is what is linearised.
#[test]
fn transports_of_the_solver() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let clouds = Clouds::new(&[0.4, 0.6]);
    let inputs = clouds.inputs();
    let inputs: Vec<_> = inputs.iter().collect();
    let start = PointCloud::new(clouds.start(), DIMENSION, clouds.weights.clone()).unwrap();
    let settings = FreeSupport::new().tolerance(1e-7);
    let entropic = settings.clone().inner(InnerTransport::Entropic(clouds.epsilon)).inner_tolerance(1e-12);
    let solution = entropic.solve(&backend, &inputs, &clouds.lambda, &start).unwrap();
    let mut free = LinearisedFreeSupport::new(solution.transports(), &clouds.lambda).unwrap();
    assert_eq!((free.inputs(), free.atoms()), (2, 4));
    let cotangent = noise(61, 8);
    let found = free.pull_back(&cotangent).unwrap().lambda();
    let expected = linearised(&clouds, &clouds.fixed_point(&clouds.start())).pull_back(&cotangent).unwrap().lambda();
    assert_agree("lambda", &found, &expected, 1e-4, 1e-2);

    let exact = settings.solve(&backend, &inputs, &clouds.lambda, &start).unwrap();
    let refused = LinearisedFreeSupport::new(exact.transports(), &clouds.lambda).map(|_| ()).err();
    assert!(matches!(refused, Some(Error::MissingCapability(_))), "{refused:?}");
}

/// Points without mass rest, and inputs without weight move nothing.
#[test]
fn what_has_no_mass_rests() {
    let mut clouds = Clouds::new(&[0.4, 0.6, 0.0]);
    let mass = clouds.weights[3];
    clouds.weights[3] = 0.0;
    clouds.weights[0] += mass;
    let mut free = linearised(&clouds, &clouds.fixed_point(&clouds.start()));
    let points = Tangent::new().points(Side::Target, noise(71, 10));
    let change = free.push_forward(&FreeSupportTangent::new().input(1, points)).unwrap();
    assert!(change.solve().status.is_converged(), "{:?}", change.solve());
    assert!(change.points()[..6].iter().all(|moved| moved.is_finite() && *moved != 0.0));
    assert_eq!(change.points()[6..], [0.0, 0.0]);
    let points = Tangent::new().points(Side::Target, noise(72, 12));
    let change = free.push_forward(&FreeSupportTangent::new().input(2, points)).unwrap();
    assert_eq!(change.points(), [0.0; 8]);
}

/// What does not fit is refused.
#[test]
fn bad_requests_are_told() {
    let clouds = Clouds::new(&[0.4, 0.6]);
    let transports = clouds.transports(&clouds.start());
    let refused = |lambda: &[f64]| LinearisedFreeSupport::new(&transports, lambda).map(|_| ()).err();
    assert!(matches!(refused(&[1.0]), Some(Error::Length { .. })));
    assert!(matches!(refused(&[1.0, -1.0]), Some(Error::Weight { .. })));
    let mut free = LinearisedFreeSupport::new(&transports, &clouds.lambda).unwrap();
    assert!(matches!(free.pull_back(&[1.0; 3]).map(|_| ()).err(), Some(Error::Length { .. })));
    let mut refused = |tangent: FreeSupportTangent<f64>| free.push_forward(&tangent).map(|_| ()).err();
    assert!(matches!(refused(FreeSupportTangent::new().lambda(vec![1.0])), Some(Error::Length { .. })));
    assert!(matches!(refused(FreeSupportTangent::new().input(2, Tangent::new())), Some(Error::Parameter { .. })));
    let own = Tangent::new().points(Side::Source, vec![0.0; 8]);
    assert!(matches!(refused(FreeSupportTangent::new().input(0, own)), Some(Error::Parameter { .. })));
    let heavier = FreeSupportTangent::new().weights(vec![0.1; 4]);
    assert!(matches!(refused(heavier), Some(Error::Parameter { .. })));
    assert!(matches!(refused(FreeSupportTangent::new().epsilon(f64::NAN)), Some(Error::Parameter { .. })));
}
