//! Derivatives of barycenters: differences of solves, the transpose of each other, and the limit of unrolled iterations.

use ot_conformance::{DeferredBuilder, ReferenceBackend};
use ot_core::{
    Balanced, Device, End, Epsilon, Error, GeometryBuilder, JointProblem, JointSolution, JointTerm, Kl, PointCloud,
    RecordedPenalty, Side, SqEuclidean, Status,
};
use ot_cpu::CpuBackend;
use ot_diff::{BarycenterTangent, LinearSolver, LinearisedBarycenter, Tangent, barycenter_and_pullback};
use ot_solvers::{Annealing, Barycenter, BarycentricCoordinates, BregmanProjections};

use crate::data::{DIMENSION, assert_agree, difference, dot, narrow, noise};

/// Of differences of solves.
const DIFFERENCES: f64 = 1e-7;
/// Of a transpose.
const TRANSPOSE: f64 = 1e-10;

/// The data of a barycenter, or a direction in which they move.
#[derive(Clone, Debug)]
pub struct Inputs {
    pub points: Vec<Vec<f64>>,
    pub weights: Vec<Vec<f64>>,
    pub support: Vec<f64>,
    pub reference: Vec<f64>,
    /// Input after input, column after column.
    pub lambda: Vec<f64>,
    pub epsilon: f64,
    /// rho of each input; prescribed if there is none.
    pub strengths: Vec<Option<f64>>,
}

impl Inputs {
    pub fn new(strengths: &[Option<f64>], lambda: &[f64]) -> Self {
        let len = |index: usize| 4 + index;
        let scaled = |weights: Vec<f64>, mass: f64| {
            let total: f64 = weights.iter().sum();
            weights.into_iter().map(|weight| weight * mass / total).collect::<Vec<_>>()
        };
        let positive = |seed, len| noise(seed, len).into_iter().map(|x| 1.3 + x).collect::<Vec<_>>();
        let indices = 0..strengths.len();
        Self {
            points: indices.clone().map(|index| noise(1 + index as u64, DIMENSION * len(index))).collect(),
            weights: indices.map(|index| scaled(positive(11 + index as u64, len(index)), 1.3)).collect(),
            support: noise(21, DIMENSION * 6),
            reference: scaled(positive(22, 6), 1.3),
            lambda: lambda.to_vec(),
            epsilon: 0.3,
            strengths: strengths.to_vec(),
        }
    }

    pub fn rest(&self) -> Self {
        let zeros = |x: &Vec<f64>| vec![0.0; x.len()];
        Self {
            points: self.points.iter().map(zeros).collect(),
            weights: self.weights.iter().map(zeros).collect(),
            support: zeros(&self.support),
            reference: zeros(&self.reference),
            lambda: zeros(&self.lambda),
            epsilon: 0.0,
            strengths: self.strengths.iter().map(|strength| strength.map(|_| 0.0)).collect(),
        }
    }

    pub fn directions(&self) -> Vec<(&'static str, Self)> {
        let mut moving = vec![
            ("lambda", Self { lambda: noise(31, self.lambda.len()), ..self.rest() }),
            ("epsilon", Self { epsilon: 1.0, ..self.rest() }),
            ("support", Self { support: noise(32, self.support.len()), ..self.rest() }),
        ];
        let mut points = self.rest();
        points.points[1] = noise(33, points.points[1].len());
        moving.push(("points", points));
        let mut weights = self.rest();
        let moves = noise(34, weights.weights[0].len());
        let mean = moves.iter().sum::<f64>() / moves.len() as f64;
        weights.weights[0] = moves.into_iter().map(|x| 0.1 * (x - mean)).collect();
        moving.push(("weights", weights));
        if self.strengths.iter().all(Option::is_some) {
            let mut penalties = self.rest();
            penalties.strengths = vec![Some(1.0); self.strengths.len()];
            moving.push(("penalties", penalties));
        }
        moving
    }

    pub fn moved(&self, direction: &Self, step: f64) -> Self {
        let add = |x: &[f64], d: &[f64]| x.iter().zip(d).map(|(x, d)| x + step * d).collect::<Vec<_>>();
        let each = |x: &[Vec<f64>], d: &[Vec<f64>]| x.iter().zip(d).map(|(x, d)| add(x, d)).collect();
        let strength = |(own, moves): (&Option<f64>, &Option<f64>)| Some((*own)? + step * (*moves)?);
        Self {
            points: each(&self.points, &direction.points),
            weights: each(&self.weights, &direction.weights),
            support: add(&self.support, &direction.support),
            reference: add(&self.reference, &direction.reference),
            lambda: add(&self.lambda, &direction.lambda),
            epsilon: self.epsilon + step * direction.epsilon,
            strengths: self.strengths.iter().zip(&direction.strengths).map(strength).collect(),
        }
    }

