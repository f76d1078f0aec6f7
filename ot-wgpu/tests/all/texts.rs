//! Costs that are no formula and have a text in WGSL.

use std::sync::Arc;

use ot_conformance::{GeometryCase, Seeded};
use ot_core::{
    BackendFailure, CostDerivative, CostForm, CostParameter, Epsilon, Error, GeometryBuilder, GroundCost, Measure,
    PointCloud, PointsView, Problem, Side, Support,
};
use ot_cpu::CpuBackend;
use ot_solvers::Sinkhorn;
use ot_wgpu::{Wgpu, WgpuBackend};

use crate::support::{backend, backend_or_return};

/// The way in kilometres, and a fare for each border of a zone between: sum_k |x_k - y_k| + fare |floor(3 x_k) - floor(3 y_k)|.
#[derive(Clone, Debug)]
struct Fares {
    fare: f64,
    text: String,
}

impl Fares {
    fn new(fare: f64) -> Self {
        let text = format!(
            "
const fare: f32 = {fare:?};

fn borders(x: f32, y: f32) -> f32 {{
  return abs(floor(3.0 * x) - floor(3.0 * y));
}}

fn cost(x: Point, y: Point) -> f32 {{
  return abs(x.x - y.x) + abs(x.y - y.y) + fare * (borders(x.x, y.x) + borders(x.y, y.y));
}}
"
        );
        Self { fare, text }
    }

    fn between(&self, x: &[f64], y: &[f64]) -> f64 {
        let axis = |(x, y): (&f64, &f64)| (x - y).abs() + self.fare * ((3.0 * x).floor() - (3.0 * y).floor()).abs();
        x.iter().zip(y).map(axis).sum()
    }
}

impl GroundCost for Fares {
    fn form(&self) -> CostForm<'_> {
        CostForm::Generic
    }

    fn dimension(&self) -> Option<usize> {
        Some(2)
    }

    fn costs_f64(&self, x: &[f64], points: &[f64], out: &mut [f64]) {
        out.iter_mut().zip(points.chunks(2)).for_each(|(out, y)| *out = self.between(x, y));
    }

    fn costs_f32(&self, x: &[f32], points: &[f32], out: &mut [f32]) {
        let wide = |x: &[f32]| [0, 1].map(|k| f64::from(x[k]));
        out.iter_mut().zip(points.chunks(2)).for_each(|(out, y)| *out = self.between(&wide(x), &wide(y)) as f32);
    }

    fn wgsl(&self, _: usize) -> Option<String> {
        Some(self.text.clone())
    }
}

/// The Manhattan distance in so many coordinates, far pairs forbidden.
#[derive(Clone, Debug)]
struct Near {
    farthest: f32,
}

impl GroundCost for Near {
    fn form(&self) -> CostForm<'_> {
        CostForm::Generic
    }

    fn may_forbid(&self) -> bool {
        true
    }

    fn costs_f64(&self, x: &[f64], points: &[f64], out: &mut [f64]) {
        for (out, y) in out.iter_mut().zip(points.chunks(x.len())) {
            let distance = x.iter().zip(y).map(|(x, y)| (x - y).abs()).sum::<f64>();
            *out = if distance > f64::from(self.farthest) { f64::INFINITY } else { distance };
        }
    }

    fn costs_f32(&self, x: &[f32], points: &[f32], out: &mut [f32]) {
        for (out, y) in out.iter_mut().zip(points.chunks(x.len())) {
            let distance = x.iter().zip(y).map(|(x, y)| (x - y).abs()).sum::<f32>();
            *out = if distance > self.farthest { f32::INFINITY } else { distance };
        }
    }

    fn wgsl(&self, dimension: usize) -> Option<String> {
        let farthest = self.farthest;
        let body = match dimension {
            1 => "let distance = abs(x - y);".into(),
            2..=4 => format!("let distance = dot(abs(x - y), vec{dimension}<f32>(1.0));"),
            // Written out, since software is given no loops.
            _ => {
                let terms: Vec<String> = (0..dimension).map(|k| format!("abs(x[{k}] - y[{k}])")).collect();
                format!("let distance = {};", terms.join(" + "))
            }
        };
        Some(format!(
            "fn cost(x: Point, y: Point) -> f32 {{\n{body}\nreturn select(distance, 3.0e38, distance > {farthest:?});\n}}\n"
        ))
    }
}

