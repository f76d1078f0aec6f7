//! Loops that do one thing as fast as the machine can: read memory, multiply and add, exponentiate squared distances.
//!
//! Each body is written once and compiled for every instruction set; the choice falls at run time. They are roofs,
//! written apart from what is held against them, and shaped so that the compiler keeps all lanes in registers.

/// Compiles a body for AVX-512, AVX2 and the baseline, and calls the best that this machine has. The body is told
/// whether multiply-adds are fused.
macro_rules! best {
    ($body:ident($($name:ident: $kind:ty),*) -> $result:ty) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")]
        fn avx512($($name: $kind),*) -> $result {
            $body::<true>($($name),*)
        }

        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        fn avx2($($name: $kind),*) -> $result {
            $body::<true>($($name),*)
        }

        #[cfg(target_arch = "x86_64")]
        {
            let has_avx2 = std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma");
            let has_avx512 = has_avx2
                && std::is_x86_feature_detected!("avx512f")
                && std::is_x86_feature_detected!("avx512dq")
                && std::is_x86_feature_detected!("avx512bw")
                && std::is_x86_feature_detected!("avx512vl");
            if has_avx512 {
                // SAFETY: all features that the function enables have just been detected.
                return unsafe { avx512($($name),*) };
            }
            if has_avx2 {
                // SAFETY: all features that the function enables have just been detected.
                return unsafe { avx2($($name),*) };
            }
        }
        $body::<{ cfg!(any(target_arch = "aarch64", target_feature = "fma")) }>($($name),*)
    }};
}

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

/// Pairs of one call of [`ExpSquares::exp_squares`]: few enough for the first-level cache, and no power of two, so that
/// axes do not fall on one another there.
pub(super) const TILE: usize = 448;

/// Exponentials of squared distances.
pub(super) trait ExpSquares: Sized {
    /// sum_j 2^(bias_j - scale |x - y_j|^2) over [`TILE`] points, their coordinates axis after axis.
    fn exp_squares(scale: Self, x: &[Self], axes: &[Self], bias: &[Self]) -> Self;
}

/// 2^t as 2^round(t) times a polynomial (Taylor's, of the degree that the type needs) of the rest.
macro_rules! exp_squares {
    ($float:ident, $lanes:literal, $degree:literal, $lowest:literal) => {
        impl ExpSquares for $float {
            fn exp_squares(scale: $float, x: &[$float], axes: &[$float], bias: &[$float]) -> $float {
                #[inline(always)]
                fn body<const FUSED: bool>(scale: $float, x: &[$float], axes: &[$float], bias: &[$float]) -> $float {
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
                    let fma = |a: $float, b: $float, c: $float| if FUSED { a.mul_add(b, c) } else { a * b + c };
                    let mut sums = [0.0; $lanes];
                    let (biases, _) = bias.as_chunks::<$lanes>();
                    for (chunk, bias) in biases.iter().enumerate() {
                        let mut squares = [0.0; $lanes];
                        for (x, axis) in x.iter().zip(axes.as_chunks::<TILE>().0) {
                            let axis = &axis.as_chunks::<$lanes>().0[chunk];
                            for (square, y) in squares.iter_mut().zip(axis) {
                                let difference = *x - y;
                                *square = fma(difference, difference, *square);
                            }
                        }
                        for ((sum, square), bias) in sums.iter_mut().zip(squares).zip(bias) {
                            let t = fma(-scale, square, *bias).max($lowest);
                            let shifted = t + MAGIC;
                            let rest = t - (shifted - MAGIC);
                            let mut power = COEFFICIENTS[$degree];
                            for k in (0..$degree).rev() {
                                power = fma(power, rest, COEFFICIENTS[k]);
                            }
                            let exponent = shifted.to_bits() << ($float::MANTISSA_DIGITS - 1);
                            *sum += $float::from_bits(power.to_bits().wrapping_add(exponent));
                        }
                    }
                    sums.iter().sum()
                }
                best!(body(scale: $float, x: &[$float], axes: &[$float], bias: &[$float]) -> $float)
            }
        }
    };
}

exp_squares!(f32, 64, 5, -125.0);
exp_squares!(f64, 32, 11, -1021.0);

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
        let axes: Vec<f64> = (0..2 * TILE).map(|k| (k % 97) as f64 / 50.0).collect();
        let bias: Vec<f64> = (0..TILE).map(|j| j as f64 / 300.0 - 1.0).collect();
        let (x, scale) = ([0.3, 1.1], 2.7);
        let exact: f64 = (0..TILE)
            .map(|j| (bias[j] - scale * ((x[0] - axes[j]).powi(2) + (x[1] - axes[TILE + j]).powi(2))).exp2())
            .sum();
        let found = f64::exp_squares(scale, &x, &axes, &bias);
        assert!((found - exact).abs() < 1e-13 * exact, "{found} {exact}");
        let narrow = |values: &[f64]| -> Vec<f32> { values.iter().map(|&value| value as f32).collect() };
        let found = f64::from(f32::exp_squares(scale as f32, &narrow(&x), &narrow(&axes), &narrow(&bias)));
        assert!((found - exact).abs() < 1e-5 * exact, "{found} {exact}");
        // Far below the smallest number: floored, neither garbage nor infinite.
        assert!(f64::exp_squares(1e6, &x, &axes, &bias) < 1.0);
    }
}
