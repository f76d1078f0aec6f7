//! Partial transport against all choices of what moves.

use ot_core::{Epsilon, Error, PointCloud, SqEuclidean};
use ot_solvers::{PartialTransport, Sinkhorn, transport};

use crate::support::{assert_close, cloud, cpu};

/// The least cost of matching `moving` of four points to four others, by trying all.
fn least_cost(x: &[f64], y: &[f64], moving: usize) -> f64 {
    fn search(x: &[f64], y: &[f64], used: &mut Vec<bool>, row: usize, left: usize) -> f64 {
        if left == 0 {
            return 0.0;
        }
        if row + left > x.len() {
            return f64::INFINITY;
        }
        let mut least = search(x, y, used, row + 1, left);
        for column in 0..y.len() {
            if !used[column] {
                used[column] = true;
                let cost = (x[row] - y[column]).powi(2);
                least = least.min(cost + search(x, y, used, row + 1, left - 1));
                used[column] = false;
            }
        }
        least
    }
    search(x, y, &mut vec![false; y.len()], 0, moving)
}

fn settings(mass: f64) -> PartialTransport {
    PartialTransport::new(mass).sinkhorn(Sinkhorn::new().tolerance(1e-8).max_iterations(200_000))
}

#[test]
fn bounds_enclose_the_best_choice() {
    let backend = cpu(1);
    let (x, y) = (vec![0.0, 0.4, 1.1, 2.0], vec![0.1, 0.95, 1.3, 4.0]);
    let (a, b) = (PointCloud::uniform(x.clone(), 1).unwrap(), PointCloud::uniform(y.clone(), 1).unwrap());
    for moving in 1..=4 {
        let mass = moving as f64 / 4.0;
        let exact = least_cost(&x, &y, moving) / 4.0;
        let found = settings(mass).solve(&backend, &a, &b, &SqEuclidean, Epsilon::Absolute(0.01)).unwrap();
        let bounds = found.bounds().unwrap();
        let slack = 1e-9;
        assert!(bounds.lower <= exact + slack && exact <= bounds.upper + slack, "{moving}: {exact}, {bounds:?}");
        let status = found.solution().status();
        assert!(
            bounds.gap() <= 0.02,
            "{moving}: {bounds:?}, {status}, {}",
            found.solution().certificate().marginal_error
        );
        let plan = found.to_dense().unwrap();
        assert_eq!(plan.len(), 16);
        assert_close(plan.iter().sum(), mass, 1e-7);
        for i in 0..4 {
            let (row, column): (f64, f64) =
                ((0..4).map(|j| plan[4 * i + j]).sum(), (0..4).map(|j| plan[4 * j + i]).sum());
            assert!(row <= 0.25 + 1e-7 && column <= 0.25 + 1e-7);
        }
    }
}

#[test]
fn all_mass_is_transport_and_other_masses_less() {
    let backend = cpu(1);
    let (a, b) = (cloud(1, 15, 0.0, 1.0), cloud(2, 12, 0.3, 1.0));
    let epsilon = Epsilon::Absolute(0.02);
    let cost = |mass: f64| {
        let found = settings(mass).solve(&backend, &a, &b, &SqEuclidean, epsilon).unwrap();
        let certificate = *found.solution().certificate();
        assert!(certificate.gap.is_finite() && found.solution().status().is_converged());
        certificate.transport_cost.unwrap()
    };
    let whole = transport(&backend, &a, &b, &SqEuclidean, epsilon).unwrap();
    assert_close(cost(1.0), whole.certificate().transport_cost.unwrap(), 1e-5);
    let costs = [0.2, 0.5, 0.8, 1.0].map(cost);
    assert!(costs.windows(2).all(|pair| pair[0] < pair[1]), "{costs:?}");
}

#[test]
fn masses_that_are_none_are_refused() {
    let backend = cpu(1);
    let (a, b) = (cloud(1, 5, 0.0, 1.0), cloud(2, 6, 0.0, 2.0));
    for mass in [0.0, -1.0, 1.1, f64::NAN] {
        let refused = PartialTransport::new(mass).solve(&backend, &a, &b, &SqEuclidean, Epsilon::default());
        assert!(matches!(refused.unwrap_err(), Error::Parameter { .. }), "{mass}");
    }
    assert!(PartialTransport::new(1.0).solve(&backend, &a, &b, &SqEuclidean, Epsilon::default()).is_ok());
}

#[test]
fn all_of_the_mass_is_taken_whatever_its_sum_rounds_to() {
    let backend = cpu(1);
    let three = PointCloud::new(vec![0.0, 1.0, 2.0], 1, vec![0.6, 0.3, 0.1]).unwrap();
    let many: Vec<f64> = (0..49).map(f64::from).collect();
    let many = PointCloud::new(many, 1, vec![1.0 / 49.0; 49]).unwrap();
    assert!(three.weights_view().mass(0) != 1.0 || many.weights_view().mass(0) != 1.0);
    for cloud in [&three, &many] {
        let found = settings(1.0).solve(&backend, cloud, cloud, &SqEuclidean, Epsilon::Absolute(0.05)).unwrap();
        assert_close(found.to_dense().unwrap().iter().sum(), 1.0, 1e-7);
    }
}
