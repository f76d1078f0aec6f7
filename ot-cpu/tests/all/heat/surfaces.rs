//! Meshes and graphs of tests.

use std::collections::HashMap;

use ot_conformance::Seeded;
use ot_core::{Graph, TriangleMesh};

/// A path of this many vertices.
pub(super) fn path(vertices: u32) -> Graph {
    Graph::new(vertices as usize, (1..vertices).map(|j| ([j - 1, j], 1.0)).collect()).unwrap()
}

/// A connected graph with random weights over four decades and random masses.
pub(super) fn random_graph(vertices: u32, more: usize, seed: u64) -> Graph {
    let mut seeded = Seeded::new(seed);
    let mut weight = || 10_f64.powf(seeded.uniform(-2.0, 2.0));
    let mut edges: Vec<_> = (1..vertices).map(|j| ([j / 2, j], weight())).collect();
    let mut seeded = Seeded::new(seed + 1);
    for _ in 0..more {
        let [i, j] = [0, 1].map(|_| (seeded.uniform(0.0, 1.0) * f64::from(vertices)) as u32);
        edges.push(([i.min(vertices - 1), j.min(vertices - 1)], 10_f64.powf(seeded.uniform(-2.0, 2.0))));
    }
    let masses = (0..vertices).map(|_| 10_f64.powf(seeded.uniform(-1.0, 1.0))).collect();
    Graph::new(vertices as usize, edges).unwrap().with_masses(masses).unwrap()
}

/// The distance between two rows of a crumpled sheet.
pub(super) const ROW: f64 = 0.4;

/// A flat sheet of columns x rows vertices, which have been moved along their rows, so that many triangles are obtuse, at
/// the boundary too. No triangle is turned over while the shift is below a half.
pub(super) fn crumpled_sheet(columns: u32, rows: u32, shift: f64, seed: u64) -> TriangleMesh {
    let mut seeded = Seeded::new(seed);
    let mut vertices = Vec::new();
    for row in 0..rows {
        for column in 0..columns {
            let is_inner = column > 0 && column + 1 < columns;
            let moved = if is_inner { shift * seeded.uniform(-1.0, 1.0) } else { 0.0 };
            vertices.push([f64::from(column) + moved, ROW * f64::from(row), 0.0]);
        }
    }
    sheet(vertices, columns, rows)
}

/// Two triangles for each square of a table of vertices.
pub(super) fn sheet(vertices: Vec<[f64; 3]>, columns: u32, rows: u32) -> TriangleMesh {
    let squares = (0..rows - 1).flat_map(|row| (0..columns - 1).map(move |column| row * columns + column));
    let triangles = squares.flat_map(|i| [[i, i + 1, i + columns + 1], [i, i + columns + 1, i + columns]]);
    let triangles = triangles.collect();
    TriangleMesh::new(vertices, triangles).unwrap()
}

/// A sphere of radius one: an icosahedron, of which each triangle was cut into four some times.
pub(super) fn sphere(cuts: usize) -> TriangleMesh {
    let golden = 0.5 * (1.0 + 5_f64.sqrt());
    let mut vertices: Vec<[f64; 3]> = Vec::new();
    for x in [-1.0, 1.0] {
        for y in [-golden, golden] {
            vertices.extend([[x, y, 0.0], [0.0, x, y], [y, 0.0, x]]);
        }
    }
    // Corners two apart are neighbours.
    let apart = |i: usize, j: usize| -> f64 { (0..3).map(|k| (vertices[i][k] - vertices[j][k]).powi(2)).sum() };
    let near = |i: usize, j: usize| (apart(i, j) - 4.0).abs() < 1e-9;
    let mut triangles: Vec<[u32; 3]> = Vec::new();
    for i in 0..12 {
        for j in i + 1..12 {
            triangles.extend(
                (j + 1..12).filter(|&k| near(i, j) && near(j, k) && near(k, i)).map(|k| [i, j, k].map(|v| v as u32)),
            );
        }
    }
    for _ in 0..cuts {
        let mut middles = HashMap::new();
        let mut middle = |i: u32, j: u32| {
            *middles.entry([i.min(j), i.max(j)]).or_insert_with(|| {
                let sum = [0, 1, 2].map(|k| vertices[i as usize][k] + vertices[j as usize][k]);
                vertices.push(sum);
                vertices.len() as u32 - 1
            })
        };
        let cut = |[i, j, k]: [u32; 3]| {
            let (a, b, c) = (middle(i, j), middle(j, k), middle(k, i));
            [[i, a, c], [a, j, b], [c, b, k], [a, b, c]]
        };
        triangles = triangles.into_iter().flat_map(cut).collect();
        for vertex in &mut vertices {
            let length = vertex.iter().map(|x| x * x).sum::<f64>().sqrt();
            *vertex = vertex.map(|x| x / length);
        }
    }
    TriangleMesh::new(vertices, triangles).unwrap()
}

/// The length of the great circle between two vertices of a sphere of radius one.
pub(super) fn great_circle(mesh: &TriangleMesh, i: usize, j: usize) -> f64 {
    2.0 * (0.5 * mesh.distance(i as u32, j as u32)).min(1.0).asin()
}
