//! Loops that do one thing as fast as the machine can: read memory, multiply and add, exponentiate costs.
//!
//! They are roofs, written apart from what is held against them, and shaped so that the compiler keeps all lanes in
//! registers.

use ot_core::CostForm;

use super::best::best;

/// Reads all words once: their wrapping sum.
pub(super) fn read(words: &[u64]) -> u64 {
    best!(read_body(words: &[u64]) -> u64)
}

#[inline(always)]
fn read_body<const FUSED: bool>(words: &[u64]) -> u64 {
    const LANES: usize = 64;
    let mut lanes = [0_u64; LANES];
    let (chunks, rest) = words.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, word) in lanes.iter_mut().zip(chunk) {
            *lane = lane.wrapping_add(*word);
        }
    }
    lanes.iter().chain(rest).fold(0, |sum, &word| sum.wrapping_add(word))
}

/// Multiply-adds of one round of [`multiply_add`]: eight chains of sixteen.
pub(super) const MULTIPLY_ADDS: usize = 128;

/// Rounds of multiply-adds x <- x factor + 1/2 on numbers that never leave the registers.
pub(super) fn multiply_add(rounds: usize, factor: f32) -> f32 {
    best!(multiply_add_body(rounds: usize, factor: f32) -> f32)
}

#[inline(always)]
fn multiply_add_body<const FUSED: bool>(rounds: usize, factor: f32) -> f32 {
    let mut numbers = [1.0_f32; MULTIPLY_ADDS];
    for _ in 0..rounds {
        for number in &mut numbers {
            *number = if FUSED { number.mul_add(factor, 0.5) } else { *number * factor + 0.5 };
        }
    }
    numbers.iter().sum()
}

/// Pairs of one call of [`ExpCosts::exp_costs`]: few enough for the first-level cache, and no power of two, so that
/// axes do not fall on one another there.
pub(super) const TILE: usize = 448;

/// Points that share the loads of a tile: with more, the numbers of a step no longer fit the registers.
pub(super) const ROWS: usize = 2;

/// The cost of a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PairCost {
    /// |x - y|^2.
    Squares,
    /// |x - y|.
    Distance,
    /// |x - y|^(3/2), by two square roots.
    ThreeHalves,
    /// The sum of |x_k - y_k|.
    Manhattan,
    /// The largest |x_k - y_k|.
    Chebyshev,
    /// The cube root of the sum of |x_k - y_k|^3.
    Cubes,
    /// 1 - <x, y>: the angle, once points are normalised.
    Cosine,
}

impl PairCost {
    /// The loop of a cost, up to its factor.
    pub(super) fn of(form: CostForm<'_>) -> Option<Self> {
        match form {
            CostForm::SqEuclidean { .. } => Some(Self::Squares),
            CostForm::PowerOfNorm { norm: 2.0, exponent: 1.0 } => Some(Self::Distance),
            CostForm::PowerOfNorm { norm: 2.0, exponent: 1.5 } => Some(Self::ThreeHalves),
            CostForm::PowerOfNorm { norm: 1.0, exponent: 1.0 } => Some(Self::Manhattan),
            CostForm::PowerOfNorm { norm: f64::INFINITY, exponent: 1.0 } => Some(Self::Chebyshev),
            CostForm::PowerOfNorm { norm: 3.0, exponent: 1.0 } => Some(Self::Cubes),
            CostForm::Cosine => Some(Self::Cosine),
            _ => None,
        }
    }
}

/// Exponentials of costs.
pub(super) trait ExpCosts: Sized {
    /// sum_rj 2^(bias_j - scale c(x_r, y_j)) over [`ROWS`] points x_r and [`TILE`] points y_j, the coordinates of both
    /// axis after axis.
    fn exp_costs(cost: PairCost, scale: Self, x: &[Self], axes: &[Self], bias: &[Self]) -> Self;
}

/// A cost as a loop over coordinates, for one type of numbers.
trait Coordinates<F> {
    /// What is kept of the coordinates so far and one more.
    fn step<const FUSED: bool>(kept: F, x: F, y: F) -> F;
    /// The cost.
    fn finish<const FUSED: bool>(kept: F) -> F;
}

