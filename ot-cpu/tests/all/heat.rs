//! Heat kernels: the properties of every kernel, and what diffusions alone are asked.

mod cloud;
mod dense;
mod derivative;
mod mesh;
mod surfaces;

use std::sync::{Arc, LazyLock};

use ot_conformance::{GeometryCase, Seeded, conformance_geometry};
use ot_core::{
    DeviceWeights, Error, Geometry, GeometryBuilder, Graph, Host, ImpliedCost, LOG_ZERO, PlanSide, PlanView, Side,
    SqEuclidean, UNREACHABLE, Vertices, WeightsView,
};
use ot_cpu::{CpuBackend, CpuScalar, HeatGeometry, cotangent_graph};

use self::surfaces::{crumpled_sheet, path, random_graph, sphere};

fn heat<T: CpuScalar>(vertices: impl Into<Vertices>, time: f64, steps: usize) -> HeatGeometry<T> {
    HeatGeometry::new(&CpuBackend::new(2).unwrap(), vertices, time, steps).unwrap()
}

/// -epsilon log K by the dense form, infinite between components.
fn dense_costs(graph: &Graph, carriers: usize, epsilon: f64, time: f64, steps: usize) -> Vec<f64> {
    let all: Vec<usize> = (0..carriers).collect();
    let table = dense::columns(graph, time, steps, &all);
    table.iter().flat_map(|column| column[..carriers].iter().map(|entry| -epsilon * entry.0.ln())).collect()
}

/// A graph or the cotangent graph of a mesh, whose first vertices carry measure, with a time and steps.
struct Diffused {
    name: &'static str,
    vertices: Vertices,
    graph: Graph,
    time: f64,
    steps: usize,
    /// Derivatives of -log K in the weights of edges.
    slopes: Vec<Vec<f64>>,
}

impl Diffused {
    fn new(name: &'static str, vertices: impl Into<Vertices>, graph: &Graph, time: f64, steps: usize) -> Self {
        let vertices = vertices.into();
        let slopes = dense::edge_slopes(graph, vertices.len(), time, steps);
        Self { name, vertices, graph: graph.clone(), time, steps, slopes }
    }
}

/// Graphs, pieces that exchange nothing, and a surface with boundary.
static DIFFUSED: LazyLock<[Diffused; 4]> = LazyLock::new(|| {
    let pieces = Graph::new(6, vec![([0, 2], 1.0), ([2, 4], 2.0), ([1, 3], 0.5)]).unwrap();
    let (path, random, mesh) = (path(7), random_graph(12, 20, 3), crumpled_sheet(4, 3, 0.45, 5));
    let of_mesh = cotangent_graph(&mesh).unwrap().graph;
    assert!(of_mesh.len() > mesh.len(), "vertices are inserted");
    [
        Diffused::new("path", &path, &path, 8.0, 5),
        Diffused::new("random graph", &random, &random, 8.0, 5),
        Diffused::new("pieces", &pieces, &pieces, 8.0, 5),
        Diffused::new("sheet", &mesh, &of_mesh, 1.0, 4),
    ]
});

fn cases<T: CpuScalar>() -> Result<Vec<GeometryCase<Host<T>>>, Error> {
    let case = |Diffused { name, vertices, graph, time, steps, slopes }: &Diffused| {
        let (of_mesh, geometry) = (graph.len() > vertices.len(), heat::<T>(vertices.clone(), *time, *steps));
        let geometry = if of_mesh { geometry.for_half_squares() } else { geometry };
        let epsilon = geometry.fixed_epsilon().unwrap();
        let costs = dense_costs(graph, vertices.len(), epsilon, *time, *steps);
        let slopes = slopes.iter().map(|slopes| slopes.iter().map(|slope| epsilon * slope).collect()).collect();
        GeometryCase::new(*name, geometry.shared(), costs)?.with_edge_slopes(slopes)
    };
    DIFFUSED.iter().map(case).collect()
}

conformance_geometry!(heat_f64, cases::<f64>());
conformance_geometry!(heat_f32, cases::<f32>());

/// log (K exp(x)), minus infinity for what is not reached, by the softmin.
fn log_products<T: CpuScalar>(geometry: &HeatGeometry<T>, exponents: &[T], columns: usize) -> Result<Vec<T>, Error> {
    let (backend, n) = (Geometry::backend(geometry), geometry.len(Side::Source));
    let epsilon = geometry.fixed_epsilon().unwrap();
    let ones = vec![T::from_f64(1.0); n];
    let own = DeviceWeights::new(backend.as_ref(), WeightsView::new(&ones, 1)?)?;
    let log_weights: Vec<T> =
        exponents.iter().map(|x| if x.to_f64() <= 0.5 * LOG_ZERO { *x } else { T::default() }).collect();
    let potentials: Vec<T> = exponents.iter().map(|x| T::from_f64(x.to_f64().max(-1e20) * epsilon)).collect();
    let (potential, zero) = (backend.upload(&potentials, columns)?, backend.filled(0.0, n, columns)?);
    let log_weights = backend.upload(&log_weights, columns)?;
    let target = PlanSide { potential: &potential, weights: own.weights(), log_weights: &log_weights };
    let plan = PlanView { source: PlanSide::new(&zero, &own), target };
    let mut out = backend.alloc(n, columns)?;
    let mut kernel = geometry.bind_entropic(epsilon, columns)?;
    kernel.conditional_potential(backend.as_ref(), Side::Source, plan, &mut out)?;
    Ok(backend.download(&[&out])?.swap_remove(0).into_iter().map(|s| T::from_f64(-s.to_f64() / epsilon)).collect())
}

