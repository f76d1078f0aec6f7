//! Histograms on a line, and what every barycenter must satisfy.

use ot_core::{Epsilon, Host, JointProblem, JointSolution, Measure, PointCloud, SqEuclidean, certify_joint};
use ot_cpu::CpuBackend;
use ot_solvers::{Barycenter, BregmanProjections};

use crate::support::normalized;

pub type Cloud = PointCloud<'static, f64>;

/// `len` points of a line from -half to half.
pub fn line(len: usize, half: f64) -> Vec<f64> {
    (0..len).map(|i| half * (2.0 * i as f64 / (len - 1) as f64 - 1.0)).collect()
}

/// A histogram of mass one on points of a line.
pub fn on(points: &[f64], density: impl Fn(f64) -> f64) -> Cloud {
    let weights = normalized(points.iter().map(|&x| density(x)).collect());
    PointCloud::new(points.to_vec(), 1, weights).unwrap()
}

pub fn uniform(points: &[f64]) -> Cloud {
    PointCloud::uniform(points.to_vec(), 1).unwrap()
}

pub fn bump(centre: f64, deviation: f64) -> impl Fn(f64) -> f64 {
    move |x| (-0.5 * ((x - centre) / deviation).powi(2)).exp()
}

/// Three shapes with sharp edges and gaps, on points of [-1, 1].
pub fn shapes(points: &[f64]) -> [Cloud; 3] {
    let inside = |x: f64, low: f64, high: f64| f64::from(u8::from((low..high).contains(&x)));
    [
        on(points, |x| inside(x, -0.8, -0.4)),
        on(points, |x| inside(x, -0.1, 0.1) + 2.0 * inside(x, 0.5, 0.7)),
        on(points, |x| inside(x, 0.2, 0.9) * (1.0 + x)),
    ]
}

pub fn measures(inputs: &[Cloud]) -> Vec<&dyn Measure<f64>> {
    inputs.iter().map(|input| input as &dyn Measure<f64>).collect()
}

/// Squared distances on the support of the reference, prescribed inputs.
pub fn problem(
    backend: &CpuBackend<f64>,
    inputs: &[Cloud],
    weights: &[f64],
    reference: &Cloud,
    epsilon: f64,
) -> JointProblem<Host<f64>> {
    Barycenter::new(backend, reference, &SqEuclidean, Epsilon::Absolute(epsilon))
        .inputs(&measures(inputs), weights)
        .unwrap()
        .problem()
        .unwrap()
}

/// Solves, and rechecks what is proven from what was returned.
#[track_caller]
pub fn solve(settings: &BregmanProjections, problem: &JointProblem<Host<f64>>) -> JointSolution<Host<f64>> {
    let solution = settings.solve(problem).unwrap();
    let potentials: Vec<_> = solution.potentials().iter().map(AsRef::as_ref).collect();
    let measures: Vec<_> = solution.measures().iter().map(AsRef::as_ref).collect();
    let certificates = certify_joint(problem, &potentials, &measures).unwrap();
    assert_eq!(certificates, solution.certificates());
    for certificate in &certificates {
        assert!(certificate.gap >= 0.0 && certificate.dual <= certificate.primal, "{certificate:?}");
    }
    solution
}

pub fn variance(points: &[f64], p: &[f64]) -> f64 {
    let mass: f64 = p.iter().sum();
    let mean = points.iter().zip(p).map(|(x, p)| x * p).sum::<f64>() / mass;
    points.iter().zip(p).map(|(x, p)| (x - mean).powi(2) * p).sum::<f64>() / mass
}

pub fn l1(left: &[f64], right: &[f64]) -> f64 {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).map(|(left, right)| (left - right).abs()).sum()
}
