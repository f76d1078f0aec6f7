//! Several plans that share an unknown measure, on the reference geometry: their certificate against closed forms, and
//! where it must say no.

use std::sync::Arc;

use ot_conformance::ReferenceBackend;
use ot_core::{
    ActiveColumns, Backend, Balanced, CTransform, Certificate, End, Epsilon, Error, Host, JointProblem, JointSolution,
    JointTerm, Kl, PointCloud, Potentials, Problem, RecordedPenalty, ReferenceGeometry, Side, SqEuclidean, Status,
    Support, certify_joint, host::HostVector,
};

type Reference = ReferenceBackend<f64>;
const EPSILON: f64 = 1.0;

/// Points of a line, the support of everything.
fn line() -> Vec<f64> {
    (0..161).map(|i| -8.0 + 0.1 * f64::from(i)).collect()
}

fn normal(deviation: f64) -> Vec<f64> {
    let density: Vec<f64> = line().iter().map(|x| (-0.5 * (x / deviation).powi(2)).exp()).collect();
    let total: f64 = density.iter().sum();
    density.iter().map(|value| value / total).collect()
}

/// The barycenter of two normal laws of these deviations, with the uniform measure as reference.
fn problem(
    deviations: [f64; 2],
    weights: [f64; 2],
    penalty: &RecordedPenalty,
) -> Result<JointProblem<Host<f64>>, Error> {
    let points = line();
    let support = || Ok::<_, Error>(Support::Points(ot_core::PointsView::new(&points, 1)?));
    let geometry =
        Arc::new(ReferenceGeometry::new(Arc::new(Reference::default()), support()?, support()?, &SqEuclidean)?);
    let cloud = |weights: Vec<f64>| PointCloud::new(points.clone(), 1, weights);
    let reference = cloud(vec![1.0 / points.len() as f64; points.len()])?;
    let term = |(deviation, weight): (f64, f64)| {
        let (input, epsilon) = (cloud(normal(deviation))?, Epsilon::Absolute(EPSILON));
        let problem = Problem::unbalanced(geometry.clone(), &input, &reference, epsilon, penalty, &Balanced)?;
        Ok::<_, Error>(JointTerm { problem, weights: vec![weight], ends: [End::Given, End::Unknown(0)] })
    };
    JointProblem::new(deviations.into_iter().zip(weights).map(term).collect::<Result<_, _>>()?)
}

/// Potentials of each term, and the masses of the unknown measure.
type Iterate = (Vec<Potentials<Host<f64>>>, HostVector<f64>);

/// Iterative Bregman projections (Benamou et al. 2015): potentials of each term, and the barycenter.
fn project(joint: &JointProblem<Host<f64>>, iterations: usize) -> Result<Iterate, Error> {
    let backend = Reference::default();
    let (len, all) = (joint.unknown()[0], ActiveColumns::all(1));
    let total: f64 = joint.terms().iter().map(|term| term.weight(0)).sum();
    let mut kernels = joint.terms().iter().map(|term| term.problem.bind()).collect::<Result<Vec<_>, _>>()?;
    let zeros = || {
        Ok::<_, Error>(Potentials { source: backend.alloc(len, 1)?, target: backend.alloc(len, 1)?, epsilon: EPSILON })
    };
    let mut potentials = joint.terms().iter().map(|_| zeros()).collect::<Result<Vec<_>, _>>()?;
    let mut barycenter = backend.alloc(len, 1)?;
    for _ in 0..iterations {
        let mut softmins = Vec::new();
        for ((term, kernel), own) in joint.terms().iter().zip(&mut kernels).zip(&mut potentials) {
            let mut transform = |side: Side, own: &Potentials<Host<f64>>| -> Result<HostVector<f64>, Error> {
                let (mut out, penalty) = (backend.alloc(len, 1)?, term.problem.marginal(side).penalty());
                let request = CTransform { side, plan: term.problem.view(own), penalty, active: &all };
                kernel.c_transform(&backend, request, &mut out, None)?;
                Ok(out)
            };
            own.source = transform(Side::Source, own)?;
            softmins.push(transform(Side::Target, own)?);
        }
        // log (p / m) = -sum_k lambda_k s_k / epsilon, and g_k = s_k + epsilon log (p / m).
        let mean: Vec<f64> = (0..len)
            .map(|j| {
                joint.terms().iter().zip(&softmins).map(|(term, s)| term.weight(0) * s.values()[j]).sum::<f64>() / total
            })
            .collect();
        for (own, softmin) in potentials.iter_mut().zip(&softmins) {
            let centred: Vec<f64> = softmin.values().iter().zip(&mean).map(|(s, mean)| s - mean).collect();
            own.target = backend.upload(&centred, 1)?;
        }
        let masses: Vec<f64> = mean.iter().map(|mean| (-mean / EPSILON).exp() / len as f64).collect();
        barycenter = backend.upload(&masses, 1)?;
    }
    Ok((potentials, barycenter))
}

