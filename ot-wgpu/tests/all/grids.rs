//! Kernels on grids: the properties of every kernel, and solves beside the backend of the host.

use std::sync::Arc;

use ot_conformance::{GeometryCase, conformance_geometry};
use ot_core::{
    Axis, CostFormula, Device, Epsilon, Error, Geometry, GeometryBuilder, Grid, GridHistogram, GroundCost,
    HalfSqEuclidean, Kl, Measure, Problem, Real, Separable, SqEuclidean, SumOfPowers,
};
use ot_cpu::CpuBackend;
use ot_solvers::{Sinkhorn, barycenter};
use ot_wgpu::{GridGeometry, WgpuGeometry};

use crate::support::{backend_or_return, work_of_sweeps};

/// Later is cheap, earlier is dear, and waiting earns something: neither even nor positive.
#[derive(Clone, Debug)]
struct Clock;

impl CostFormula for Clock {
    fn cost<R: Real>(&self, x: &[R], y: &[R]) -> R {
        let later = y[0] - x[0];
        later.max(-3.0 * later) - 0.25
    }
}

/// Axes of one node and of sizes that are no multiple of a step, on lines and circles, costs that are even and that are not.
fn cases<G: GeometryBuilder>(builder: &G) -> Result<Vec<GeometryCase<G::Device>>, Error> {
    let axis = |len: usize, origin: f64, spacing: f64| Axis::new(len, origin, spacing);
    let circle = |len: usize, origin: f64| Axis::new(len, origin, 0.2)?.with_period(2.0);
    let square: Arc<dyn GroundCost> = Arc::new(SqEuclidean);
    let mixed: [Arc<dyn GroundCost>; 2] = [Arc::new(SqEuclidean), Arc::new(Clock)];
    let image = [vec![axis(5, 0.0, 0.3)?, axis(18, -1.0, 0.1)?], vec![axis(7, 0.2, 0.2)?, axis(4, 0.0, 0.35)?]];
    let volume = [
        vec![axis(3, 0.0, 0.5)?, axis(1, 0.3, 1.0)?, axis(4, 0.0, 0.4)?],
        vec![axis(2, 0.1, 0.7)?, axis(3, 0.0, 0.3)?, axis(2, 0.0, 1.0)?],
    ];
    let torus = [vec![circle(7, 0.1)?, axis(3, 0.0, 0.3)?], vec![circle(9, 0.0)?, axis(4, 0.1, 0.2)?]];
    let clock = [vec![axis(4, 0.0, 0.3)?, axis(5, 0.0, 0.2)?], vec![axis(5, 0.1, 0.3)?, axis(3, 0.3, 0.2)?]];
    let pairs: [(_, _, Arc<dyn GroundCost>); 5] = [
        ("line", [vec![axis(23, 0.0, 0.1)?], vec![axis(23, 0.0, 0.1)?]], Arc::new(SumOfPowers::new(3.0)?)),
        ("image", image, Arc::new(HalfSqEuclidean)),
        ("volume", volume, Arc::clone(&square)),
        ("torus", torus, square),
        ("mixed", clock, Arc::new(Separable::new(mixed)?)),
    ];
    let of_pair = |(name, axes, cost): (_, [Vec<Axis>; 2], _)| {
        let [x, y] = axes.each_ref().map(Vec::as_slice);
        GeometryCase::between_grids(builder, name, [x, y], cost)
    };
    pairs.into_iter().map(of_pair).collect()
}

conformance_geometry!(kit, cases(&backend_or_return!()));

/// A smooth image with a dark corner.
fn image(shape: [usize; 2], centre: [f64; 2]) -> GridHistogram<'static, f32> {
    let grid = Grid::<f32>::pixels(&shape).unwrap();
    let value = |index: usize| {
        let (x, y) = ((index / shape[1]) as f64 / shape[0] as f64, (index % shape[1]) as f64 / shape[1] as f64);
        let square = (x - centre[0]).powi(2) + (y - centre[1]).powi(2);
        if x + y < 0.2 { 0.0 } else { (-12.0 * square).exp() as f32 + 1e-3 }
    };
    let values: Vec<f32> = (0..grid.len()).map(value).collect();
    let mass: f32 = values.iter().sum();
    GridHistogram::new(&grid, values.iter().map(|value| value / mass).collect::<Vec<_>>()).unwrap()
}

