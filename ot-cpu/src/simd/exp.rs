//! The exponential, one element at a time, without branches.
//!
//! With `k` the integer nearest to `x / ln 2` and `r = x − k·ln 2`, so that `|r| ≤ ln 2 / 2`,
//!
//! ```text
//! exp(x) = 2^k · exp(r),      exp(r) ≈ 1 + r + r²·(c₂ + c₃·r + … + c_n·r^(n−2))
//! ```
//!
//! - `k`: adding 1.5·2⁵² (1.5·2²³ for `f32`) rounds to an integer and leaves that integer, in two's
//!   complement, in the low bits of the sum.
//! - `r`: ln 2 is split as `high + low` (Cody and Waite), `high` with enough trailing zero bits that
//!   `k·high` and `x − k·high` are exact.
//! - `c₂ … c_n`: a weighted minimax fit of `(exp(r) − 1 − r)/r²` in multiple precision (least squares
//!   at Chebyshev nodes with Lawson's reweighting), the coefficients rounded one by one from the
//!   lowest and the rest refitted after each. Relative error of the rounded polynomial, in exact
//!   arithmetic: 2⁻⁵⁷·⁸ for `f64` (degree 11), 2⁻²⁸·² for `f32` (degree 6).
//! - `2^k`: `k` is added to the exponent field of `exp(r)`, exact while the result is normal.
//!
//! A power of two, `2^(x·scale)`, needs no splitting of ln 2: `r = x·scale − k` is one fused operation, and the
//! powers of ln 2 go into the coefficients.
//!
//! The polynomial is summed in pairs (Estrin), which shortens the chain of dependent operations.
//! Outside the normal range the result is selected: `x + ∞` above (`+∞`, or NaN for NaN), 0 below.

use super::element::{multiply_add_f32, multiply_add_f64};

/// c₂ … c₁₁ of `f64`.
const C_F64: [f64; 10] = [
    0.5000000000000011,
    0.16666666666666444,
    4.166666666652708e-2,
    8.333333333475853e-3,
    1.388888894430256e-3,
    1.9841269545207266e-4,
    2.4801492496159453e-5,
    2.7557552858353323e-6,
    2.763043882053611e-7,
    2.501043794921106e-8,
];

/// c₂ … c₆ of `f32`.
const C_F32: [f32; 5] = [0.499_999_94, 0.166_665_21, 4.166_826e-2, 8.368_669e-3, 1.382_132_1e-3];

/// `exp(x)` in `f64`.
#[inline(always)]
pub(super) fn exp_f64<const FUSED: bool>(x: f64) -> f64 {
    /// The largest argument whose exponential is finite.
    const LARGEST: f64 = 709.782712893384;
    /// The smallest argument whose exponential is normal.
    const SMALLEST: f64 = -708.3964185322641;
    /// 1.5·2⁵².
    const ROUNDER: f64 = 6_755_399_441_055_744.0;
    /// ln 2, its first 42 bits.
    const LN_2_HIGH: f64 = 0.6931471805598903;
    /// ln 2, the rest.
    const LN_2_LOW: f64 = 5.497923018708371e-14;

    let rounded = multiply_add_f64::<FUSED>(x, std::f64::consts::LOG2_E, ROUNDER);
    let k = rounded - ROUNDER;
    let r = multiply_add_f64::<FUSED>(k, -LN_2_HIGH, x);
    let r = multiply_add_f64::<FUSED>(k, -LN_2_LOW, r);

    let power = polynomial_f64::<FUSED>(r, 1.0, &C_F64);
    let scaled = f64::from_bits(power.to_bits().wrapping_add(rounded.to_bits() << 52));

    let bounded = if x <= LARGEST { scaled } else { x + f64::INFINITY };
    if x < SMALLEST { 0.0 } else { bounded }
}

/// `exp(x)` in `f32`.
#[inline(always)]
pub(super) fn exp_f32<const FUSED: bool>(x: f32) -> f32 {
    /// The largest argument whose exponential is finite.
    const LARGEST: f32 = 88.722_83;
    /// The smallest argument whose exponential is normal.
    const SMALLEST: f32 = -87.336_54;
    /// 1.5·2²³.
    const ROUNDER: f32 = 12_582_912.0;
    /// ln 2, its first 16 bits.
    const LN_2_HIGH: f32 = 0.693_145_75;
    /// ln 2, the rest.
    const LN_2_LOW: f32 = 1.428_606_8e-6;

    let rounded = multiply_add_f32::<FUSED>(x, std::f32::consts::LOG2_E, ROUNDER);
    let k = rounded - ROUNDER;
    let r = multiply_add_f32::<FUSED>(k, -LN_2_HIGH, x);
    let r = multiply_add_f32::<FUSED>(k, -LN_2_LOW, r);

    let power = polynomial_f32::<FUSED>(r, 1.0, &C_F32);
    let scaled = f32::from_bits(power.to_bits().wrapping_add(rounded.to_bits() << 23));

    let bounded = if x <= LARGEST { scaled } else { x + f32::INFINITY };
    if x < SMALLEST { 0.0 } else { bounded }
}

