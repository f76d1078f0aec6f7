//! Gaussians.

use nalgebra::DMatrix;
use ot_conformance::Seeded;
use ot_core::{Error, PointCloud, SqEuclidean, Support};
use ot_solvers::{BuresBarycenter, Gaussian, exact::assign};

use super::support::{normals, refused, uniforms};
use crate::support::assert_close;

/// A covariance of some rank, row by row.
fn covariance(random: &mut Seeded, d: usize, rank: usize) -> Vec<f64> {
    let root = DMatrix::from_fn(d, rank, |_, _| random.normal());
    (&root * root.transpose()).as_slice().to_vec()
}

fn gaussian(random: &mut Seeded, d: usize, rank: usize) -> Gaussian {
    Gaussian::new(normals(random, d), covariance(random, d, rank)).unwrap()
}

fn assert_same(found: &Gaussian, expected: &Gaussian, tolerance: f64) {
    let (means, covariances) =
        (found.mean().iter().zip(expected.mean()), found.covariance().iter().zip(expected.covariance()));
    means.chain(covariances).for_each(|(found, expected)| assert_close(*found, *expected, tolerance));
}

/// T S T^T.
fn pushed(linear: &[f64], covariance: &[f64], d: usize) -> DMatrix<f64> {
    let t = DMatrix::from_row_slice(d, d, linear);
    &t * DMatrix::from_row_slice(d, d, covariance) * t.transpose()
}

#[test]
fn commuting_covariances_are_transported_root_by_root() {
    // Diagonals, turned by one rotation.
    let (sin, cos) = 0.7_f64.sin_cos();
    let turned = |x: f64, y: f64| {
        let off = (x - y) * sin * cos;
        vec![x * cos * cos + y * sin * sin, off, off, x * sin * sin + y * cos * cos]
    };
    let a = Gaussian::new(vec![1.0, 2.0], turned(4.0, 9.0)).unwrap();
    let b = Gaussian::new(vec![4.0, 6.0], turned(25.0, 1.0)).unwrap();
    assert_close(a.wasserstein(&b).unwrap(), (25.0_f64 + 9.0 + 4.0).sqrt(), 1e-14);
    assert_close(a.bures(&b).unwrap(), 13_f64.sqrt(), 1e-14);
    let linear = a.map_to(&b).unwrap().linear();
    for (found, expected) in linear.iter().zip(turned(2.5, 1.0 / 3.0)) {
        assert_close(*found, expected, 1e-13);
    }
    let quarter = a.interpolation(&b, 0.25).unwrap();
    assert_same(&quarter, &Gaussian::new(vec![1.75, 3.0], turned(2.75 * 2.75, 2.5 * 2.5)).unwrap(), 1e-13);
    let solution = BuresBarycenter::new().solve(&[a, b], &[3.0, 1.0]).unwrap();
    assert!(solution.status().is_converged() && solution.iterations() == 1);
    assert_same(solution.barycenter(), &quarter, 1e-13);
}

#[test]
fn the_formula_of_traces_agrees() {
    let mut random = Seeded::new(31);
    for d in [1, 2, 5, 12] {
        let (a, b) = (gaussian(&mut random, d, d + 1), gaussian(&mut random, d, d + 2));
        let [s, t] = [&a, &b].map(|gaussian| DMatrix::from_row_slice(d, d, gaussian.covariance()));
        // The eigenvalues of S T are those of S^1/2 T S^1/2.
        let roots: f64 = (&s * &t).complex_eigenvalues().iter().map(|value| value.re.max(0.0).sqrt()).sum();
        let expected = s.trace() + t.trace() - 2.0 * roots;
        assert_close(a.bures(&b).unwrap().powi(2), expected, 1e-10);
        assert_close(a.wasserstein(&b).unwrap(), b.wasserstein(&a).unwrap(), 1e-13);
    }
}

