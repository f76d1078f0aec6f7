//! Random positive features of the Gaussian kernel.

use std::sync::Arc;

use ot_core::{Error, PointsView, Random, Scalar, Side, host::try_zeros};

use super::factors::{Entries, Factors};

/// The stream of the anchors, among others of a seed.
const ANCHORS: u32 = 0x464b;

/// Features of exp(-|x - y|^2 / epsilon), and the largest relative standard deviation of an entry.
pub(super) fn gaussian<T: Scalar>(
    points: [PointsView<'_, T>; 2],
    epsilon: f64,
    rank: usize,
    seed: u64,
) -> Result<(Factors, f64), Error> {
    let d = points[0].dimension();
    let balls = points.map(Ball::around);
    let centre: Vec<f64> = balls[0].centre.iter().zip(&balls[1].centre).map(|(x, y)| 0.5 * x + 0.5 * y).collect();
    // Midpoints of a source and a target lie this near to the centre, which is rounded.
    let ends = balls[0].centre.iter().zip(&balls[1].centre).zip(&centre);
    let rounding = ends.fold(0.0_f64, |sum, ((x, y), c)| sum.hypot(0.5 * ((x - c) + (y - c))));
    let radius = 0.5 * (balls[0].radius + balls[1].radius) + rounding;
    let Spread { excess, log_moment } = Spread::best(d as f64, 8.0 * radius * (radius / epsilon));
    // Anchors are centre + deviation z, deviation^2 = q epsilon / 4 with q = (1 + excess) / 4. They are kept as seen from the
    // centre: far from the origin the sum would round z.
    let deviation = 0.25 * ((1.0 + excess) * epsilon).sqrt();
    let mut anchors = try_zeros(rank.saturating_mul(d), "anchors of features")?;
    let mut constants = vec![0.0; rank];
    for (k, (anchor, constant)) in anchors.chunks_exact_mut(d).zip(&mut constants).enumerate() {
        let mut random = Random::new(seed, ANCHORS, k as u64);
        let mut square = 0.0;
        for anchor in anchor {
            let z = random.normal();
            (*anchor, square) = (deviation * z, square + z * z);
        }
        *constant = 0.5 * (0.5 * d as f64 * (0.5 * (1.0 + excess)).ln() + 0.5 * square - (rank as f64).ln());
    }
    let logarithms = |side: Side| {
        let points = side.of(points);
        let mut out = try_zeros(points.len().saturating_mul(rank), "features")?;
        let mut from_centre = vec![0.0; d];
        for (point, row) in points.iter().zip(out.chunks_exact_mut(rank)) {
            from_centre.iter_mut().zip(point.iter().zip(&centre)).for_each(|(to, (x, c))| *to = x.to_f64() - c);
            for ((out, anchor), constant) in row.iter_mut().zip(anchors.chunks_exact(d)).zip(&constants) {
                let squares = from_centre.iter().zip(anchor).map(|(x, u)| (x - u) * ((x - u) / epsilon));
                *out = constant - 2.0 * squares.sum::<f64>();
            }
        }
        Ok::<_, Error>(Arc::new(out))
    };
    let sides = [logarithms(Side::Source)?, logarithms(Side::Target)?];
    Ok((Factors { rank, sides, entries: Entries::Logarithms }, (log_moment.exp_m1().max(0.0) / rank as f64).sqrt()))
}

/// A ball around points: the centre of their box.
struct Ball {
    centre: Vec<f64>,
    radius: f64,
}

impl Ball {
    fn around<T: Scalar>(points: PointsView<'_, T>) -> Self {
        let mut ends = vec![[f64::INFINITY, f64::NEG_INFINITY]; points.dimension()];
        for point in points.iter() {
            for ([low, high], x) in ends.iter_mut().zip(point) {
                (*low, *high) = (low.min(x.to_f64()), high.max(x.to_f64()));
            }
        }
        let centre: Vec<f64> = ends.iter().map(|[low, high]| 0.5 * low + 0.5 * high).collect();
        let distance = |point: &[T]| point.iter().zip(&centre).fold(0.0_f64, |sum, (x, c)| sum.hypot(x.to_f64() - c));
        let radius = points.iter().map(distance).fold(0.0, f64::max);
        Self { centre, radius }
    }
}

/// How widely anchors are spread.
struct Spread {
    /// s = 4 q - 1.
    excess: f64,
    /// The logarithm of the largest E[(phi(x) phi(y))^2] / K(x, y)^2 of one feature.
    log_moment: f64,
}

impl Spread {
    /// The least of (d / 2) log((s + 1)^2 / (4 s)) + beta / s, where beta = 8 R^2 / epsilon.
    fn best(d: f64, beta: f64) -> Self {
        let linear = d + 2.0 * beta;
        let excess = ((linear + (linear * linear + 8.0 * d * beta).sqrt()) / (2.0 * d)).min(f64::MAX);
        let log_moment = 0.5 * d * (2.0 * (1.0 + excess).ln() - (4.0 * excess).ln()) + beta / excess;
        Self { excess, log_moment }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_other_spread_has_a_smaller_moment() {
        for (d, beta) in [(1.0, 0.0), (2.0, 0.3), (3.0, 7.0), (10.0, 400.0)] {
            let Spread { excess, log_moment } = Spread::best(d, beta);
            let moment = |s: f64| 0.5 * d * ((s + 1.0) * (s + 1.0) / (4.0 * s)).ln() + beta / s;
            assert!((moment(excess) - log_moment).abs() < 1e-12 * (1.0 + log_moment));
            assert!([0.9, 0.999, 1.001, 1.1].iter().all(|factor| moment(factor * excess) >= log_moment - 1e-12));
        }
    }
}