    pub fn tangent(&self) -> BarycenterTangent<f64> {
        let moves = |values: &[f64]| values.iter().any(|value| *value != 0.0);
        let mut tangent = BarycenterTangent::new().epsilon(self.epsilon);
        if moves(&self.lambda) {
            tangent = tangent.lambda(self.lambda.clone());
        }
        for (index, (points, weights)) in self.points.iter().zip(&self.weights).enumerate() {
            let mut of_input = Tangent::new();
            if moves(points) {
                of_input = of_input.points(Side::Source, points.clone());
            }
            if moves(weights) {
                of_input = of_input.weights(Side::Source, weights.clone());
            }
            if moves(&self.support) {
                of_input = of_input.points(Side::Target, self.support.clone());
            }
            if let Some(strength) = self.strengths[index].filter(|strength| *strength != 0.0) {
                of_input = of_input.penalty(Side::Source, vec![strength]);
            }
            tangent = tangent.input(index, of_input);
        }
        tangent
    }

    /// The number of lambda of one column.
    fn count(&self) -> usize {
        self.points.len()
    }

    pub fn problem<D: Device>(&self, builder: &dyn GeometryBuilder<Device = D>) -> JointProblem<D> {
        let cloud = |points: &[f64], weights: &[f64]| {
            PointCloud::new(narrow::<D::Elem>(points), DIMENSION, narrow(weights)).unwrap()
        };
        let inputs: Vec<_> =
            self.points.iter().zip(&self.weights).map(|(points, weights)| cloud(points, weights)).collect();
        let support = cloud(&self.support, &self.reference);
        let mut barycenter = Barycenter::new(builder, &support, &SqEuclidean, Epsilon::Absolute(self.epsilon));
        for (index, (input, strength)) in inputs.iter().zip(&self.strengths).enumerate() {
            let lambda: Vec<f64> = self.lambda.iter().skip(index).step_by(self.count()).copied().collect();
            let penalty = match strength {
                None => RecordedPenalty::new(&Balanced),
                Some(rho) => RecordedPenalty::new(&Kl::new(*rho).unwrap()),
            };
            barycenter = barycenter.input(input, &lambda, &penalty.unwrap()).unwrap();
        }
        barycenter.problem().unwrap()
    }

    fn solve<D: Device<Elem = f64>>(&self, builder: &dyn GeometryBuilder<Device = D>) -> JointSolution<D> {
        let problem = self.problem(builder);
        let solution = BregmanProjections::new().tolerance(1e-13).annealing(Annealing::Off).solve(&problem).unwrap();
        assert!(solution.certificates().iter().all(|certificate| certificate.marginal_error < 1e-12));
        solution
    }
}

/// Prescribed and penalised inputs, some of both, batches of weights.
fn problems() -> Vec<(&'static str, Inputs)> {
    vec![
        ("two inputs", Inputs::new(&[None; 2], &[0.3, 0.7])),
        ("three inputs", Inputs::new(&[None; 3], &[0.2, 0.5, 0.3])),
        ("a batch", Inputs::new(&[None; 3], &[0.2, 0.5, 0.3, 0.6, 0.1, 0.3])),
        ("penalised", Inputs::new(&[Some(0.7); 2], &[0.4, 0.6])),
        ("of both kinds", Inputs::new(&[None, Some(0.8), None], &[0.2, 0.4, 0.4])),
        ("sharp", Inputs { epsilon: 0.06, ..Inputs::new(&[None; 2], &[0.5, 0.5]) }),
    ]
}

fn linearised<D: Device<Elem = f64>>(
    builder: &dyn GeometryBuilder<Device = D>,
    inputs: &Inputs,
) -> LinearisedBarycenter<D> {
    let solver = LinearSolver::new().tolerance(1e-13);
    LinearisedBarycenter::new(&inputs.solve(builder)).unwrap().with_solver(solver).unwrap()
}

