//! Surfaces: weights, flips, boundaries, geodesics.

use ot_core::{Error, Geometry, Side, TriangleMesh};
use ot_cpu::{CotangentGraph, CpuBackend, HeatDistance, HeatGeometry, cotangent_graph};

use super::{
    heat, log_column,
    surfaces::{ROW, crumpled_sheet, great_circle, sheet, sphere},
};

/// Positions of all vertices, those inserted too.
fn positions(mesh: &TriangleMesh, weights: &CotangentGraph) -> Vec<[f64; 3]> {
    let mut positions = mesh.vertices().to_vec();
    for &([i, j], s) in &weights.inserted {
        let (x, y) = (positions[i as usize], positions[j as usize]);
        positions.push([0, 1, 2].map(|k| (1.0 - s) * x[k] + s * y[k]));
    }
    positions
}

/// L u for a function of position.
fn laplacian(weights: &CotangentGraph, values: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; values.len()];
    for &([i, j], weight) in weights.graph.edges() {
        let flow = weight * (values[i as usize] - values[j as usize]);
        out[i as usize] += flow;
        out[j as usize] -= flow;
    }
    out
}

#[test]
fn linear_functions_are_harmonic_on_flat_meshes_with_obtuse_boundaries() {
    for seed in 0..6 {
        let mesh = crumpled_sheet(9, 7, 0.48, seed);
        let weights = cotangent_graph(&mesh).unwrap();
        assert!(
            weights.report.inserted > 0 && weights.report.flips > 0 && weights.report.clamped == 0,
            "{:?}",
            weights.report
        );
        assert!(weights.graph.edges().iter().all(|(_, weight)| *weight >= 0.0));
        assert!((weights.graph.masses().iter().sum::<f64>() - 48.0 * ROW).abs() < 1e-11);
        let positions = positions(&mesh, &weights);
        let values: Vec<f64> = positions.iter().map(|[x, y, _]| 3.0 * x - 2.0 * y + 1.0).collect();
        let flows = laplacian(&weights, &values);
        for (position, flow) in positions.iter().zip(flows) {
            let is_inner =
                position[0] > 1e-9 && position[0] < 8.0 - 1e-9 && position[1] > 1e-9 && position[1] < 6.0 * ROW - 1e-9;
            assert!(!is_inner || flow.abs() < 1e-9, "{flow:e} at {position:?}");
        }
    }
}

#[test]
fn squares_have_the_laplacian_of_their_dimension() {
    // On a regular sheet, -L |x|^2 is four times the mass, inside.
    let mesh = crumpled_sheet(7, 7, 0.0, 1);
    let weights = cotangent_graph(&mesh).unwrap();
    let values: Vec<f64> = mesh.vertices().iter().map(|[x, y, _]| x * x + y * y).collect();
    let flow = laplacian(&weights, &values)[24];
    assert!((flow + 4.0 * weights.graph.masses()[24]).abs() < 1e-12);
}

#[test]
fn cones_and_twisted_bands_are_made_delaunay() {
    // A needle of a cone, whose sides wrap around it.
    let ring = |i: u32| [f64::from(i) * 2.1, f64::from(i * i % 3), 0.0];
    let mut vertices: Vec<[f64; 3]> = (0..3).map(ring).collect();
    vertices.push([1.0, 0.5, 40.0]);
    let cone = TriangleMesh::new(vertices, vec![[0, 1, 3], [1, 2, 3], [2, 0, 3]]).unwrap();
    // A Moebius band, which has no orientation.
    let turns = 12;
    let edge = |i: u32| {
        let angle = std::f64::consts::TAU * f64::from(i) / f64::from(turns);
        [-0.4, 0.4].map(|r| {
            let radius = 1.0 + r * (0.5 * angle).cos();
            [radius * angle.cos(), radius * angle.sin(), r * (0.5 * angle).sin()]
        })
    };
    let vertices: Vec<[f64; 3]> = (0..turns).flat_map(edge).collect();
    let quad = |i: u32| {
        let (a, b) = (2 * i, 2 * i + 1);
        let (c, d) = if i + 1 == turns { (1, 0) } else { (2 * i + 2, 2 * i + 3) };
        [[a, b, d], [a, d, c]]
    };
    let band = TriangleMesh::new(vertices, (0..turns).flat_map(quad).collect()).unwrap();
    for mesh in [cone, band] {
        let weights = cotangent_graph(&mesh).unwrap();
        assert_eq!(weights.report.clamped, 0);
        let area: f64 = mesh
            .triangles()
            .iter()
            .map(|&[i, j, k]| {
                let [a, b, c] = [mesh.distance(i, j), mesh.distance(j, k), mesh.distance(k, i)];
                let half = 0.5 * (a + b + c);
                (half * (half - a) * (half - b) * (half - c)).sqrt()
            })
            .sum();
        let mass: f64 = weights.graph.masses().iter().sum();
        assert!((mass / area - 1.0).abs() < 1e-12, "the area is kept: {mass} of {area}");
    }
}