fn certify(
    joint: &JointProblem<Host<f64>>,
    potentials: &[Potentials<Host<f64>>],
    p: &HostVector<f64>,
) -> Result<Certificate, Error> {
    Ok(certify_joint(joint, &potentials.iter().collect::<Vec<_>>(), &[p])?.swap_remove(0))
}

fn variance(p: &[f64]) -> f64 {
    let mass: f64 = p.iter().sum();
    line().iter().zip(p).map(|(x, p)| x * x * p).sum::<f64>() / mass
}

#[test]
fn a_barycenter_of_normal_laws_is_the_one_of_the_closed_form() {
    let balanced = RecordedPenalty::new(&Balanced).unwrap();
    let joint = problem([0.7, 1.5], [0.3, 0.7], &balanced).unwrap();
    let (potentials, p) = project(&joint, 60).unwrap();
    // sum_k lambda_k sigma_k^2 / (sqrt(epsilon^2 / 16 + sigma_k^2 S) - epsilon / 4) = 1 has the root 2.0913.
    let expected: f64 = 2.0913;
    let condition: f64 = [(0.3, 0.49), (0.7, 2.25)]
        .map(|(weight, square): (f64, f64)| weight * square / ((1.0 / 16.0 + square * expected).sqrt() - 0.25))
        .iter()
        .sum();
    assert!((condition - 1.0).abs() < 1e-4);
    assert!((variance(p.values()) - expected).abs() < 1e-4, "{}", variance(p.values()));

    let certificate = certify(&joint, &potentials, &p).unwrap();
    assert!(certificate.meets(1e-9), "{certificate:?}");
    assert!(certificate.gap >= 0.0 && certificate.gap < 1e-9, "{certificate:?}");
    assert!((certificate.primal - certificate.dual - certificate.gap).abs() < 1e-12);
    assert!((certificate.mass - 1.0).abs() < 1e-9);
}

/// Bounds hold far from the optimum too, at potentials that do not cancel and measures of another mass.
#[test]
fn bounds_of_any_iterate_hold() {
    let balanced = RecordedPenalty::new(&Balanced).unwrap();
    for penalty in [balanced, RecordedPenalty::new(&Kl::new(2.0).unwrap()).unwrap()] {
        let joint = problem([0.7, 1.5], [2.0, 1.0], &penalty).unwrap();
        let (potentials, p) = project(&joint, 80).unwrap();
        let best = certify(&joint, &potentials, &p).unwrap();
        assert!(best.gap < 1e-8 && best.meets(1e-8), "{best:?}");
        for iterations in 1..4 {
            let (mut potentials, p) = project(&joint, iterations).unwrap();
            for (k, own) in potentials.iter_mut().enumerate() {
                let shifted: Vec<f64> = own
                    .target
                    .values()
                    .iter()
                    .enumerate()
                    .map(|(j, g)| g + 0.01 * (j % 7) as f64 + 0.1 * k as f64)
                    .collect();
                own.target = Reference::default().upload(&shifted, 1).unwrap();
            }
            let found = certify(&joint, &potentials, &p).unwrap();
            assert!(found.dual <= best.primal && best.dual <= found.primal, "{found:?} {best:?}");
            assert!(found.gap > 1e-5 && found.primal - found.dual <= found.gap * (1.0 + 1e-9), "{found:?}");
        }
    }
}

