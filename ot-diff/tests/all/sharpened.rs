//! Derivatives of barycenters of bounded entropy: differences of solves, the transpose of each other, and their limits.

use ot_conformance::{DeferredBuilder, ReferenceBackend};
use ot_core::{Device, Error, GeometryBuilder, JointSolution};
use ot_cpu::CpuBackend;
use ot_diff::{BarycenterTangent, LinearSolver, LinearisedBarycenter, barycenter_and_pullback};
use ot_solvers::{Annealing, BoundedEntropy, BregmanProjections, EntropyBound};

use crate::{
    barycenter::Inputs,
    data::{assert_agree, difference, dot, noise},
};

/// Of differences of solves.
const DIFFERENCES: f64 = 1e-6;
/// Of a transpose.
const TRANSPOSE: f64 = 1e-10;

/// The data of a sharpened barycenter, or a direction.
#[derive(Clone, Debug)]
struct Sharp {
    inputs: Inputs,
    /// One for each column.
    bounds: Vec<f64>,
}

impl Sharp {
    /// So much less entropy than without a bound.
    fn less(inputs: Inputs, less: &[f64]) -> Self {
        let backend = CpuBackend::<f64>::new(1).unwrap();
        let problem = inputs.problem(&backend);
        let blurred = BregmanProjections::new().tolerance(1e-12).solve(&problem).unwrap().measure(0).unwrap();
        let bounds =
            blurred.chunks_exact(inputs.reference.len()).zip(less).map(|(p, less)| entropy(p) - less).collect();
        Self { inputs, bounds }
    }

    fn solve<D: Device<Elem = f64>>(&self, builder: &dyn GeometryBuilder<Device = D>) -> JointSolution<D> {
        let problem = self.inputs.problem(builder);
        let without = BregmanProjections::new().tolerance(1e-10).annealing(Annealing::Off).solve(&problem).unwrap();
        let settings =
            BoundedEntropy::new().bound(EntropyBound::At(self.bounds.clone())).tolerance(1e-13).max_iterations(20_000);
        let solution = settings.run(&problem).start(&without).solve().unwrap();
        let errors = || solution.certificates().iter().map(|certificate| certificate.marginal_error);
        assert!(errors().all(|error| error < 1e-12), "{:?}", errors().collect::<Vec<_>>());
        solution
    }

    fn moved(&self, direction: &Self, step: f64) -> Self {
        let bounds = self.bounds.iter().zip(&direction.bounds).map(|(bound, moves)| bound + step * moves).collect();
        Self { inputs: self.inputs.moved(&direction.inputs, step), bounds }
    }

    fn tangent(&self) -> BarycenterTangent<f64> {
        let tangent = self.inputs.tangent().entropy_bound(self.bounds.clone());
        match self.inputs.reference.iter().any(|moves| *moves != 0.0) {
            true => tangent.reference(self.inputs.reference.repeat(self.bounds.len())),
            false => tangent,
        }
    }

    fn directions(&self) -> Vec<(&'static str, Self)> {
        let resting = vec![0.0; self.bounds.len()];
        let with = |(what, inputs)| (what, Self { inputs, bounds: resting.clone() });
        let mut directions: Vec<_> = self.inputs.directions().into_iter().map(with).collect();
        let mut reference = self.inputs.rest();
        reference.reference = noise(35, reference.reference.len()).into_iter().map(|x| 0.05 * x).collect();
        directions.push(with(("reference", reference)));
        let mut masses = self.inputs.rest();
        for weights in &mut masses.weights {
            let len = weights.len() as f64;
            weights.iter_mut().for_each(|weight| *weight = 0.1 / len);
        }
        directions.push(with(("masses", masses)));
        directions.push(("bound", Self { inputs: self.inputs.rest(), bounds: vec![1.0; self.bounds.len()] }));
        directions
    }
}

/// Of p over its mass.
fn entropy(p: &[f64]) -> f64 {
    let mass: f64 = p.iter().sum();
    -p.iter().map(|p| if *p > 0.0 { p / mass * (p / mass).ln() } else { 0.0 }).sum::<f64>()
}

