//! The entropic map, at the atoms and away from them.

use ot_conformance::problems::Gaussians;
use ot_core::{Epsilon, Error, PointCloud, Side, SqEuclidean};
use ot_solvers::{EntropicMap, transport};

use crate::support::backends;

#[test]
fn at_the_atoms_it_is_the_barycentric_projection() {
    for backend in backends(1) {
        let points: Vec<f64> = (0..24).map(|k| (0.7 * f64::from(k)).sin()).collect();
        let others: Vec<f64> = (0..30).map(|k| 1.0 + (0.9 * f64::from(k)).cos()).collect();
        let (a, b) = (PointCloud::uniform(&points, 2).unwrap(), PointCloud::uniform(&others, 2).unwrap());
        let solution = transport(&backend, &a, &b, &SqEuclidean, Epsilon::Absolute(0.1)).unwrap();
        let map = EntropicMap::new(&backend, &solution, &b, &SqEuclidean).unwrap();
        let projected = solution.plan().unwrap().barycentric_projection(Side::Source, &others, 2).unwrap();
        for (image, expected) in map.images(&points).unwrap().iter().zip(&projected) {
            assert!((image - expected).abs() < 1e-12);
        }
        // Labels: indicators stay shares.
        let labels: Vec<f64> = (0..15).flat_map(|k| [f64::from(k % 2), f64::from(1 - k % 2)]).collect();
        for shares in map.means(&[0.3, 0.2, -4.0, 9.0], &labels, 2).unwrap().chunks(2) {
            assert!((shares[0] + shares[1] - 1.0).abs() < 1e-12 && shares[0] >= 0.0);
        }
    }
}

#[test]
fn between_gaussians_it_is_a_straight_line() {
    let closed = Gaussians { means: [0.0, 1.0], deviations: [0.5, 1.0], epsilon: 0.2 };
    let (a, b) = (closed.source::<f64>(200).unwrap(), closed.target(200).unwrap());
    for backend in backends(1) {
        let solution = transport(&backend, &a, &b, &SqEuclidean, Epsilon::Absolute(0.2)).unwrap();
        let map = EntropicMap::new(&backend, &solution, &b, &SqEuclidean).unwrap();
        let points = [-0.77, -0.123, 0.0, 0.456, 1.01];
        for (x, image) in points.iter().zip(map.images(&points).unwrap()) {
            assert!((image - closed.map(*x)).abs() < 1e-4, "{x}: {image} is not {}", closed.map(*x));
        }
    }
}

#[test]
fn targets_that_do_not_fit_are_refused() {
    let [backend, _] = backends(1);
    let a = PointCloud::uniform(vec![0.0, 1.0], 1).unwrap();
    let solution = transport(&backend, &a, &a, &SqEuclidean, Epsilon::Absolute(0.1)).unwrap();
    let other = PointCloud::uniform(vec![0.0, 1.0, 2.0], 1).unwrap();
    assert!(matches!(EntropicMap::new(&backend, &solution, &other, &SqEuclidean), Err(Error::Length { .. })));
    let map = EntropicMap::new(&backend, &solution, &a, &SqEuclidean).unwrap();
    assert!(matches!(map.images(&[f64::NAN]), Err(Error::Coordinate { .. })));
    assert!(matches!(map.means(&[0.5], &[1.0], 1), Err(Error::Length { .. })));
}