ot_conformance::conformance_geometry!(kit, cases(&backend_or_return!()));

fn cases(device: &WgpuBackend) -> Result<Vec<GeometryCase<Wgpu>>, Error> {
    let mut seeded = Seeded::new(31);
    let mut clouds =
        |n: usize, m: usize, dimension: usize| [n, m].map(|len| seeded.vector::<f32>(len * dimension, 0.0, 1.0));
    let (fares, near) = (Arc::new(Fares::new(0.25)), Arc::new(Near { farthest: 1.4 }));
    Ok(vec![
        GeometryCase::between_points(device, "fares, 13 x 17", clouds(13, 17, 2), 2, fares)?,
        GeometryCase::between_points(device, "near, line", clouds(12, 15, 1), 1, near.clone())?,
        GeometryCase::between_points(
            device,
            "near, 6 coordinates",
            clouds(12, 15, 6),
            6,
            Arc::new(Near { farthest: 3.0 }),
        )?,
        GeometryCase::between_points(
            device,
            "near, 30 coordinates",
            clouds(9, 11, 30),
            30,
            Arc::new(Near { farthest: 14.0 }),
        )?,
    ])
}

/// A solve with a text is that of the host with the cost itself, and no matrix is stored.
#[test]
fn a_solve_agrees_with_the_host() {
    let (device, host) = (backend_or_return!(), CpuBackend::<f32>::new(1).unwrap());
    let cloud = |seed: u64, len: usize| {
        let points: Vec<f32> = Seeded::new(seed).vector::<f32>(2 * len, 0.0, 1.0).iter().map(|&x| x as f32).collect();
        PointCloud::uniform(points, 2).unwrap()
    };
    let (a, b, cost) = (cloud(32, 200), cloud(33, 150), Fares::new(0.25));
    let of_points = |cloud: &PointCloud<'static, f32>| match cloud.support() {
        Support::Points(points) => points.coordinates().to_vec(),
        _ => Vec::new(),
    };
    let (x, y) = (of_points(&a), of_points(&b));
    let [source, target] = [&x, &y].map(|points| PointsView::new(points, 2).unwrap());
    assert!(ot_wgpu::WgpuGeometry::streaming(&device, source, target, &cost).is_ok());
    let problem =
        Problem::new(device.geometry(a.support(), b.support(), &cost).unwrap(), &a, &b, Epsilon::Absolute(0.05));
    let found = Sinkhorn::default().solve(&problem.unwrap()).unwrap();
    let problem =
        Problem::new(host.geometry(a.support(), b.support(), &cost).unwrap(), &a, &b, Epsilon::Absolute(0.05));
    let expected = Sinkhorn::default().solve(&problem.unwrap()).unwrap();
    assert_eq!(found.status(), expected.status());
    assert!((found.certificate().primal - expected.certificate().primal).abs() <= found.gap() + expected.gap() + 1e-5);
}

