//! The measures of the figures, as masses of pixels.

use ot_conformance::Seeded;

/// Three shapes for the corners of a simplex: a star, two disks, a ring.
pub fn corners(size: u32) -> [Vec<f64>; 3] {
    [drawn(size, star), drawn(size, disks), drawn(size, ring)]
}

/// Pairs of ellipses, one within the other, of random axes and centres, under some noise.
pub fn nested_ellipses(size: u32, count: usize) -> Vec<Vec<f64>> {
    let mut random = Seeded::new(2014);
    let pixels = (size * size) as usize;
    (0..count)
        .map(|_| {
            let [x, y, width, height] = [(-0.15, 0.15), (-0.15, 0.15), (0.45, 0.75), (0.45, 0.75)]
                .map(|(low, high)| random.vector::<f64>(1, low, high)[0]);
            let inner = random.vector::<f64>(4, 0.0, 1.0);
            let outer = Ellipse { centre: [x, y], axes: [width, height] };
            let inner = Ellipse {
                centre: [x + 0.2 * (inner[0] - 0.5), y + 0.2 * (inner[1] - 0.5)],
                axes: [0.15 + 0.15 * inner[2], 0.15 + 0.15 * inner[3]],
            };
            let mut masses = drawn(size, |x, y| outer.has_on_rim(x, y) || inner.has_on_rim(x, y));
            // One pixel in fifty is lit, by chance.
            let chances = random.vector::<f64>(pixels, 0.0, 1.0);
            for (mass, chance) in masses.iter_mut().zip(chances) {
                *mass += if chance < 0.02 { 0.25 } else { 0.0 };
            }
            masses
        })
        .collect()
}

struct Ellipse {
    centre: [f64; 2],
    axes: [f64; 2],
}

impl Ellipse {
    fn has_on_rim(&self, x: f64, y: f64) -> bool {
        let [dx, dy] = [x - self.centre[0], y - self.centre[1]];
        let radius = (dx / self.axes[0]).hypot(dy / self.axes[1]);
        (radius - 1.0).abs() * self.axes[0].min(self.axes[1]) < 0.035
    }
}

fn star(x: f64, y: f64) -> bool {
    let (radius, angle) = (x.hypot(y), y.atan2(x));
    radius < 0.5 + 0.3 * (5.0 * angle + std::f64::consts::FRAC_PI_2).sin()
}

fn disks(x: f64, y: f64) -> bool {
    (x.abs() - 0.45).hypot(y) < 0.35
}

fn ring(x: f64, y: f64) -> bool {
    (0.5..0.8).contains(&x.hypot(y))
}

/// The part of each pixel that a shape over the square [-1, 1]^2 covers, by four samples along each axis.
fn drawn(size: u32, shape: impl Fn(f64, f64) -> bool) -> Vec<f64> {
    const SAMPLES: u32 = 4;
    let coordinate = |sample: u32| 2.0 * (f64::from(sample) + 0.5) / f64::from(size * SAMPLES) - 1.0;
    let part = |pixel: u32| {
        let [column, row] = [pixel % size, pixel / size].map(|index| index * SAMPLES);
        let samples = (0..SAMPLES * SAMPLES).map(|sample| [column + sample % SAMPLES, row + sample / SAMPLES]);
        let covered = samples.filter(|&[x, y]| shape(coordinate(x), coordinate(y))).count();
        covered as f64 / f64::from(SAMPLES * SAMPLES)
    };
    (0..size * size).map(part).collect()
}
