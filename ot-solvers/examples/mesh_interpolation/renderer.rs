//! Triangles seen along the third axis, the nearest in front, lit from above the eye.

use image::{Rgb, RgbImage};
use ot_core::TriangleMesh;

use crate::surface::{cross, minus, unit};

const PAPER: [u8; 3] = [250, 250, 248];
const LIGHT: [f64; 3] = [0.35, 0.5, 0.8];
/// From no mass to the heaviest.
const COLOURS: [[f64; 3]; 4] = [[0.80, 0.80, 0.78], [0.98, 0.78, 0.30], [0.90, 0.32, 0.12], [0.35, 0.03, 0.10]];

/// A surface in the window of a picture.
pub struct Renderer<'a> {
    mesh: &'a TriangleMesh,
    /// Pixels and depths of the vertices.
    places: Vec<[f64; 3]>,
    size: u32,
}

impl<'a> Renderer<'a> {
    /// The surface, turned a little towards the eye, as large as fits.
    pub fn new(mesh: &'a TriangleMesh, size: u32) -> Self {
        let (sin, cos) = (0.5_f64).sin_cos();
        let turned = mesh.vertices().iter().map(|[x, y, z]| [*x, cos * y - sin * z, sin * y + cos * z]);
        let turned: Vec<[f64; 3]> = turned.collect();
        let bounds = |k: usize| {
            turned.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], x| [low.min(x[k]), high.max(x[k])])
        };
        let ([left, right], [bottom, top]) = (bounds(0), bounds(1));
        let scale = 0.92 * f64::from(size) / (right - left).max(top - bottom).max(f64::MIN_POSITIVE);
        let half = 0.5 * f64::from(size);
        let place = |[x, y, z]: [f64; 3]| {
            [half + scale * (x - 0.5 * (left + right)), half - scale * (y - 0.5 * (bottom + top)), scale * z]
        };
        Self { mesh, places: turned.into_iter().map(place).collect(), size }
    }

    /// The surface under a density, the densest places darkest.
    pub fn draw(&self, density: &[f64]) -> RgbImage {
        let mut picture = RgbImage::from_pixel(self.size, self.size, Rgb(PAPER));
        let mut depths = vec![f64::NEG_INFINITY; (self.size * self.size) as usize];
        let densest = density.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        for corners in self.mesh.triangles() {
            let [a, b, c] = corners.map(|corner| self.places[corner as usize]);
            let heats = corners.map(|corner| (density[corner as usize] / densest).max(0.0).sqrt());
            let normal = unit(cross(minus(b, a), minus(c, a)));
            let shade = 0.35 + 0.65 * dot([normal[0], -normal[1], normal[2]], unit(LIGHT)).abs();
            self.fill([a, b, c], |x, y, weights| {
                let at = (y * self.size + x) as usize;
                let depth = weights[0] * a[2] + weights[1] * b[2] + weights[2] * c[2];
                if depth > depths[at] {
                    depths[at] = depth;
                    let heat = dot(weights, heats);
                    picture.put_pixel(x, y, Rgb(colour(heat).map(|part| (255.0 * shade * part) as u8)));
                }
            });
        }
        picture
    }

    /// Every pixel of a triangle with the weights of its corners.
    fn fill(&self, [a, b, c]: [[f64; 3]; 3], mut put: impl FnMut(u32, u32, [f64; 3])) {
        let area = (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1]);
        if area == 0.0 {
            return;
        }
        let span = |k: usize| {
            let low = a[k].min(b[k]).min(c[k]).floor().max(0.0) as u32;
            low..(a[k].max(b[k]).max(c[k]).ceil() as u32 + 1).min(self.size)
        };
        for y in span(1) {
            for x in span(0) {
                let (px, py) = (f64::from(x) + 0.5, f64::from(y) + 0.5);
                let part = |p: [f64; 3], q: [f64; 3]| ((p[0] - px) * (q[1] - py) - (q[0] - px) * (p[1] - py)) / area;
                let weights = [part(b, c), part(c, a), part(a, b)];
                if weights.iter().all(|weight| *weight >= -1e-9) {
                    put(x, y, weights);
                }
            }
        }
    }
}

fn dot(x: [f64; 3], y: [f64; 3]) -> f64 {
    x[0] * y[0] + x[1] * y[1] + x[2] * y[2]
}

/// Between the neighbouring colours.
fn colour(heat: f64) -> [f64; 3] {
    let place = heat.clamp(0.0, 1.0) * (COLOURS.len() - 1) as f64;
    let below = (place as usize).min(COLOURS.len() - 2);
    let part = place - below as f64;
    [0, 1, 2].map(|k| (1.0 - part) * COLOURS[below][k] + part * COLOURS[below + 1][k])
}