/// The change of the barycenter is a difference of barycenters, and the pull-back is the transpose of it.
fn changes_are_differences<D: Device<Elem = f64>>(builder: &dyn GeometryBuilder<Device = D>) {
    for (name, inputs) in problems() {
        let mut barycenter = linearised(builder, &inputs);
        let cotangent = noise(41, barycenter.measure().unwrap().len());
        for (what, direction) in inputs.directions() {
            let tangent = direction.tangent();
            let change = barycenter.push_forward(&tangent).unwrap();
            assert!(change.solve().residual < 1e-12, "{name} in {what}: {:?}", change.solve());
            let found = change.measure().unwrap();
            let expected =
                difference(inputs.epsilon, |step| inputs.moved(&direction, step).solve(builder).measure(0).unwrap());
            assert_agree(&format!("{name} in {what}"), &found, &expected, DIFFERENCES, 1e-2);
            let mut gradient = barycenter.pull_back(&cotangent).unwrap();
            let pulled = gradient.along(&tangent).unwrap();
            assert_agree(
                &format!("transpose of {name} in {what}"),
                &[pulled],
                &[dot(&found, &cotangent)],
                TRANSPOSE,
                1e-2,
            );
        }
    }
}

#[test]
fn changes_are_differences_on_a_deferred_device() {
    changes_are_differences(&DeferredBuilder::new(ReferenceBackend::<f64>::default()));
}

#[test]
fn changes_are_differences_over_stored_costs() {
    changes_are_differences(&CpuBackend::<f64>::new(2).unwrap());
}

#[test]
fn changes_are_differences_over_streamed_costs() {
    changes_are_differences(&CpuBackend::<f64>::new(2).unwrap().with_dense_limit(0));
}

/// Weights of the reference are data too, where nothing prescribes its mass but the inputs: along changes that keep it.
#[test]
fn the_reference_has_a_gradient() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let inputs = Inputs::new(&[None; 3], &[0.2, 0.5, 0.3]);
    let mut direction = inputs.rest();
    let moves = noise(51, 6);
    let mean = moves.iter().sum::<f64>() / 6.0;
    direction.reference = moves.into_iter().map(|x| 0.1 * (x - mean)).collect();
    let tangent = BarycenterTangent::new().reference(direction.reference.clone());
    let mut barycenter = linearised(&backend, &inputs);
    let found = barycenter.push_forward(&tangent).unwrap().measure().unwrap();
    let expected =
        difference(inputs.epsilon, |step| inputs.moved(&direction, step).solve(&backend).measure(0).unwrap());
    assert_agree("the reference", &found, &expected, DIFFERENCES, 1e-2);
    let cotangent = noise(52, 6);
    let pulled = barycenter.pull_back(&cotangent).unwrap().along(&tangent).unwrap();
    assert_agree("its transpose", &[pulled], &[dot(&found, &cotangent)], TRANSPOSE, 1e-2);
}

/// Enough iterations unrolled have the implicit gradient in lambda.
#[test]
fn unrolled_tends_to_implicit() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let inputs = Inputs::new(&[None; 3], &[0.2, 0.5, 0.3]);
    let solution = inputs.solve(&backend);
    let (p, mut barycenter) = barycenter_and_pullback(&solution).unwrap();
    let histogram: Vec<f64> = p.iter().zip(noise(61, 6)).map(|(p, x)| p * (1.0 + 0.3 * x)).collect();
    let slope: Vec<f64> = p.iter().zip(&histogram).map(|(p, q)| 2.0 * (p - q)).collect();
    let found = barycenter.pull_back(&slope).unwrap().lambda();
    let unrolled = BarycentricCoordinates::new().unrolled(400);
    let (_, expected) = unrolled.value_and_gradient(solution.problem(), &histogram, &inputs.lambda).unwrap();
    // Of numbers of sum one: the part along lambda says nothing.
    let mean = dot(&expected, &inputs.lambda);
    let expected: Vec<f64> = expected.iter().map(|slope| slope - mean).collect();
    assert_agree("lambda", &found, &expected, 1e-8, 1e-3);
}

/// Weights count relative to their sum, also where it is not one.
#[test]
fn weights_of_terms_are_relative() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let inputs = Inputs::new(&[None; 3], &[0.2, 0.5, 0.3]);
    let solution = inputs.solve(&backend);
    let heavier = |term: &JointTerm<_>| JointTerm { weights: vec![7.0 * term.weight(0)], ..term.clone() };
    let scaled = JointProblem::new(solution.problem().terms().iter().map(heavier).collect()).unwrap();
    let settings = BregmanProjections::new().tolerance(1e-13).annealing(Annealing::Off);
    let cotangent = noise(91, 6);
    let gradient = |solution: &JointSolution<_>| {
        let solver = LinearSolver::new().tolerance(1e-13);
        let mut barycenter = LinearisedBarycenter::new(solution).unwrap().with_solver(solver).unwrap();
        barycenter.pull_back(&cotangent).unwrap().lambda()
    };
    let expected: Vec<f64> = gradient(&solution).into_iter().map(|slope| slope / 7.0).collect();
    assert!(expected.iter().any(|slope| slope.abs() > 1e-4));
    assert_agree("lambda", &gradient(&settings.solve(&scaled).unwrap()), &expected, 1e-9, 1e-4);
}

