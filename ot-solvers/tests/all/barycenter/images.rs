//! Barycenters on grids: those of the pixels as points, and images that are hard to average.

use ot_core::{
    Axis, Epsilon, Error, Grid, GridHistogram, Host, JointProblem, JointSolution, Kl, Measure, PointCloud, Side,
    SqEuclidean, SumOfPowers, certify_joint,
};
use ot_cpu::{CpuBackend, CpuScalar};
use ot_solvers::{Barycenter, BregmanProjections, DebiasedBarycenter};

use super::support::l1;
use crate::support::{assert_close, cpu};

type Image = GridHistogram<'static, f64>;

fn image(grid: &Grid<f64>, mass: impl Fn(f64, f64) -> f64) -> Image {
    let points = grid.points().unwrap();
    GridHistogram::new(grid, points.iter().map(|point| mass(point[0], point[1])).collect::<Vec<_>>()).unwrap()
}

/// A block, a corner and a bar, with rows and columns where nothing is lit.
fn images(grid: &Grid<f64>) -> [Image; 3] {
    let inside = |x: f64, low: f64, high: f64| if (low..high).contains(&x) { 1.0 } else { 0.0 };
    [
        image(grid, |x, y| inside(x, 1.0, 4.0) * inside(y, 2.0, 5.0)).normalized(),
        image(grid, |x, y| inside(x, 7.0, 9.0) * inside(y, 0.0, 2.0) + 2.0 * inside(x, 8.0, 9.0)).normalized(),
        image(grid, |x, y| inside(x + y, 8.0, 10.0)).normalized(),
    ]
}

fn problem<T: CpuScalar>(
    backend: &CpuBackend<T>,
    inputs: &[&dyn Measure<T>],
    lambda: &[f64],
    reference: &dyn Measure<T>,
    epsilon: f64,
) -> JointProblem<Host<T>> {
    let barycenter = Barycenter::new(backend, reference, &SqEuclidean, Epsilon::Absolute(epsilon));
    barycenter.inputs(inputs, lambda).unwrap().problem().unwrap()
}

fn as_measures(images: &[Image]) -> Vec<&dyn Measure<f64>> {
    images.iter().map(|image| image as &dyn Measure<f64>).collect()
}

#[track_caller]
fn converged(settings: &BregmanProjections, problem: &JointProblem<Host<f64>>) -> JointSolution<Host<f64>> {
    let solution = settings.solve(problem).unwrap();
    assert!(solution.status().is_converged(), "{} {:?}", solution.status(), solution.certificate());
    let potentials: Vec<_> = solution.potentials().iter().map(AsRef::as_ref).collect();
    let measures: Vec<_> = solution.measures().iter().map(AsRef::as_ref).collect();
    assert_eq!(certify_joint(problem, &potentials, &measures).unwrap(), solution.certificates());
    solution
}

/// One batch of weights, on the axes and between the pixels with all costs stored.
#[test]
fn axes_average_like_pixels() {
    let grid = Grid::<f64>::pixels(&[9, 12]).unwrap();
    let images = images(&grid);
    let reference = GridHistogram::uniform(&grid).unwrap();
    let as_cloud = |image: &Image| {
        let points = grid.points().unwrap().coordinates().to_vec();
        PointCloud::new(points, 2, image.weights_view().values().to_vec()).unwrap()
    };
    let (clouds, pixels) = (images.each_ref().map(as_cloud), as_cloud(&reference));
    let lambda = [0.5, 0.2, 0.3, 0.0, 1.0, 0.0, 2.0, 2.0, 0.0];
    let settings = BregmanProjections::new().tolerance(1e-11);
    let on_grid = converged(&settings, &problem(&cpu(2), &as_measures(&images), &lambda, &reference, 1.5));
    let inputs: Vec<&dyn Measure<f64>> = clouds.iter().map(|cloud| cloud as &dyn Measure<f64>).collect();
    let on_pixels = converged(&settings, &problem(&cpu(2), &inputs, &lambda, &pixels, 1.5));
    assert!(l1(&on_grid.measure(0).unwrap(), &on_pixels.measure(0).unwrap()) < 3e-9);
    for (grid, pixels) in on_grid.certificates().iter().zip(on_pixels.certificates()) {
        assert_close(grid.dual, pixels.dual, 1e-10);
        assert_close(grid.primal, pixels.primal, 1e-10);
    }
}