/// log K_ij for all i and one j.
fn log_column(geometry: &HeatGeometry<f64>, vertex: usize) -> Vec<f64> {
    let mut exponents = vec![LOG_ZERO; geometry.len(Side::Source)];
    exponents[vertex] = 0.0;
    log_products(geometry, &exponents, 1).unwrap()
}

#[test]
fn entries_are_those_of_the_dense_form() {
    for (graph, time) in
        [(random_graph(40, 60, 1), 3.0), (path(40), 0.7), (cotangent_graph(&sphere(1)).unwrap().graph, 0.3)]
    {
        let time = time * graph.masses().iter().sum::<f64>() / graph.len() as f64;
        let geometry = heat::<f64>(&graph, time, 6);
        for vertex in [0, graph.len() / 2] {
            let expected = &dense::columns(&graph, time, 6, &[vertex])[0];
            for (found, expected) in log_column(&geometry, vertex).iter().zip(expected) {
                assert!((found - expected.0.ln()).abs() < 1e-12, "{found} instead of {}", expected.0.ln());
            }
        }
    }
}

#[test]
fn tails_are_accurate_to_the_end_of_the_numbers() {
    // A strip of 4 x 220 vertices, numbered across.
    let index = |row: u32, column: u32| 4 * column + row;
    let along = (0..4).flat_map(|row| (1..220).map(move |column| ([index(row, column - 1), index(row, column)], 1.0)));
    let across = (1..4).flat_map(|row| (0..220).map(move |column| ([index(row - 1, column), index(row, column)], 0.7)));
    let strip = Graph::new(880, along.chain(across).collect()).unwrap();
    let (time, steps) = (0.5, 10);
    let found = log_column(&heat::<f64>(&strip, time, steps), 1);
    let expected = &dense::columns(&strip, time, steps, &[1])[0];
    let (mut least, mut worst) = (0.0_f64, 0.0_f64);
    for (found, expected) in found.iter().zip(expected).filter(|(_, expected)| expected.0 > 1e-270) {
        least = least.min(expected.0.log10());
        worst = worst.max((found - expected.0.ln()).abs());
    }
    assert!(least < -250.0 && worst < 1e-12, "down to 10^{least}, off by {worst:e}");
}

#[test]
fn steps_approach_the_exponential_like_their_inverse() {
    // On a path, cosines are the eigenvectors.
    let (n, time) = (16_usize, 6.0);
    let exponential = |i: usize, j: usize| -> f64 {
        let mode = |m: usize| {
            let wave = |i: usize| (std::f64::consts::PI * m as f64 * (i as f64 + 0.5) / n as f64).cos();
            let rate = 2.0 - 2.0 * (std::f64::consts::PI * m as f64 / n as f64).cos();
            (if m == 0 { 1.0 } else { 2.0 }) / n as f64 * wave(i) * wave(j) * (-time * rate).exp()
        };
        (0..n).map(mode).sum()
    };
    let error = |steps: usize| {
        let column = log_column(&heat::<f64>(&path(n as u32), time, steps), 3);
        (0..n).map(|i| (column[i].exp() - exponential(i, 3)).abs()).fold(0.0, f64::max)
    };
    let errors = [8, 16, 32, 64].map(error);
    for pair in errors.windows(2) {
        let ratio = pair[0] / pair[1];
        assert!((1.8..2.2).contains(&ratio), "{errors:?}");
    }
}

#[test]
fn constants_are_kept_and_kernels_symmetric() {
    let graph = random_graph(30, 40, 7);
    let geometry = heat::<f64>(&graph, 20.0, 10);
    let logs: Vec<f64> = graph.masses().iter().map(|mass| mass.ln()).collect();
    assert!(log_products(&geometry, &logs, 1).unwrap().iter().all(|log| log.abs() < 1e-13));
    let (of_three, of_nine) = (log_column(&geometry, 3), log_column(&geometry, 9));
    assert!((of_three[9] - of_nine[3]).abs() < 1e-13);
    let sphere = sphere(2);
    let graph = cotangent_graph(&sphere).unwrap().graph;
    let logs: Vec<f64> = graph.masses().iter().map(|mass| mass.ln()).collect();
    let kept = log_products(&heat::<f64>(&sphere, 0.5, 10), &logs, 1).unwrap();
    assert!(kept.iter().all(|log| log.abs() < 1e-12));
}