fn problems() -> Vec<(&'static str, Sharp)> {
    vec![
        ("two inputs", Sharp::less(Inputs::new(&[None; 2], &[0.3, 0.7]), &[0.05])),
        ("three inputs", Sharp::less(Inputs::new(&[None; 3], &[0.2, 0.5, 0.3]), &[0.15])),
        // The bound binds in the first column alone.
        ("a batch", Sharp::less(Inputs::new(&[None; 3], &[0.2, 0.5, 0.3, 0.6, 0.1, 0.3]), &[0.1, -0.2])),
        ("of both kinds", Sharp::less(Inputs::new(&[None, Some(0.8), None], &[0.2, 0.4, 0.4]), &[0.1])),
    ]
}

fn linearised<D: Device<Elem = f64>>(solution: &JointSolution<D>) -> LinearisedBarycenter<D> {
    let solver = LinearSolver::new().tolerance(1e-13);
    LinearisedBarycenter::new(solution).unwrap().with_solver(solver).unwrap()
}

/// The change of the barycenter is a difference of barycenters, and the pull-back is the transpose of it.
fn changes_are_differences<D: Device<Elem = f64>>(
    builder: &dyn GeometryBuilder<Device = D>,
    problems: &[(&str, Sharp)],
) {
    for (name, sharp) in problems {
        let solution = sharp.solve(builder);
        assert!(solution.powers().unwrap()[0] > 1.01, "{name}: {:?}", solution.powers());
        let mut barycenter = linearised(&solution);
        let cotangent = noise(41, barycenter.measure().unwrap().len());
        for (what, direction) in sharp.directions() {
            let tangent = direction.tangent();
            let change = barycenter.push_forward(&tangent).unwrap();
            assert!(change.solve().residual < 1e-12, "{name} in {what}: {:?}", change.solve());
            let found = change.measure().unwrap();
            let expected = difference(sharp.inputs.epsilon, |step| {
                sharp.moved(&direction, step).solve(builder).measure(0).unwrap()
            });
            assert_agree(&format!("{name} in {what}"), &found, &expected, DIFFERENCES, 1e-2);
            let mut gradient = barycenter.pull_back(&cotangent).unwrap();
            let pulled = gradient.along(&tangent).unwrap();
            let expected = dot(&found, &cotangent);
            assert_agree(&format!("transpose of {name} in {what}"), &[pulled], &[expected], TRANSPOSE, 1e-2);
        }
    }
}

#[test]
fn changes_are_differences_on_a_deferred_device() {
    changes_are_differences(&DeferredBuilder::new(ReferenceBackend::<f64>::default()), &problems()[1..2]);
}

#[test]
fn changes_are_differences_over_stored_costs() {
    changes_are_differences(&CpuBackend::<f64>::new(2).unwrap(), &problems());
}

/// Entropy moves with the bound and with nothing else.
#[test]
fn entropy_is_held() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let sharp = Sharp::less(Inputs::new(&[None; 3], &[0.2, 0.5, 0.3]), &[0.15]);
    let (p, mut barycenter) = barycenter_and_pullback(&sharp.solve(&backend)).unwrap();
    let mass: f64 = p.iter().sum();
    let slope: Vec<f64> = p.iter().map(|p| -(p / mass).ln() / mass).collect();
    let mut gradient = barycenter.pull_back(&slope).unwrap();
    assert!(gradient.solve().status.is_converged(), "{:?}", gradient.solve());
    assert_agree("bound", gradient.entropy_bound(), &[1.0], 1e-9, 1.0);
    assert_agree("lambda", &gradient.lambda(), &[0.0; 3], 1e-9, 1.0);
    assert_agree("epsilon", &[gradient.epsilon().unwrap()], &[0.0], 1e-9, 1.0);
    assert_agree("support", &gradient.support().unwrap(), &[0.0; 12], 1e-9, 1.0);
}