/// What loops is not given to software, which ends loops early: a matrix is, with the same costs.
#[test]
fn texts_with_loops_are_right() {
    let device = backend_or_return!();
    let text = "fn cost(x: Point, y: Point) -> f32 {
  var sum = 0.0;
  for (var k = 0; k < 5; k++) { sum += abs(x - y) * 0.2; }
  return sum;
}";
    #[derive(Clone, Debug)]
    struct Looped(Near, &'static str);
    impl GroundCost for Looped {
        fn form(&self) -> CostForm<'_> {
            CostForm::Generic
        }
        fn costs_f64(&self, x: &[f64], points: &[f64], out: &mut [f64]) {
            self.0.costs_f64(x, points, out);
        }
        fn costs_f32(&self, x: &[f32], points: &[f32], out: &mut [f32]) {
            self.0.costs_f32(x, points, out);
        }
        fn wgsl(&self, _: usize) -> Option<String> {
            Some(self.1.into())
        }
    }
    let x = [0.0, 0.5, 3.0];
    let cloud = Support::Points(PointsView::new(&x, 1).unwrap());
    let geometry = device.geometry(cloud, cloud, &Looped(Near { farthest: 10.0 }, text)).unwrap();
    let weights = [1.0, 1.0, 1.0];
    let view = ot_core::WeightsView::new(&weights, 1).unwrap();
    let statistics = geometry.cost_statistics(view, view).unwrap();
    assert!((statistics.mean - 12.0 / 9.0).abs() < 1e-5 && (statistics.maximum - 3.0).abs() < 1e-5);
}

/// A text has costs and no slopes: what needs them is refused, and the scale is there.
#[test]
fn a_text_has_no_derivatives() {
    let device = backend_or_return!();
    let x = [0.0, 0.1, 0.9, 0.4];
    let cloud = Support::Points(PointsView::new(&x, 2).unwrap());
    let geometry = device.geometry(cloud, cloud, &Fares::new(0.5)).unwrap();
    let mut kernel = geometry.bind_entropic(0.1, 1).unwrap();
    let derivative: &mut dyn CostDerivative<Wgpu> = kernel.cost_derivative().unwrap();
    assert_eq!(derivative.shape(CostParameter::Points(Side::Source)), None);
    assert_eq!(derivative.shape(CostParameter::Scale), Some((1, 1)));
}

/// What is wrong with a text is said with its own lines.
#[test]
fn texts_that_are_refused() {
    // Nothing of this needs a device but the last one.
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
    let device = backend().unwrap_or_else(|| WgpuBackend::from_device(device, queue).unwrap());
    let refused = |text: &str| {
        let cost = Fares { text: text.into(), ..Fares::new(0.25) };
        let x = [0.0, 0.1, 0.9, 0.4];
        let cloud = Support::Points(PointsView::new(&x, 2).unwrap());
        match device.geometry(cloud, cloud, &cost) {
            Err(Error::Backend(BackendFailure::Compiler(message))) => message,
            other => panic!("{other:?}"),
        }
    };
    let tells = |text: &str, parts: &[&str]| {
        let message = refused(text);
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    };
    tells("fn cost(x: Point, y: Point) -> f32 {\n  let d = x - y\n  return dot(d, d);\n}", &["cost:3:", "expected"]);
    tells("\n\nfn cost(x: Point, y: Point) -> f32 { return dist(x, y); }", &["cost:3:", "dist"]);
    tells(
        "fn price(x: Point, y: Point) -> f32 { return distance(x, y); }",
        &["expected fn cost(x: Point, y: Point)", "cost"],
    );
    tells("fn cost(x: vec3<f32>, y: vec3<f32>) -> f32 { return distance(x, y); }", &["where Point is vec2<f32>"]);
    tells("fn cost(x: Point) -> f32 { return x.x; }", &["expected fn cost(x: Point, y: Point)"]);
    tells(
        "fn cost(x: Point, y: Point) -> vec2<f32> { return x - y; }",
        &["expected fn cost(x: Point, y: Point) -> f32"],
    );
    tells("fn cost(x: Point, y: Point) -> f32 { return x; }", &["cost:1:"]);
    tells(
        "fn load(x: Point) -> f32 { return x.x; }\nfn cost(x: Point, y: Point) -> f32 { return load(x); }",
        &["load"],
    );
    tells(
        "fn exp2(x: f32) -> f32 { return x; }\nfn cost(x: Point, y: Point) -> f32 { return exp2(x.x - y.x); }",
        &["exp2"],
    );
    tells("const tree: f32 = 1.0;\nfn cost(x: Point, y: Point) -> f32 { return tree; }", &["found tree"]);
    tells("override fare: f32 = 1.0;\nfn cost(x: Point, y: Point) -> f32 { return fare; }", &["found an override"]);
    tells(
        "diagnostic(off, derivative_uniformity);\nfn cost(x: Point, y: Point) -> f32 { return 0.0; }",
        &["diagnostic"],
    );
    let stores = "@group(0) @binding(7) var<storage> extra: array<f32>;\n\
                  fn cost(x: Point, y: Point) -> f32 { return extra[0]; }";
    tells(stores, &["found the variable extra"]);
    let runs = "@compute @workgroup_size(1) fn run() {}\nfn cost(x: Point, y: Point) -> f32 { return 0.0; }";
    tells(runs, &["found an entry point"]);
    let long = format!("fn cost(x: Point, y: Point) -> f32 {{ return 0.0; }} // {}", "long ".repeat(4000));
    tells(&long, &["at most 16384 bytes, found 20"]);
}

