//! The numbers of another library, with the conversion that the documentation states.

use ot_core::{Epsilon, GeometryBuilder, Measure, PointCloud, Problem, SqEuclidean, SquaredL2};
use ot_solvers::DualAscent;

use super::support::*;
use crate::support::{cloud, cpu};

/// Uniform weights, squared distances, (reg / 2) sum P^2: POT 0.9.7, `ot.smooth.smooth_ot_dual(a, b, C, reg,
/// reg_type="l2", stopThr=1e-15, numItermax=20000)`, of which <P, C> + reg / 2 sum P^2 and the number of
/// positive entries are listed. Its marginals are off by 1e-7 at most.
const POT: [(usize, usize, f64, f64, usize); 6] = [
    (6, 6, 100.0, 1.638339692784621, 36),
    (6, 6, 10.0, 0.379083347975783, 36),
    (6, 6, 1.0, 0.216668409763578, 25),
    (12, 9, 100.0, 0.829542193681258, 108),
    (12, 9, 10.0, 0.332433072345053, 74),
    (12, 9, 1.0, 0.221517251262362, 37),
];

#[test]
fn squares_that_are_not_weighted_are_converted() {
    let backend = cpu(1);
    for (n, m, strength, expected, positive) in POT {
        // The points of `cloud`, of which only weights are others.
        let points = |seed, len, shift| cloud(seed, len, shift, 1.0).points().coordinates().to_vec();
        let a = PointCloud::uniform(points(1, n, 0.0), 2).unwrap();
        let b = PointCloud::uniform(points(2, m, 0.3), 2).unwrap();
        let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
        let epsilon = Epsilon::Absolute(SquaredL2::from_unweighted(strength, n, m));
        let problem = Problem::new(geometry, &a, &b, epsilon).unwrap().with_regularizer(&SquaredL2).unwrap();
        let solution = solve(&problem, 1e-10);
        let primal = solution.certificate().primal;
        assert!((primal - expected).abs() < 1e-6 * expected, "{n} x {m}, {strength}: {primal}, not {expected}");
        assert_eq!(solution.plan().unwrap().nonzeros(0, n * m).unwrap().len(), positive);
        let climbed = DualAscent::new().tolerance(1e-10).solve(&problem).unwrap();
        assert!((climbed.certificate().primal - expected).abs() < 1e-6 * expected);
    }
}