/// The value of any measure is an upper bound, with atoms without mass among them; the plan's mass there is not claimed.
#[test]
fn a_measure_with_zeros_is_certified() {
    let balanced = RecordedPenalty::new(&Balanced).unwrap();
    let joint = problem([0.7, 1.5], [0.5, 0.5], &balanced).unwrap();
    let (potentials, p) = project(&joint, 60).unwrap();
    let best = certify(&joint, &potentials, &p).unwrap();
    let cut: Vec<f64> = line().iter().zip(p.values()).map(|(x, p)| if x.abs() < 2.0 { *p } else { 0.0 }).collect();
    let cut = Reference::default().upload(&cut, 1).unwrap();
    let found = certify(&joint, &potentials, &cut).unwrap();
    assert!(found.primal > best.primal + 1e-3 && found.primal.is_finite());
    assert!((found.dual - best.dual).abs() < 1e-6 && found.dual <= best.primal, "{found:?} {best:?}");
    assert!(found.primal - found.dual <= found.gap * (1.0 + 1e-9) && found.marginal_error > 1e-2);
}

#[test]
fn a_solution_reads_like_one_of_two_marginals() {
    let balanced = RecordedPenalty::new(&Balanced).unwrap();
    let joint = problem([0.7, 1.5], [0.5, 0.5], &balanced).unwrap();
    let (potentials, p) = project(&joint, 60).unwrap();
    let certificates = vec![certify(&joint, &potentials, &p).unwrap()];
    let potentials = potentials.into_iter().map(Arc::new).collect();
    let solution =
        JointSolution::new(joint, vec![Arc::new(p)], potentials, vec![Status::Converged], certificates, 60, Vec::new());
    assert!(solution.status().is_converged() && solution.certificate().meets(1e-9));
    let p = solution.measure(0).unwrap();
    // Both plans have the barycenter as their marginal.
    for term in 0..2 {
        let dense = solution.plan(term).unwrap().to_dense(0).unwrap();
        for (j, p) in p.iter().enumerate() {
            let column: f64 = dense.chunks_exact(161).map(|row| row[j]).sum();
            assert!((column - p).abs() < 1e-10, "{column} {p}");
        }
    }
}

#[test]
fn terms_that_do_not_fit_are_refused() {
    let balanced = RecordedPenalty::new(&Balanced).unwrap();
    let terms = problem([0.7, 1.5], [0.5, 0.5], &balanced).unwrap().terms().to_vec();
    let parameter = |terms: Vec<JointTerm<Host<f64>>>| matches!(JointProblem::new(terms), Err(Error::Parameter { .. }));
    assert!(parameter(Vec::new()));
    // A sum of weights that is zero or overflows, and numbers that are no weights.
    for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(parameter(vec![JointTerm { weights: vec![weight], ..terms[0].clone() }]));
    }
    assert!(parameter(terms.iter().map(|term| JointTerm { weights: vec![f64::MAX], ..term.clone() }).collect()));
    let two = JointTerm { weights: vec![0.5, 0.5], ..terms[0].clone() };
    assert!(matches!(JointProblem::new(vec![two]), Err(Error::Length { expected: 1, found: 2, .. })));
    assert!(parameter(vec![JointTerm { ends: [End::Unknown(0), End::Unknown(0)], ..terms[0].clone() }]));
    assert!(parameter(vec![JointTerm { ends: [End::Given, End::Unknown(1)], ..terms[0].clone() }]));
    assert!(parameter(vec![JointTerm { ends: [End::Given, End::Unknown(usize::MAX)], ..terms[0].clone() }]));
    let mut other = terms.clone();
    other[1].problem = other[1].problem.with_epsilon(2.0).unwrap();
    assert!(parameter(other));
    let kl = RecordedPenalty::new(&Kl::new(1.0).unwrap()).unwrap();
    let free = problem([0.7, 1.5], [0.5, 0.5], &kl).unwrap().terms()[0].clone();
    assert!(parameter(vec![JointTerm { ends: [End::Unknown(0), End::Given], ..free }]));

    let joint = JointProblem::new(terms).unwrap();
    let (potentials, p) = project(&joint, 1).unwrap();
    let one: Vec<_> = potentials.iter().take(1).collect();
    assert!(matches!(certify_joint(&joint, &one, &[&p]), Err(Error::Length { .. })));
    let short = Reference::default().alloc(3, 1).unwrap();
    let all: Vec<_> = potentials.iter().collect();
    assert!(matches!(certify_joint(&joint, &all, &[&short]), Err(Error::Length { .. })));
}