/// 2^t as 2^round(t) times a polynomial (Taylor's, of the degree that the type needs) of the rest; a cube root by
/// Halley's iteration from a third of the exponent (Kahan 1991).
macro_rules! exp_costs {
    ($module:ident, $float:ident, $lanes:literal, $degree:literal, $lowest:literal, $third:literal, $halley:literal) => {
        mod $module {
            use super::{Coordinates, ExpCosts, PairCost, ROWS, TILE, best};

            #[inline(always)]
            fn fma<const FUSED: bool>(a: $float, b: $float, c: $float) -> $float {
                if FUSED { a.mul_add(b, c) } else { a * b + c }
            }

            /// The coordinates of a cost, and what is made of what they leave.
            macro_rules! coordinates {
                ($name:ident, |$kept:ident, $x:ident, $y:ident| $step:expr, |$sum:ident| $finish:expr) => {
                    struct $name;
                    impl Coordinates<$float> for $name {
                        #[inline(always)]
                        fn step<const FUSED: bool>($kept: $float, $x: $float, $y: $float) -> $float {
                            $step
                        }
                        #[inline(always)]
                        fn finish<const FUSED: bool>($sum: $float) -> $float {
                            $finish
                        }
                    }
                };
            }

            coordinates!(Squares, |kept, x, y| fma::<FUSED>(x - y, x - y, kept), |sum| sum);
            coordinates!(Distance, |kept, x, y| fma::<FUSED>(x - y, x - y, kept), |sum| sum.sqrt());
            coordinates!(ThreeHalves, |kept, x, y| fma::<FUSED>(x - y, x - y, kept), |sum| {
                sum.sqrt() * sum.sqrt().sqrt()
            });
            coordinates!(Manhattan, |kept, x, y| kept + (x - y).abs(), |sum| sum);
            coordinates!(Chebyshev, |kept, x, y| if (x - y).abs() > kept { (x - y).abs() } else { kept }, |sum| sum);
            coordinates!(Cubes, |kept, x, y| fma::<FUSED>((x - y) * (x - y), (x - y).abs(), kept), |sum| {
                cube_root::<FUSED>(sum)
            });
            coordinates!(Cosine, |kept, x, y| fma::<FUSED>(x, y, kept), |sum| 1.0 - sum);

            #[inline(always)]
            fn cube_root<const FUSED: bool>(value: $float) -> $float {
                let mut root = $float::from_bits(value.to_bits() / 3 + $third);
                for _ in 0..$halley {
                    let cube = root * root * root;
                    root *= fma::<FUSED>(2.0, value, cube) / fma::<FUSED>(2.0, cube, value);
                }
                root
            }

            #[inline(always)]
            fn body<const FUSED: bool, C: Coordinates<$float>>(
                scale: $float,
                x: &[$float],
                axes: &[$float],
                bias: &[$float],
            ) -> $float {
                // Adding it leaves the nearest integer in the low bits of the significand.
                const MAGIC: $float = 1.5 * (1_u64 << ($float::MANTISSA_DIGITS - 1)) as $float;
                const COEFFICIENTS: [$float; $degree + 1] = {
                    let (mut coefficients, mut k) = ([1.0; $degree + 1], 1);
                    while k <= $degree {
                        coefficients[k] = coefficients[k - 1] * std::$float::consts::LN_2 / k as $float;
                        k += 1;
                    }
                    coefficients
                };
                let mut sums = [0.0; $lanes];
                let (biases, _) = bias.as_chunks::<$lanes>();
                for (chunk, bias) in biases.iter().enumerate() {
                    let mut kept = [[0.0; $lanes]; ROWS];
                    for (x, axis) in x.as_chunks::<ROWS>().0.iter().zip(axes.as_chunks::<TILE>().0) {
                        let axis = &axis.as_chunks::<$lanes>().0[chunk];
                        for (kept, x) in kept.iter_mut().zip(x) {
                            for (kept, y) in kept.iter_mut().zip(axis) {
                                *kept = C::step::<FUSED>(*kept, *x, *y);
                            }
                        }
                    }
                    for kept in kept { for ((sum, kept), bias) in sums.iter_mut().zip(kept).zip(bias) {
                        let t = fma::<FUSED>(-scale, C::finish::<FUSED>(kept), *bias).max($lowest);
                        let shifted = t + MAGIC;
                        let rest = t - (shifted - MAGIC);
                        let mut power = COEFFICIENTS[$degree];
                        for k in (0..$degree).rev() {
                            power = fma::<FUSED>(power, rest, COEFFICIENTS[k]);
                        }
                        let exponent = shifted.to_bits() << ($float::MANTISSA_DIGITS - 1);
                        *sum += $float::from_bits(power.to_bits().wrapping_add(exponent));
                    } }
                }
                // By halves: one lane after the other would take as long as all the rest.
                let mut half = sums.len() / 2;
                while half > 0 {
                    for lane in 0..half {
                        sums[lane] += sums[lane + half];
                    }
                    half /= 2;
                }
                sums[0]
            }

            impl ExpCosts for $float {
                fn exp_costs(cost: PairCost, scale: $float, x: &[$float], axes: &[$float], bias: &[$float]) -> $float {
                    macro_rules! of {
                        ($cost:ident) => {
                            best!(body::<$cost>(scale: $float, x: &[$float], axes: &[$float], bias: &[$float]) -> $float)
                        };
                    }
                    match cost {
                        PairCost::Squares => of!(Squares),
                        PairCost::Distance => of!(Distance),
                        PairCost::ThreeHalves => of!(ThreeHalves),
                        PairCost::Manhattan => of!(Manhattan),
                        PairCost::Chebyshev => of!(Chebyshev),
                        PairCost::Cubes => of!(Cubes),
                        PairCost::Cosine => of!(Cosine),
                    }
                }
            }
        }
    };
}

