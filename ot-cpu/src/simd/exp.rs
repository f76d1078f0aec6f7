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
//! The polynomial is summed in pairs (Estrin), which shortens the chain of dependent operations.
//! Outside the normal range the result is selected: `x + ∞` above (`+∞`, or NaN for NaN), 0 below.
//!
//! A power of two, `2^x`, needs no splitting of ln 2: `r = x − k` is exact, and the powers of ln 2 go into the
//! coefficients. It stands in the hottest loops, many at a time, where operations count and chains do not: the
//! polynomial is summed by Horner's rule, `f32` makes do with degree 5 (relative error 2⁻²³·³, with `2^0 = 1`), and
//! arguments are clamped instead of results selected.

use super::element::{Element, PowerOfTwo};
use super::fused::{multiply_add_f32, multiply_add_f64};
use super::vector::Vector;

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

/// For `f32`: degree 5, fitted and rounded as the others are, under the constraint `2^0 = 1`.
#[expect(clippy::approx_constant, reason = "the coefficient of r is fitted: near ln 2, and not it")]
pub(super) const POWER_OF_TWO_F32: PowerOfTwo<f32> = PowerOfTwo {
    rounder: 12_582_912.0,
    lowest: -125.0,
    overflow: 128.0,
    coefficients: &[1.327_106_5e-3, 9.671_361e-3, 5.550_707_5e-2, 0.240_222_45, 0.693_147, 1.0],
};

/// For `f64`: the coefficients of the exponential, times powers of ln 2.
pub(super) const POWER_OF_TWO_F64: PowerOfTwo<f64> = PowerOfTwo {
    rounder: 6_755_399_441_055_744.0,
    lowest: -1021.0,
    overflow: 1024.0,
    coefficients: &for_powers_of_two(C_F64),
};

/// `2^x`, not less than twice the smallest normal number; `+∞` where it overflows.
#[inline(always)]
pub(super) fn power_of_two<V: Vector>(x: V) -> V {
    let PowerOfTwo { rounder, lowest, overflow, coefficients } = V::Element::POWER_OF_TWO;
    let rounder = V::splat(rounder);
    let x = V::splat(overflow).smaller(V::splat(lowest).larger(x));
    let rounded = x.plus(rounder);
    let r = x.minus(rounded.minus(rounder));
    let mut power = V::splat(coefficients[0]);
    for &coefficient in &coefficients[1..] {
        power = power.multiply_add(r, V::splat(coefficient));
    }
    power.times_power_of_two(rounded)
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

/// The coefficients of 2^r, the highest first: those of exp(r) times powers of ln 2.
const fn for_powers_of_two(c: [f64; 10]) -> [f64; 12] {
    let mut coefficients = [1.0; 12];
    let (mut degree, mut power) = (1, std::f64::consts::LN_2);
    while degree < 12 {
        coefficients[11 - degree] = if degree == 1 { power } else { c[degree - 2] * power };
        power *= std::f64::consts::LN_2;
        degree += 1;
    }
    coefficients
}