#[test]
fn triangles_without_area_are_repaired_and_told() {
    let line = (0..9).map(|i| [f64::from(i % 3), if i < 6 { 0.0 } else { 1.0 }, 0.0]).collect();
    let mesh = sheet(line, 3, 3);
    let geometry = heat::<f64>(&mesh, 2.0, 5);
    let report = geometry.report().mesh.unwrap();
    assert!(report.mollification > 0.0 && report.clamped == 0, "{report:?}");
    assert!(log_column(&geometry, 0).iter().all(|log| log.is_finite()));
    // Vertices that stand on each other, and one that nothing joins.
    let stacked = vec![[0.0; 3], [0.0; 3], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [9.0; 3]];
    let mesh = TriangleMesh::new(stacked, vec![[0, 1, 2], [0, 2, 3], [1, 0, 3]]).unwrap();
    let geometry = heat::<f64>(&mesh, 1.0, 5);
    assert_eq!((geometry.report().mesh.unwrap().isolated, mesh.components().count()), (1, 2));
    let column = log_column(&geometry, 0);
    assert!(column[..4].iter().all(|log| log.is_finite()));
    let point = TriangleMesh::new(vec![[0.0; 3]], vec![]).unwrap();
    assert_eq!(log_column(&heat::<f64>(&point, 1.0, 2), 0), [0.0]);
}

#[test]
fn weights_do_not_depend_on_the_unit() {
    let mesh = crumpled_sheet(6, 5, 0.45, 1);
    let weights = cotangent_graph(&mesh).unwrap();
    let scaled = |factor: f64| {
        let vertices = mesh.vertices().iter().map(|vertex| vertex.map(|x| factor * x)).collect();
        cotangent_graph(&TriangleMesh::new(vertices, mesh.triangles().to_vec()).unwrap())
    };
    for factor in [1e-140, 1e-20, 1e20, 1e140] {
        let found = scaled(factor).unwrap();
        assert_eq!(found.report.inserted, weights.report.inserted);
        for ((_, found), (_, expected)) in found.graph.edges().iter().zip(weights.graph.edges()) {
            assert!((found - expected).abs() < 1e-8 * (1.0 + expected), "{found} instead of {expected}");
        }
    }
    for factor in [1e-200, 1e200, 1e307] {
        assert!(matches!(scaled(factor), Err(Error::SumOverflow { .. })));
    }
}

#[test]
fn times_that_a_mesh_does_not_resolve_are_refused() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let sphere = sphere(1);
    let refused = HeatGeometry::new(&backend, &sphere, 1e-4, 5).err();
    assert!(matches!(refused, Some(Error::Unresolved { square, .. }) if (0.1..0.5).contains(&square)), "{refused:?}");
}

/// The implied cost, less its constant, tends to the squared geodesic distance as spheres are refined, for t = h^2 and pairs
/// with d^2 <= k t / 10, where k grows like 1 / t: the order of convergence in h is printed.
#[test]
fn costs_tend_to_squared_geodesics_on_spheres() {
    let errors: Vec<[f64; 2]> = [(1, 8), (2, 32), (3, 128)]
        .map(|(cuts, steps)| {
            let mesh = sphere(cuts);
            let square = heat::<f64>(&mesh, 1.0, 1).report().edge_square;
            let geometry = heat::<f64>(&mesh, square, steps);
            let (epsilon, column) = (geometry.fixed_epsilon().unwrap(), log_column(&geometry, 0));
            let constant = epsilon * (std::f64::consts::PI * epsilon).ln();
            let error = |vertex: usize| {
                let distance = great_circle(&mesh, 0, vertex);
                let told = distance * distance <= steps as f64 * square / 10.0;
                told.then(|| (-epsilon * column[vertex] - constant - distance * distance).abs())
            };
            [square.sqrt(), (0..geometry.len(Side::Source)).filter_map(error).fold(0.0, f64::max)]
        })
        .into();
    for pair in errors.windows(2) {
        let [[wide, before], [narrow, after]] = [pair[0], pair[1]];
        let order = (before / after).ln() / (wide / narrow).ln();
        println!("h {wide:.3} to {narrow:.3}: error {before:.2e} to {after:.2e}, order {order:.2}");
        assert!(order > 1.0, "{errors:?}");
    }
}

#[test]
fn the_heat_method_measures_geodesics() {
    let mesh = sphere(3);
    let distances = HeatDistance::new(&mesh).unwrap().from_vertices(&[0]).unwrap();
    let edges = mesh.shortest_paths(&[0]).unwrap();
    for vertex in 0..mesh.len() {
        let exact = great_circle(&mesh, 0, vertex);
        assert!((distances[vertex] - exact).abs() < 0.06, "{} instead of {exact}", distances[vertex]);
        assert!(edges[vertex] > exact - 0.02 && edges[vertex] < 1.25 * exact + 1e-9, "{} for {exact}", edges[vertex]);
    }
    // A flat sheet with bad triangles: straight lines.
    let mesh = crumpled_sheet(15, 15, 0.4, 3);
    let distances = HeatDistance::new(&mesh).unwrap().from_vertices(&[0]).unwrap();
    for (vertex, distance) in distances.iter().enumerate() {
        let exact = mesh.distance(0, vertex as u32);
        assert!((distance - exact).abs() < 0.06 * exact + 0.3, "{distance} instead of {exact}");
    }
    let parts = TriangleMesh::new(vec![[0.0; 3], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [5.0; 3]], vec![[0, 1, 2]]).unwrap();
    let method = HeatDistance::new(&parts).unwrap();
    assert!(method.from_vertices(&[0]).unwrap()[3].is_infinite());
    assert!(matches!(method.from_vertices(&[4]), Err(Error::VertexIndex { .. })));
}
