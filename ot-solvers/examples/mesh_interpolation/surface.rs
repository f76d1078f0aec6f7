//! The surface where no file is given: a tube around a knot.

use std::f64::consts::TAU;

use ot_core::TriangleMesh;

/// A tube around a trefoil knot: what is near in space is far on the surface.
pub fn knot(along: u32, around: u32) -> Result<TriangleMesh, ot_core::Error> {
    let curve = |s: f64| {
        let radius = 2.0 + (3.0 * s).cos();
        [radius * (2.0 * s).cos(), radius * (2.0 * s).sin(), 1.4 * (3.0 * s).sin()]
    };
    let mut vertices = Vec::new();
    for i in 0..along {
        let s = TAU * f64::from(i) / f64::from(along);
        let centre = curve(s);
        let tangent = unit(minus(curve(s + 1e-4), curve(s - 1e-4)));
        // A frame that closes up with the knot: away from its axis.
        let side = unit(cross(tangent, [0.0, 0.0, 1.0]));
        let up = cross(side, tangent);
        for j in 0..around {
            let angle = TAU * f64::from(j) / f64::from(around);
            let offset = |k: usize| 0.42 * (angle.cos() * side[k] + angle.sin() * up[k]);
            vertices.push([0, 1, 2].map(|k| centre[k] + offset(k)));
        }
    }
    let index = |i: u32, j: u32| (i % along) * around + j % around;
    let squares = (0..along).flat_map(|i| (0..around).map(move |j| (i, j)));
    let triangles = squares.flat_map(|(i, j)| {
        let [a, b, c, d] = [index(i, j), index(i + 1, j), index(i + 1, j + 1), index(i, j + 1)];
        [[a, b, c], [a, c, d]]
    });
    TriangleMesh::new(vertices, triangles.collect())
}

pub fn minus(x: [f64; 3], y: [f64; 3]) -> [f64; 3] {
    [0, 1, 2].map(|k| x[k] - y[k])
}

pub fn cross(x: [f64; 3], y: [f64; 3]) -> [f64; 3] {
    [x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]]
}

pub fn unit(x: [f64; 3]) -> [f64; 3] {
    let length = x.iter().map(|x| x * x).sum::<f64>().sqrt();
    x.map(|x| if length > 0.0 { x / length } else { 0.0 })
}