/// On each axis the barycenter of products of normal laws has the variance of the closed form.
#[test]
fn products_of_normal_laws_have_the_closed_form_on_each_axis() {
    let grid = Grid::new([Axis::cells(91, -9.0, 9.0).unwrap(), Axis::cells(81, -8.0, 8.0).unwrap()]).unwrap();
    let bump = |x: f64, deviation: f64| (-0.5 * (x / deviation).powi(2)).exp();
    let inputs = [[0.7, 1.2], [1.5, 0.6]]
        .map(|[along_x, along_y]| image(&grid, |x, y| bump(x, along_x) * bump(y, along_y)).normalized());
    let (lambda, epsilon) = ([0.3, 0.7], 1.0);
    let reference = GridHistogram::uniform(&grid).unwrap();
    let settings = BregmanProjections::new().tolerance(1e-9);
    let solution = converged(&settings, &problem(&cpu(2), &as_measures(&inputs), &lambda, &reference, epsilon));
    let p = solution.measure(0).unwrap();
    let points = grid.points().unwrap();
    for (axis, deviations) in [[0.7, 1.5], [1.2, 0.6]].into_iter().enumerate() {
        let variance: f64 = points.iter().zip(&p).map(|(point, p)| p * point[axis].powi(2)).sum();
        let term = |(deviation, weight): (f64, f64)| {
            let square = deviation * deviation;
            weight * square / ((epsilon * epsilon / 16.0 + square * variance).sqrt() - epsilon / 4.0)
        };
        assert_close(deviations.into_iter().zip(lambda).map(term).sum(), 1.0, 1e-5);
    }
}

/// One lit pixel in each of two corners: at a small epsilon the barycenter is in the middle, and everything is a number.
#[test]
fn single_pixels_in_far_corners_meet_in_the_middle() {
    let grid = Grid::<f64>::pixels(&[21, 31]).unwrap();
    let corners = [[0.0, 0.0], [20.0, 30.0]].map(|corner| image(&grid, |x, y| f64::from(u8::from([x, y] == corner))));
    let reference = GridHistogram::uniform(&grid).unwrap();
    for epsilon in [0.05, 0.5] {
        let settings = BregmanProjections::new().tolerance(1e-9);
        let solution =
            converged(&settings, &problem(&cpu(1), &as_measures(&corners), &[1.0, 1.0], &reference, epsilon));
        let p = solution.measure(0).unwrap();
        let middle = 10 * 31 + 15;
        let heaviest = p.iter().copied().fold(0.0, f64::max);
        assert!(p[middle] == heaviest && p.iter().all(|p| p.is_finite()), "{epsilon}: {heaviest} and {}", p[middle]);
        assert!(solution.certificate().gap < 1e-7, "{:?}", solution.certificate());
    }
}

#[test]
fn images_of_different_mass_need_a_penalty() {
    let grid = Grid::<f64>::pixels(&[9, 12]).unwrap();
    let [a, b, _] = images(&grid);
    let heavy: Vec<f64> = b.weights_view().values().iter().map(|weight| 3.0 * weight).collect();
    let heavy = GridHistogram::new(&grid, heavy).unwrap();
    let reference = GridHistogram::uniform(&grid).unwrap();
    let backend = cpu(1);
    let barycenter = || Barycenter::new(&backend, &reference, &SqEuclidean, Epsilon::Absolute(1.0));
    let refused = barycenter().inputs(&[&a, &heavy], &[0.5, 0.5]).unwrap().problem();
    assert!(matches!(refused, Err(Error::MassMismatch { .. })));
    let kl = Kl::new(50.0).unwrap();
    let relaxed = barycenter().input(&a, &[0.5], &kl).unwrap().input(&heavy, &[0.5], &kl).unwrap().problem().unwrap();
    let solution = converged(&BregmanProjections::new().tolerance(1e-8), &relaxed);
    let mass: f64 = solution.measure(0).unwrap().iter().sum();
    assert!(mass > 1.0 && mass < 3.0 && solution.certificate().gap < 1e-5, "{mass} {:?}", solution.certificate());
}

#[test]
fn pixels_that_are_no_masses_are_refused() {
    let grid = Grid::<f64>::pixels(&[2, 3]).unwrap();
    for wrong in [f64::NAN, -1.0, f64::INFINITY] {
        let refused = GridHistogram::new(&grid, vec![1.0, 0.0, wrong, 0.0, 0.0, 1.0]);
        assert!(matches!(refused, Err(Error::Weight { index: 2, .. })), "{wrong}");
    }
    assert!(matches!(GridHistogram::new(&grid, vec![0.0; 6]), Err(Error::Mass { .. })));
    assert!(matches!(GridHistogram::new(&grid, vec![1.0; 5]), Err(Error::Length { .. })));
}

