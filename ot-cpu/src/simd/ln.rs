//! The natural logarithm, one element at a time, without branches.
//!
//! With `x = 2^k·m`, `√½ ≤ m < √2`, `f = m − 1` and `s = f/(2 + f)`, so that `ln m = 2·artanh(s)`,
//!
//! ```text
//! ln(x) = k·ln 2 + f − s·(f − z·Q(z)),      z = s²,   Q(z) ≈ 2/3 + 2/5·z + 2/7·z² + …
//! ```
//!
//! since `2·s = f − s·f` and `2·artanh(s) = 2·s + s·z·Q(z)`. The leading term `f` is exact and the
//! rest is small beside it, which is where the accuracy comes from; near `x = 1`, `k` is 0 and the
//! result is accurate relative to itself.
//!
//! - `k` and `m` are read off the bits, after shifting the exponent boundary from 1 to √½. The
//!   integer becomes a float by placing it in the mantissa of 2⁵² (2²³), so that no vector integer
//!   conversion is needed. Subnormal arguments are first scaled into the normal range.
//! - ln 2 is split as `high + low` (Cody and Waite) with `k·high` exact.
//! - `Q`: a weighted minimax fit in multiple precision on `0 ≤ z ≤ ((√2−1)/(√2+1))²`, fitted and
//!   rounded as the coefficients of the exponential are. Relative error left in `ln m`, in exact
//!   arithmetic: 2⁻⁵⁹·⁴ for `f64` (7 coefficients), 2⁻³⁰·² for `f32` (3 coefficients).

use super::fused::{multiply_add_f32, multiply_add_f64};

/// `ln(x)` in `f64`.
#[inline(always)]
pub(super) fn ln_f64<const FUSED: bool>(x: f64) -> f64 {
    /// √½, the lower end of the reduced range.
    const LOWER_BITS: u64 = std::f64::consts::FRAC_1_SQRT_2.to_bits();
    /// What moves the exponent boundary from 1 to √½.
    const OFFSET: u64 = 1.0_f64.to_bits() - LOWER_BITS;
    /// The 52 bits below the exponent.
    const MANTISSA: u64 = (1 << 52) - 1;
    /// 2⁵², whose mantissa holds an integer as it is.
    const HOLDER: f64 = 4_503_599_627_370_496.0;
    /// The bias of the exponent field.
    const BIAS: f64 = 1023.0;
    /// ln 2, its first 42 bits.
    const LN_2_HIGH: f64 = 0.6931471805598903;
    /// ln 2, the rest.
    const LN_2_LOW: f64 = 5.497923018708371e-14;
    /// Q, the highest coefficient first.
    const COEFFICIENTS: [f64; 7] = [
        0.14795072095934482,
        0.15314138889988313,
        0.18183560861204268,
        0.22222198639693408,
        0.28571428741747573,
        0.3999999999941747,
        0.6666666666666734,
    ];

    let subnormal = x < f64::MIN_POSITIVE;
    let normal = if subnormal { x * HOLDER } else { x };
    let bias = if subnormal { BIAS + 52.0 } else { BIAS };

    let shifted = normal.to_bits().wrapping_add(OFFSET);
    let k = f64::from_bits((shifted >> 52) | HOLDER.to_bits()) - (HOLDER + bias);
    let m = f64::from_bits((shifted & MANTISSA).wrapping_add(LOWER_BITS));

    let f = m - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let mut q = COEFFICIENTS[0];
    for &coefficient in &COEFFICIENTS[1..] {
        q = multiply_add_f64::<FUSED>(q, z, coefficient);
    }
    let difference = multiply_add_f64::<FUSED>(-z, q, f);
    let low = multiply_add_f64::<FUSED>(k, LN_2_LOW, -(s * difference));
    let finite = multiply_add_f64::<FUSED>(k, LN_2_HIGH, f + low);

    let below_infinity = if x < f64::INFINITY { finite } else { x };
    let at_most_zero = if x == 0.0 { f64::NEG_INFINITY } else { f64::NAN };
    if x > 0.0 { below_infinity } else { at_most_zero }
}

/// `ln(x)` in `f32`.
#[inline(always)]
pub(super) fn ln_f32<const FUSED: bool>(x: f32) -> f32 {
    /// √½, the lower end of the reduced range.
    const LOWER_BITS: u32 = std::f32::consts::FRAC_1_SQRT_2.to_bits();
    /// What moves the exponent boundary from 1 to √½.
    const OFFSET: u32 = 1.0_f32.to_bits() - LOWER_BITS;
    /// The 23 bits below the exponent.
    const MANTISSA: u32 = (1 << 23) - 1;
    /// 2²³, whose mantissa holds an integer as it is.
    const HOLDER: f32 = 8_388_608.0;
    /// The bias of the exponent field.
    const BIAS: f32 = 127.0;
    /// ln 2, its first 16 bits.
    const LN_2_HIGH: f32 = 0.693_145_75;
    /// ln 2, the rest.
    const LN_2_LOW: f32 = 1.428_606_8e-6;
    /// Q, the highest coefficient first.
    const COEFFICIENTS: [f32; 3] = [0.298_704_62, 0.399_775_92, 0.666_667_76];

    let subnormal = x < f32::MIN_POSITIVE;
    let normal = if subnormal { x * HOLDER } else { x };
    let bias = if subnormal { BIAS + 23.0 } else { BIAS };

    let shifted = normal.to_bits().wrapping_add(OFFSET);
    let k = f32::from_bits((shifted >> 23) | HOLDER.to_bits()) - (HOLDER + bias);
    let m = f32::from_bits((shifted & MANTISSA).wrapping_add(LOWER_BITS));

    let f = m - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let mut q = COEFFICIENTS[0];
    for &coefficient in &COEFFICIENTS[1..] {
        q = multiply_add_f32::<FUSED>(q, z, coefficient);
    }
    let difference = multiply_add_f32::<FUSED>(-z, q, f);
    let low = multiply_add_f32::<FUSED>(k, LN_2_LOW, -(s * difference));
    let finite = multiply_add_f32::<FUSED>(k, LN_2_HIGH, f + low);

    let below_infinity = if x < f32::INFINITY { finite } else { x };
    let at_most_zero = if x == 0.0 { f32::NEG_INFINITY } else { f32::NAN };
    if x > 0.0 { below_infinity } else { at_most_zero }
}