#[test]
fn close_gaussians_keep_their_distance() {
    // Standard deviations 1 and 1 + 1e-12: the formula of traces would give the rounding of 2.
    let near = 1.0 + 1e-12;
    let a = Gaussian::new(vec![0.0, 0.0], vec![1.0, 0.0, 0.0, 4.0]).unwrap();
    let b = Gaussian::new(vec![0.0, 0.0], vec![near * near, 0.0, 0.0, 4.0]).unwrap();
    assert!((a.bures(&b).unwrap() / 1e-12 - 1.0).abs() < 1e-2);
    assert_eq!(a.bures(&a).unwrap(), 0.0);
}

#[test]
fn maps_push_forward_and_interpolations_are_geodesics() {
    let mut random = Seeded::new(32);
    for d in [1, 3, 6] {
        let (a, b) = (gaussian(&mut random, d, d + 1), gaussian(&mut random, d, d + 1));
        let map = a.map_to(&b).unwrap();
        let image = pushed(&map.linear(), a.covariance(), d);
        image.iter().zip(b.covariance()).for_each(|(found, expected)| assert_close(*found, *expected, 1e-9));
        assert_eq!(map.images(a.mean()).unwrap(), b.mean());
        let linear = DMatrix::from_row_slice(d, d, &map.linear());
        assert!((&linear - linear.transpose()).amax() < 1e-9, "a gradient");
        assert!(linear.symmetric_eigenvalues().min() > 0.0, "of a convex function");

        let whole = a.wasserstein(&b).unwrap();
        let [early, late] = [0.2, 0.7].map(|t| a.interpolation(&b, t).unwrap());
        assert_close(a.wasserstein(&early).unwrap(), 0.2 * whole, 1e-9);
        assert_close(early.wasserstein(&late).unwrap(), 0.5 * whole, 1e-9);
        assert_same(&a.interpolation(&b, 0.0).unwrap(), &a, 1e-12);
        assert_same(&a.interpolation(&b, 1.0).unwrap(), &b, 1e-12);
    }
}

#[test]
fn singular_covariances_need_no_ridge() {
    let mut random = Seeded::new(33);
    let (flat, full) = (gaussian(&mut random, 4, 2), gaussian(&mut random, 4, 5));
    // From everywhere into a plane there is a map; out of the plane there is none, but a distance and a geodesic.
    let map = full.map_to(&flat).unwrap();
    let image = pushed(&map.linear(), full.covariance(), 4);
    image.iter().zip(flat.covariance()).for_each(|(found, expected)| assert_close(*found, *expected, 1e-8));
    assert!(refused(flat.map_to(&full)).contains("spread"));
    assert_close(flat.wasserstein(&full).unwrap(), full.wasserstein(&flat).unwrap(), 1e-12);
    let half = flat.interpolation(&full, 0.5).unwrap();
    assert_close(flat.wasserstein(&half).unwrap(), 0.5 * flat.wasserstein(&full).unwrap(), 1e-7);
    // Within one line: a map of standard deviations, of zero variance around.
    let line = |deviation: f64| {
        Gaussian::new(
            vec![0.0, 0.0],
            [[9.0, 12.0], [12.0, 16.0]].concat().iter().map(|x| x * deviation * deviation / 25.0).collect::<Vec<f64>>(),
        )
        .unwrap()
    };
    assert_close(line(1.0).wasserstein(&line(3.0)).unwrap(), 2.0, 1e-12);
    let images = line(1.0).map_to(&line(3.0)).unwrap().images(&[0.6, 0.8]).unwrap();
    assert_close(images[0], 1.8, 1e-12);
    assert_close(images[1], 2.4, 1e-12);
    // Two Diracs.
    let dirac = |x: f64| Gaussian::new(vec![x, 0.0], vec![0.0; 4]).unwrap();
    assert_eq!(dirac(1.0).wasserstein(&dirac(4.0)).unwrap(), 3.0);
    assert_eq!(dirac(1.0).map_to(&dirac(4.0)).unwrap().images(&[1.0, 0.0]).unwrap(), [4.0, 0.0]);
}