/// `2^(x·scale)` in `f64` where `|x·scale| ≤ 1021`, and anything beyond.
///
/// With `k` the integer nearest to `x·scale`, the rest `r = x·scale − k` is rounded once, so that the product costs
/// no accuracy; no range is checked.
#[inline(always)]
pub(super) fn exp2_f64<const FUSED: bool>(x: f64, scale: f64) -> f64 {
    /// 1.5·2⁵².
    const ROUNDER: f64 = 6_755_399_441_055_744.0;
    /// c₂ … for powers of two.
    const C: [f64; 10] = for_powers_of_two_f64(C_F64);

    let rounded = multiply_add_f64::<FUSED>(x, scale, ROUNDER);
    let k = rounded - ROUNDER;
    let r = multiply_add_f64::<FUSED>(x, scale, -k);
    let power = polynomial_f64::<FUSED>(r, std::f64::consts::LN_2, &C);
    f64::from_bits(power.to_bits().wrapping_add(rounded.to_bits() << 52))
}

/// `2^(x·scale)` in `f32` where `|x·scale| ≤ 125`, and anything beyond.
///
/// With `k` the integer nearest to `x·scale`, the rest `r = x·scale − k` is rounded once, so that the product costs
/// no accuracy; no range is checked.
#[inline(always)]
pub(super) fn exp2_f32<const FUSED: bool>(x: f32, scale: f32) -> f32 {
    /// 1.5·2²³.
    const ROUNDER: f32 = 12_582_912.0;
    /// c₂ … for powers of two.
    const C: [f32; 5] = for_powers_of_two_f32(C_F32);

    let rounded = multiply_add_f32::<FUSED>(x, scale, ROUNDER);
    let k = rounded - ROUNDER;
    let r = multiply_add_f32::<FUSED>(x, scale, -k);
    let power = polynomial_f32::<FUSED>(r, std::f32::consts::LN_2, &C);
    f32::from_bits(power.to_bits().wrapping_add(rounded.to_bits() << 23))
}

/// `1 + c₁·r + c₂·r² + …` in `f64`, summed in pairs.
#[inline(always)]
fn polynomial_f64<const FUSED: bool>(r: f64, c1: f64, c: &[f64; 10]) -> f64 {
    let r2 = r * r;
    let r4 = r2 * r2;
    let c2_to_5 = multiply_add_f64::<FUSED>(
        multiply_add_f64::<FUSED>(c[3], r, c[2]),
        r2,
        multiply_add_f64::<FUSED>(c[1], r, c[0]),
    );
    let c6_to_9 = multiply_add_f64::<FUSED>(
        multiply_add_f64::<FUSED>(c[7], r, c[6]),
        r2,
        multiply_add_f64::<FUSED>(c[5], r, c[4]),
    );
    let c10_to_11 = multiply_add_f64::<FUSED>(c[9], r, c[8]);
    let c6_to_11 = multiply_add_f64::<FUSED>(c10_to_11, r4, c6_to_9);
    let c2_to_11 = multiply_add_f64::<FUSED>(c6_to_11, r4, c2_to_5);
    let slope = multiply_add_f64::<FUSED>(c2_to_11, r, c1);
    multiply_add_f64::<FUSED>(slope, r, 1.0)
}

/// `1 + c₁·r + c₂·r² + …` in `f32`, summed in pairs.
#[inline(always)]
fn polynomial_f32<const FUSED: bool>(r: f32, c1: f32, c: &[f32; 5]) -> f32 {
    let r2 = r * r;
    let c2_to_3 = multiply_add_f32::<FUSED>(c[1], r, c[0]);
    let c4_to_5 = multiply_add_f32::<FUSED>(c[3], r, c[2]);
    let c4_to_6 = multiply_add_f32::<FUSED>(c[4], r2, c4_to_5);
    let c2_to_6 = multiply_add_f32::<FUSED>(c4_to_6, r2, c2_to_3);
    let slope = multiply_add_f32::<FUSED>(c2_to_6, r, c1);
    multiply_add_f32::<FUSED>(slope, r, 1.0)
}

/// The coefficients for powers of two: `c[n]·(ln 2)^(n + 2)`.
const fn for_powers_of_two_f64(mut c: [f64; 10]) -> [f64; 10] {
    let (mut index, mut power) = (0, std::f64::consts::LN_2);
    while index < 10 {
        power *= std::f64::consts::LN_2;
        c[index] = c[index] * power;
        index += 1;
    }
    c
}

/// The coefficients for powers of two: `c[n]·(ln 2)^(n + 2)`.
const fn for_powers_of_two_f32(mut c: [f32; 5]) -> [f32; 5] {
    let (mut index, mut power) = (0, std::f64::consts::LN_2);
    while index < 5 {
        power *= std::f64::consts::LN_2;
        c[index] = (c[index] as f64 * power) as f32;
        index += 1;
    }
    c
}