/// The bound of the inputs moves with the weights of that of most entropy.
#[test]
fn bounds_of_inputs_move_with_them() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let mut inputs = Inputs::new(&[None; 2], &[0.3, 0.7]);
    inputs.points = vec![inputs.support.clone(), inputs.support.clone()];
    inputs.weights = vec![vec![0.51, 0.27, 0.15, 0.15, 0.11, 0.11], vec![0.12, 0.12, 0.12, 0.11, 0.27, 0.56]];
    let solve = |inputs: &Inputs| {
        let problem = inputs.problem(&backend);
        let without = BregmanProjections::new().tolerance(1e-10).solve(&problem).unwrap();
        let settings = BoundedEntropy::new().tolerance(1e-13).max_iterations(20_000);
        settings.run(&problem).start(&without).solve().unwrap()
    };
    let solution = solve(&inputs);
    assert!(solution.powers().unwrap()[0] > 1.01, "{:?}", solution.powers());
    let mut direction = inputs.rest();
    direction.weights[0] = vec![0.05, -0.02, 0.01, -0.03, 0.02, -0.03];
    let (a, mass, bound) = (&inputs.weights[0], 1.3, entropy(&inputs.weights[0]));
    let moved: f64 = a.iter().zip(&direction.weights[0]).map(|(a, da)| -da * ((a / mass).ln() + bound) / mass).sum();
    let tangent = direction.tangent().entropy_bound(vec![moved]);
    let found = linearised(&solution).push_forward(&tangent).unwrap().measure().unwrap();
    let expected = difference(inputs.epsilon, |step| solve(&inputs.moved(&direction, step)).measure(0).unwrap());
    assert_agree("weights and bound", &found, &expected, DIFFERENCES, 1e-2);
}

/// A bound that does not bind changes no derivative.
#[test]
fn bounds_that_do_not_bind() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let inputs = Inputs::new(&[None; 3], &[0.2, 0.5, 0.3]);
    let loose = Sharp::less(inputs.clone(), &[-0.1]).solve(&backend);
    assert_eq!(loose.powers(), Some(&[1.0][..]));
    let without = BregmanProjections::new().tolerance(1e-13).solve(&inputs.problem(&backend)).unwrap();
    let cotangent = noise(61, 6);
    let [found, expected] = [&loose, &without].map(|solution| {
        let mut barycenter = linearised(solution);
        let mut gradient = barycenter.pull_back(&cotangent).unwrap();
        assert_eq!(gradient.entropy_bound(), [0.0]);
        [gradient.lambda(), gradient.support().unwrap()].concat()
    });
    assert_agree("gradient", &found, &expected, 1e-9, 1e-2);
}

/// An input without weight moves nothing, and what it would bring is known in both modes.
#[test]
fn inputs_of_weight_zero() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let sharp = Sharp::less(Inputs::new(&[None; 3], &[0.4, 0.6, 0.0]), &[0.1]);
    let mut barycenter = linearised(&sharp.solve(&backend));
    let mut moving = sharp.inputs.rest();
    moving.points[2] = noise(71, moving.points[2].len());
    let change = barycenter.push_forward(&moving.tangent()).unwrap().measure().unwrap();
    assert!(change.iter().all(|change| change.abs() < 1e-12), "{change:?}");
    let gains = BarycenterTangent::new().lambda(vec![0.0, 0.0, 1.0]);
    let found = barycenter.push_forward(&gains).unwrap().measure().unwrap();
    let cotangent = noise(72, 6);
    let pulled = barycenter.pull_back(&cotangent).unwrap().along(&gains).unwrap();
    assert!(found.iter().any(|change| change.abs() > 1e-3));
    assert_agree("transpose", &[pulled], &[dot(&found, &cotangent)], TRANSPOSE, 1e-2);
}

/// What does not fit is refused.
#[test]
fn bad_requests_are_told() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let mut barycenter = linearised(&Sharp::less(Inputs::new(&[None; 2], &[0.3, 0.7]), &[0.1]).solve(&backend));
    let mut refused = |tangent: BarycenterTangent<f64>| barycenter.push_forward(&tangent).map(|_| ()).err();
    assert!(matches!(refused(BarycenterTangent::new().entropy_bound(vec![1.0; 3])), Some(Error::Length { .. })));
    assert!(matches!(refused(BarycenterTangent::new().entropy_bound(vec![f64::NAN])), Some(Error::Parameter { .. })));
    assert!(matches!(refused(BarycenterTangent::new().entropy_bound(Vec::new())), Some(Error::Length { .. })));
    let own = BarycenterTangent::new().own(ot_diff::Tangent::new());
    assert!(matches!(refused(own), Some(Error::MissingCapability(_))));
    let mut gradient = barycenter.pull_back(&[1.0; 6]).unwrap();
    assert!(matches!(gradient.own().map(|_| ()).err(), Some(Error::MissingCapability(_))));
}