#[test]
fn barycenters_are_fixed_points_and_minima() {
    let mut random = Seeded::new(34);
    for ranks in [[4, 4, 4], [4, 2, 1]] {
        let gaussians: Vec<Gaussian> = ranks.iter().map(|&rank| gaussian(&mut random, 3, rank)).collect();
        let weights = [0.5, 0.3, 0.2];
        let solution = BuresBarycenter::new().solve(&gaussians, &weights).unwrap();
        assert!(solution.status().is_converged(), "{solution:?}");
        let objective = |centre: &Gaussian| -> f64 {
            gaussians
                .iter()
                .zip(weights)
                .map(|(other, weight)| weight * centre.wasserstein(other).unwrap().powi(2))
                .sum()
        };
        let best = objective(solution.barycenter());
        for _ in 0..20 {
            let other = solution.barycenter().interpolation(&gaussian(&mut random, 3, 4), 0.05).unwrap();
            assert!(objective(&other) > best);
        }
        // The mean of the maps is the identity.
        let mut mean = DMatrix::zeros(3, 3);
        for (other, weight) in gaussians.iter().zip(weights) {
            let linear = solution.barycenter().map_to(other).unwrap().linear();
            mean += weight * DMatrix::from_row_slice(3, 3, &linear);
        }
        assert!((mean - DMatrix::identity(3, 3)).amax() < 1e-8);
    }
    let diracs = [1.0, 3.0].map(|x| Gaussian::new(vec![x], vec![0.0]).unwrap());
    let solution = BuresBarycenter::new().solve(&diracs, &[1.0, 1.0]).unwrap();
    assert_eq!((solution.barycenter().mean(), solution.residual()), (&[2.0][..], 0.0));
    let stopped = BuresBarycenter::new().tolerance(0.0).max_iterations(3).solve(&diracs, &[1.0, 1.0]).unwrap();
    assert!(stopped.status().is_converged() && stopped.iterations() == 1);
}

#[test]
fn moments_of_samples_bound_transport_from_below() {
    let mut random = Seeded::new(35);
    let x = normals(&mut random, 2 * 60);
    let y: Vec<f64> = uniforms(&mut random, 2 * 60).iter().map(|y| 4.0 * y + 1.0).collect();
    let [a, b] = [&x, &y].map(|points| PointCloud::uniform(&points[..], 2).unwrap());
    let [p, q] = [&a, &b].map(|cloud| Gaussian::of(cloud, 0).unwrap());
    let exact =
        assign(Support::Points(a.points()), Support::Points(b.points()), &SqEuclidean).unwrap().total_cost() / 60.0;
    let bound = p.wasserstein(&q).unwrap().powi(2);
    assert!(bound <= exact && bound > 0.5 * exact, "{bound} and {exact}");
    // An affine image of a cloud: the bound is met by a map that is symmetric.
    let image: Vec<f64> = x.chunks(2).flat_map(|x| [2.0 * x[0] + 0.5 * x[1] + 1.0, 0.5 * x[0] + x[1]]).collect();
    let image = PointCloud::uniform(&image[..], 2).unwrap();
    let exact =
        assign(Support::Points(a.points()), Support::Points(image.points()), &SqEuclidean).unwrap().total_cost();
    assert_close(p.wasserstein(&Gaussian::of(&image, 0).unwrap()).unwrap().powi(2), exact / 60.0, 1e-12);
    // Weights count.
    let weighted = PointCloud::new(vec![0.0, 4.0], 1, vec![0.75, 0.25]).unwrap();
    assert_eq!(Gaussian::of(&weighted, 0).unwrap(), Gaussian::new(vec![1.0], vec![3.0]).unwrap());
}