exp_costs!(single, f32, 64, 5, -125.0, 0x2a51_19f2, 2);
exp_costs!(double, f64, 64, 11, -1021.0, 0x2a9f_7893_782d_a1ce, 3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read() {
        let words: Vec<u64> = (0..1003).collect();
        assert_eq!(read(&words), 1002 * 1003 / 2);
    }

    #[test]
    fn every_round_counts() {
        // x <- x / 2 + 1/2 stays at 1, x <- 1/2 after one round with factor 0, 1 -> 5/2 -> 11/2 with factor 2.
        let all = MULTIPLY_ADDS as f32;
        assert_eq!(multiply_add(10, 0.5), all);
        assert_eq!(multiply_add(1, 0.0), all / 2.0);
        assert_eq!(multiply_add(2, 2.0), all * 5.5);
    }

    #[test]
    fn exponentials_are_what_they_claim() {
        let axes: Vec<f64> = (0..3 * TILE).map(|k| (k % 97) as f64 / 50.0).collect();
        let bias: Vec<f64> = (0..TILE).map(|j| j as f64 / 300.0 - 1.0).collect();
        let narrow = |values: &[f64]| -> Vec<f32> { values.iter().map(|&value| value as f32).collect() };
        // Axis after axis, as the points of the tile.
        let points = [[0.3, 1.1, 0.7], [1.9, 0.2, 0.5]];
        let (x, scale): (Vec<f64>, f64) = ((0..3).flat_map(|axis| points.map(|x| x[axis])).collect(), 2.7);
        let norm = |z: [f64; 3], p: f64| z.iter().map(|z| z.abs().powf(p)).sum::<f64>().powf(1.0 / p);
        for cost in [
            PairCost::Squares,
            PairCost::Distance,
            PairCost::ThreeHalves,
            PairCost::Manhattan,
            PairCost::Chebyshev,
            PairCost::Cubes,
            PairCost::Cosine,
        ] {
            let exact: f64 = (0..ROWS * TILE)
                .map(|pair| {
                    let (x, j) = (points[pair / TILE], pair % TILE);
                    let y = [axes[j], axes[TILE + j], axes[2 * TILE + j]];
                    let z = [x[0] - y[0], x[1] - y[1], x[2] - y[2]];
                    let pair = match cost {
                        PairCost::Squares => norm(z, 2.0).powi(2),
                        PairCost::Distance => norm(z, 2.0),
                        PairCost::ThreeHalves => norm(z, 2.0).powf(1.5),
                        PairCost::Manhattan => norm(z, 1.0),
                        PairCost::Chebyshev => z[0].abs().max(z[1].abs()).max(z[2].abs()),
                        PairCost::Cubes => norm(z, 3.0),
                        PairCost::Cosine => 1.0 - (x[0] * y[0] + x[1] * y[1] + x[2] * y[2]),
                    };
                    (bias[j] - scale * pair).exp2()
                })
                .sum();
            let found = f64::exp_costs(cost, scale, &x, &axes, &bias);
            assert!((found - exact).abs() < 1e-13 * exact, "{cost:?}: {found} {exact}");
            let found = f64::from(f32::exp_costs(cost, scale as f32, &narrow(&x), &narrow(&axes), &narrow(&bias)));
            assert!((found - exact).abs() < 1e-5 * exact, "{cost:?}: {found} {exact}");
        }
        // Far below the smallest number: floored, neither garbage nor infinite.
        assert!(f64::exp_costs(PairCost::Squares, 1e6, &x, &axes, &bias) < 1.0);
    }
}