/// Axes of one node and of two, and both ends of epsilon.
#[test]
fn short_axes_and_both_ends_of_epsilon() {
    for shape in [[1, 7], [2, 5], [6, 1], [2, 2]] {
        let grid = Grid::<f64>::pixels(&shape).unwrap();
        let inputs = [image(&grid, |x, y| 1.0 + x + 2.0 * y), image(&grid, |x, y| if x + y > 0.0 { 0.0 } else { 1.0 })];
        let inputs = inputs.map(GridHistogram::normalized);
        let reference = GridHistogram::uniform(&grid).unwrap();
        for epsilon in [1e-3, 1.0, 1e5] {
            let problem = problem(&cpu(1), &as_measures(&inputs), &[0.4, 0.6], &reference, epsilon);
            let solution = BregmanProjections::new().max_iterations(3000).solve(&problem).unwrap();
            let (p, certificate) = (solution.measure(0).unwrap(), solution.certificate());
            assert!(p.iter().all(|p| p.is_finite() && *p >= 0.0) && certificate.is_finite(), "{shape:?} {epsilon}");
            assert_close(p.iter().sum::<f64>(), 1.0, 1e-12);
            assert_eq!(solution.status().is_converged(), certificate.meets(1e-6), "{shape:?} {epsilon}");
            if epsilon > 1e4 {
                assert!(l1(&p, reference.weights_view().values()) < 1e-2, "{shape:?}");
            }
        }
    }
}

#[test]
fn single_precision_is_near_double_precision() {
    let grid = Grid::<f64>::pixels(&[9, 12]).unwrap();
    let images = images(&grid);
    let reference = GridHistogram::uniform(&grid).unwrap();
    let double = converged(
        &BregmanProjections::new(),
        &problem(&cpu(2), &as_measures(&images), &[0.5, 0.2, 0.3], &reference, 1.5),
    );
    let narrow = Grid::<f32>::pixels(&[9, 12]).unwrap();
    let images = images.each_ref().map(|image| {
        let weights: Vec<f32> = image.weights_view().values().iter().map(|weight| *weight as f32).collect();
        GridHistogram::new(&narrow, weights).unwrap().normalized()
    });
    let inputs = images.each_ref().map(|image| image as &dyn Measure<f32>);
    let reference = GridHistogram::uniform(&narrow).unwrap();
    let backend = CpuBackend::<f32>::new(2).unwrap();
    let single = problem(&backend, &inputs, &[0.5, 0.2, 0.3], &reference, 1.5);
    let single = BregmanProjections::new().solve(&single).unwrap();
    assert!(single.status().is_converged(), "{} {:?}", single.status(), single.certificate());
    let widened: Vec<f64> = single.measure(0).unwrap().iter().map(|p| f64::from(*p)).collect();
    assert!(l1(&widened, &double.measure(0).unwrap()) < 2e-3);
}

/// Manhattan's distance, by running sums, against the same between pixels.
#[test]
fn other_costs_of_the_axes_serve() {
    let grid = Grid::<f64>::pixels(&[9, 12]).unwrap();
    let images = images(&grid);
    let reference = GridHistogram::uniform(&grid).unwrap();
    let backend = cpu(1);
    for exponent in [1.0, 3.0] {
        let cost = SumOfPowers::new(exponent).unwrap();
        let epsilon = Epsilon::Absolute(2.0);
        let barycenter = Barycenter::new(&backend, &reference, &cost, epsilon);
        let on_grid = barycenter.inputs(&as_measures(&images), &[0.5, 0.2, 0.3]).unwrap().problem().unwrap();
        let on_grid = converged(&BregmanProjections::new().tolerance(1e-10), &on_grid);
        let points = grid.points().unwrap().coordinates().to_vec();
        let cloud = |image: &Image| PointCloud::new(points.clone(), 2, image.weights_view().values().to_vec()).unwrap();
        let (clouds, pixels) = (images.each_ref().map(cloud), cloud(&reference));
        let inputs = clouds.each_ref().map(|cloud| cloud as &dyn Measure<f64>);
        let barycenter = Barycenter::new(&backend, &pixels, &cost, epsilon);
        let on_pixels = barycenter.inputs(&inputs, &[0.5, 0.2, 0.3]).unwrap().problem().unwrap();
        let on_pixels = converged(&BregmanProjections::new().tolerance(1e-10), &on_pixels);
        assert!(l1(&on_grid.measure(0).unwrap(), &on_pixels.measure(0).unwrap()) < 1e-8, "{exponent}");
    }
}

/// One image is its own debiased barycenter.
#[test]
fn debiased_images_are_not_blurred() {
    let grid = Grid::<f64>::pixels(&[15, 15]).unwrap();
    let bump = image(&grid, |x, y| (-((x - 6.0).powi(2) + (y - 8.0).powi(2)) / 8.0).exp()).normalized();
    let reference = GridHistogram::uniform(&grid).unwrap();
    let problem = problem(&cpu(2), &[&bump], &[1.0], &reference, 2.0);
    let solution = DebiasedBarycenter::new().tolerance(1e-3).solve(&problem).unwrap();
    assert!(solution.status().is_converged(), "{} {:?}", solution.status(), solution.gaps());
    let blurred = BregmanProjections::new().solve(&problem).unwrap().measure(0).unwrap();
    let (sharp, blurred) =
        (l1(solution.measure(), bump.weights_view().values()), l1(&blurred, bump.weights_view().values()));
    assert!(sharp < 0.2 * blurred, "{sharp} {blurred}");
    assert_eq!(problem.terms()[0].problem.marginal(Side::Target).len(), 225);
}
