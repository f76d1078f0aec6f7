//! How accurate heat kernels are: their tails, beside a table and the exponential of a matrix, and beside geodesics.

use std::f64::consts::PI;

use nalgebra::{DMatrix, DVector, SymmetricEigen};
use ot_core::{
    Backend, DeviceWeights, Geometry, Graph, Host, PlanSide, PlanView, Side, TriangleMesh, Vertices, WeightsView,
};
use ot_cpu::{CpuBackend, HeatGeometry, cotangent_graph};

use crate::compare::{
    Bench, Failure,
    row::{Measured, Per, Row},
    timing::time_once,
};

pub(super) fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    tails(bench)?;
    let sphere = cotangent_graph(&sphere(4)?)?.graph;
    table(bench, &sphere)?;
    exponential(bench, &sphere)?;
    geodesics(bench)
}

/// log K_ij for all i and one j.
fn log_column(heat: &HeatGeometry<f64>, backend: &CpuBackend<f64>, vertex: usize) -> Result<Vec<f64>, Failure> {
    let n = heat.len(Side::Source);
    let lit: Vec<f64> = (0..n).map(|i| f64::from(u8::from(i == vertex))).collect();
    let weights = DeviceWeights::new(backend, WeightsView::new(&lit, 1)?)?;
    let device: &dyn Backend<Host<f64>> = backend;
    let (zero, mut out) = (device.filled(0.0, n, 1)?, device.alloc(n, 1)?);
    let side = PlanSide::new(&zero, &weights);
    let epsilon = heat.fixed_epsilon().unwrap_or(f64::NAN);
    let plan = PlanView { source: side, target: side };
    heat.bind_entropic(epsilon, 1)?.conditional_potential(backend, Side::Source, plan, &mut out)?;
    Ok(out.values().iter().map(|softmin| -softmin / epsilon).collect())
}

/// A row of one column of a kernel, whose error is the largest of some numbers.
fn add(
    bench: &mut Bench<'_>,
    case: String,
    (vertices, time, steps): (Vertices, f64, usize),
    vertex: usize,
    error: impl FnOnce(&HeatGeometry<f64>, &[f64]) -> f64,
    note: impl FnOnce(f64) -> String,
) -> Result<f64, Failure> {
    let (backend, n) = (CpuBackend::new(bench.options.threads)?, vertices.len());
    let heat = HeatGeometry::new(&backend, vertices, time, steps)?;
    let (seconds, column) = time_once(|| log_column(&heat, &backend, vertex))?;
    let error = error(&heat, &column);
    let ours = Measured { error: Some(error), ..Measured::seconds(super::NAME, seconds) };
    let row = Row::new("heat", case, (n, n), bench.options.threads, Per::Pass, ours);
    bench.add(Row { epsilon: Some(4.0 * time), ..row }.with_note(note(error)))?;
    Ok(error)
}

/// On a long path, far from its ends, (I + tau L)^-1 is a two-sided geometric sequence, and K a power of its convolution: sums of
/// positive numbers.
fn tails(bench: &mut Bench<'_>) -> Result<(), Failure> {
    const LEN: usize = 431;
    let (time, steps, middle) = (0.5, 10, LEN / 2);
    let tau = time / steps as f64;
    let root = (1.0 + 4.0 * tau).sqrt();
    let (ratio, factor) = (2.0 * tau / (1.0 + 2.0 * tau + root), 1.0 / root);
    let mut expected = vec![0.0; LEN];
    expected[middle] = 1.0;
    for _ in 0..steps {
        let running = |values: &mut dyn Iterator<Item = f64>| -> Vec<f64> {
            let add = |sum: &mut f64, value: f64| {
                *sum = value + ratio * *sum;
                Some(*sum)
            };
            values.scan(0.0, add).collect()
        };
        let (left, right) = (running(&mut expected.iter().copied()), running(&mut expected.iter().rev().copied()));
        expected =
            (0..LEN).map(|i| factor * (left[i] + ratio * if i + 1 < LEN { right[LEN - 2 - i] } else { 0.0 })).collect();
    }
    let path = Graph::new(LEN, (1..LEN as u32).map(|j| ([j - 1, j], 1.0)).collect())?;
    let error = |_: &HeatGeometry<f64>, column: &[f64]| {
        let told = column.iter().zip(&expected).filter(|(_, expected)| **expected > 1e-250);
        told.map(|(log, expected)| (log - expected.ln()).abs()).fold(0.0, f64::max)
    };
    let note = |_| "error: relative, of entries down to 1e-250, against a closed form".to_owned();
    add(bench, "tails".into(), ((&path).into(), time, steps), middle, error, note).map(drop)
}

/// M + rate L, and the masses.
fn matrix(graph: &Graph, rate: f64) -> DMatrix<f64> {
    let mut matrix = DMatrix::from_diagonal(&DVector::from_column_slice(graph.masses()));
    for &([i, j], weight) in graph.edges() {
        let (i, j, weight) = (i as usize, j as usize, rate * weight);
        matrix[(i, i)] += weight;
        matrix[(j, j)] += weight;
        matrix[(i, j)] -= weight;
        matrix[(j, i)] -= weight;
    }
    matrix
}