fn problem<G: GeometryBuilder>(
    builder: &G,
    a: &GridHistogram<'static, f32>,
    b: &GridHistogram<'static, f32>,
    epsilon: f64,
) -> Problem<G::Device>
where
    G::Device: Device<Elem = f32>,
{
    let geometry = builder.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
    Problem::new(geometry, a, b, Epsilon::Absolute(epsilon)).unwrap()
}

#[test]
fn solves_between_images_agree_with_the_host() {
    let (device, host) = (backend_or_return!(), CpuBackend::<f32>::new(1).unwrap());
    let (a, b) = (image([24, 19], [0.4, 0.3]), image([21, 26], [0.7, 0.6]));
    for epsilon in [4.0, 40.0, 1e4] {
        let found = Sinkhorn::default().solve(&problem(&device, &a, &b, epsilon)).unwrap();
        let expected = Sinkhorn::default().solve(&problem(&host, &a, &b, epsilon)).unwrap();
        assert_eq!(found.status(), expected.status(), "{epsilon}");
        let (ours, theirs) = (found.certificate(), expected.certificate());
        let allowed = 1e-4 * theirs.dual.abs() + ours.gap + theirs.gap;
        assert!((ours.dual - theirs.dual).abs() <= allowed, "{epsilon}: {ours:?} {theirs:?}");
        assert!((ours.primal - theirs.primal).abs() <= allowed, "{epsilon}: {ours:?} {theirs:?}");
    }
}

#[test]
fn a_grid_is_its_nodes() {
    // Statistics by marginals on the axes are those over all pairs.
    let device = backend_or_return!();
    let (a, b) = (image([24, 19], [0.4, 0.3]), image([21, 26], [0.7, 0.6]));
    let grids = GridGeometry::new(&device, a.grid(), b.grid(), &SqEuclidean).unwrap();
    let [x, y] = [&a, &b].map(|image| image.grid().points().unwrap());
    let nodes = WgpuGeometry::streaming(&device, x, y, &SqEuclidean).unwrap();
    let statistics = |geometry: &dyn Geometry<_>| geometry.cost_statistics(a.weights_view(), b.weights_view()).unwrap();
    let (ours, theirs) = (statistics(&grids), statistics(&nodes));
    assert!((ours.mean - theirs.mean).abs() <= 1e-5 * theirs.mean, "{ours:?} {theirs:?}");
    assert!((ours.deviation - theirs.deviation).abs() <= 1e-4 * theirs.deviation, "{ours:?} {theirs:?}");
    assert_eq!((ours.minimum, ours.maximum), (0.0, 23.0 * 23.0 + 25.0 * 25.0));
    assert!(theirs.minimum >= ours.minimum && theirs.maximum <= ours.maximum);
}

/// A launch for each axis and one for the logarithms, in either half-step; the step of a penalty is a part of the last.
#[test]
fn iterations_are_few_launches() {
    let Some(device) = crate::support::own_backend() else { return };
    let (a, b) = (image([24, 19], [0.4, 0.3]), image([21, 26], [0.7, 0.6]));
    let geometry = device.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
    let kl = Kl::new(0.3).unwrap();
    let problem = Problem::unbalanced(geometry, &a, &b, Epsilon::Absolute(4.0), &kl, &kl).unwrap();
    assert_eq!(work_of_sweeps(&device, &problem, 10), (10 * 2 * 3, 1));
}

/// The barycenter of images, with equal weights.
fn middle<G: GeometryBuilder>(builder: &G, images: &[GridHistogram<'static, f32>; 2]) -> Vec<f32>
where
    G::Device: Device<Elem = f32>,
{
    let uniform = GridHistogram::uniform(images[0].grid()).unwrap();
    let inputs: [&dyn Measure<f32>; 2] = [&images[0], &images[1]];
    let found = barycenter(builder, &inputs, &[0.5, 0.5], &uniform, &SqEuclidean, Epsilon::Absolute(8.0)).unwrap();
    assert!(found.status().is_converged() || found.certificate().rounding > 1e-5, "{:?}", found.certificate());
    found.measure(0).unwrap()
}

#[test]
fn a_barycenter_of_images_agrees_with_the_host() {
    let (device, host) = (backend_or_return!(), CpuBackend::<f32>::new(1).unwrap());
    let images = [image([12, 15], [0.3, 0.3]), image([12, 15], [0.7, 0.6])];
    let (ours, theirs) = (middle(&device, &images), middle(&host, &images));
    let distance: f32 = ours.iter().zip(&theirs).map(|(ours, theirs)| (ours - theirs).abs()).sum();
    assert!(distance <= 2e-3, "{distance}");
}