/// A text that computes another cost is no cost of the problem.
#[test]
fn a_text_is_compared_with_the_host() {
    let device = backend_or_return!();
    let x = [0.0, 0.1, 0.9, 0.4];
    let cloud = Support::Points(PointsView::new(&x, 2).unwrap());
    let one = "fn cost(x: Point, y: Point) -> f32 { return abs(x.x - y.x) + 1.0 * abs(x.y - y.y); }";
    let none = "fn cost(x: Point, y: Point) -> f32 { return sqrt(-1.0 - abs(x.x - y.x)); }";
    let refused = |text: &str| {
        let cost = Fares { text: text.into(), ..Fares::new(0.25) };
        device.geometry(cloud, cloud, &cost).err()
    };
    let between = |expected: f64| (expected - 1.95).abs() < 1e-5;
    assert!(matches!(refused(one), Some(Error::CostOfDevice { expected, .. }) if between(expected)));
    // Whatever a compiler makes of what is no number.
    assert!(matches!(refused(none), Some(Error::CostOfDevice { .. })));
}

/// A pair that the host forbids is to be forbidden by the text.
#[test]
fn a_text_forbids_what_the_host_does() {
    #[derive(Clone, Debug)]
    struct Open(Near);
    impl GroundCost for Open {
        fn form(&self) -> CostForm<'_> {
            CostForm::Generic
        }
        fn may_forbid(&self) -> bool {
            true
        }
        fn costs_f64(&self, x: &[f64], points: &[f64], out: &mut [f64]) {
            self.0.costs_f64(x, points, out);
        }
        fn costs_f32(&self, x: &[f32], points: &[f32], out: &mut [f32]) {
            self.0.costs_f32(x, points, out);
        }
        fn wgsl(&self, _: usize) -> Option<String> {
            Some("fn cost(x: Point, y: Point) -> f32 { return abs(x - y); }".into())
        }
    }
    let device = backend_or_return!();
    let x = [0.0, 0.5, 3.0];
    let cloud = Support::Points(PointsView::new(&x, 1).unwrap());
    let refused = device.geometry(cloud, cloud, &Open(Near { farthest: 1.0 })).err();
    let is_pair = |refused: &Error| matches!(refused, Error::CostOfDevice { source_index: 2, target_index: 0, expected: f64::INFINITY, found } if *found == 3.0);
    assert!(refused.as_ref().is_some_and(is_pair), "{refused:?}");
}

/// A point is held by an invocation: beyond so many coordinates, ask for a matrix.
#[test]
fn too_many_coordinates_are_refused() {
    let device = backend_or_return!();
    let x = vec![0.5; 2 * 200];
    let cloud = Support::Points(PointsView::new(&x, 200).unwrap());
    let refused = device.geometry(cloud, cloud, &Near { farthest: 1.0 }).err();
    assert!(matches!(refused, Some(Error::Backend(BackendFailure::Compiler(message))) if message.contains("128")));
}
