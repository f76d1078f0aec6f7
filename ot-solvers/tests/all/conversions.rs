//! Values and potentials against the counting measure are what the entries of the plan say.

use ot_core::{
    CountingEntropy, Epsilon, Error, GeometryBuilder, Host, Kl, Measure, PointCloud, Problem, Solution, SqEuclidean,
    counting_potential,
};
use ot_cpu::CpuBackend;
use ot_solvers::Sinkhorn;

use crate::support::SIDES;

const EPSILON: f64 = 0.3;
const X: [f64; 3] = [0.0, 0.4, 1.1];
const Y: [f64; 4] = [0.2, 0.9, 1.5, 0.5];

/// Two problems of mass 2 in one batch, one of the atoms without weight.
fn batch() -> Result<Solution<Host<f64>>, Error> {
    let backend = CpuBackend::<f64>::new(1)?;
    let source = PointCloud::new(&X, 1, vec![0.5, 1.2, 0.3])?;
    let target = PointCloud::batch(&Y, 1, vec![0.6, 0.0, 0.9, 0.5, 0.1, 0.2, 1.3, 0.4], 2)?;
    let geometry = backend.geometry(source.support(), target.support(), &SqEuclidean)?;
    let problem = Problem::new(geometry, &source, &target, Epsilon::Absolute(EPSILON))?;
    Sinkhorn::new().tolerance(1e-13).solve(&problem)
}

#[test]
fn values_are_those_of_the_plan() -> Result<(), Error> {
    let solution = batch()?;
    let offsets =
        [CountingEntropy::Plain, CountingEntropy::WithMassTerm].map(|entropy| entropy.offset(solution.problem()));
    let [plain, with_mass] = offsets;
    let (plain, with_mass) = (plain?, with_mass?);
    for column in 0..2 {
        let plan = solution.plan()?.to_dense(column)?;
        let cost = plan.iter().enumerate().map(|(k, mass)| mass * (X[k / 4] - Y[k % 4]).powi(2)).sum::<f64>();
        let entropy: f64 = plan.iter().filter(|mass| **mass > 0.0).map(|mass| mass * mass.ln()).sum();
        let dual = solution.certificates()[column].dual;
        assert!((dual + plain[column] - (cost + EPSILON * entropy)).abs() < 1e-12, "{column}");
        assert!((dual + with_mass[column] - (cost + EPSILON * (entropy - 2.0))).abs() < 1e-12, "{column}");
    }
    Ok(())
}

#[test]
fn potentials_need_no_weights() -> Result<(), Error> {
    let solution = batch()?;
    let [u, v] = SIDES.map(|side| counting_potential(&solution, side));
    let (u, v) = (u?, v?);
    for column in 0..2 {
        let plan = solution.plan()?.to_dense(column)?;
        for (k, mass) in plan.into_iter().enumerate() {
            let (i, j) = (k / 4, k % 4);
            let exponent = (u[3 * column + i] + v[4 * column + j] - (X[i] - Y[j]).powi(2)) / EPSILON;
            assert!((exponent.exp() - mass).abs() < 1e-13, "{column}: {i}, {j}");
        }
    }
    assert_eq!(v[1], f64::NEG_INFINITY);
    Ok(())
}

#[test]
fn relaxed_marginals_have_no_constant() -> Result<(), Error> {
    let backend = CpuBackend::<f64>::new(1)?;
    let cloud = PointCloud::uniform(&X, 1)?;
    let geometry = backend.geometry(cloud.support(), cloud.support(), &SqEuclidean)?;
    let kl = Kl::new(1.0)?;
    let problem = Problem::unbalanced(geometry, &cloud, &cloud, Epsilon::Absolute(EPSILON), &kl, &kl)?;
    assert!(matches!(CountingEntropy::Plain.offset(&problem), Err(Error::MissingCapability(_))));
    Ok(())
}