/// The k-step form as a table.
fn table(bench: &mut Bench<'_>, graph: &Graph) -> Result<(), Failure> {
    let (time, steps) = (0.3, 10);
    let factor = matrix(graph, time / steps as f64).cholesky().ok_or("a matrix that is not positive definite")?;
    let mut expected = DVector::zeros(graph.len());
    expected[0] = 1.0;
    for step in 0..steps {
        if step > 0 {
            expected.component_mul_assign(&DVector::from_column_slice(graph.masses()));
        }
        factor.solve_mut(&mut expected);
    }
    let error = |_: &HeatGeometry<f64>, column: &[f64]| {
        column.iter().zip(&expected).map(|(log, expected)| (log.exp() / expected - 1.0).abs()).fold(0.0, f64::max)
    };
    let note = |_| "error: relative, of entries, against the table of k steps".to_owned();
    add(bench, "table".into(), (graph.into(), time, steps), 0, error, note).map(drop)
}

/// The exponential exp(-t M^-1 L) M^-1, which k steps approach like 1 / k.
fn exponential(bench: &mut Bench<'_>, graph: &Graph) -> Result<(), Failure> {
    let time = 0.3;
    let roots = DVector::from_iterator(graph.len(), graph.masses().iter().map(|mass| mass.sqrt().recip()));
    let laplacian = matrix(graph, 1.0) - DMatrix::from_diagonal(&DVector::from_column_slice(graph.masses()));
    let scaling = DMatrix::from_diagonal(&roots);
    let SymmetricEigen { eigenvectors, eigenvalues } = SymmetricEigen::new(&scaling * laplacian * &scaling);
    let decayed = eigenvalues.map(|eigenvalue| (-time * eigenvalue).exp());
    let column = &eigenvectors * decayed.component_mul(&eigenvectors.row(0).transpose());
    let expected = column.component_mul(&roots) * roots[0];
    let mut before = None;
    for steps in [10, 20, 40, 80] {
        let error = |_: &HeatGeometry<f64>, column: &[f64]| {
            let differences = column.iter().zip(&expected).map(|(log, expected)| (log.exp() - expected).abs());
            differences.fold(0.0, f64::max) / expected.amax()
        };
        let order = |error: f64| {
            before.map_or_else(String::new, |before: f64| format!(", order {:.2}", (before / error).log2()))
        };
        let note = |error| format!("error: of the largest entry, against the exponential{}", order(error));
        let case = format!("exponential, {steps} steps");
        before = Some(add(bench, case, (graph.into(), time, steps), 0, error, note)?);
    }
    Ok(())
}

/// The implied cost less its constant, against squares of great circles on refined spheres: pairs with d^2 <= k t / 10, t = h^(2/3)
/// and k like 1 / h^2. At t = h^2 it does not converge: a mesh is off by some (d^2 h / t)^2, as a lattice is; the smooth sphere
/// by some t.
fn geodesics(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let levels: &[(u32, usize)] = bench.options.pick(&[(4, 16), (8, 64)], &[(4, 16), (8, 64), (16, 256), (32, 1024)]);
    let mut before = None;
    for &(side, steps) in levels {
        let mesh = sphere(side)?;
        let square = HeatGeometry::<f64>::new(&CpuBackend::new(1)?, &mesh, 1.0, 1)?.report().edge_square;
        let time = square.cbrt();
        let error = |heat: &HeatGeometry<f64>, column: &[f64]| {
            let epsilon = heat.fixed_epsilon().unwrap_or(f64::NAN);
            let constant = epsilon * (PI * epsilon).ln();
            let error = |(vertex, log): (u32, &f64)| {
                let square_of = (2.0 * (0.5 * mesh.distance(0, vertex)).min(1.0).asin()).powi(2);
                // Beyond it the steps make it linear in the distance; and far from where geodesics meet again.
                let is_told = square_of <= (steps as f64 * time / 10.0).min(1.0);
                is_told.then(|| (-epsilon * log - constant - square_of).abs())
            };
            (0..).zip(column).filter_map(error).fold(0.0, f64::max)
        };
        let h = square.sqrt();
        let note = |error: f64| {
            let order = |(wide, before): (f64, f64)| format!(", order {:.2}", (before / error).ln() / (wide / h).ln());
            format!(
                "h {h:.3}, t = h^(2/3), {steps} steps; error: of squared distances up to 1{}",
                before.map_or_else(String::new, order)
            )
        };
        let case = "geodesics of a sphere".to_owned();
        before = Some((h, add(bench, case, ((&mesh).into(), time, steps), 0, error, note)?));
    }
    Ok(())
}

/// A sphere of radius one: an octahedron, each of whose faces has a side of so many edges.
fn sphere(side: u32) -> Result<TriangleMesh, Failure> {
    // The octahedron unfolded into a square, whose border is then joined to itself.
    let (side, last) = (f64::from(side), 2 * side);
    let place = |i: u32, j: u32| {
        let (u, v) = (f64::from(i) - side, f64::from(j) - side);
        let z = side - u.abs() - v.abs();
        let folded = |own: f64, other: f64| if z < 0.0 { (side - other.abs()).copysign(own) } else { own };
        let (x, y) = (folded(u, v), folded(v, u));
        let length = x.hypot(y).hypot(z);
        [x / length, y / length, z / length]
    };
    let vertices = (0..=last).flat_map(|j| (0..=last).map(move |i| place(i, j))).collect();
    let squares = (0..last).flat_map(|j| (0..last).map(move |i| (i, j)));
    let triangles = squares.flat_map(|(i, j)| {
        let at = |i: u32, j: u32| j * (last + 1) + i;
        let [a, b, c, d] = [at(i, j), at(i + 1, j), at(i + 1, j + 1), at(i, j + 1)];
        if (2 * i < last) == (2 * j < last) { [[a, b, d], [b, c, d]] } else { [[a, b, c], [a, c, d]] }
    });
    Ok(TriangleMesh::new(vertices, triangles.collect())?.welded()?.0)
}