/// An input without weight moves nothing, and what it would bring is known.
#[test]
fn inputs_of_weight_zero() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let inputs = Inputs::new(&[None; 3], &[0.4, 0.6, 0.0]);
    let mut barycenter = linearised(&backend, &inputs);
    let mut moving = inputs.rest();
    moving.points[2] = noise(71, moving.points[2].len());
    let change = barycenter.push_forward(&moving.tangent()).unwrap().measure().unwrap();
    assert!(change.iter().all(|change| change.abs() < 1e-12), "{change:?}");
    let gains = BarycenterTangent::new().lambda(vec![0.0, 0.0, 1.0]);
    let found = barycenter.push_forward(&gains).unwrap().measure().unwrap();
    let at = |gain| Inputs { lambda: vec![0.4, 0.6, gain], ..inputs.clone() }.solve(&backend).measure(0).unwrap();
    // One-sided, of second order.
    let step = 1e-5;
    let [none, one, two] = [0.0, step, 2.0 * step].map(at);
    let expected: Vec<f64> = none
        .iter()
        .zip(&one)
        .zip(&two)
        .map(|((none, one), two)| (4.0 * one - two - 3.0 * none) / (2.0 * step))
        .collect();
    assert_agree("a weight of zero", &found, &expected, 1e-6, 1e-2);
}

/// What does not fit is refused, and a system that is cut short is told.
#[test]
fn bad_requests_are_told() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let inputs = Inputs::new(&[None; 2], &[0.3, 0.7]);
    let mut barycenter = linearised(&backend, &inputs);
    let length = barycenter.pull_back(&[1.0; 3]).map(|_| ()).err();
    assert!(matches!(length, Some(Error::Length { expected: 6, found: 3, .. })), "{length:?}");
    let heavier = Tangent::new().weights(Side::Source, vec![0.1; 4]);
    let refused = |tangent: &BarycenterTangent<f64>, barycenter: &mut LinearisedBarycenter<_>| {
        let refused = barycenter.push_forward(tangent).map(|_| ()).err();
        assert!(matches!(refused, Some(Error::Parameter { .. } | Error::Length { .. })), "{tangent:?}: {refused:?}");
    };
    refused(&BarycenterTangent::new().input(0, heavier.clone()), &mut barycenter);
    refused(&BarycenterTangent::new().input(2, Tangent::new()), &mut barycenter);
    refused(&BarycenterTangent::new().input(0, Tangent::new().epsilon(1.0)), &mut barycenter);
    refused(&BarycenterTangent::new().lambda(vec![1.0; 3]), &mut barycenter);
    refused(&BarycenterTangent::new().lambda(vec![1.0, f64::NAN]), &mut barycenter);
    // All inputs together may gain mass.
    let [one, other] = [4, 5].map(|len| Tangent::new().weights(Side::Source, vec![0.1 / f64::from(len); len as usize]));
    assert!(barycenter.push_forward(&BarycenterTangent::new().input(0, one).input(1, other)).is_ok());

    let solver = LinearSolver::new().max_steps(1);
    let mut hurried = LinearisedBarycenter::new(&inputs.solve(&backend)).unwrap().with_solver(solver).unwrap();
    let solve = hurried.pull_back(&noise(81, 6)).unwrap().solve();
    assert!(solve.status == Status::IterationLimit && solve.residual > 1e-10, "{solve:?}");
}

/// One unknown measure, as the target of every term, is all that is known.
#[test]
fn several_unknown_measures_are_refused() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let mut terms = Inputs::new(&[None; 2], &[0.3, 0.7]).problem(&backend).terms().to_vec();
    terms[1].ends = [End::Given, End::Unknown(1)];
    let solution = BregmanProjections::new().solve(&JointProblem::new(terms).unwrap()).unwrap();
    let refused = LinearisedBarycenter::new(&solution).map(|_| ()).err();
    assert!(matches!(refused, Some(Error::MissingCapability(_))), "{refused:?}");
}