#[test]
fn what_is_no_covariance_is_refused() {
    assert!(refused(Gaussian::new(vec![0.0, 0.0], vec![1.0, 0.5, 0.0, 1.0])).contains("transpose"));
    assert!(refused(Gaussian::new(vec![0.0, 0.0], vec![1.0, 2.0, 2.0, 1.0])).contains("eigenvalue"));
    assert!(refused(Gaussian::new(vec![0.0], vec![f64::NAN])).contains("covariance"));
    assert!(matches!(Gaussian::new(vec![0.0], vec![1.0, 1.0]), Err(Error::Length { .. })));
    assert!(matches!(Gaussian::new(vec![], vec![]), Err(Error::ZeroDimension)));
    assert!(matches!(Gaussian::new(vec![f64::INFINITY], vec![1.0]), Err(Error::Coordinate { .. })));
    let (one, two) = (Gaussian::new(vec![0.0], vec![1.0]).unwrap(), Gaussian::new(vec![0.0; 2], vec![0.0; 4]).unwrap());
    assert!(matches!(one.wasserstein(&two), Err(Error::DimensionMismatch { .. })));
    assert_eq!(refused(one.interpolation(&one, 1.5)), "time");
    assert!(matches!(BuresBarycenter::new().solve(&[], &[]), Err(Error::EmptyMeasure)));
    assert!(matches!(BuresBarycenter::new().solve(&[one], &[-1.0]), Err(Error::Weight { .. })));
}

#[test]
fn scales_at_both_ends_of_the_range() {
    for scale in [1e-150, 1e140] {
        let variance = scale * scale;
        let a = Gaussian::new(vec![0.0, 0.0], vec![variance, 0.0, 0.0, variance]).unwrap();
        let b = Gaussian::new(vec![0.0, 0.0], vec![4.0 * variance, 0.0, 0.0, variance]).unwrap();
        assert!((a.wasserstein(&b).unwrap() / scale - 1.0).abs() < 1e-12);
    }
}

#[test]
fn means_at_both_ends_of_the_range() {
    let dirac = |mean: [f64; 2]| Gaussian::new(mean.to_vec(), vec![0.0; 4]).unwrap();
    for scale in [5e-324, 1e-200, 1.0, 1e200, 1e306] {
        let distance = dirac([0.0, scale]).wasserstein(&dirac([3.0 * scale, 5.0 * scale])).unwrap();
        assert!((distance / (5.0 * scale) - 1.0).abs() < 1e-15, "{scale}: {distance}");
    }
    let refused = dirac([1e308, 0.0]).wasserstein(&dirac([-1e308, 0.0]));
    assert!(matches!(refused, Err(Error::CostOverflow { .. })), "{refused:?}");
    // Covariances near the end of the range: roots of 1 and 2 of a unit, and a barycenter of 1.5.
    let unit = 2_f64.powi(-1020);
    let [a, b] = [1.0, 4.0]
        .map(|variance| Gaussian::new(vec![0.0, 0.0], vec![variance * unit, 0.0, 0.0, variance * unit]).unwrap());
    assert!((a.bures(&b).unwrap() / (2.0 * unit).sqrt() - 1.0).abs() < 1e-14);
    let solution = BuresBarycenter::new().solve(&[a, b], &[1.0, 1.0]).unwrap();
    assert!((solution.barycenter().covariance()[0] / (2.25 * unit) - 1.0).abs() < 1e-14);
}

#[test]
fn images_beyond_the_range_are_refused() {
    let (narrow, wide) = (Gaussian::new(vec![0.0], vec![1e-4]).unwrap(), Gaussian::new(vec![0.0], vec![1e4]).unwrap());
    let map = narrow.map_to(&wide).unwrap();
    assert!(matches!(map.images(&[0.0, 1e306]), Err(Error::Coordinate { point: 1, axis: 0, .. })));
    let missing = Gaussian::of(&PointCloud::uniform(vec![0.0, 1.0], 1).unwrap(), 5).err();
    assert_eq!(missing, Some(Error::Length { what: "columns of the batch", expected: 6, found: 1 }));
}