#[test]
fn potentials_beyond_the_range_of_exponents_are_layers() {
    // Exponents that fall by 9 a vertex, over 2700: each sum is told by its near terms.
    let (graph, n) = (path(300), 300);
    let geometry = heat::<f64>(&graph, 4.0, 10);
    let exponents: Vec<f64> = (0..n).map(|i| -9.0 * i as f64).collect();
    let found = log_products(&geometry, &exponents, 1).unwrap();
    let columns: Vec<Vec<f64>> = (0..n).step_by(37).map(|i| log_column(&geometry, i)).collect();
    for (index, column) in columns.iter().enumerate() {
        let terms: Vec<f64> = column.iter().zip(&exponents).map(|(log, exponent)| log + exponent).collect();
        let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let expected = largest + terms.iter().map(|term| (term - largest).exp()).sum::<f64>().ln();
        assert!((found[37 * index] - expected).abs() < 1e-11 * expected.abs().max(1.0));
    }
}

#[test]
fn what_the_kernel_cannot_tell_is_an_error() {
    let far = heat::<f64>(&path(2000), 1.0, 10);
    let mut lit = vec![LOG_ZERO; 2000];
    lit[0] = 0.0;
    let refused = log_products(&far, &lit, 1).err();
    assert!(matches!(refused, Some(Error::KernelRange { side: Side::Source, column: 0, .. })), "{refused:?}");
}

#[test]
fn components_do_not_meet() {
    let graph = Graph::new(5, vec![([0, 1], 1.0), ([2, 3], 1.0)]).unwrap();
    let geometry = heat::<f64>(&graph, 3.0, 4);
    // Each component has an exponent of its own, further apart than any layers reach.
    let column = log_products(&geometry, &[1e6, 1e6, -1e6, LOG_ZERO, LOG_ZERO], 1).unwrap();
    assert!((column[0] - 1e6).abs() < 1.0 && (column[3] + 1e6).abs() < 2.0);
    assert!(column[4] <= -UNREACHABLE / 12.1);
    assert!(geometry.may_forbid() && geometry.components().unwrap().count() == 3);
}

#[test]
fn products_with_nothing_are_nothing() {
    let geometry = heat::<f64>(&path(5), 2.0, 3);
    let (backend, ones) = (Geometry::backend(&geometry), vec![1.0; 5]);
    let own = DeviceWeights::new(backend.as_ref(), WeightsView::new(&ones, 1).unwrap()).unwrap();
    let (zero, mut out) = (backend.filled(0.0, 5, 1).unwrap(), backend.filled(7.0, 5, 1).unwrap());
    let plan = PlanView { source: PlanSide::new(&zero, &own), target: PlanSide::new(&zero, &own) };
    let mut kernel = geometry.bind_entropic(8.0, 1).unwrap();
    kernel.apply(Side::Source, plan, &zero, &mut out).unwrap();
    assert_eq!(out.values(), [0.0; 5]);
}

#[test]
fn bits_do_not_depend_on_threads() {
    let mesh = crumpled_sheet(9, 8, 0.3, 2);
    let mut seeded = Seeded::new(4);
    let exponents: Vec<f64> = (0..72 * 11).map(|_| seeded.uniform(-900.0, 10.0)).collect();
    let of = |threads: usize| {
        let backend = CpuBackend::<f64>::new(threads).unwrap();
        let geometry = HeatGeometry::new(&backend, &mesh, 2.0, 3).unwrap();
        log_products(&geometry, &exponents, 11).unwrap().iter().map(|log| log.to_bits()).collect::<Vec<_>>()
    };
    let one = of(1);
    assert!([2, 5].into_iter().all(|threads| of(threads) == one));
}

#[test]
fn what_is_asked_wrongly_is_refused() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let refused = |time: f64, steps: usize| HeatGeometry::new(&backend, &path(9), time, steps).err();
    for time in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(refused(time, 3), Some(Error::Parameter { name: "the time of a diffusion", .. })));
    }
    assert!(matches!(refused(1.0, 0), Some(Error::Parameter { name: "the steps of a diffusion", .. })));
    assert!(matches!(refused(1e-3, 3), Some(Error::Unresolved { .. })));
    let geometry = HeatGeometry::new(&backend, &path(9), 1.0, 3).unwrap();
    let own = geometry.vertices().support();
    let other = path(8);
    let other = Vertices::from(&other);
    assert!(geometry.geometry(own, own, &ImpliedCost).is_ok());
    let unsupported = geometry.geometry(own, other.support(), &ImpliedCost).err();
    assert!(matches!(unsupported, Some(Error::UnsupportedSupport { found: "graph", .. })));
    assert!(matches!(geometry.geometry(own, own, &SqEuclidean).err(), Some(Error::MissingCapability(_))));
    assert!(matches!(backend.geometry(own, own, &ImpliedCost).err(), Some(Error::MissingCapability(_))));
    let refused = geometry.bind_entropic(1.0, 1).err();
    assert_eq!(refused, Some(Error::FixedEpsilon { fixed: 4.0, requested: 1.0 }));
    let shared: Arc<dyn Geometry<Host<f64>>> = geometry.shared();
    assert_eq!(shared.epsilon_of_blur(3.0), Some(18.0));
}
